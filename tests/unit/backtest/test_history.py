"""What customers did, as columns: worked examples, and a search held against a plain loop."""

import numpy as np

from consumer.backtest.history import NEVER_MS, Chronicle, History, latest_before
from consumer.core.calendar import DAY_MS


def test_purchases_come_in_any_order() -> None:
    """A purchase knows its number, and when the same customer buys next."""
    chronicle = Chronicle()
    for name, day in (("b", 7), ("a", 9), ("b", 2), ("a", 1), ("a", 4)):
        chronicle.stayed(name, day * DAY_MS)
    history = chronicle.history()
    assert (history.users, chronicle.users) == (2, {"b": 0, "a": 1})
    assert (history.time_ms // DAY_MS).tolist() == [2, 7, 1, 4, 9]
    assert history.number.tolist() == [1, 2, 1, 2, 3]
    assert history.next_ms.tolist() == [7 * DAY_MS, NEVER_MS, 4 * DAY_MS, 9 * DAY_MS, NEVER_MS]


def test_nothing_happened() -> None:
    """Without purchases nobody is in any stretch."""
    history = Chronicle().history()
    assert history.stretch_of(np.array([0]), np.array([5])).tolist() == [-1]


def test_the_stretch_is_that_of_the_last_purchase() -> None:
    """For random purchases, users without any and instants before the first, as a plain loop finds it."""
    rng = np.random.default_rng(1)
    user, time_ms = rng.integers(0, 9, 60), rng.integers(0, 40, 60)
    history = History.of(12, user, time_ms)
    who, at_ms = rng.integers(0, 12, 300), rng.integers(-2, 45, 300)
    found = history.stretch_of(who, at_ms)
    for each, at, stretch in zip(who, at_ms, found, strict=True):
        before = [i for i in range(60) if history.user[i] == each and history.time_ms[i] <= at]
        assert stretch == (before[-1] if before else -1)
    assert (found == -1).any()
    assert (found >= 0).any()


def test_a_search_beyond_all_rows() -> None:
    """A user after the last one has nothing before, and ends up at rows of others."""
    row = latest_before(np.array([0, 0]), np.array([1, 2]), np.array([5]), np.array([9]))
    assert row.tolist() == [1]
