"""Which predictions are followed, when their outcome is known, and what it is."""

import numpy as np
import pytest

from consumer.core.outcomes import ALERT, SAMPLE, OutcomeRules, Outcomes
from consumer.core.state import NO_TIME
from histories import AT_RISK_AFTER_DAYS, DAY_MS, Happened, Run, day, engine
from schemas.event import EventType

BUY, VIEW, REFUND = EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REFUND
EVERYTHING = OutcomeRules(horizon_days=30.0, share=1.0)
ALERTED_AT = day(1 + AT_RISK_AFTER_DAYS)  # silence counts from the end of the day of the purchase


def run(rules: OutcomeRules | None = None, users: int = 1) -> Run:
    return Run(engine(outcome_rules=rules) if rules else engine(), users)


def told(outcomes: list[Outcomes]) -> list[tuple[int, int, bool, bool]]:
    """Kind, tier, lost, alerted."""
    return [
        (int(each.kind[index]), int(each.tier[index]), bool(each.is_lost[index]), bool(each.was_alerted[index]))
        for each in outcomes
        for index in range(len(each))
    ]


def test_an_alerts_outcome_is_known_a_horizon_later() -> None:
    """Whoever has not bought by then is lost; the first alert of the two is followed."""
    alone = run()
    alone.events(Happened(BUY, day(0)))
    alone.silence(ALERTED_AT + 30 * DAY_MS - 1_000)
    assert alone.outcomes == []
    alone.silence(ALERTED_AT + 30 * DAY_MS + 1_000)
    assert told(alone.outcomes) == [(ALERT, 1, True, True)]
    [outcome] = alone.outcomes
    assert outcome.predicted_ms[0] == pytest.approx(ALERTED_AT, abs=1_000)
    assert outcome.probability[0] == pytest.approx(0.5, abs=1e-4)
    assert outcome.silence_days[0] == pytest.approx(1 + AT_RISK_AFTER_DAYS, abs=1e-3)
    assert alone.states.header["due_ms"][0] == NO_TIME


def test_who_buys_within_the_horizon_is_retained() -> None:
    """Also when nothing is heard of them afterwards; a purchase later than that comes too late."""
    for bought_after_days, is_lost in ((29.9, False), (30.1, True)):
        back = run()
        back.events(Happened(BUY, day(0)))
        back.silence(day(7))
        back.events(Happened(BUY, ALERTED_AT + round(bought_after_days * DAY_MS)))
        back.silence(day(40))
        assert told(back.outcomes)[0] == (ALERT, 1, is_lost, True)


def test_an_event_that_is_no_target_retains_nobody() -> None:
    """Looking is not buying."""
    looking = run()
    looking.events(Happened(BUY, day(0)))
    looking.silence(day(7))
    looking.events(Happened(VIEW, day(9)))
    looking.silence(day(60))
    assert (ALERT, 1, True, True) in told(looking.outcomes)


def test_scores_are_sampled_and_followed() -> None:
    """A sampled score says whether an alert came within its horizon, and whether the customer was lost."""
    sampled = run(EVERYTHING)
    sampled.events(Happened(BUY, day(0)))
    sampled.silence(day(31))
    assert told(sampled.outcomes) == [(SAMPLE, 0, True, True)]
    [outcome] = sampled.outcomes
    assert (outcome.predicted_ms[0], outcome.kind[0]) == (day(0), SAMPLE)
    assert outcome.probability[0] == pytest.approx(np.exp(-1.63), abs=1e-6)


def test_one_sample_of_a_user_at_a_time() -> None:
    """The next one is drawn once the outcome of the last is known."""
    busy = run(EVERYTHING)
    busy.events(*(Happened(BUY, day(number)) for number in range(0, 100, 5)))
    made = [int(each.predicted_ms[0]) for each in busy.outcomes if each.kind[0] == SAMPLE]
    assert made == [day(0), day(30), day(60)]


def test_a_share_of_the_scores_is_drawn() -> None:
    """By the id of the event, so by nobody's choice."""
    users = 2_000
    drawn = run(OutcomeRules(horizon_days=30.0, share=0.1), users)
    drawn.events(*(Happened(BUY, day(0), user) for user in range(users)))
    share = (drawn.states.header["sample_ms"] != NO_TIME).mean()
    assert 0.07 < share < 0.13


def test_who_never_bought_is_not_sampled() -> None:
    """Nobody is lost who was never won."""
    looking = run(EVERYTHING)
    looking.events(Happened(VIEW, day(0)))
    assert looking.states.header["sample_ms"][0] == NO_TIME


def test_outcomes_do_not_move_alerts() -> None:
    """Whether scores are followed or not, the same alerts are raised at the same milliseconds."""
    history = [Happened(BUY, day(0)), Happened(REFUND, day(3)), Happened(BUY, day(50)), Happened(VIEW, day(52))]
    plain, followed = run(), run(EVERYTHING)
    for each in history:
        for one in (plain, followed):
            one.silence(each.at_ms)
            one.events(each)
    for one in (plain, followed):
        one.silence(day(300))
    assert len(plain.alerts) == 3
    assert followed.alerts == plain.alerts


def test_who_is_erased_has_no_outcome() -> None:
    """Nothing is told of somebody who is to be forgotten."""
    gone = run(EVERYTHING)
    gone.events(Happened(BUY, day(0)), Happened(None, day(8)))
    gone.silence(day(100))
    assert gone.outcomes == []
