"""When an episode of being at risk opens, escalates, closes and opens again."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from consumer.core.alerts import alert_id
from consumer.core.calendar import DAY_MS
from consumer.core.features import TOKEN_NAMES
from consumer.core.policy import BY_COMPLAINT, BY_SILENCE, Decisions, Policy, PolicyRules
from consumer.core.risk import NEVER, churn_probability, crossing_days
from consumer.core.state import BIN_EDGES_DAYS, BINS, NO_TIME
from consumer.scoring import Findings
from histories import (
    AT_RISK_AFTER_DAYS,
    CRITICAL_AFTER_DAYS,
    HOUR_MS,
    RULES,
    Happened,
    Moody,
    Run,
    Told,
    columns,
    day,
    engine,
    folded,
)
from schemas.alert import Tier
from schemas.event import EventType
from support import KnownCurve, WholeHistory

VIEW, BUY, REFUND = EventType.VIEW_ITEM, EventType.PURCHASE, EventType.REFUND
AT_RISK, CRITICAL = 1, 2
EVER = day(10_000)
ONE = np.array([0])


def after(silent_from: float, days: float) -> int:
    """The first millisecond so long after the last active day's end."""
    return day(silent_from) + int(np.ceil(days * DAY_MS))


def with_grace(grace_days: float) -> Run:
    return Run(engine(replace(RULES, grace_days=grace_days)))


def tiers(alerts: list[Told]) -> list[int]:
    return [each.tier for each in alerts]


def ids(alerts: list[Told]) -> list[str]:
    return [alert_id("somebody", each.anchor_id, list(Tier)[each.tier - 1]) for each in alerts]


class Scripted(WholeHistory):
    """A scorer that gives constant hazards: the first of a list after a user's first event, and so on."""

    version = "scripted"

    def __init__(self, *risks: float) -> None:
        self._log_hazards = np.log(-np.log(risks) / RULES.horizon_days)

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Scorer.log_hazards`."""
        events = np.rint(np.expm1(tokens[..., TOKEN_NAMES.index("log1p_events")]).sum(axis=1)).astype(np.int64)
        return np.repeat(self._log_hazards[events - 1, None], BINS, axis=1).astype(np.float32)


class Constant(WholeHistory):
    """A scorer that always gives the same curve."""

    version = "constant"

    def __init__(self, curve: np.ndarray) -> None:
        self._curve = curve

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Scorer.log_hazards`."""
        return np.repeat(self._curve, len(tokens), axis=0)


def scripted(*risks: float, grace_days: float = 0.0) -> Run:
    """A user whose risk after each event is as given, whatever the silence."""
    return Run(engine(replace(RULES, grace_days=grace_days), Scripted(*risks)))


# Silence.


def test_silence_opens_an_episode_when_the_curve_says() -> None:
    """The first tier is alerted at the millisecond at which the risk reaches its threshold, with no event."""
    run = Run(engine())
    assert run.events(Happened(BUY, day(0.4))) == []
    assert run.silence(after(1, AT_RISK_AFTER_DAYS) - 60_000) == []
    [alert] = run.silence(after(1, AT_RISK_AFTER_DAYS) + 60_000)
    assert (alert.tier, alert.cause) == (AT_RISK, BY_SILENCE)
    assert abs(alert.at_ms - after(1, AT_RISK_AFTER_DAYS)) < 1_000
    assert alert.probability == pytest.approx(0.5, abs=1e-6)


def test_silence_escalates() -> None:
    """The second tier follows at its own moment, in the same episode."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    [first] = run.silence(after(1, AT_RISK_AFTER_DAYS + 0.1))
    [second] = run.silence(after(1, CRITICAL_AFTER_DAYS + 0.1))
    assert tiers([first, second]) == [AT_RISK, CRITICAL]
    assert (second.anchor_id, second.episode_ms) == (first.anchor_id, first.episode_ms) == (1_000, first.at_ms)


