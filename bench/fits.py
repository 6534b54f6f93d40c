"""Straight lines through what was measured."""

from collections.abc import Sequence

import numpy as np


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    slope, intercept = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1).tolist()
    return slope, intercept


def log_log_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of y ∝ x ** slope: 0 where y does not depend on x, 1 where it is proportional."""
    return line(np.log(x).tolist(), np.log(y).tolist())[0]


def last_two_thirds(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points of what x spans but its first third."""
    begin = x[0] + (x[-1] - x[0]) / 3
    kept = [(each, value) for each, value in zip(x, y, strict=True) if each >= begin]
    return [each for each, _ in kept], [value for _, value in kept]
