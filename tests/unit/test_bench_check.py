"""`make bench-check` names what has become slower, and is not deceived by noise."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.check import TOLERANCE, judge, ratio


def noisy(level: float, noise: float, seed: int) -> Callable[[], float]:
    """Measurements that come out higher by up to some share."""
    rng = np.random.default_rng(seed)
    return lambda: level * (1 + noise * rng.random())


def work(times: int) -> Callable[[], object]:
    """A sort, so often."""
    values = np.random.default_rng(1).random(20_000)
    return lambda: [np.sort(values) for _ in range(times)]


@pytest.mark.parametrize("seed", range(20))
def test_a_planted_slow_down_is_flagged(seed: int) -> None:
    """What takes 30 % longer is slower, however often it is measured."""
    assert judge("fold", 2.0, noisy(2.0 * 1.3, 0.1, seed)).is_slower


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_flagged(seed: int) -> None:
    """What takes as long as before, but for noise of up to 18 %, is not slower."""
    assert not judge("fold", 2.0, noisy(2.0, 0.18, seed)).is_slower


def test_a_disturbed_measurement_is_repeated() -> None:
    """One that took twice as long is believed only if the others did too."""
    measured = iter([4.0, 3.9, 2.1])
    found = judge("fold", 2.0, lambda: next(measured))
    assert not found.is_slower
    assert found.ratio == 2.1


def test_a_measurement_within_bounds_is_not_repeated() -> None:
    """The first one decides if nothing is wrong with it."""
    measured = iter([2.0 * TOLERANCE])
    assert not judge("fold", 2.0, lambda: next(measured)).is_slower


def test_without_a_mark_nothing_is_slower() -> None:
    """A new benchmark is measured, not judged."""
    assert not judge("new", None, lambda: 9.0).is_slower


def test_real_work_is_told_from_twice_as_much() -> None:
    """Measured by a reference of the same nature, work done twice is flagged, and done once is not."""
    reference = work(2)
    mark = ratio(lambda: work(2), reference)
    assert judge("sort", mark, lambda: ratio(lambda: work(4), reference)).is_slower
    assert not judge("sort", mark, lambda: ratio(lambda: work(2), reference)).is_slower
