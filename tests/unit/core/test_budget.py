"""How the bar of a day follows from the candidates of the days before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.budget import Budget

RANKS = st.lists(st.lists(st.floats(0, 1e6), max_size=20), max_size=12)


def lived(days: list[np.ndarray], per_day: float, first: int = 100) -> Budget:
    """A partition in which there were these candidates, day after day."""
    budget = Budget().on_day(first, per_day)
    for number, ranks in enumerate(days):
        budget = budget.on_day(first + number, per_day).counted(ranks)
    return budget


def test_on_the_first_day_everybody_passes() -> None:
    """Nothing is known yet of how many there will be."""
    assert Budget().on_day(7, 1.0).counted(np.array([1.0, 2.0])).bar == 0.0


def test_the_bar_lets_the_budget_pass() -> None:
    """Of a hundred candidates a day, evenly spread, the best ten are above it."""
    day = np.geomspace(1, 1_000, 100)
    bar = lived([day] * 30, per_day=10.0).on_day(130, 10.0).bar
    assert 8 <= (day >= bar).sum() <= 12


def test_a_budget_that_is_not_needed_keeps_nobody_back() -> None:
    """With fewer candidates than alerts there is no bar."""
    assert lived([np.array([1.0, 2.0])] * 5, per_day=3.0).on_day(105, 3.0).bar == 0.0


def test_nothing_passes_a_budget_of_nothing() -> None:
    """The bar is above every candidate of the days before."""
    assert lived([np.array([1.0, 500.0])] * 5, per_day=0.0).on_day(105, 0.0).bar > 500.0


def test_days_without_candidates_count() -> None:
    """A shop with ten candidates every tenth day has one a day: all may pass."""
    day = np.full(10, 50.0)
    budget = Budget()
    for number in range(100, 300, 10):
        budget = budget.on_day(number, 1.5).counted(day)
    assert budget.on_day(300, 1.5).bar == pytest.approx(0.0) or budget.on_day(300, 1.5).bar <= 50.0


def test_the_bar_follows_the_latest_weeks() -> None:
    """When ten times as many come, it has risen a week later, and goes down again when they stop."""
    few, many = np.geomspace(1, 100, 20), np.geomspace(1, 100, 200)
    calm = lived([few] * 60, per_day=10.0).on_day(160, 10.0).bar
    rush = lived([few] * 60 + [many] * 7, per_day=10.0).on_day(167, 10.0).bar
    after = lived([few] * 60 + [many] * 7 + [few] * 60, per_day=10.0).on_day(227, 10.0).bar
    assert calm < rush
    assert after == pytest.approx(calm, rel=0.05)


def test_an_earlier_day_changes_nothing() -> None:
    """Event time that goes back is no new day."""
    budget = lived([np.array([1.0])] * 3, per_day=1.0)
    assert budget.on_day(50, 1.0) == budget


@given(RANKS, st.floats(0, 30), st.integers(1, 5))
def test_what_is_stored_is_what_is_remembered(days: list[list[float]], per_day: float, gap: int) -> None:
    """Stored and read back between any two steps, the bars are the same."""
    kept = stored = Budget()
    for number, ranks in enumerate(days):
        kept = Budget.parse(str(kept.on_day(100 + gap * number, per_day))).counted(np.array(ranks))
        stored = Budget.parse(str(stored.on_day(100 + gap * number, per_day)))
        for rank in ranks:
            stored = Budget.parse(str(stored.counted(np.array([rank]))))
        assert stored == kept
