"""Trends: a user's whole history as a few decayed sums, brought forward from day to day.

A sum with half-life h is halved every h days and grows by each active day's share. Half-lives from two weeks to eight
months tell how often a user used to buy from how often they do now, and keep what the 64 days have forgotten. They
are the one summary that every token carries (compare the history tokens of arXiv 2508.01474, and the data-independent
decays of linear state-space models, arXiv 2303.06349). Sums are float32 and brought forward one day at a time, in
order, so that a day's trends are equal to the bit wherever its predecessors are kept.
"""

from typing import Final

import numpy as np

from consumer.core.state import TRENDS

HALF_LIVES_DAYS: Final = (14, 60, 240)
SERIES: Final = ("purchase_days", "active_days", "log_spend")
TREND_NAMES: Final = tuple(f"{series}_{half_life}d" for series in SERIES for half_life in HALF_LIVES_DAYS)
_FARTHEST_DAYS = 8192  # after so many days nothing is left
_DECAYS = np.exp2(-np.arange(_FARTHEST_DAYS + 1)[:, None] / np.tile(HALF_LIVES_DAYS, len(SERIES))).astype(np.float32)


def increments(days: np.ndarray) -> np.ndarray:
    """What user-days (...,) add to each series: float32 (..., TRENDS)."""
    per_series = np.stack(
        (days["purchases"] > 0, np.ones(days.shape), np.log1p(days["spend"])), axis=-1, dtype=np.float32
    )
    return np.repeat(per_series, len(HALF_LIVES_DAYS), axis=-1)


def advanced(trends: np.ndarray, gap_days: np.ndarray, increment: np.ndarray) -> np.ndarray:
    """Trends (U, TRENDS) after `gap_days` (U,) more days and an increment (U, TRENDS); float32."""
    return trends * _DECAYS[np.clip(gap_days, 0, _FARTHEST_DAYS)] + increment


def through(trends: np.ndarray, gap_days: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Trends after each of L user-days: from (U, TRENDS), gaps (U, L) and days (U, L) to float32 (U, L, TRENDS)."""
    added = increments(days)
    result = np.empty(added.shape, np.float32)
    for position in range(days.shape[1]):
        trends = result[:, position] = advanced(trends, gap_days[:, position], added[:, position])
    return result


assert len(TREND_NAMES) == TRENDS
