"""Lines through measurements."""

import pytest

from bench.fits import last_two_thirds, line, log_log_slope


def test_the_slope_of_a_power_is_its_exponent() -> None:
    """On log-log axes, whatever the factor."""
    x = [1.0, 4.0, 16.0, 64.0]
    assert log_log_slope(x, [7.0 * each**0.3 for each in x]) == pytest.approx(0.3)
    assert log_log_slope(x, [7.0] * 4) == pytest.approx(0.0)


def test_the_line_through_points_on_a_line_is_that_line() -> None:
    """Slope, then intercept."""
    assert line([0.0, 10.0, 20.0], [5.0, 8.0, 11.0]) == pytest.approx((0.3, 5.0))


def test_the_last_two_thirds_are_counted_in_time_not_in_points() -> None:
    """However close together the first ones are."""
    assert last_two_thirds([0.0, 1.0, 2.0, 3.0, 9.0], [1.0, 2.0, 3.0, 4.0, 5.0]) == ([3.0, 9.0], [4.0, 5.0])
