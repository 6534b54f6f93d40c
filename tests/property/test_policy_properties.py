"""The policy over random histories: cool-downs are kept, nothing is lost by them, and rules may change on the way."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.calendar import DAY_MS
from consumer.core.policy import BY_COMPLAINT, Policy, PolicyRules
from histories import HOUR_MS, RULES, Happened, Moody, Run, Told, day, engine
from schemas.event import EventType

USERS = 3
EVER = day(6_000)
KINDS = st.sampled_from([EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REFUND, EventType.CAMPAIGN_RECEIVED])
COOLDOWNS = st.sampled_from([0.0, 0.5, 3.0, 10.25, 60.0])
ENDS = st.sampled_from([0.0, 4.5, 20.0])
STEPS = st.tuples(st.integers(-20, 30 * 24), KINDS, st.integers(0, USERS - 1))  # hours on, or a little back: late


def rules(cooldown_days: float, grace_days: float = 0.0) -> PolicyRules:
    """Under which `Moody` raises alerts of both tiers and causes, by about every third event or silence."""
    return PolicyRules((0.15, 0.4), 0.1, RULES.horizon_days, grace_days, cooldown_days)


HISTORIES = st.lists(STEPS, min_size=1, max_size=25)


def happened(steps: list[tuple[int, EventType, int]]) -> list[Happened]:
    """Events in order of arrival, the first ones purchases."""
    events, at_ms = [Happened(EventType.PURCHASE, day(0), user) for user in range(USERS)], day(0)
    for hours, kind, user in steps:
        events.append(Happened(kind, max(at_ms + hours * HOUR_MS, day(0)), user))
        at_ms = max(at_ms, events[-1].at_ms)
    return events


def by_user(alerts: list[Told]) -> list[list[Told]]:
    """Each user's alerts in order of decision."""
    found: defaultdict[int, list[Told]] = defaultdict(list)
    for each in alerts:
        found[each.user].append(each)
    return list(found.values())


@given(HISTORIES, COOLDOWNS, ENDS)
@settings(max_examples=150)
def test_no_two_alerts_within_the_cool_down(
    steps: list[tuple[int, EventType, int]], cooldown_days: float, grace_days: float
) -> None:
    """Of one user, complaints aside: an alert is at least the cool-down after all that came before it."""
    run = Run(engine(rules(cooldown_days, grace_days), Moody()), USERS)
    for number, each in enumerate(happened(steps)):
        run.events(each)
        if number % 3 == 0:  # the clock may be ahead of what comes: the next event is one before an alert
            run.silence(each.at_ms + 20 * DAY_MS)
    run.silence(EVER)
    for alerts in by_user(run.alerts):
        for number, alert in enumerate(alerts[1:], start=1):
            if cooldown_days and alert.cause != BY_COMPLAINT:
                latest_ms = max(each.at_ms for each in alerts[:number])
                assert alert.at_ms >= latest_ms + cooldown_days * DAY_MS


@given(HISTORIES, COOLDOWNS)
@settings(max_examples=150)
def test_who_is_still_at_risk_when_the_cool_down_ends_is_alerted_then(
    steps: list[tuple[int, EventType, int]], cooldown_days: float
) -> None:
    """At its end, or at that of the last active day, whichever is later: at the tier that the curve has reached."""
    run = Run(engine(rules(cooldown_days), Moody()), USERS)
    run.events(*happened(steps))
    states, policy, rows = run.states, run.engine.policy, np.arange(USERS)
    header = states.header
    silent_from_ms = (states.last_day(rows).astype(np.int64) + 1) * DAY_MS
    free_ms = np.maximum(header["last_alert_ms"] + round(cooldown_days * DAY_MS), silent_from_ms)
    free_ms = np.maximum(free_ms, header["last_ms"])
    risk = policy.probability(states, rows, free_ms)
    reached = np.searchsorted(policy.rules.thresholds, risk, side="right")
    cooling = header["last_alert_ms"] + round(cooldown_days * DAY_MS) > header["last_ms"]
    expected = cooling & (header["last_alert_ms"] >= 0) & (reached > header["alerted_tier"])
    alerts = run.silence(int(free_ms.max()) + 1_000)
    for row in np.flatnonzero(expected):
        first = next(each for each in alerts if each.user == row)
        assert first.at_ms - free_ms[row] in (0, 1)
        assert first.tier == reached[row]


