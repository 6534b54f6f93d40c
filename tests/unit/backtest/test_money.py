"""What a customer can be expected to spend."""

import numpy as np
import pytest

from consumer.backtest.history import History
from consumer.backtest.money import expected_spend
from consumer.core.calendar import DAY_MS
from pasts import H, history

HORIZON_MS = H * DAY_MS


def test_it_is_drawn_towards_the_shop_s_mean() -> None:
    """By purchase: what was spent so far and one horizon's mean, over the time so far and one horizon."""
    past = history({0: [0, 30], 1: [0]})
    # customer 0: 20 in two horizons, customer 1: 10 in one; the shop's mean is 10 per horizon
    assert expected_spend(past, HORIZON_MS) == pytest.approx([(10 + 10) / 2, (20 + 10) / 3, (10 + 10) / 2])


def test_who_spends_more_is_expected_to() -> None:
    """But less than what they have spent so far."""
    past = History.of(2, np.array([0, 1]), np.array([0, 0]), np.array([100.0, 10.0]))
    rich, poor = expected_spend(past, HORIZON_MS)
    assert 10 < poor < 55 < rich < 100


def test_a_log_without_values_says_nothing() -> None:
    """Not 0, but unknown; single missing values count as 0."""
    assert np.isnan(expected_spend(history({0: [0, 5]}, spend=np.nan), HORIZON_MS)).all()
    past = History.of(1, np.array([0, 0]), np.array([0, 1]), np.array([np.nan, 4.0]))
    assert np.isfinite(expected_spend(past, HORIZON_MS)).all()
