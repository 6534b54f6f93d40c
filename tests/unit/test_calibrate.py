"""Calibration: two numbers from what happened on the latest days, without torch."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from consumer.core.risk import calibrated
from consumer.core.state import BINS
from model_export.artefact import Scorer
from model_export.calibrate import FEWEST_CUSTOMERS, _most_likely, _persistence, fit_calibration, window_days
from model_export.data import HEADS
from model_export.folder import ShopLog, _purchases_share, _thresholds, run_calibration
from model_export.shop import SHOP_TOKEN_NAMES, shop_token
from model_export.tasks import Past
from model_export.thresholds import Budget
from schemas.files import EventFileError
from schemas.manifest import Calibration, Manifest, ManifestError, Thresholds, load_manifest
from shop_logs import FIRST_DAY, Row, shop_rows, write_rows

ROOT = Path(__file__).parents[2]
DAYS, NEW_DAYS = 200, 10


def simulated(offset: float, customers: int) -> tuple[float, np.ndarray]:
    """Foretold hazard survived, and that of each event's interval, of gaps from hazards off by `offset`."""
    rng = np.random.default_rng(11)
    said = np.exp(rng.normal(-4.0, 1.0, customers))
    gap = np.ceil(rng.exponential(1 / (np.exp(offset) * said)))
    observed = gap <= 60
    return float((said * np.minimum(gap - observed, 60)).sum()), said[observed]


@pytest.mark.parametrize("offset", [0.0, 0.4, -0.6, 1.5])
def test_a_planted_offset_is_found(offset: float) -> None:
    """From a few thousand censored times, to within their sampling error."""
    assert _most_likely(*simulated(offset, 4_000)) == pytest.approx(offset, abs=0.1)


def test_little_data_moves_little() -> None:
    """Of nobody nothing is learnt, and a few customers move the level less than many."""
    assert _most_likely(*simulated(1.0, 0)) == 0.0
    assert abs(_most_likely(*simulated(1.0, 20))) < abs(_most_likely(*simulated(1.0, 4_000)))


def test_an_offset_scales_hazards() -> None:
    """An offset of log 2 doubles every hazard."""
    log_hazards = np.array([[-6.0, -4.0, -2.0]], np.float32)
    assert np.exp(calibrated(log_hazards, float(np.log(2)))) == pytest.approx(2 * np.exp(log_hazards), rel=1e-5)


def past_of(rows: list[Row], folder: Path, days: int = DAYS) -> Past:
    return ShopLog(write_rows(folder / "log.csv", rows), "log").past(FIRST_DAY + timedelta(days=days))


def steady_rows(customers: int, per_day: float) -> list[Row]:
    """Everybody buys on any day with the same chance; the first purchase is on the first day."""
    rng = np.random.default_rng(4)
    bought = rng.random((DAYS, customers)) < per_day
    bought[0] = True
    return [
        (f"u{user:04}", "purchase", str(FIRST_DAY + timedelta(days=int(at))), 9.0) for at, user in np.argwhere(bought)
    ]


def says(per_day: float) -> Scorer:
    """Everybody buys with this hazard, it says."""

    def run(tokens: np.ndarray, lengths: np.ndarray, shop: np.ndarray) -> np.ndarray:
        return np.full((len(tokens), len(HEADS), BINS), np.log(per_day), np.float32)

    return run


@pytest.mark.parametrize("said", [0.01, 0.03, 0.09])
def test_a_scorer_that_is_off_is_set_right(said: float, tmp_path: Path) -> None:
    """Whatever one hazard is said of all: missed alike in every window, it is set right almost wholly."""
    past = past_of(steady_rows(400, 0.03), tmp_path)
    found = fit_calibration(past, says(said), says(said))
    assert found.window_days == window_days(past) == DAYS // 4
    row, day = past.purchase_days
    begin = past.until_day - found.window_days
    first = [day[(row == user) & (day >= begin)] - begin + 1 for user in past.customers]
    days = sum(int(each.min()) if len(each) else found.window_days for each in first)
    chance = sum(len(each) > 0 for each in first) / days
    right = calibrated(np.full(1, np.log(said), np.float32), found.offset)
    assert np.exp(right) == pytest.approx(-np.log(1 - chance), rel=0.1)


@pytest.mark.parametrize(("customers", "days"), [(FEWEST_CUSTOMERS - 1, DAYS), (400, 27), (400, 1)])
def test_with_little_data_calibration_is_neutral(customers: int, days: int, tmp_path: Path) -> None:
    """Too few customers before the window, or too short a log, and the network is taken at its word."""
    past = past_of(steady_rows(customers, 0.03), tmp_path, days)
    assert fit_calibration(past, says(0.5), says(0.5)) == Calibration()


