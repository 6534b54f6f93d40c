"""The alert budget of the partitions in a micro-batch, and where a batch must be cut so that it is spent day by day."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from typing import TypeVar

import numpy as np

from consumer.core.budget import Budget
from consumer.core.calendar import Calendar
from consumer.core.conduct import Conduct
from consumer.core.events import Events, watermarks
from consumer.core.gate import Gate
from consumer.records import NOT_BEGUN_MS, Position

P = TypeVar("P")
R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True)
class Spending:
    """Budgets by partition, as of the day that each has reached; without a budget, nothing."""

    budgets: Mapping[int, Budget]
    gate: Gate | None
    partition_of_row: np.ndarray

    @classmethod
    def of(
        cls,
        conduct: Conduct,
        calendar: Calendar,
        stand: Mapping[int, Position],
        reached_ms: Mapping[int, int],
        partition_of_row: Sequence[int],
    ) -> "Spending":
        """Of the partitions in `reached_ms` (by partition, the event time that it has reached)."""
        if conduct.alerts_per_day is None:
            return cls({}, None, np.empty(0, np.int64))
        budgets = {}
        for partition, time_ms in reached_ms.items():
            budget = budgets[partition] = Budget.parse(stand[partition].budget)
            if time_ms != NOT_BEGUN_MS:
                day = int(calendar.day_of(np.array([time_ms]))[0])
                budgets[partition] = budget.on_day(day, conduct.alerts_per_day / max(stand[partition].partitions, 1))
        nobody = np.inf if conduct.alerts_per_day == 0 else 0.0
        bar = np.array([max(budgets[partition].bar, nobody) for partition in partition_of_row], np.float64)
        return cls(budgets, Gate(bar, conduct.value), np.array(partition_of_row, np.int64))

    def after(self, stand: Mapping[int, Position]) -> dict[int, Position]:
        """Positions that remember the batch's candidates."""
        if self.gate is None:
            return dict(stand)
        ranks = self.gate.by_partition(self.partition_of_row)
        nobody = np.empty(0)
        return {
            each: replace(stand[each], budget=str(budget.counted(ranks.get(each, nobody))))
            for each, budget in self.budgets.items()
        }


def day_starts(events: Events, index: np.ndarray, stand: Position, delay_ms: int, calendar: Calendar) -> list[int]:
    """Record numbers that bring a partition's watermark to a later day; `index` (N,) is each event's record."""
    days = calendar.day_of(watermarks(events, stand.watermark_ms, delay_ms))
    starts: list[int] = index[np.flatnonzero(np.diff(days))].tolist()
    return starts


def in_parts(pieces: Mapping[P, Sequence[S]]) -> list[dict[P, S]]:
    """First pieces together, then second ones, and so on."""
    rows = zip_longest(*pieces.values())
    return [{key: piece for key, piece in zip(pieces, row, strict=True) if piece is not None} for row in rows]


def pieces(records: Sequence[R], starts: Sequence[int], make: Callable[[Sequence[R]], S]) -> list[S]:
    """Records cut before each of `starts`, made into something each."""
    cuts = [0, *(start for start in starts if start), len(records)]
    return [make(records[start:end]) for start, end in pairwise(cuts)]
