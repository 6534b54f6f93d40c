"""When an alert is right: no target event within the horizon after it. And which customers were lost."""

from dataclasses import dataclass

import numpy as np

from consumer.backtest.history import History
from consumer.core.calendar import DAY_MS

FOLLOWED_HORIZONS = 3


@dataclass(frozen=True)
class Window:
    """The part of a log in which alerts are judged: what follows is known for a whole horizon."""

    from_ms: int
    until_ms: int  # the log's end
    horizon_ms: int

    @property
    def horizon_days(self) -> float:
        """Churned: no target event in so many days."""
        return self.horizon_ms / DAY_MS

    @property
    def last_ms(self) -> int:
        """The last instant at which an alert can be judged."""
        return self.until_ms - self.horizon_ms

    @property
    def follow_ms(self) -> int:
        """For how long a stretch is followed: some horizons, less where the window is short."""
        return max(0, min(FOLLOWED_HORIZONS * self.horizon_ms, (self.last_ms - self.from_ms) // 2))

    def follows(self, begun_ms: np.ndarray) -> np.ndarray:
        """Which stretches are followed: those of which every alert in `follow_ms` can be judged.

        All are followed for equally long, so that it makes no difference how late a method usually is: of stretches
        begun earlier a quick one has alerted already, and of stretches begun later a slow one could not yet.
        """
        return (begun_ms >= self.from_ms) & (begun_ms <= self.last_ms - self.follow_ms)

    def holds(self, begun_ms: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """Which alerts are judged."""
        return self.follows(begun_ms) & (at_ms - begun_ms <= self.follow_ms)


@dataclass(frozen=True)
class Raised:
    """M alerts of one method, at most one for each stretch."""

    stretch: np.ndarray  # int64 (M,)
    at_ms: np.ndarray  # int64 (M,)

    def __len__(self) -> int:
        return len(self.stretch)

    def take(self, index: np.ndarray) -> "Raised":
        """Some of them."""
        return Raised(self.stretch[index], self.at_ms[index])

    def within(self, history: History, window: Window) -> "Raised":
        """Those that are judged."""
        return self.take(window.holds(history.time_ms[self.stretch], self.at_ms))

    def are_right(self, history: History, window: Window) -> np.ndarray:
        """Whether no target event followed within the horizon."""
        return history.next_ms[self.stretch] > self.at_ms + window.horizon_ms


def first_alerts(stretch: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
    """Positions of the first alert of every stretch; -1 is none."""
    order = np.lexsort((at_ms, stretch))
    is_first = np.diff(stretch[order], prepend=-1) != 0
    return order[is_first & (stretch[order] >= 0)]


def lost_stretches(history: History, window: Window) -> np.ndarray:
    """Those of the stretches followed that are longer than the horizon."""
    return np.flatnonzero(window.follows(history.time_ms) & (history.next_ms - window.horizon_ms > history.time_ms))
