"""When an alert is right: no purchase within the horizon after it. And which customers were lost."""

from dataclasses import dataclass

import numpy as np

from consumer.backtest.history import History
from consumer.core.calendar import DAY_MS


@dataclass(frozen=True)
class Window:
    """The part of a log in which alerts are judged: what follows is known for a whole horizon."""

    from_ms: int
    until_ms: int  # the log's end
    horizon_ms: int

    @property
    def horizon_days(self) -> float:
        """Churned: no purchase in so many days."""
        return self.horizon_ms / DAY_MS

    @property
    def last_ms(self) -> int:
        """The last instant at which an alert can be judged."""
        return self.until_ms - self.horizon_ms

    def holds(self, begun_ms: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """Which alerts are judged: of stretches begun within the window, so that every method has the same before it.

        Of older stretches a quick method has alerted already, and a slow one would be given those long lost.
        """
        return (begun_ms >= self.from_ms) & (at_ms <= self.last_ms)


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
        """Whether no purchase followed within the horizon."""
        return history.next_ms[self.stretch] > self.at_ms + window.horizon_ms


def first_alerts(stretch: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
    """Positions of the first alert of every stretch; -1 is none."""
    order = np.lexsort((at_ms, stretch))
    is_first = np.diff(stretch[order], prepend=-1) != 0
    return order[is_first & (stretch[order] >= 0)]


def lost_stretches(history: History, window: Window) -> np.ndarray:
    """Stretches longer than the horizon, begun early enough for every alert in their first horizon to be judged."""
    begun = (history.time_ms >= window.from_ms) & (history.time_ms <= window.last_ms - window.horizon_ms)
    return np.flatnonzero(begun & (history.next_ms - window.horizon_ms > history.time_ms))
