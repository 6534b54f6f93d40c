"""Foretold against what happened."""

import numpy as np
import pytest

from consumer.backtest.recording import Curves
from consumer.backtest.reliability import BANDS, reliability
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.policy import Policy, PolicyRules
from consumer.core.state import BINS
from pasts import history, window

POLICY = Policy(PolicyRules((0.5,), 0.4), Calendar())


def curves(user: np.ndarray, at_ms: np.ndarray, hazard: np.ndarray) -> Curves:
    """Constant hazards after each purchase."""
    log_hazards = np.repeat(np.log(hazard)[:, None], BINS, axis=1).astype(np.float32)
    return Curves(user, at_ms, at_ms // DAY_MS, at_ms, np.ones(len(user), np.int64), log_hazards)


def test_a_constant_hazard_foretells_what_it_should() -> None:
    """A hazard of 0.02 a day is a risk of exp(-0.6), whatever the silence; a quarter stayed away, on two dates."""
    past = history({user: [5] if user < 10 else [5, 15, 45, 75] for user in range(40)})
    bands = reliability(past, window(10, 70), POLICY, curves(past.user, past.time_ms, np.full(len(past.user), 0.02)))
    assert len(bands) == BANDS
    assert sum(each.customers for each in bands) == 80
    assert {round(each.foretold, 4) for each in bands} == {round(float(np.exp(-0.6)), 4)}
    assert sum(each.happened * each.customers for each in bands) == pytest.approx(20)


def test_bands_are_in_order_of_risk() -> None:
    """Those of the highest hazard come first, and those who bought are among them."""
    past = history({user: [5, 15] if user < 20 else [5] for user in range(40)})
    hazard = np.where(past.user < 20, 1.0, 0.001)
    bands = reliability(past, window(10, 40), POLICY, curves(past.user, past.time_ms, hazard))
    assert [each.happened for each in bands] == [0.0] * 5 + [1.0] * 5
    assert [each.foretold for each in bands] == sorted(each.foretold for each in bands)


def test_a_later_curve_is_not_known_yet() -> None:
    """On a date only the curve of the last event before it counts."""
    past = history({0: [5, 12]})
    bands = reliability(past, window(10, 40), POLICY, curves(past.user, past.time_ms, np.array([0.02, 5.0])))
    assert [round(each.foretold, 4) for each in bands] == [round(float(np.exp(-0.6)), 4)]


def test_a_short_log_has_no_bands() -> None:
    """Where nothing can be judged, and where nothing was foretold."""
    past = history({0: [5]})
    known = curves(past.user, past.time_ms, np.array([0.02]))
    assert reliability(past, window(10, 39), POLICY, known) == []
    assert reliability(past, window(10, 90), POLICY, known.take(np.zeros(0, np.int64))) == []
