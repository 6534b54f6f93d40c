"""What the kept days of some users say of each of them, as masks over their user-days."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from consumer.core.state import MAX_DAYS, States

FAR_AGO = np.iinfo(np.int32).max  # age of a day that is not kept
RECENT_DAYS = 30  # "lately": so many days up to the last day on which the customer did something


@dataclass(frozen=True)
class Past:
    """M users at the moment of a decision; masks and days have shape (M, 64), everything else (M,)."""

    states: States
    as_of_day: np.ndarray  # int64
    silence_days: np.ndarray  # float64, since the end of the last user-day of any kind

    @cached_property
    def kept(self) -> np.ndarray:
        """Which slots hold a day."""
        return np.arange(MAX_DAYS) < self.states.header["days"].astype(np.int64)[:, None]

    @cached_property
    def day(self) -> np.ndarray:
        """Day numbers, int64; 0 where none is kept."""
        return np.where(self.kept, self.states.days["day"], 0).astype(np.int64)

    @cached_property
    def age(self) -> np.ndarray:
        """Days from each user-day to the decision."""
        return np.where(self.kept, self.as_of_day[:, None] - self.day, FAR_AGO)

    @cached_property
    def own(self) -> np.ndarray:
        """Days on which the customer did something, and was not merely written to."""
        days = self.states.days
        passive = days["campaign_contacts"].astype(np.int64) + days["unsubscribes"]
        return self.kept & (days["events"] > passive)

    @cached_property
    def bought(self) -> np.ndarray:
        """Days with a purchase."""
        return self.kept & (self.states.days["purchases"] > 0)

    @cached_property
    def last_own_day(self) -> np.ndarray:
        """The last day on which the customer did something; 0 where there is none."""
        return latest(self.day, self.own)

    @cached_property
    def recent(self) -> np.ndarray:
        """The customer's own days of late."""
        return self.own & (self.day > (self.last_own_day - RECENT_DAYS)[:, None])

    def column(self, name: str) -> np.ndarray:
        """A count or sum of each user-day, float64; 0 where none is kept."""
        return np.where(self.kept, self.states.days[name], 0).astype(np.float64)


def latest(day: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The largest day (M,) of those that `mask` (M, 64) chooses; 0 where it chooses none."""
    return np.where(mask, day, 0).max(axis=1)


def gaps_of(day: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days (M, 64) between each chosen day and the chosen one before it, float64, and which days have such a one."""
    seen = np.maximum.accumulate(np.where(mask, day, 0), axis=1)
    earlier = np.concatenate((np.zeros((len(day), 1), np.int64), seen[:, :-1]), axis=1)
    is_gap = mask & (earlier > 0)
    return np.where(is_gap, day - earlier, 0).astype(np.float64), is_gap


def from_last(mask: np.ndarray) -> np.ndarray:
    """The how manieth from the last each chosen day is, from 1 on; int64 (M, 64)."""
    return np.cumsum(mask[:, ::-1], axis=1)[:, ::-1]


def mean_where(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean (M,) of the chosen values (M, 64); NaN where none is chosen."""
    count = mask.sum(axis=1)
    total = np.where(mask, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
