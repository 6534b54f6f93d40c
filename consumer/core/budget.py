"""A daily budget of alerts, spent on those of whom most is at stake, evenly instead of first come first served.

Every alert that the policy would raise is a candidate with a rank, the value at risk. Whoever ranks below the day's bar
is passed over. The bar is set when a day begins, from how many candidates of each rank the days before had, so that the
candidates above it are as many as the budget in the mean; it does not depend on the order within the day.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log10
from typing import Final, Self, TypeVar

import numpy as np

from consumer.core.state import NO_DAY

N = TypeVar("N", int, float)
_PER_DECADE: Final = 16  # bins of rank
_LOWEST, _HIGHEST = -4 * _PER_DECADE, 8 * _PER_DECADE
_KEPT_A_DAY: Final = 0.5 ** (1 / 7)  # a week ago counts half


@dataclass(frozen=True)
class Budget:
    """What one partition remembers of its candidates; by bin of rank."""

    day: int = NO_DAY  # local day of `today`
    today: Mapping[int, int] = field(default_factory=dict)
    earlier: Mapping[int, float] = field(default_factory=dict)  # decayed sums of the days before
    days: float = 0.0  # decayed number of these days
    bar: float = 0.0  # the rank from which on candidates of today are alerted

    def on_day(self, day: int, alerts_per_day: float) -> Self:
        """When local day `day` has been reached: the bar is set anew when it is a later one."""
        if self.day == NO_DAY:
            return replace(self, day=day)
        if day <= self.day:
            return self
        passed = day - self.day
        bins = {*self.earlier, *self.today}
        kept = _KEPT_A_DAY**passed
        earlier = {each: (self.earlier.get(each, 0.0) + self.today.get(each, 0)) * kept for each in sorted(bins)}
        empty = sum(_KEPT_A_DAY**each for each in range(1, min(passed, 365)))  # days between without any candidate
        days = (self.days + 1) * kept + empty
        return replace(self, day=day, today={}, earlier=earlier, days=days, bar=_bar(earlier, days, alerts_per_day))

    def counted(self, ranks: np.ndarray) -> Self:
        """With so many more candidates today, ranks (N,)."""
        today = dict(self.today)
        for each in _bin(ranks).tolist():
            today[each] = today.get(each, 0) + 1
        return replace(self, today=today)

    def __str__(self) -> str:
        """How it is stored."""
        earlier = {each: round(count, 6) for each, count in self.earlier.items() if count > 1e-3}
        return json.dumps([self.day, self.today, earlier, round(self.days, 9), self.bar], separators=(",", ":"))

    @classmethod
    def parse(cls, stored: str) -> Self:
        """The inverse of `str`, to the digits that are stored; "" is a partition that has no candidates yet."""
        if not stored:
            return cls()
        day, today, earlier, days, bar = json.loads(stored)
        return cls(day, _numbered(today), _numbered(earlier), days, bar)


def _numbered(bins: Mapping[str, N]) -> dict[int, N]:
    return {int(each): count for each, count in bins.items()}


def _bin(ranks: np.ndarray) -> np.ndarray:
    decades = np.log10(np.maximum(np.nan_to_num(ranks), 1e-9))
    return np.clip(np.floor(decades * _PER_DECADE), _LOWEST, _HIGHEST).astype(np.int64)


def _bar(earlier: Mapping[int, float], days: float, alerts_per_day: float) -> float:
    """The rank above which there were `alerts_per_day` in the mean; within a bin as if they were evenly spread."""
    left = alerts_per_day * days
    for each in sorted(earlier, reverse=True):
        if earlier[each] > left:
            share = left / earlier[each]
            return float(10 ** ((each + 1 - share) / _PER_DECADE))
        left -= earlier[each]
    return 0.0


assert log10(10**4) * _PER_DECADE == -_LOWEST
