"""`make bench-check` names what has become slower, and is not deceived by noise."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.check import TOLERANCE, judge, judged, ratios
from bench.parts.hot_path import Benchmark


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
    measure = noisy(2.0 * 1.3, 0.1, seed)
    assert judge("fold", 2.0, measure(), measure).is_slower


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_flagged(seed: int) -> None:
    """What takes as long as before, but for noise of up to 50 %, is not slower."""
    measure = noisy(2.0, 0.5, seed)
    assert not judge("fold", 2.0, measure(), measure, tries=20).is_slower


def test_a_disturbed_measurement_is_repeated() -> None:
    """One that took twice as long is believed only if the others did too."""
    later = iter([3.9, 2.1])
    found = judge("fold", 2.0, 4.0, lambda: next(later))
    assert not found.is_slower
    assert found.ratio == 2.1


def test_a_measurement_within_bounds_is_not_repeated() -> None:
    """The first one decides if nothing is wrong with it."""
    never = iter(())
    assert not judge("fold", 2.0, 2.0 * TOLERANCE, lambda: next(never)).is_slower


def test_without_a_mark_nothing_is_slower() -> None:
    """A new benchmark is measured, not judged."""
    assert not judge("new", None, 9.0, lambda: 9.0).is_slower


def test_only_what_was_slowed_is_named() -> None:
    """Of real work measured by a reference of the same nature, what is done twice is flagged, and nothing else."""
    before = [Benchmark(name, work(2), lambda: work(2)) for name in ("sort", "fold")]
    after = [before[0], Benchmark("fold", work(2), lambda: work(4))]
    assert [each.name for each in judged(after, ratios(before)) if each.is_slower] == ["fold"]
