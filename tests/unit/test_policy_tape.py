"""Policies tried on recorded curves decide as the service does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer import policy_tape
from consumer.core.policy import Policy, PolicyRules
from consumer.core.state import empty_states
from consumer.policy_tape import TapeAlerts, record_tapes
from histories import HOUR_MS, Happened, Moody, columns, day, engine, on_events, on_silence, told
from schemas.event import EventType

USERS = 4
KINDS = st.sampled_from([EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REFUND])
STEPS = st.lists(st.tuples(st.integers(-20, 700), KINDS, st.integers(0, USERS - 1)), max_size=30)
EVERY_RULE = PolicyRules((0.15, 0.4), 0.1, 30.0, grace_days=2.5, cooldown_days=4.0, min_target_events=2)
ONE_TIER = PolicyRules((0.3,), 0.25, 30.0, grace_days=0.0)
UNTIL_MS = day(900)
Alert = tuple[int, int, int, float]


def happened(steps: list[tuple[int, EventType, int]]) -> list[Happened]:
    """Events in order of arrival, some late, some with an id that was seen before."""
    events, at_ms = [Happened(EventType.PURCHASE, day(0), 0)], day(0)
    for number, (hours, kind, user) in enumerate(steps):
        events.append(Happened(kind, max(at_ms + hours * HOUR_MS, day(0)), user, event_id=1 + number // 2))
        at_ms = max(at_ms, events[-1].at_ms)
    return events


def as_served(events: list[Happened], rules: PolicyRules) -> list[Alert]:
    """Through the engine, events and then silence."""
    states, serving = empty_states(USERS), engine(rules, Moody())
    evidence = on_events(serving, states, columns(events))
    evidence += on_silence(serving, states, np.arange(USERS), np.full(USERS, UNTIL_MS))
    return sorted((each.user, each.at_ms, each.tier, each.probability) for each in told(evidence))


def as_tried(events: list[Happened], *trials: PolicyRules) -> list[list[Alert]]:
    """Recorded once, then each of the rules."""
    recording = engine(ONE_TIER, Moody())
    tapes = list(record_tapes(recording, columns(events), USERS))
    return [
        listed(TapeAlerts.joined([tape.alerts(Policy(rules, recording.policy.calendar), UNTIL_MS) for tape in tapes]))
        for rules in trials
    ]


def listed(alerts: TapeAlerts) -> list[Alert]:
    values = (alerts.user, alerts.at_ms, alerts.tier, alerts.probability)
    return sorted(zip(*(column.tolist() for column in values), strict=True))


@given(STEPS)
@settings(max_examples=60)
def test_a_trial_decides_as_the_service(steps: list[tuple[int, EventType, int]]) -> None:
    """Of the same log, under any rules, the same alerts at the same milliseconds with the same risk, to the bit."""
    events = happened(steps)
    assert as_tried(events, EVERY_RULE, ONE_TIER) == [as_served(events, EVERY_RULE), as_served(events, ONE_TIER)]


def test_users_in_blocks_are_the_same_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded one or two at a time, every user keeps their number and their alerts."""
    rng = np.random.default_rng(5)
    kinds = tuple(EventType)[:7]
    steps = [(int(rng.integers(0, 90)), kinds[rng.integers(7)], int(rng.integers(USERS))) for _ in range(60)]
    whole = as_tried(happened(steps), ONE_TIER)
    assert len({user for user, *_ in whole[0]}) > 2
    for users_at_once in (1, 2, 3):
        monkeypatch.setattr(policy_tape, "USERS_AT_ONCE", users_at_once)
        assert as_tried(happened(steps), ONE_TIER) == whole
