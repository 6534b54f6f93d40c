"""Expected spend against figures worked out by hand."""

import numpy as np
import pytest

from consumer.core.conduct import SpendPrior
from consumer.core.value import expected_spend
from histories import DAY_0, Happened, day, folded
from schemas.event import EventType

BUY, VIEW = EventType.PURCHASE, EventType.VIEW_ITEM


def worth(*history: Happened, at_day: int, prior: SpendPrior | None = None) -> float:
    """Of one user."""
    return float(expected_spend(folded(history), np.array([DAY_0 + at_day]), prior or SpendPrior(365.0))[0])


def test_a_customer_is_worth_what_they_would_spend_at_their_pace() -> None:
    """Two purchase days of 30 on average in 73 days are ten in a year."""
    history = (Happened(BUY, day(0), value=20.0), Happened(VIEW, day(3)), Happened(BUY, day(40), value=40.0))
    assert worth(*history, at_day=73) == pytest.approx(30.0 * 10)


def test_the_mean_is_shrunk_to_the_prior() -> None:
    """One purchase of 100 in a shop of 10s, with the prior weighing three, is a mean of 32.5."""
    prior = SpendPrior(365.0, spend=10.0, purchases=3.0)
    assert worth(Happened(BUY, day(0), value=100.0), at_day=73, prior=prior) == pytest.approx(32.5 * 5)


def test_a_new_customer_is_not_judged_by_a_day() -> None:
    """A purchase yesterday is one in a month, not one a day."""
    assert worth(Happened(BUY, day(0), value=12.0), at_day=1) == pytest.approx(12.0 * 365 / 30)


def test_nothing_is_made_up_where_nothing_is_known() -> None:
    """Without any value, and without a prior, spend is not known; who never bought is worth nothing yet."""
    assert np.isnan(worth(Happened(BUY, day(0)), at_day=10))
    assert np.isnan(worth(Happened(VIEW, day(0)), at_day=10))
    assert worth(Happened(VIEW, day(0)), at_day=10, prior=SpendPrior(365.0, spend=10.0)) == 0.0
