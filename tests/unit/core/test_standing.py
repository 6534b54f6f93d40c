"""Scores for other teams are told when they have changed enough, and forgotten with the user."""

from dataclasses import replace

import numpy as np
import pytest

from consumer.core.standing import Standings
from consumer.core.state import NO_TIME, empty_states
from histories import AT_RISK_AFTER_DAYS, Happened, columns, day, engine
from schemas.event import EventType

BUY, VIEW, REFUND = EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REFUND
CALM = float(np.exp(-1.63))


def told(*history: Happened, silent_until: float | None = None, step: float | None = 0.05) -> list[Standings]:
    """What is told of one user, one event a batch, and of the silence after them."""
    machine, states, found = replace(engine(), score_step=step), empty_states(1), []
    for number, each in enumerate(history):
        events = columns([each], 1_000 + number)
        found += machine.on_events(states, events, np.array([NO_TIME]))[1].standings
    if silent_until is not None:
        found += machine.on_silence(states, np.array([0]), np.array([day(silent_until)])).standings
    return [each for each in found if len(each)]


def test_a_first_score_is_told() -> None:
    """With its curve, which says what becomes of it while nothing is heard, and what the customer may spend."""
    [score] = told(Happened(BUY, day(0), value=20.0))
    assert score.probability[0] == pytest.approx(CALM)
    assert score.curve[0, :2] == pytest.approx([CALM, np.exp(-(1.63 - 0.19 * 7))])
    assert score.expected_spend[0] == pytest.approx(20.0 * 365 / 30)
    assert (score.at_ms[0], score.silence_days[0]) == (day(0), 0.0)


def test_a_first_score_is_told_however_low_it_is() -> None:
    """A reader of scores knows every customer, and those who are safe are told of once."""
    assert len(told(Happened(BUY, day(0)), Happened(VIEW, day(1)), step=0.9)) == 1


def test_a_score_that_is_as_it_was_is_not_told_again() -> None:
    """Only a change by more than the step is."""
    assert len(told(Happened(BUY, day(0)), Happened(VIEW, day(1)), Happened(BUY, day(2)))) == 1
    upset = told(Happened(BUY, day(0)), Happened(REFUND, day(1)), Happened(VIEW, day(1.1)))
    assert [round(float(each.probability[0]), 2) for each in upset] == [0.2, 0.97]


def test_an_alert_of_silence_tells_the_score_as_well() -> None:
    """At the moment of the alert."""
    first, second = told(Happened(BUY, day(0)), silent_until=6)
    assert second.probability[0] == pytest.approx(0.5, abs=1e-4)
    assert second.at_ms[0] == pytest.approx(day(1 + AT_RISK_AFTER_DAYS), abs=1_000)
    assert first.at_ms[0] == day(0)


def test_scores_are_optional() -> None:
    """Without a step there are none."""
    assert told(Happened(BUY, day(0)), silent_until=30, step=None) == []
