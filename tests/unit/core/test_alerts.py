"""What an alert says, and that it says it rightly."""

import numpy as np
import pytest

from consumer.core.alerts import AlertContext, build_alert, in_control_group, instant
from consumer.core.state import empty_states
from histories import Happened, columns, day, engine
from schemas.alert import Action, Cause, Provenance, ReasonCode, RetentionAlert, Tier
from schemas.event import EventType

VIEW, BUY, REFUND = EventType.VIEW_ITEM, EventType.PURCHASE, EventType.REFUND
CONTEXT = AlertContext(model_version="m1", horizon_days=30.0, control_share=0.0)
SOURCE = Provenance(topic="shop.events", partition=0, offset=None)


def alerts(*history: Happened, silent_until: float | None = None) -> list[RetentionAlert]:
    """Alerts of one user's history and of the silence after it."""
    machine = engine()
    states = empty_states(1)
    _, evidence = machine.on_events(states, columns(history))
    if silent_until is not None:
        evidence += machine.on_silence(states, np.array([0]), np.array([day(silent_until)]))
    return [
        build_alert(part, index, "Zoë", SOURCE, CONTEXT, day(500) + 7)
        for part in evidence
        for index in range(len(part.decisions))
    ]


def test_silence_is_told_as_such() -> None:
    """A silence alert says for how long nothing was heard, and since when."""
    first, second = alerts(Happened(BUY, day(0.5)), silent_until=100)
    assert (first.tier, second.tier) == (Tier.AT_RISK, Tier.CRITICAL)
    assert first.cause is Cause.SILENCE
    assert first.silence_days == pytest.approx(4.93, abs=0.01)
    assert first.last_event_at == instant(day(0.5))
    assert first.decided_at == first.episode_started_at == second.episode_started_at
    assert second.decided_at > second.episode_started_at


def test_an_event_is_told_as_such() -> None:
    """An alert raised by an event is decided at the event's time, without silence."""
    [alert] = alerts(Happened(BUY, day(0)), Happened(REFUND, day(2.5)))
    assert (alert.cause, alert.silence_days, alert.decided_at) == (Cause.EVENT, 0.0, instant(day(2.5)))
    assert alert.reasons[0].code == ReasonCode.REFUNDS_OR_TICKETS


def test_only_a_complaint_asks_for_a_call() -> None:
    """An event that is no complaint, and yet raises the risk, suggests what silence would, whatever the reasons."""
    upset_day = (Happened(REFUND, day(2)), Happened(BUY, day(2.1)), Happened(VIEW, day(2.2)))
    _, alert = alerts(Happened(BUY, day(0)), *upset_day)
    assert (alert.cause, alert.reasons[0].code) == (Cause.EVENT, ReasonCode.REFUNDS_OR_TICKETS)
    assert alert.suggested_actions == [Action.WIN_BACK_MESSAGE]


@pytest.mark.parametrize(
    "history", [(Happened(BUY, day(0)),), (Happened(BUY, day(0)), Happened(REFUND, day(3)))], ids=["silence", "event"]
)
def test_the_reasons_add_up(history: tuple[Happened, ...]) -> None:
    """The contributions of an alert's reasons are its churn probability."""
    for alert in alerts(*history, silent_until=100):
        assert sum(each.contribution for each in alert.reasons) == pytest.approx(alert.churn_probability, abs=1e-9)


def test_the_curve_is_that_of_the_user() -> None:
    """The summary holds the churn probability after 0, 7, 14, … days of silence."""
    first, _ = alerts(Happened(BUY, day(0)), silent_until=100)
    told = {each.silence_days: each.churn_probability for each in first.risk_curve}
    assert list(told) == [0.0, 7.0, 14.0, 30.0, 60.0, 90.0]
    assert told[0.0] == pytest.approx(np.exp(-1.63), abs=1e-6)
    assert told[7.0] == told[90.0] == pytest.approx(np.exp(-0.3), abs=1e-6)


def test_features_are_those_of_the_moment() -> None:
    """The snapshot is taken when the alert is decided, not when the batch ends."""
    history = [Happened(BUY, day(0), value=10.0), Happened(BUY, day(6.5), value=20.0)]
    [alert] = alerts(*history)
    assert alert.features["spend_30d"] == 10.0
    assert alert.features["days_since_last_event"] == 5.0


def test_what_is_undefined_is_null() -> None:
    """NaN does not reach the reader: a rhythm of one purchase is null."""
    first, _ = alerts(Happened(BUY, day(0)), silent_until=100)
    assert first.features["purchase_gap_mean_days"] is None


def test_short_windows_are_not_told() -> None:
    """Windows of a day and a week say little about somebody silent, and are left out."""
    first, _ = alerts(Happened(BUY, day(0)), silent_until=100)
    assert "spend_30d" in first.features
    assert not [name for name in first.features if name.endswith(("_1d", "_7d"))]


def test_actions_fit_the_cause() -> None:
    """An upset customer is called; a silent one gets a recommendation, then a message to win them back."""
    first, second = alerts(Happened(BUY, day(0)), silent_until=100)
    [upset] = alerts(Happened(BUY, day(0)), Happened(REFUND, day(1)))
    assert [each.suggested_actions for each in (upset, first, second)] == [
        [Action.CUSTOMER_SERVICE_CALLBACK],
        [Action.RECOMMENDATION],
        [Action.WIN_BACK_MESSAGE],
    ]


def test_an_alert_survives_its_own_json() -> None:
    """What is written can be read back, unchanged."""
    for alert in alerts(Happened(BUY, day(0)), silent_until=100):
        assert RetentionAlert.model_validate_json(alert.model_dump_json()) == alert


def test_the_control_group_is_a_fixed_share() -> None:
    """About the share asked for, always the same users, and more of them if the share grows."""
    users = [f"user-{number}" for number in range(5_000)]
    tenth, third = ({user for user in users if in_control_group(user, share)} for share in (0.1, 0.3))
    assert len(tenth) == pytest.approx(500, abs=75)
    assert len(third) == pytest.approx(1_500, abs=120)
    assert tenth < third


def test_the_control_group_may_be_nobody_or_everybody() -> None:
    """A share of 0 holds nobody out, a share of 1 everybody."""
    users = [f"user-{number}" for number in range(500)]
    assert not any(in_control_group(user, 0.0) for user in users)
    assert all(in_control_group(user, 1.0) for user in users)


@pytest.mark.parametrize("time_ms", [0, 1, 999, 1_759_312_800_123, 253_402_300_799_999])
def test_instants_keep_their_milliseconds(time_ms: int) -> None:
    """No millisecond is lost to a float."""
    moment = instant(time_ms)
    assert int(moment.timestamp()) * 1000 + moment.microsecond // 1000 == time_ms