def test_one_tick_may_alert_both_tiers() -> None:
    """After a long pause of the service both tiers fire, each at its own time."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    assert [(each.tier, each.at_ms) for each in run.silence(EVER)] == [
        (AT_RISK, pytest.approx(after(1, AT_RISK_AFTER_DAYS), abs=1_000)),
        (CRITICAL, pytest.approx(after(1, CRITICAL_AFTER_DAYS), abs=1_000)),
    ]


def test_an_episode_alerts_each_tier_once() -> None:
    """However long the silence and however often timers are looked at, there is no third alert."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    for until in range(1, 400, 3):
        run.silence(day(until))
    assert tiers(run.alerts) == [AT_RISK, CRITICAL]
    assert run.states.header["due_ms"].tolist() == [NO_TIME]


def test_silence_begins_when_the_last_active_day_ends() -> None:
    """A purchase early or late in the day gives the same moment of alert."""
    moments = set()
    for hours in (0, 12, 23):
        run = Run(engine())
        run.events(Happened(BUY, day(0) + hours * HOUR_MS))
        moments |= {each.at_ms for each in run.silence(EVER)}
    assert len(moments) == 2


def test_the_shops_midnight_counts() -> None:
    """In a zone ahead of UTC the day ends earlier, and so does the wait."""
    run = Run(engine(timezone="Asia/Tokyo"))
    run.events(Happened(BUY, day(0)))
    [alert] = run.silence(after(1, AT_RISK_AFTER_DAYS))
    assert after(1, AT_RISK_AFTER_DAYS) - alert.at_ms == pytest.approx(9 * HOUR_MS, abs=1_000)


def test_tiers_reached_at_once_are_one_alert() -> None:
    """If the wait of a grace period ends above both thresholds, only the higher tier is alerted."""
    run = with_grace(30.0)
    run.events(Happened(BUY, day(0)))
    assert [(each.tier, each.at_ms) for each in run.silence(EVER)] == [(CRITICAL, day(30))]


# Events.


def test_an_event_may_open_an_episode() -> None:
    """A refund that lifts the risk to 0.97 alerts at once, at the higher tier only."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    [alert] = run.events(Happened(REFUND, day(2)))
    assert (alert.tier, alert.cause, alert.at_ms, alert.episode_ms) == (CRITICAL, BY_COMPLAINT, day(2), day(2))
    assert alert.probability == pytest.approx(np.exp(-0.03), rel=1e-6)
    assert run.silence(EVER) == []


def test_a_threshold_reached_exactly_counts() -> None:
    """A risk equal to the threshold alerts; a threshold one bit higher is not reached."""
    history = [Happened(BUY, day(0)), Happened(VIEW, day(1))]
    run = scripted(0.1, 0.6)
    [alert] = run.events(*history)
    for threshold, alerted in ((alert.probability, [AT_RISK]), (np.nextafter(alert.probability, 1.0), [])):
        again = Run(engine(replace(RULES, thresholds=(threshold, 0.99)), Scripted(0.1, 0.6)))
        assert tiers(again.events(*history)) == alerted


def test_a_purchase_itself_alerts_nobody() -> None:
    """However high the risk after it, a purchase is no reason to worry."""
    run = scripted(0.1, 0.99)
    assert run.events(Happened(BUY, day(0)), Happened(BUY, day(3))) == []


def test_within_an_episode_an_event_alerts_a_higher_tier_only() -> None:
    """At risk already, more events at risk are no news; an event that makes it critical is."""
    run = scripted(0.1, 0.55, 0.6, 0.8, 0.75, 0.55)
    alerts = run.events(Happened(BUY, day(0)), *(Happened(VIEW, day(number)) for number in range(1, 6)))
    assert [(each.tier, each.at_ms) for each in alerts] == [(AT_RISK, day(1)), (CRITICAL, day(3))]
    assert {each.episode_ms for each in alerts} == {day(1)}


def test_an_episode_closes_below_the_rearm_level_only() -> None:
    """Between re-arm level and threshold the episode goes on; below it ends, and the next one alerts again."""
    run = scripted(0.1, 0.55, 0.46, 0.55, 0.44, 0.55)
    alerts = run.events(Happened(BUY, day(0)), *(Happened(VIEW, day(number)) for number in range(1, 6)))
    assert [each.at_ms for each in alerts] == [day(1), day(5)]
    assert len(set(ids(alerts))) == 2


def test_a_purchase_closes_the_episode() -> None:
    """After a purchase no episode is open and nothing is remembered of it."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    run.silence(day(30))
    run.events(Happened(BUY, day(31)))
    header = run.states.header[0]
    assert (header["alerted_tier"], header["episode_ms"], header["anchor_id"]) == (0, NO_TIME, 0)


