"""Intervals over customers."""

import numpy as np
import pytest

from consumer.backtest.bootstrap import Estimate, Ratio, draw, number


def test_a_ratio_is_of_sums() -> None:
    """Not a mean of ratios."""
    drawn = draw({"share": Ratio(np.array([1, 0, 9]), np.array([1, 0, 19]))}, seed=1)
    assert drawn["share"].estimate().value == 0.5


def test_the_same_seed_gives_the_same_interval() -> None:
    """Another one another."""
    ratio = {"share": Ratio(np.arange(50.0) % 3, np.full(50, 3.0))}
    first, again, other = (draw(ratio, seed)["share"].estimate() for seed in (1, 1, 2))
    assert first == again
    assert first.low != other.low


def test_the_interval_is_about_as_wide_as_theory_says() -> None:
    """Of a share of one half among 400 customers, ±1.96 × .025."""
    ratio = Ratio(np.arange(400) % 2, np.ones(400))
    found = draw({"share": ratio}, seed=1)["share"].estimate()
    assert found.low == pytest.approx(0.451, abs=0.01)
    assert found.high == pytest.approx(0.549, abs=0.01)


def test_a_customer_is_drawn_as_a_whole() -> None:
    """Ten alerts each of 40 customers are no surer than one each."""
    one = Ratio(np.arange(40) % 2, np.ones(40))
    ten = Ratio(one.top * 10, one.bottom * 10)
    drawn = draw({"one": one, "ten": ten}, seed=1)
    assert drawn["one"].estimate() == drawn["ten"].estimate()


def test_a_difference_to_oneself_is_nothing() -> None:
    """Differences are of the same draws."""
    drawn = draw({"share": Ratio(np.arange(40) % 2, np.ones(40))}, seed=1)["share"]
    assert drawn.minus(drawn) == Estimate(0.0, 0.0, 0.0)
    assert drawn.minus(drawn).verdict == ""


def test_what_is_not_defined_is_null() -> None:
    """Nothing of nothing has neither value nor interval, and JSON has no NaN."""
    found = draw({"share": Ratio(np.zeros(3), np.zeros(3))}, seed=1)["share"].estimate()
    assert found.as_json() == {"value": None, "low": None, "high": None}
    assert number(0.123456) == 0.1235


@pytest.mark.parametrize(("low", "high", "verdict"), [(0.1, 0.2, "more"), (-0.2, -0.1, "less"), (-0.1, 0.1, "")])
def test_a_difference_is_clear_where_its_interval_is_off_0(low: float, high: float, verdict: str) -> None:
    """Else it may be chance."""
    assert Estimate((low + high) / 2, low, high).verdict == verdict
