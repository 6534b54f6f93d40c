"""What contributions say, with curves that can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from consumer.core.alerts import Evidence
from consumer.core.policy import PolicyRules
from consumer.core.reasons import Contribution, shared_out
from consumer.core.state import empty_states
from consumer.scoring import Engine
from histories import BASELINE, CRITICAL_AFTER_DAYS, RULES, Happened, columns, day, engine, on_events, on_silence
from schemas.alert import ReasonCode
from schemas.event import EventType
from support import KnownCurve

BUY, VIEW, REFUND, MAIL = EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REFUND, EventType.CAMPAIGN_RECEIVED
LATE = replace(RULES, thresholds=(0.7, 0.9))


class Counting(KnownCurve):
    """Counts the rows that it is asked to score, and how often."""

    def __init__(self) -> None:
        self.rows, self.calls = 0, 0

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Scorer.log_hazards`."""
        self.rows, self.calls = self.rows + len(tokens), self.calls + 1
        return super().log_hazards(tokens, lengths)


def first_reasons(machine: Engine, *history: Happened, silent_until: float | None = None) -> list[Contribution]:
    """Of the first alert of one user's history."""
    states = empty_states(1)
    evidence: list[Evidence] = []
    evidence += on_events(machine, states, columns(history))
    if silent_until is not None:
        evidence += on_silence(machine, states, np.array([0]), np.array([day(silent_until)]))
    return list(evidence[0].reasons[0])


def by_code(told: list[Contribution]) -> dict[ReasonCode, float]:
    return {each.code: each.contribution for each in told}


def risk(silence_days: float) -> float:
    """Of a calm user of `KnownCurve`, within a week of silence."""
    return float(np.exp(-(1.63 - 0.19 * silence_days)))


def test_a_broken_rhythm_is_the_rest_of_the_curve() -> None:
    """It contributes what the curve rises by from what is usual of the customer's own gaps until now."""
    bought = [Happened(BUY, day(at)) for at in (0, 2, 4, 6)]
    told = by_code(first_reasons(engine(LATE), *bought, silent_until=20))
    assert told[ReasonCode.RHYTHM_BROKEN] == pytest.approx(0.7 - risk(2.0), abs=1e-5)
    assert told[ReasonCode.HISTORY] == pytest.approx(risk(2.0) - BASELINE.churn_probability, abs=1e-5)
    assert told[ReasonCode.BASE_RATE] == BASELINE.churn_probability


def test_uneven_gaps_allow_for_more_silence() -> None:
    """Two spreads around the mean gap are usual: uneven gaps leave less of the same silence to a broken rhythm."""
    bought = [Happened(BUY, day(at)) for at in (0, 1, 4, 5, 8)]
    told = by_code(first_reasons(engine(LATE), *bought, silent_until=20))
    assert told[ReasonCode.RHYTHM_BROKEN] == pytest.approx(0.7 - risk(4.0), abs=1e-5)


def test_a_newcomer_is_measured_by_the_shop() -> None:
    """With no rhythm of their own, silence counts from the shop's long gap on, and what is left is for being new."""
    told = by_code(first_reasons(engine(LATE), Happened(BUY, day(0)), silent_until=20))
    assert told[ReasonCode.RHYTHM_BROKEN] == pytest.approx(0.7 - risk(BASELINE.long_gap_days), abs=1e-5)
    assert ReasonCode.NEWCOMER in told
    assert ReasonCode.HISTORY not in told


def test_silence_that_is_usual_breaks_no_rhythm() -> None:
    """Somebody whose gaps are longer than the silence is not told to be late."""
    bought = [Happened(BUY, day(at)) for at in (0, 30, 60)]
    rules = PolicyRules(thresholds=(0.5, 0.99), rearm=0.45, grace_days=0.0)
    machine = engine(rules)
    states = empty_states(1)
    on_events(machine, states, columns(bought))
    [evidence] = on_silence(machine, states, np.array([0]), np.array([day(80)]))
    assert [each.code for each in evidence.reasons[0]] == [ReasonCode.HISTORY, ReasonCode.BASE_RATE]


