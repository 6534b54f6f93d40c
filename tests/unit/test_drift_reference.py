"""What drift is measured against: from calibration or simulated shops, into the manifest, to the running service."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.metrics import Metrics
from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.assembly import drift_of
from consumer.core.drift import FEATURES, SCORE, Drift, DriftRules, features_of
from consumer.core.state import empty_states
from consumer.settings import DEFAULT_MODEL_DIR
from histories import engine
from model_export.artefact import Artefact
from model_export.calibrate import window_days
from model_export.data import HEADS, day_number
from model_export.drift_reference import distribution_of, log_reference, simulated_reference, states_at_events
from model_export.folder import HORIZON_DAYS, ShopLog, run_calibration, run_reference
from model_export.tasks import Past
from model_export.thresholds import Budget
from schemas.manifest import Calibration, Manifest, ManifestError, load_manifest, write_manifest
from schemas.reference import Distribution
from shop_logs import FIRST_DAY, Row, write_rows

DAYS, UNTIL, CUSTOMERS = 200, 150, 400
UNTIL_DAY = day_number(FIRST_DAY) + UNTIL
NEVER_FADING = DriftRules(half_life_days=1e9)


def rows(kept_later: float = 1.0) -> list[Row]:
    """Everybody buys on a tenth of all days and looks on another; from `UNTIL` on, a share of the purchases is left."""
    rng = np.random.default_rng(6)
    does = rng.random((DAYS, CUSTOMERS))
    left = rng.random((DAYS, CUSTOMERS)) < np.where(np.arange(DAYS) < UNTIL, 1.0, kept_later)[:, None]
    return [
        (f"u{user:03}", kind, str(FIRST_DAY + timedelta(days=int(at))), value)
        for at, user in np.argwhere((does < 0.2) & (left | (does >= 0.1)))
        for kind, value in [("purchase", 9.0) if does[at, user] < 0.1 else ("view_item", 0.0)]
    ]


def log_of(events: list[Row], folder: Path) -> ShopLog:
    return ShopLog(write_rows(folder / "log.csv", events), "log")


def past_of(events: list[Row], folder: Path, days: int = UNTIL) -> Past:
    return log_of(events, folder).past(FIRST_DAY + timedelta(days=days))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model calibrated on the log before it changes or does not."""
    folder = tmp_path_factory.mktemp("calibrated")
    run_calibration(
        log_of(rows(), folder), FIRST_DAY + timedelta(days=UNTIL), DEFAULT_MODEL_DIR, folder / "out", Budget(0.1)
    )
    return folder / "out"


def watched(folder: Path, rules: DriftRules | None = None) -> Drift:
    drift = drift_of(load_manifest(folder), "purchase")
    assert drift
    return replace(drift, rules=rules or drift.rules)


