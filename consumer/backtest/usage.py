"""How much of the alert budget was used: customers alerted in a horizon, as a share of those active."""

from dataclasses import dataclass

import numpy as np

from consumer.backtest.history import History
from consumer.backtest.judging import Raised, Window
from consumer.core.calendar import DAY_MS

ACTIVE_MS = 365 * DAY_MS  # an active customer had a target event within so long


@dataclass(frozen=True)
class Usage:
    """By period of one horizon, back from the log's end."""

    period_days: float
    start_ms: np.ndarray  # int64 (K,)
    alerted: np.ndarray  # int64 (K,): customers
    active: np.ndarray  # int64 (K,): customers, at the period's end
    budget: float  # share of active customers

    @property
    def share(self) -> np.ndarray:
        """Of active customers, those alerted."""
        return self.alerted / np.maximum(self.active, 1)


def usage(history: History, window: Window, raised: Raised, budget: float) -> Usage:
    """Of the first alert of each stretch, judged or not."""
    first_ms = int(history.time_ms.min(initial=window.until_ms))
    ends = np.arange(window.until_ms, first_ms, -window.horizon_ms)[::-1]
    alerted, active = [], []
    for end_ms in ends:
        inside = (raised.at_ms > end_ms - window.horizon_ms) & (raised.at_ms <= end_ms)
        recent = (history.time_ms > end_ms - ACTIVE_MS) & (history.time_ms <= end_ms)
        alerted.append(len(np.unique(history.user[raised.stretch[inside]])))
        active.append(len(np.unique(history.user[recent])))
    return Usage(window.horizon_days, ends - window.horizon_ms, np.array(alerted), np.array(active), budget)
