"""What a replayed log comes to: counts, and outcomes that a model could not have known."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from consumer.backtest.recording import Curves
from consumer.core.calendar import Calendar
from consumer.core.policy import Policy, PolicyRules
from consumer.core.state import BINS
from consumer.tally import Tally
from schemas.manifest import Manifest, TrainingData, load_manifest
from support import event

JANUARY_MS = 1_704_067_200_000  # 2024-01-01, 00:00 UTC
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def manifest(tiny_model: Path) -> Manifest:
    return load_manifest(tiny_model)


def adapted(manifest: Manifest, until: date) -> Manifest:
    data = TrainingData(
        source="toys",
        sha256="ab" * 32,
        first_day=date(2023, 1, 1),
        until=until,
        timezone="UTC",
        users=1,
        events=1,
        user_days=1,
    )
    return manifest.model_copy(update={"shop": data})


def tally(manifest: Manifest) -> dict[str, object]:
    """Of a customer who buys on 1 January and 200 days later, and of a record that is no event."""
    told = Tally(manifest)
    for at in (0, 200):
        _, value = event("anna", "purchase", JANUARY_MS + at * DAY_MS)
        assert value is not None
        assert told.event(value) is not None
    assert told.event(b"{") is None
    assert told.users == 1
    return told.summary()


def test_a_model_of_no_shop_is_judged_after_one_horizon(manifest: Manifest) -> None:
    """Whoever was never told of this log can be judged on all of it, from one horizon after its first event on."""
    summary = tally(manifest)
    assert (summary["events"], summary["users"], summary["judged_from"]) == (3, 1, "2024-01-31")
    assert summary["judged_dates"] == 5
    assert json.loads(json.dumps(summary)) == summary


def test_by_activity_whoever_looks_has_stayed(manifest: Manifest) -> None:
    """A view counts where any activity does, and only there; mail that was sent to a customer counts nowhere."""
    for target, kind, stayed in (
        ("purchase", "view_item", 0),
        ("activity", "view_item", 1),
        ("activity", "campaign_received", 0),
    ):
        told = Tally(manifest, target)  # type: ignore[arg-type]
        for happened, at in (("purchase", 0), (kind, 40), ("campaign_received", 100)):
            told.event(event("anna", happened, JANUARY_MS + at * DAY_MS)[1] or b"")
        summary = told.summary()
        assert summary["target"] == target
        groups: dict[str, dict[str, int]] = summary["stayed_within_horizon"]  # type: ignore[assignment]
        assert groups["not alerted"]["stayed"] == stayed


def test_amounts_of_several_currencies_are_left_out(manifest: Manifest) -> None:
    """They cannot be added up: of one currency the page can say what is at stake, of two it cannot."""
    alert = json.loads(Path("schemas/examples/retention-alert.json").read_text())
    for currencies, known in ((("EUR", "EUR"), True), (("EUR", "USD"), False)):
        told = Tally(manifest)
        for number, currency in enumerate(currencies):
            told.event(event("anna", "purchase", JANUARY_MS + number, value=9.0, currency=currency)[1] or b"")
        told.alert(json.dumps(alert).encode())
        none = np.zeros(0, np.int64)
        curves = Curves(none, none, none, none, none, np.zeros((0, BINS), np.float32))
        found = told.findings(curves, Policy(PolicyRules((0.5, 0.7), rearm=0.4), Calendar()))
        assert np.isfinite(found.alerts.expected_spend).all() == known


def test_an_adapted_model_is_judged_after_what_it_was_adapted_to(manifest: Manifest) -> None:
    """Outcomes that calibration or fine-tuning has looked at are not counted."""
    summary = tally(adapted(manifest, date(2024, 5, 1)))
    assert (summary["judged_from"], summary["judged_dates"]) == ("2024-05-01", 2)


def test_a_model_adapted_to_an_older_log_is_judged_on_all(manifest: Manifest) -> None:
    """What it was adapted to before this log began takes nothing away."""
    assert tally(adapted(manifest, date(2023, 5, 1)))["judged_from"] == "2024-01-31"