def test_calibration_measures_the_reference(calibrated: Path, tmp_path: Path) -> None:
    """On the days that it calibrates on, of every event there is, and it comes back from the file as it was."""
    past, model = past_of(rows(), tmp_path), Artefact.load(calibrated)
    manifest, states = model.manifest, states_at_events(past, UNTIL_DAY - window_days(past))
    assert manifest.reference
    assert manifest.reference == log_reference(
        past, model.scorer, model.shop, manifest.calibration, manifest.horizon_days
    )
    assert (manifest.reference.source, manifest.reference.days) == ("log", UNTIL // 4)
    assert manifest.reference.observations == len(states)
    assert manifest.reference.churn_probability.keys() == set(HEADS)
    assert {
        name: distribution_of(values) for name, values in features_of(states).items()
    } == manifest.reference.features


def test_the_reference_s_own_events_have_not_drifted(calibrated: Path, tmp_path: Path) -> None:
    """What the service makes of the very states that calibration saw is what is in the manifest: no skew."""
    past, model = past_of(rows(), tmp_path), Artefact.load(calibrated)
    states = states_at_events(past, UNTIL_DAY - window_days(past))
    states.header["log_hazards"] = model.log_hazards(states)[:, 0]
    drift = watched(calibrated, NEVER_FADING)
    every = np.arange(len(states))
    drift.add(states, every, states.last_id(every))
    drift.count()
    assert drift.observations() == pytest.approx(len(states))
    assert drift.psi() == dict.fromkeys((SCORE, *FEATURES), pytest.approx(0.0, abs=1e-6))


def served(folder: Path, past: Past) -> Drift:
    """What the service has seen after all of a log."""
    drift = watched(folder)
    running = engine(scorer=OnnxScorer(folder, "purchase"), drift=drift)
    states = empty_states(len(past.users))
    running.on_events(states, past.events, np.full(len(past.events), -1))
    drift.count()
    return drift


def test_a_shop_that_stays_as_it_is_does_not_drift(calibrated: Path, tmp_path: Path) -> None:
    """Fifty days after calibration no figure reaches the 0.2 at which a rule alerts."""
    figures = served(calibrated, past_of(rows(), tmp_path, DAYS)).psi()
    assert figures.keys() == {SCORE, *FEATURES}
    assert max(figures.values()) < 0.2


def test_customers_who_buy_half_as_often_are_noticed(calibrated: Path, tmp_path: Path) -> None:
    """Where every second purchase stays away, frequency and score have drifted; what they pay and look at has not."""
    figures = served(calibrated, past_of(rows(0.5), tmp_path, DAYS)).psi()
    assert min(figures[name] for name in (SCORE, "purchases_30d", "purchases_90d", "days_since_last_purchase")) > 0.2
    assert figures["spend_per_purchase_90d"] < 0.01
    assert figures["views_30d"] < 0.1


def test_a_log_with_few_events_gives_no_reference(tmp_path: Path) -> None:
    """Of the last quarter of twenty days of some customers nothing can be said, and the service measures no drift."""
    past, model = past_of([row for row in rows() if row[0] < "u050"], tmp_path, 20), Artefact.load(DEFAULT_MODEL_DIR)
    assert log_reference(past, model.scorer, model.shop, Calibration(), HORIZON_DAYS) is None
    unknown = model.manifest.model_copy(update={"reference": None})
    assert drift_of(unknown, "purchase") is None


DISTRIBUTIONS: dict[str, tuple[list[float], Distribution]] = {
    "nothing defined": ([np.nan] * 4, Distribution(edges=(), shares=(0.0, 1.0))),
    "one value": ([2.0] * 3 + [np.nan], Distribution(edges=(np.nextafter(2.0, 0.0), 2.0), shares=(0, 0.75, 0, 0.25))),
    "few values": ([0.0] * 6 + [1.0] * 2 + [5.0] * 2, Distribution(edges=(0.0, 1.0), shares=(0.6, 0.2, 0.2, 0.0))),
    "many values": (
        [float(each) for each in range(1, 31)],
        Distribution(edges=tuple(float(each) for each in range(3, 30, 3)), shares=(0.1,) * 10 + (0.0,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_bins_hold_about_equal_shares(values: list[float], expected: Distribution) -> None:
    """Tenths of what is defined, fewer where values are equal; what is not defined has a bin of its own."""
    assert distribution_of(np.array(values)) == expected


def test_simulated_events_are_of_customers_who_did_something() -> None:
    """The same shops give the same reference, of each as many events."""
    model = Artefact.load(DEFAULT_MODEL_DIR)
    first, again = (simulated_reference(3, model.scorer, model.shop, HORIZON_DAYS, shops=4) for _ in range(2))
    assert first == again
    assert (first.source, first.observations) == ("simulated", 6_000)
    assert all(each.shares[-1] < 1.0 for name, each in first.features.items() if name != "mean_sentiment_90d")


def test_a_base_model_s_reference_can_be_measured_again(tmp_path: Path) -> None:
    """Nothing but it changes in the folder; a model that knows its shop is refused."""
    folder = Path(shutil.copytree(DEFAULT_MODEL_DIR, tmp_path / "model"))
    before = load_manifest(folder)
    write_manifest(folder, before.model_copy(update={"reference": None}))
    told = run_reference(folder, shops=4)
    assert told.reference
    assert load_manifest(folder) == told == before.model_copy(update={"reference": told.reference})


def test_a_calibrated_model_s_reference_is_not_simulated(calibrated: Path) -> None:
    """It would say less than what is there."""
    with pytest.raises(ManifestError, match="train calibrate"):
        run_reference(calibrated)


def test_the_shipped_model_has_a_reference() -> None:
    """From simulated shops, of every score and feature."""
    manifest = load_manifest(DEFAULT_MODEL_DIR)
    assert manifest.reference
    assert manifest.reference.source == "simulated"
    assert manifest.reference.features.keys() == set(FEATURES)


def test_a_reference_without_a_target_s_scores_is_refused(calibrated: Path) -> None:
    """The service could be asked for either."""
    content = load_manifest(calibrated).model_dump(mode="json")
    del content["reference"]["churn_probability"]["activity"]
    with pytest.raises(ValueError, match=r"reference has churn probabilities of \['purchase'\]"):
        Manifest.model_validate_json(json.dumps(content))


def test_prometheus_is_told(calibrated: Path, tmp_path: Path) -> None:
    """Figures and how many observations are behind them; nothing while nothing is watched, or too little was seen."""
    registry = CollectorRegistry()
    metrics, past = Metrics(registry), past_of(rows(), tmp_path)

    def psi(of: str) -> float | None:
        return registry.get_sample_value("ebbtide_drift_psi", {"of": of, "reference": "log"})

    assert registry.get_sample_value("ebbtide_drift_observations") is None
    metrics.watch_drift(drift := watched(calibrated, NEVER_FADING))
    assert registry.get_sample_value("ebbtide_drift_observations") == 0.0
    assert psi(SCORE) is None
    states = states_at_events(past, UNTIL_DAY - window_days(past))
    every = np.arange(len(states))
    drift.add(states, every, states.last_id(every))
    drift.count()
    assert registry.get_sample_value("ebbtide_drift_observations") == drift.observations() >= 500
    assert {name: psi(name) for name in (SCORE, *FEATURES)} == drift.psi()