def says_by_days_known(past: Past) -> Thresholds:
    """Thresholds by a scorer to which whoever has bought on few days looks likely to leave."""

    def run(tokens: np.ndarray, lengths: np.ndarray, shop: np.ndarray) -> np.ndarray:
        per_day = np.where(lengths < NEW_DAYS, 0.005, 0.05)
        return np.broadcast_to(np.log(per_day).astype(np.float32)[:, None, None], (len(tokens), len(HEADS), BINS))

    token = shop_token(past.log.states, past.until_day)
    return _thresholds(past, run, token, Calibration(), Budget(0.05))


def test_thresholds_are_of_customers_who_are_known(tmp_path: Path) -> None:
    """That everybody looks new where a log begins does not raise them: they lie where the known ones' risk does."""
    past = past_of(steady_rows(40, 0.2), tmp_path)
    known = np.exp(-30 * 0.05)
    assert known < says_by_days_known(past).at_risk <= known + 0.01


def test_newcomers_of_the_later_half_count(tmp_path: Path) -> None:
    """Where new customers come until the end, they are among those who will be alerted."""
    rows = steady_rows(40, 0.2)
    new = [(f"n{number}", "purchase", str(FIRST_DAY + timedelta(days=number // 5)), 9.0) for number in range(5 * DAYS)]
    past = past_of(sorted(rows + new, key=lambda row: row[2]), tmp_path)
    assert says_by_days_known(past).at_risk > np.exp(-30 * 0.05) + 0.01


def test_thresholds_of_a_log_that_ended_months_ago(tmp_path: Path) -> None:
    """They are of its last purchases, though the later half of the time until now has none."""
    past = past_of([row for row in steady_rows(40, 0.2) if row[2] < str(FIRST_DAY + timedelta(days=80))], tmp_path)
    assert past.until_day - past.first_day == DAYS
    assert 0.2 < says_by_days_known(past).at_risk < 0.9


def test_purchases_that_states_have_dropped_are_counted(tmp_path: Path) -> None:
    """Everybody buys every day: thirty times in a month, though a state holds 64 days."""
    past = past_of(steady_rows(5, 1.0), tmp_path)
    assert _purchases_share(past, past.first_day) == 30.0
    assert _purchases_share(past, past.until_day - 100) == 30.0


def calibrated_folder(rows: list[Row], base: Path, folder: Path, days: int = DAYS, budget: float = 0.05) -> Manifest:
    log = ShopLog(write_rows(folder / "shop.csv", rows), "shop")
    return run_calibration(log, FIRST_DAY + timedelta(days=days), base, folder / "out", Budget(budget))


def test_a_calibrated_folder_is_whole(tiny_model: Path, tmp_path: Path) -> None:
    """The same weights and graphs, told of the shop: token, calibration, thresholds, and what they come from."""
    rows = shop_rows(200, DAYS)
    told = calibrated_folder(rows, tiny_model, tmp_path)
    base, manifest = load_manifest(tiny_model), load_manifest(tmp_path / "out")
    past = past_of(rows, tmp_path)
    assert manifest == told
    assert manifest.files == base.files
    assert manifest.shop_token == tuple(shop_token(past.log.states, past.until_day).tolist())
    assert manifest.calibration != base.calibration
    assert manifest.thresholds.at_risk < manifest.thresholds.critical
    assert manifest.model_version.startswith("calibrated-shop-20240719-")
    assert manifest.shop is not None
    assert manifest.shop.until == FIRST_DAY + timedelta(days=DAYS)
    assert (manifest.shop.users, manifest.shop.events) == (len(past.users), len(past.events))
    assert {each.name for each in (tmp_path / "out").iterdir()} == {*base.files, "manifest.json", "model_card.md"}


def test_a_folder_can_be_calibrated_in_place(tiny_model: Path, tmp_path: Path) -> None:
    """Base and result may be one folder, and calibrating again comes to the same."""
    first = calibrated_folder(shop_rows(200, DAYS), tiny_model, tmp_path)
    again = calibrated_folder(shop_rows(200, DAYS), tmp_path / "out", tmp_path)
    assert again == first


def without_fingerprint(manifest: Manifest) -> Manifest:
    assert manifest.shop is not None
    return manifest.model_copy(update={"shop": manifest.shop.model_copy(update={"sha256": ""})})


def tampered(rows: list[Row], days: int) -> list[Row]:
    day = str(FIRST_DAY + timedelta(days=days))
    return [row if row[2] < day else (*row[:3], row[3] + 1) for row in rows if row[2] < day or row[0] > "u1"]


@pytest.mark.parametrize(("days", "leaks"), [(120, False), (121, True)], ids=["as it is", "a day late"])
def test_nothing_from_until_on_is_read(days: int, leaks: bool, tiny_model: Path, tmp_path: Path) -> None:
    """Whatever the file holds from then on, all but its hash is the same; a cut-off one day late would be noticed."""
    rows = shop_rows(300, DAYS)
    one, other = (
        without_fingerprint(calibrated_folder(each, tiny_model, tmp_path, days)) for each in (rows, tampered(rows, 120))
    )
    assert (one != other) == leaks


def test_a_log_that_ended_long_ago_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Without a purchase in the last year there is nobody to set thresholds by, and nothing is written."""
    with pytest.raises(EventFileError, match="has no purchase in the 365 days before 2025-07-20"):
        calibrated_folder([("a", "purchase", "2024-07-19", 1.0)], tiny_model, tmp_path, 566)
    assert not (tmp_path / "out").exists()


POOR: dict[str, Callable[[], list[Row]]] = {
    "one customer": lambda: [("a", "purchase", "2024-01-01", 1.0)],
    "one day": lambda: [(f"u{number}", "purchase", "2024-01-01", 1.0) for number in range(300)],
    "all on every day": lambda: [
        (f"u{number}", "purchase", str(FIRST_DAY + timedelta(days=at)), 1.0)
        for at in range(60)
        for number in range(110)
    ],
    "hardly a purchase": lambda: [
        ("a", "purchase", "2024-01-01", 1.0),
        *((f"u{number}", "view_item", "2024-01-02", 0.0) for number in range(300)),
    ],
}


@pytest.mark.parametrize("rows", POOR.values(), ids=POOR)
@pytest.mark.parametrize("days", [60, 300])
def test_a_poor_log_makes_a_folder_all_the_same(
    rows: Callable[[], list[Row]], days: int, tiny_model: Path, tmp_path: Path
) -> None:
    """However little a log tells, every number of the manifest is finite and thresholds are in order."""
    manifest = calibrated_folder(rows(), tiny_model, tmp_path, days)
    assert np.isfinite([*manifest.shop_token, manifest.calibration.offset]).all()
    assert len(manifest.shop_token) == len(SHOP_TOKEN_NAMES)
    assert 0 < manifest.thresholds.at_risk < manifest.thresholds.critical < 1
    assert load_manifest(tmp_path / "out") == manifest


def test_a_base_for_other_features_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Before anything is read or written."""
    manifest = load_manifest(tiny_model).model_copy(update={"feature_version": 1})
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_model.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    (base / "manifest.json").write_text(manifest.model_dump_json())
    with pytest.raises(ManifestError, match="made for other features"):
        calibrated_folder(shop_rows(20, DAYS), base, tmp_path)
    assert not (tmp_path / "out").exists()


def test_calibration_does_without_torch(tiny_model: Path, tmp_path: Path) -> None:
    """From the log to the folder nothing imports it, which only training has installed."""
    path = write_rows(tmp_path / "shop.csv", shop_rows(150, DAYS))
    code = f"""
import sys
from datetime import date
from pathlib import Path
from model_export.folder import ShopLog, run_calibration
from model_export.thresholds import Budget
log, base = ShopLog(Path({str(path)!r}), "shop"), Path({str(tiny_model)!r})
run_calibration(log, date(2024, 7, 1), base, Path("out"), Budget())
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert load_manifest(tmp_path / "out").calibration.window_days > 0


def test_a_miss_that_does_not_last_is_left_alone() -> None:
    """Where every window missed the other way than the one before, nothing of the latest miss is expected to last."""
    assert _persistence([0.5, -0.5, 0.5, -0.5]) == 0.0
    assert _persistence([2.0, 2.0, 2.0]) == pytest.approx(1.0, abs=0.01)
    assert _persistence([0.4]) == _persistence([]) == 0.25


def test_the_offset_is_the_most_likely_one() -> None:
    """No other offset makes what happened more likely, the prior counted in."""
    in_event = np.random.default_rng(3).exponential(0.02, 300)
    survived = 9.0

    def log_likelihood(offset: float) -> float:
        happened = np.log(-np.expm1(-np.exp(offset) * in_event)).sum()
        return float(happened - np.exp(offset) * survived - offset**2 / 2)

    found = _most_likely(survived, in_event)
    assert log_likelihood(found) > max(log_likelihood(found - 1e-3), log_likelihood(found + 1e-3))