@given(HISTORIES, COOLDOWNS, ENDS, st.sampled_from([1, 60, 1_000]))
@settings(max_examples=120)
def test_alerts_do_not_depend_on_how_batches_are_cut(
    steps: list[tuple[int, EventType, int]], cooldown_days: float, grace_days: float, faster: int
) -> None:
    """Fed one event at a time, with a look at the timers in between, every user has the same alerts; be it that months
    pass, or that grace and cool-down end within a day."""
    events = happened(sorted(steps, key=lambda step: step[0] < 0))  # nobody is late here: a look would be too early
    allowed = rules(cooldown_days / faster, grace_days / faster)
    at_once, bit_by_bit = (Run(engine(allowed, Moody()), USERS) for _ in range(2))
    in_order = [
        replace(each, at_ms=day(0) + (each.at_ms - day(0)) // faster)
        for each in sorted(events, key=lambda each: each.at_ms)
    ]
    at_once.events(*in_order)
    for each in in_order:
        bit_by_bit.silence(each.at_ms - 1)
        bit_by_bit.events(each)
    for run in (at_once, bit_by_bit):
        run.silence(EVER)
    assert sorted(by_user(at_once.alerts), key=repr) == sorted(by_user(bit_by_bit.alerts), key=repr)


THRESHOLDS = st.lists(st.floats(0.02, 0.98), min_size=1, max_size=2, unique=True).map(lambda each: tuple(sorted(each)))


@given(HISTORIES, THRESHOLDS, THRESHOLDS, COOLDOWNS)
@settings(max_examples=150)
def test_alerts_are_by_the_rules_in_force(
    steps: list[tuple[int, EventType, int]], before: tuple[float, ...], after: tuple[float, ...], cooldown_days: float
) -> None:
    """Timers set by other rules alert nobody below the thresholds in force, and come to an end."""
    run = Run(engine(replace(rules(0.0), thresholds=before), Moody()), USERS)
    run.events(*happened(steps))
    in_force = replace(rules(cooldown_days), thresholds=after)
    run.engine = replace(run.engine, policy=Policy(in_force, run.engine.policy.calendar))
    alerts = run.silence(EVER)
    assert all(each.probability >= after[each.tier - 1] - 1e-5 for each in alerts)
    assert run.silence(EVER) == []
    states, rows = run.states, np.arange(USERS)
    risk = run.engine.policy.probability(states, rows, np.full(USERS, EVER))
    waits = np.searchsorted(after, risk - 1e-9, side="right") > states.header["alerted_tier"]
    had_timer = np.isin(rows, [each.user for each in alerts])
    assert not (waits & had_timer).any()  # whoever was looked at is at no higher tier than was alerted


@given(HISTORIES, COOLDOWNS)
@settings(max_examples=60)
def test_the_same_policy_again_changes_nothing(steps: list[tuple[int, EventType, int]], cooldown_days: float) -> None:
    """A reload that says the same leaves every alert as it was, to the bit."""
    kept, reloaded = (Run(engine(rules(cooldown_days), Moody()), USERS) for _ in range(2))
    events = happened(steps)
    for each in events:
        kept.events(each)
        reloaded.engine = replace(reloaded.engine, policy=Policy(rules(cooldown_days), kept.engine.policy.calendar))
        reloaded.events(each)
    for run in (kept, reloaded):
        run.silence(EVER)
    assert kept.alerts == reloaded.alerts
    assert kept.packed == reloaded.packed


def test_the_rules_here_raise_alerts() -> None:
    """Otherwise nothing above would be tried: a few hundred random steps alert many times, by event and by silence."""
    rng = np.random.default_rng(3)
    kinds = (EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REFUND)
    steps = [(int(rng.integers(0, 200)), kinds[rng.integers(3)], int(rng.integers(USERS))) for _ in range(300)]
    run = Run(engine(rules(3.0), Moody()), USERS)
    run.events(*happened(steps))
    assert len(run.alerts) > 30
    assert {each.cause for each in run.alerts} == {0, 1, 2}
    assert {each.tier for each in run.alerts} == {1, 2}