def test_mails_do_not_end_a_silence() -> None:
    """What was sent to the customer since is taken away as well: the silence is that since their own last day."""
    bought = [Happened(BUY, day(at)) for at in (0, 2, 4, 6)]
    written_to = [Happened(MAIL, day(at)) for at in (10, 13)]
    told = first_reasons(engine(LATE), *bought, *written_to, silent_until=25)
    [rhythm] = [each for each in told if each.code == ReasonCode.RHYTHM_BROKEN]
    assert rhythm.contribution == pytest.approx(0.7 - risk(2.0), abs=1e-5)
    assert rhythm.facts["silent_days"] == int(14 + CRITICAL_AFTER_DAYS - 7) + 1  # counted by the calendar


def test_a_complaint_is_what_the_risk_would_fall_by() -> None:
    """A refund contributes the difference between the curve with and without it."""
    told = by_code(first_reasons(engine(), Happened(BUY, day(0)), Happened(REFUND, day(2.5))))
    assert told[ReasonCode.REFUNDS_OR_TICKETS] == pytest.approx(np.exp(-0.03) - risk(0.0), abs=1e-5)


def test_nothing_is_scored_for_users_who_are_not_alerted() -> None:
    """Without an alert, as many rows are scored as events are folded, however much could be explained."""
    scorer = Counting()
    machine = engine(replace(RULES, thresholds=(0.98, 0.99)), scorer)
    history = [Happened(BUY, day(0)), Happened(REFUND, day(1)), Happened(VIEW, day(2)), Happened(BUY, day(3))]
    states = empty_states(1)
    evidence = on_events(machine, states, columns(history))
    on_silence(machine, states, np.array([0]), np.array([day(3.5)]))
    assert (evidence, scorer.rows) == ([], len(history))


def test_a_broken_rhythm_alone_is_not_scored() -> None:
    """Where nothing but silence differs from what is usual, the curve that is stored tells all."""
    scorer = Counting()
    bought = [Happened(BUY, day(at)) for at in (0, 2, 4, 6)]
    told = first_reasons(engine(LATE, scorer), *bought, silent_until=20)
    assert ReasonCode.RHYTHM_BROKEN in by_code(told)
    assert scorer.rows == len(bought)


def test_one_change_is_scored_once() -> None:
    """One group that changes something costs two rows, what is and what would be; several alerts share the calls."""
    scorer = Counting()
    machine = engine(scorer=scorer)
    users = 5
    states = empty_states(users)
    on_events(machine, states, columns([Happened(BUY, day(0), user) for user in range(users)]))
    rows, calls = scorer.rows, scorer.calls
    evidence = on_events(machine, states, columns([Happened(REFUND, day(1), user) for user in range(users)], 2_000))
    assert sum(len(each.decisions) for each in evidence) == users
    assert scorer.rows - rows == 2 * users + 2 * users  # the day before and the event, without memory; then the reasons
    assert scorer.calls - calls == 2 + 1


def test_another_model_explains_with_its_own_curves() -> None:
    """After a change of model, contributions are differences of the new one's curves; the rest keeps the sum."""
    states = empty_states(1)
    on_events(engine(LATE), states, columns([Happened(BUY, day(at)) for at in (0, 2, 4)]))
    states.header["log_hazards"] -= np.float32(0.1)
    states.header["due_ms"] = day(30)
    states.header["due_tier"] = 1
    states.days["refunds"][0, 2] = 1
    [evidence] = on_silence(engine(LATE), states, np.array([0]), np.array([day(31)]))
    told = by_code(list(evidence.reasons[0]))
    assert told[ReasonCode.REFUNDS_OR_TICKETS] > 0
    assert sum(told.values()) == pytest.approx(float(evidence.decisions.probability[0]), abs=1e-6)


def test_interaction_is_shared_in_proportion() -> None:
    """What two causes hide from each other is given back to both, by the size of their marginals."""
    assert shared_out(np.array([[0.1, 0.3]]), np.array([0.5])).tolist() == [pytest.approx([0.125, 0.375])]
    assert shared_out(np.array([[0.3, 0.3]]), np.array([0.4])).tolist() == [pytest.approx([0.2, 0.2])]


def test_nobody_takes_what_nobody_shows() -> None:
    """Where no group alone makes a difference, none is given what all make together: it is left to the rest."""
    assert shared_out(np.array([[0.0, 0.001]]), np.array([0.5])).tolist() == [[0.0, 0.001]]
