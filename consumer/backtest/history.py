"""What customers really did: their target events (purchases, or any activity) as columns, and the stretches between."""

from array import array
from dataclasses import dataclass

import numpy as np

from consumer.core.calendar import DAY_MS

NEVER_MS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class History:
    """P target events, by user and time. Event i begins stretch i, in which its user is silent until `next_ms`."""

    users: int  # who did anything, whether it counts or not
    user: np.ndarray  # int64 (P,), from 0 on
    time_ms: np.ndarray  # int64 (P,)
    number: np.ndarray  # int64 (P,): how many of them the user has had by then
    next_ms: np.ndarray  # int64 (P,); `NEVER_MS` where there is none

    @classmethod
    def of(cls, users: int, user: np.ndarray, time_ms: np.ndarray) -> "History":
        """From target events in any order."""
        order = np.lexsort((time_ms, user))
        user, time_ms = user[order], time_ms[order]
        is_first = np.diff(user, prepend=-1) != 0
        first = np.maximum.accumulate(np.where(is_first, np.arange(len(user)), 0))
        next_ms = np.append(time_ms[1:], NEVER_MS)
        next_ms[np.append(is_first[1:], True)] = NEVER_MS
        return cls(users, user, time_ms, np.arange(len(user)) - first + 1, next_ms)

    def stretch_of(self, user: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """The stretch that each user was in at each instant; -1 before the first target event."""
        if not len(self.user):
            return np.full(len(user), -1)
        found = latest_before(self.user, self.time_ms, user, at_ms)
        return np.where((found >= 0) & (self.user[found] == user), found, -1)

    def silence_days(self, stretch: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """Days since the target event that began each stretch."""
        return (at_ms - self.time_ms[stretch]) / DAY_MS


def latest_before(user: np.ndarray, time_ms: np.ndarray, of_user: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
    """Position of the last row at or before each (user, instant) in rows sorted by user and time; -1: none at all."""
    ends = np.searchsorted(user, of_user, side="right")
    low, high = np.searchsorted(user, of_user, side="left"), ends
    while (open_ := low < high).any():  # a binary search within each user's rows, all users at once
        middle = (low + high) // 2
        is_before = open_ & (time_ms[np.minimum(middle, len(time_ms) - 1)] <= at_ms)
        low, high = np.where(is_before, middle + 1, low), np.where(open_ & ~is_before, middle, high)
    return low - 1


class Chronicle:
    """Numbers the users and collects their target events, in any order."""

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self._user, self._time_ms = array("q"), array("q")

    def user(self, user_id: str) -> int:
        """The number of a user."""
        return self.users.setdefault(user_id, len(self.users))

    def stayed(self, user_id: str, time_ms: int) -> None:
        """A customer bought, or did what else counts as staying."""
        self._user.append(self.user(user_id))
        self._time_ms.append(time_ms)

    def history(self) -> History:
        """All target events so far."""
        return History.of(len(self.users), np.array(self._user), np.array(self._time_ms))
