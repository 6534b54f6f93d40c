"""What is told of measured costs."""

import pytest

from bench.growth_curves import Curve
from bench.soak import LUMPS_S, Sample, lump_s, summary


def test_a_curve_goes_through_the_medians_of_what_was_measured() -> None:
    """In order of x, whatever the order of measuring."""
    curve = Curve.of("", [(100, 30.0), (10, 20.0), (100, 10.0), (10, 40.0), (10, 30.0), (100, 20.0)])
    assert curve.medians == {10: 30.0, 100: 20.0}
    assert list(curve.medians) == [10, 100]


def test_a_cost_at_zero_has_no_say_in_the_slope() -> None:
    """It has no place on a logarithmic axis."""
    assert Curve.of("", [(0, 500.0), (1, 10.0), (100, 100.0)]).slope == pytest.approx(0.5)


def test_a_soak_tells_growth_after_its_first_third() -> None:
    """However steep the beginning was."""
    rss_mb = [100.0, 250.0, 299.0, 300.0, 301.0, 302.0, 303.0, 304.0, 305.0, 306.0]
    samples = [Sample(60.0 * n, mb, n, 1.0, 0, 1_000 * n, n, 0, 0) for n, mb in enumerate(rss_mb)]
    found = summary(samples, minutes=9, days=1)
    assert found.mb_per_hour == pytest.approx(60.0)
    assert (found.first_mb, found.last_mb, found.peak_mb) == pytest.approx((300.0, 306.0, 306.0))
    assert found.cpu_us == pytest.approx(1_000.0)


def test_lumps_of_all_sizes_come_again_and_again() -> None:
    """Each for a while."""
    assert {lump_s(second) for second in range(100)} == set(LUMPS_S)