def test_a_purchase_closes_the_episode_however_high_the_risk() -> None:
    """After a purchase the next complaint is a new episode, even if the risk never fell."""
    run = scripted(0.1, 0.9, 0.9, 0.9, grace_days=7.0)
    alerts = run.events(*(Happened(kind, day(number)) for number, kind in enumerate((BUY, REFUND, BUY, REFUND))))
    assert [each.at_ms for each in alerts] == [day(1), day(3)]
    assert len(set(ids(alerts))) == 2


def test_after_a_purchase_silence_alerts_again() -> None:
    """The alert is armed again: the same silence after another purchase is another episode with other ids."""
    run = Run(engine())
    for bought in (0, 40, 80):
        run.events(Happened(BUY, day(bought), event_id=bought + 1))
        run.silence(day(bought + 35))
    assert tiers(run.alerts) == [AT_RISK, CRITICAL] * 3
    assert len(set(ids(run.alerts))) == 6


# Grace, history, erasure.


@pytest.mark.parametrize("grace_days", [3.0, 5.5, 20.0])
def test_within_grace_silence_alerts_nobody(grace_days: float) -> None:
    """No alert before the grace period is over; then the first at its end, or when the curve says, if later."""
    run = with_grace(grace_days)
    run.events(Happened(BUY, day(0.25)))
    first = run.silence(EVER)[0]
    expected = max(day(0.25 + grace_days), after(1, AT_RISK_AFTER_DAYS))
    assert first.at_ms == pytest.approx(expected, abs=1_000)
    assert first.at_ms >= day(0.25 + grace_days)


def test_within_grace_an_event_that_is_no_complaint_alerts_nobody() -> None:
    """A look around that lifts the risk waits for the end of the grace period."""
    run = scripted(0.1, 0.6, grace_days=7.0)
    assert run.events(Happened(BUY, day(0)), Happened(VIEW, day(3))) == []
    [alert] = run.silence(EVER)
    assert (alert.at_ms, alert.cause) == (day(7), BY_SILENCE)


@pytest.mark.parametrize(
    "complaint",
    [
        Happened(REFUND, day(3)),
        Happened(EventType.SUPPORT_TICKET, day(3)),
        Happened(EventType.UNSUBSCRIBE, day(3)),
        Happened(EventType.REVIEW, day(3), sentiment=-0.9),
    ],
    ids=lambda each: str(each.kind),
)
def test_within_grace_a_complaint_alerts(complaint: Happened) -> None:
    """A refund, a ticket, an unsubscription or an angry review counts at once."""
    run = scripted(0.1, 0.6, grace_days=7.0)
    assert tiers(run.events(Happened(BUY, day(0)), complaint)) == [AT_RISK]


def test_a_complaint_that_has_to_wait_alerts_when_grace_is_over() -> None:
    """Like any other event, unless complaints alert at once."""
    run = scripted(0.1, 0.6, grace_days=7.0)
    under(run, replace(run.engine.policy.rules, complaints_at_once=False))
    assert run.events(Happened(BUY, day(0)), Happened(REFUND, day(3))) == []
    [alert] = run.silence(EVER)
    assert (alert.at_ms, alert.cause) == (day(7), BY_SILENCE)


def test_a_complaint_that_has_to_wait_keeps_the_cool_down() -> None:
    """And so it does after an alert."""
    run = scripted(0.1, 0.6, 0.99)
    under(run, replace(run.engine.policy.rules, complaints_at_once=False, cooldown_days=10.0))
    assert tiers(run.events(Happened(BUY, day(0)), Happened(VIEW, day(3)), Happened(REFUND, day(4)))) == [AT_RISK]
    [alert] = run.silence(EVER)
    assert (alert.at_ms, alert.tier) == (day(13), CRITICAL)


