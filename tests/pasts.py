"""Small pasts that can be worked out: days instead of milliseconds."""

from collections.abc import Mapping, Sequence

import numpy as np

from consumer.backtest.history import History
from consumer.backtest.judging import Raised, Window
from consumer.core.calendar import DAY_MS

H = 30


def history(purchases: Mapping[int, Sequence[float]]) -> History:
    """Days on which each user bought."""
    user = np.array([user for user, days in purchases.items() for _ in days], np.int64)
    days = np.array([day for days in purchases.values() for day in days], np.float64)
    return History.of(max(purchases) + 1, user, (days * DAY_MS).astype(np.int64))


def window(first: float, last: float) -> Window:
    """Judged from day `first` on, of a log that ends on day `last`."""
    return Window(int(first * DAY_MS), int(last * DAY_MS), H * DAY_MS)


def raised(past: History, alerts: Sequence[tuple[int, float]]) -> Raised:
    """Alerts about users, on days."""
    user = np.array([user for user, _ in alerts], np.int64)
    at_ms = np.array([int(day * DAY_MS) for _, day in alerts], np.int64)
    return Raised(past.stretch_of(user, at_ms), at_ms)
