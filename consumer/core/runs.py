"""A batch's events as runs: those that one user did on one day, one after the other, and that can be taken at once.

Within a run nothing depends on what is decided in between but whether something is decided at all: no timer can fire,
no event is late, a duplicate or an erasure. All other events are runs of one. A batch is taken in rounds, each of which
has the next run of every user, so that there are about as many rounds as days in it, and not as events of the busiest.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from consumer.core.calendar import Calendar
from consumer.core.events import ERASE, Events
from consumer.core.state import NO_TIME, States

_USUAL_AMOUNT: Final = 1e8  # sums of larger ones are no exact integers of 1e-4


@dataclass(frozen=True)
class Runs:
    """R runs of N events in all, run after run."""

    index: np.ndarray  # int64 (N,): which events of the batch
    count: np.ndarray  # int64 (R,), from 1

    @cached_property
    def first(self) -> np.ndarray:
        """Where in `index` each run begins, (R,)."""
        return np.cumsum(self.count) - self.count

    @cached_property
    def last(self) -> np.ndarray:
        """Where each run's last event is, (R,)."""
        return np.cumsum(self.count) - 1

    @cached_property
    def run(self) -> np.ndarray:
        """Which run each event belongs to, (N,)."""
        return np.repeat(np.arange(len(self.count)), self.count)

    @cached_property
    def place(self) -> np.ndarray:
        """How many events of its run come before each, (N,)."""
        return _ranges(self.count)

    def kept(self, count: np.ndarray) -> np.ndarray:
        """Positions (M,) of the first `count` (R,) events of each run; 0: none of them."""
        return np.flatnonzero(self.place < np.repeat(count, self.count))

    @staticmethod
    def singles(index: np.ndarray) -> "Runs":
        """Runs of one event each."""
        return Runs(index, np.ones(len(index), np.int64))


class Schedule:
    """The runs that are still to be taken, user by user.

    No run goes on after an event that `ends` (N,) it.
    """

    def __init__(
        self, states: States, events: Events, watermark_ms: np.ndarray, ends: np.ndarray, calendar: Calendar
    ) -> None:
        self._order = np.argsort(events.row, kind="stable")
        row = events.row[self._order]
        begins = np.flatnonzero(np.concatenate(([True], row[1:] != row[:-1]))) if len(row) else np.empty(0, np.int64)
        self._row, self._at = row[begins], begins
        self._end = np.append(begins[1:], len(row))
        self.reach_ms = np.maximum(events.time_ms, watermark_ms)  # up to when time has come at each event
        extends = _extends(states, events.take(self._order), self.reach_ms[self._order], begins, calendar)
        extends[1:] &= ~ends[self._order[:-1]]
        starts = np.flatnonzero(~extends)
        self._run_end = np.append(starts, len(row))[np.searchsorted(starts, np.arange(len(row)), side="right")]

    def next(self, known_ms: np.ndarray) -> Runs | None:
        """The next run of every user who has one, up to when an outcome is known, `known_ms` (U,); None: no more."""
        users = np.flatnonzero(self._at < self._end)
        if not len(users):
            return None
        begin = self._at[users]
        count = self._run_end[begin] - begin
        runs = Runs(self._order[np.repeat(begin, count) + _ranges(count)], count)
        in_time = self.reach_ms[runs.index] < np.repeat(known_ms[self._row[users]], count)
        if not in_time.all():
            count = np.maximum(np.add.reduceat(in_time.astype(np.int64), runs.first), 1)
            runs = Runs(runs.index[runs.kept(count)], count)
        self._at[users] += count
        return runs


def _ranges(count: np.ndarray) -> np.ndarray:
    """0, 1 … count - 1 of each, one after the other."""
    return np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)


def _extends(
    states: States, events: Events, reach_ms: np.ndarray, begins: np.ndarray, calendar: Calendar
) -> np.ndarray:
    """Which events, sorted by user, can be taken together with the one before: bool (N,)."""
    time_ms, row = events.time_ms, events.row
    day = calendar.day_of(time_ms)
    in_order = _in_order(time_ms, states.header["last_ms"][row[begins]], begins)
    plain = (events.kind != ERASE) & in_order & ~_may_repeat(states, events)
    plain &= (events.value <= _USUAL_AMOUNT) & (events.discount <= _USUAL_AMOUNT) & (events.dwell_s <= _USUAL_AMOUNT)
    follows = np.zeros(len(row), np.bool_)
    follows[1:] = (row[1:] == row[:-1]) & (day[1:] == day[:-1]) & plain[:-1]
    return follows & plain & (reach_ms < calendar.start_of(day + 1))


def _in_order(time_ms: np.ndarray, last_ms: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Which events are no older than any before them of the same user, whose last one was at `last_ms`: bool (N,)."""
    latest = time_ms.copy()
    latest[begins] = np.maximum(latest[begins], last_ms)
    user = np.zeros(len(time_ms), np.int64)
    user[begins] = 1
    instants, rank = np.unique(latest, return_inverse=True)
    rank = np.cumsum(user) * len(instants) + rank
    return (np.maximum.accumulate(rank) == rank) & (latest == time_ms)


def _may_repeat(states: States, events: Events) -> np.ndarray:
    """Which events have an id that their user's state or another event of the batch has as well: bool (N,)."""
    again = (states.header["recent_ids"][events.row] == events.id_hash[:, None]).any(axis=1)
    ids, inverse, count = np.unique(events.id_hash, return_inverse=True, return_counts=True)
    return again if len(ids) == len(events) else again | (count[inverse] > 1)


def outcomes_known_ms(states: States, horizon_ms: int) -> np.ndarray:
    """When the first outcome is known that each user awaits: int64 (U,); the end of time where they await none."""
    never = np.iinfo(np.int64).max
    known = [
        np.where(states.header[name] == NO_TIME, never - horizon_ms, states.header[name])
        for name in ("sample_ms", "watch_ms")
    ]
    return np.minimum(*known) + horizon_ms