def test_a_kind_review_is_no_complaint() -> None:
    """A review within grace that is not negative alerts nobody."""
    run = scripted(0.1, 0.6, grace_days=7.0)
    assert run.events(Happened(BUY, day(0)), Happened(EventType.REVIEW, day(3), sentiment=0.5)) == []


def test_a_user_without_a_purchase_is_never_alerted() -> None:
    """Whoever only looks is no customer to lose: no alert by event, by complaint or by silence."""
    run = Run(engine())
    for kind in EventType:
        if kind is not BUY:
            run.events(Happened(kind, day(1)))
    assert run.states.header["due_ms"].tolist() == [NO_TIME]
    assert run.silence(EVER) == run.alerts == []


class Counting(Policy):
    """Knows how often it was asked."""

    asked: ClassVar[int]

    def after_events(self, *arguments: Any) -> Decisions:
        """See `Policy.after_events`."""
        Counting.asked += 1
        return super().after_events(*arguments)


@pytest.mark.parametrize(
    ("first", "decisions"),
    [
        ([], 1),  # no customer yet
        ([Happened(BUY, day(1))], 1),  # within grace
        ([Happened(REFUND, day(1) - 1), Happened(BUY, day(1))], 2),  # the same, on another day
        ([Happened(BUY, day(0))], 3),  # on another day, may be alerted, and is at the refund
    ],
)
def test_events_that_may_not_alert_are_taken_at_once(first: list[Happened], decisions: int) -> None:
    """However high the risk: only after an event at which an alert is allowed is anything decided before the next."""
    Counting.asked = 0
    usual = engine(replace(RULES, grace_days=0.5, complaints_at_once=False))
    run = Run(replace(usual, policy=Counting(usual.policy.rules, usual.policy.calendar)))
    run.events(*first, Happened(REFUND, day(1.01)), *[Happened(VIEW, day(1.02 + each / 100)) for each in range(5)])
    assert Counting.asked == decisions


def test_enough_purchases_are_a_setting() -> None:
    """With two purchases required, the first alone schedules nothing."""
    run = Run(engine(replace(RULES, min_target_events=2)))
    run.events(Happened(BUY, day(0)))
    assert run.silence(day(20)) == []
    run.events(Happened(BUY, day(20)))
    assert tiers(run.silence(EVER)) == [AT_RISK, CRITICAL]


def test_an_erased_user_has_no_timer() -> None:
    """A tombstone takes the timer along, and nothing is stored."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)), Happened(None, 0))
    assert run.packed == [b""]
    assert run.silence(EVER) == []


def test_a_crossing_in_the_far_future_is_none() -> None:
    """A timer more than ten years ahead is not set."""
    run = with_grace(4_000.0)
    run.events(Happened(BUY, day(0)))
    assert run.states.header["due_ms"].tolist() == [NO_TIME]


# Cool-down.


def cooled(cooldown_days: float, *risks: float) -> Run:
    """A user whose risk after each event is as given; without any, one with `KnownCurve`."""
    return Run(engine(replace(RULES, cooldown_days=cooldown_days), Scripted(*risks) if risks else KnownCurve()))


def test_the_second_tier_waits_for_the_cool_down() -> None:
    """Reached within the cool-down, it is alerted at its end; reached later, when it is reached."""
    for cooldown_days in (0.5, 10.0, 40.0):
        run = cooled(cooldown_days)
        run.events(Happened(BUY, day(0)))
        first, second = run.silence(EVER)
        expected = max(first.at_ms + cooldown_days * DAY_MS, after(1, CRITICAL_AFTER_DAYS))
        assert tiers([first, second]) == [AT_RISK, CRITICAL]
        assert second.at_ms == pytest.approx(expected, abs=1_000)
        assert second.at_ms - first.at_ms >= cooldown_days * DAY_MS


def test_an_event_within_the_cool_down_is_looked_at_again_when_it_ends() -> None:
    """A new episode so soon after the last alert is not alerted by its event, but by the silence at the end."""
    run = cooled(10.0, 0.1, 0.6, 0.1, 0.6)
    alerts = run.events(*(Happened(kind, day(at)) for at, kind in enumerate((BUY, VIEW, BUY, VIEW))))
    assert [each.at_ms for each in alerts] == [day(1)]
    [postponed] = run.silence(EVER)
    assert (postponed.at_ms, postponed.cause, postponed.tier) == (day(11), BY_SILENCE, AT_RISK)


def test_what_has_passed_when_the_cool_down_ends_is_not_alerted() -> None:
    """Who came back in the meantime is not alerted for what was."""
    run = cooled(10.0, 0.1, 0.6, 0.1, 0.6, 0.1)
    kinds = (BUY, VIEW, BUY, VIEW, BUY)
    alerts = run.events(*(Happened(kind, day(at)) for at, kind in enumerate(kinds)))
    assert [each.at_ms for each in alerts] == [day(1)]
    assert run.silence(EVER) == []


def test_a_complaint_does_not_wait_but_counts() -> None:
    """A complaint within the cool-down alerts at once; the cool-down begins anew with it."""
    run = cooled(10.0, 0.1, 0.6, 0.1, 0.6, 0.1, 0.6)
    kinds = (BUY, VIEW, BUY, REFUND, BUY, VIEW)
    alerts = run.events(*(Happened(kind, day(at)) for at, kind in enumerate(kinds)))
    assert [(each.at_ms, each.cause) for each in alerts][1:] == [(day(3), BY_COMPLAINT)]
    assert [each.at_ms for each in run.silence(EVER)] == [day(13)]


def test_a_complaint_from_before_an_alert_does_not_end_its_cool_down() -> None:
    """The clock may be ahead of what comes: the cool-down runs from the latest alert, not from the last one told."""
    run = cooled(10.0)
    run.events(Happened(BUY, day(0)))
    [latest] = run.silence(day(6.0))
    assert [each.at_ms for each in run.events(Happened(REFUND, day(1)), Happened(BUY, day(2)))] == [day(1)]
    assert run.silence(EVER)[0].at_ms == latest.at_ms + 10 * DAY_MS


def test_an_erased_user_has_no_cool_down() -> None:
    """Whoever comes back under the same name is somebody new."""
    run = cooled(100.0, 0.1, 0.6, 0.1, 0.6)
    run.events(Happened(BUY, day(0)), Happened(VIEW, day(1)), Happened(None, day(2)))
    assert [each.at_ms for each in run.events(Happened(BUY, day(3)), Happened(VIEW, day(4)))] == [day(4)]


# Another policy while timers wait.


def under(run: Run, rules: PolicyRules) -> Run:
    """The same users from now on under other rules."""
    run.engine = replace(run.engine, policy=Policy(rules, run.engine.policy.calendar))
    return run


def test_a_timer_is_checked_against_the_policy_in_force() -> None:
    """With a higher threshold the old timer alerts nobody; the alert comes when the new one is reached."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    under(run, replace(RULES, thresholds=(0.6, 0.7)))
    assert run.silence(after(1, AT_RISK_AFTER_DAYS) + 60_000) == []
    [alert] = run.silence(after(1, CRITICAL_AFTER_DAYS) - 60_000)
    assert alert.probability == pytest.approx(0.6, abs=1e-6)
    assert alert.at_ms == pytest.approx(after(1, (1.63 + np.log(0.6)) / 0.19), abs=1_000)


def test_a_timer_keeps_its_time_until_the_next_event() -> None:
    """With lower thresholds the old timer fires when it was due, at the tier that has been reached by then."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    under(run, replace(RULES, thresholds=(0.3, 0.4)))
    [alert] = run.silence(EVER)
    assert (alert.tier, alert.at_ms) == (CRITICAL, pytest.approx(after(1, AT_RISK_AFTER_DAYS), abs=1_000))


def test_no_peak_is_missed_by_rounding() -> None:
    """A risk that just reaches the threshold and falls at once alerts, though it may compute as a bit less there."""
    missed = 0
    for seed in range(60):
        hazards = np.random.default_rng(seed).uniform(0.01, 0.02, BINS)
        hazards[(BIN_EDGES_DAYS <= 14) | (BIN_EDGES_DAYS > 84)] = 2.0  # with a horizon of 70 days the peak is at day 14
        curve = np.log(hazards).astype(np.float32)[None]
        peak = churn_probability(curve, np.array([14.0]), 70.0)[0]
        for threshold in (np.nextafter(peak, 1.0), peak):
            if crossing_days(curve, np.zeros(1), 70.0, threshold)[0] < NEVER:
                missed += peak < threshold
                rules = replace(RULES, thresholds=(float(threshold),), rearm=0.0, horizon_days=70.0)
                run = Run(engine(rules, Constant(curve)))
                run.events(Happened(BUY, day(0)))
                assert [each.at_ms for each in run.silence(EVER)] == [pytest.approx(day(15), abs=1)]
    assert missed


def test_a_threshold_out_of_reach_leaves_no_timer() -> None:
    """A timer that fires for nothing and has nothing to wait for is gone."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    assert under(run, replace(RULES, thresholds=(0.9, 0.95))).silence(EVER) == []
    assert run.states.header["due_ms"].tolist() == [NO_TIME]


@pytest.mark.parametrize(
    ("changes", "at_ms"),
    [({"grace_days": 20.0}, day(20)), ({"min_target_events": 2}, None), ({"thresholds": (0.5,)}, None)],
    ids=["grace", "history", "one tier"],
)
def test_every_rule_in_force_counts(changes: dict[str, Any], at_ms: int | None) -> None:
    """A longer grace postpones, a longer history required and a tier given up leave nothing to alert."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    first = run.silence(after(1, AT_RISK_AFTER_DAYS) + 60_000) if "thresholds" in changes else []
    alerts = under(run, replace(RULES, **changes)).silence(EVER)
    assert len(first) + len(alerts) == (0 if "min_target_events" in changes else 1)
    assert [each.at_ms for each in alerts] == ([] if at_ms is None else [at_ms])


# Order and identity.


def test_a_timer_fires_before_the_event_that_follows_it() -> None:
    """An event that comes after the crossing finds the alert raised, at the crossing's time."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    [alert] = run.events(Happened(BUY, day(6.5)))
    assert (alert.cause, alert.at_ms) == (BY_SILENCE, pytest.approx(after(1, AT_RISK_AFTER_DAYS), abs=1_000))
    assert run.states.header["alerted_tier"].tolist() == [0]


def test_a_timer_fires_before_an_event_of_the_same_instant() -> None:
    """At a tie silence was first; a millisecond earlier the event is."""
    for early_ms, alerted in ((0, [AT_RISK]), (1, [])):
        run = Run(engine())
        run.events(Happened(BUY, day(0)))
        due_ms = int(run.states.header["due_ms"][0])
        assert tiers(run.events(Happened(BUY, due_ms - early_ms))) == alerted


def test_a_late_purchase_makes_a_new_episode_with_new_ids() -> None:
    """A purchase that arrives after the alert, but happened before the last event, ends the episode: what follows is
    another one, although the last event's time is the same."""
    run = Run(engine())
    run.events(Happened(BUY, day(0), event_id=1), Happened(VIEW, day(0.9), event_id=2))
    first = run.silence(day(7.0))
    run.events(Happened(BUY, day(0.5), event_id=3))
    second = run.silence(day(7.0))
    assert tiers(first) == tiers(second) == [AT_RISK]
    assert set(ids(first)).isdisjoint(ids(second))


def test_episodes_of_one_instant_have_their_own_ids() -> None:
    """In a log of dates, refund, purchase and refund share their time; each refund's alert has its own id."""
    run = scripted(0.1, 0.9, 0.1, 0.9)
    alerts = run.events(*(Happened(kind, day(0)) for kind in (BUY, REFUND, BUY, REFUND)))
    assert len(alerts) == len(set(ids(alerts))) == 2


def test_ids_do_not_depend_on_the_curve() -> None:
    """Two scorers that differ a little alert a little apart, under the same ids."""

    class Wobbling(KnownCurve):
        """Last bits off."""

        def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
            """See `Scorer.log_hazards`."""
            return np.nextafter(super().log_hazards(tokens, lengths), np.float32(0))

    runs = [Run(engine()), Run(engine(scorer=Wobbling()))]
    for run in runs:
        run.events(Happened(BUY, day(0)))
        run.silence(EVER)
    assert ids(runs[0].alerts) == ids(runs[1].alerts)
    assert runs[0].alerts != runs[1].alerts


def test_ids_tell_users_and_tiers_apart() -> None:
    """Users whose names run into the number that follows, and both tiers, have ids of their own."""
    asked = [("a", 11), ("a1", 1), ("a:1", 1), ("a", 1)]
    found = {alert_id(user, anchor, tier) for user, anchor in asked for tier in Tier}
    assert len(found) == 2 * len(asked)


def test_an_alert_id_is_stable() -> None:
    """The id of a known decision, by which others may have stored it, never changes."""
    assert alert_id("user-1", 1234567890, Tier.AT_RISK) == "2669979ea909b8a669c2a34a0e26f4d5"


def test_a_users_decisions_do_not_depend_on_others() -> None:
    """A user alone and the same user among fifty others get the same alerts, to the last bit, and the same state."""
    generator = np.random.default_rng(11)
    kinds = np.array([BUY, VIEW, REFUND, EventType.REVIEW], dtype=object)
    times = np.sort(generator.uniform(0, 90, 800))
    history = [
        Happened(kind, day(at), int(user), event_id=position)
        for position, (at, kind, user) in enumerate(
            zip(times, generator.choice(kinds, 800), generator.integers(0, 50, 800), strict=True)
        )
    ]
    together = Run(engine(scorer=Moody()), users=50)
    together.events(*history)
    assert together.alerts
    for user in range(0, 50, 7):
        alone = Run(engine(scorer=Moody()))
        alone.events(*(replace(each, user=0) for each in history if each.user == user))
        assert alone.packed[0] == together.packed[user]
        assert alone.alerts == [replace(each, user=0) for each in together.alerts if each.user == user]


def test_nothing_due_is_nothing_done() -> None:
    """A tick before the timer leaves the state as it is."""
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    before = list(run.packed)
    assert run.silence(day(2)) == []
    assert run.packed == before


def test_silence_is_zero_on_the_last_active_day() -> None:
    """Until the day ends nobody is silent; a day later it is one day."""
    states = folded([Happened(BUY, day(0.1))])
    policy = engine().policy
    for at, silent in ((0.1, 0.0), (0.9, 0.0), (1.0, 0.0), (2.0, 1.0)):
        assert policy.silence_days(states, ONE, np.array([day(at)])).tolist() == [silent]


def test_with_activity_as_the_target_any_visit_closes_the_episode() -> None:
    """A view is enough to stay; a campaign that was merely received is not."""
    run = Run(engine(target="activity"))
    run.events(Happened(VIEW, day(0)))
    run.silence(day(30))
    run.events(Happened(EventType.CAMPAIGN_RECEIVED, day(31)))
    assert run.states.header["last_target_ms"].tolist() == [day(0)]
    run.events(Happened(VIEW, day(32)))
    assert run.states.header["alerted_tier"].tolist() == [0]


def test_columns_without_events_decide_nothing() -> None:
    """An empty batch is no error."""
    fate, found = engine().on_events(folded([]), columns([]), np.empty(0, np.int64))
    assert (fate.tolist(), found) == ([], Findings())


def test_without_silence_nobody_is_alerted_by_it() -> None:
    run = Run(engine(replace(RULES, on_silence=False)))
    run.events(Happened(BUY, day(0)))
    assert run.silence(EVER) == []


def test_a_timer_of_before_alerts_nobody_once_silence_does_not() -> None:
    run = Run(engine())
    run.events(Happened(BUY, day(0)))
    under(run, replace(RULES, on_silence=False))
    assert run.silence(EVER) == []
