"""The fold: (states, events) to states. The one definition of a user-day, for training, replay and serving."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from consumer.core.affinity import like, says_something
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.day_sums import days_after
from consumer.core.events import ERASE, KIND_OF, PURCHASE, Events, rounds
from consumer.core.runs import Runs
from consumer.core.state import DAY_WORDS, MAX_DAYS, NO_TIME, RECENT_IDS, USER_DAY, States, gathered, raw, reset
from consumer.core.trends import advanced, increments
from schemas.event import EventType

Target = Literal["purchase", "activity"]

_UNSUBSCRIBE = KIND_OF[EventType.UNSUBSCRIBE]
_PASSIVE = (KIND_OF[EventType.CAMPAIGN_RECEIVED], _UNSUBSCRIBE)


class Fate(IntEnum):
    """What became of an event."""

    FOLDED = 0
    DUPLICATE = 1
    TOO_LATE = 2
    ERASED = 3


@dataclass(frozen=True)
class FoldRules:
    """What the fold needs to know of the shop."""

    calendar: Calendar
    target: Target = "purchase"
    max_lateness_ms: int = DAY_MS

    def is_target(self, kind: np.ndarray) -> np.ndarray:
        """Which events count as staying."""
        if self.target == "purchase":
            return kind == PURCHASE
        return (kind != ERASE) & ~np.isin(kind, _PASSIVE)


def target_count(days: np.ndarray, target: Target) -> np.ndarray:
    """How many target events each user-day holds; structured days in, int64 of the same shape out."""
    if target == "purchase":
        return days["purchases"].astype(np.int64)
    return days["events"].astype(np.int64) - days["campaign_contacts"] - days["unsubscribes"]


def fold(states: States, events: Events, rules: FoldRules) -> np.ndarray:
    """Fold events in arrival order into `states`, in place; returns each event's `Fate`, int8 (N,)."""
    fate = np.zeros(len(events), np.int8)
    for index in rounds(events.row):
        fate[index] = fold_round(states, events.take(index), rules)
    return fate


def fold_round(states: States, events: Events, rules: FoldRules) -> np.ndarray:
    """Fold one event per user (no user twice) into `states`, in place; returns each event's `Fate`, int8 (N,)."""
    opened = open_runs(states, events, Runs.singles(np.arange(len(events))), rules)
    opened.close(states, opened.runs.count, rules)
    return opened.fate


@dataclass(frozen=True)
class Opened:
    """Runs whose days are there, but not yet what happens on them: R that can be folded, of N events in all."""

    fate: np.ndarray  # int8, of all runs that were given
    runs: Runs  # of those that can be folded, over `events`
    index: np.ndarray  # int64 (N,): which of the events given they are
    events: Events  # (N,)
    day: np.ndarray  # int64 (R,)
    slot: np.ndarray  # int64 (R,): of the day in `States.days`
    today: np.ndarray  # USER_DAY (N,): the day after each event

    @property
    def rows(self) -> np.ndarray:
        """Whose runs they are, (R,)."""
        return self.events.row[self.runs.first]

    def close(self, states: States, count: np.ndarray, rules: FoldRules) -> None:
        """Fold the first `count` (R,), at least one, of each run's events into `states`, in place."""
        if (count < self.runs.count).any():
            kept = self.runs.kept(count)
            runs, events, today = Runs(kept, count), self.events.take(kept), gathered(self.today, kept)
        else:
            runs, events, today = self.runs, self.events, self.today
        if len(events):
            raw(states.days)[self.rows, self.slot] = raw(today)[runs.last]
            _close_header(states.header, events, runs, self.day, rules)

    def rest(self, count: np.ndarray) -> tuple[np.ndarray, "Opened"]:
        """Which events (M,) are left once the first `count` (R,) of each run's are folded, and the runs of these."""
        left = np.flatnonzero(self.runs.place >= np.repeat(count, self.runs.count))
        part = np.flatnonzero(count < self.runs.count)
        runs = Runs(np.arange(len(left)), (self.runs.count - count)[part])
        events, today = self.events.take(left), gathered(self.today, left)
        return left, Opened(self.fate, runs, self.index[left], events, self.day[part], self.slot[part], today)


def open_runs(states: States, events: Events, runs: Runs, rules: FoldRules) -> Opened:
    """Make the days of runs (no user twice) in `states`, in place, and reckon them; only runs of one may not fold.

    `runs.index` says which of the events; erasures are done at once.
    """
    begins = runs.index[runs.first]
    rows, time_ms = events.row[begins], events.time_ms[begins]
    fate = np.full(len(rows), Fate.FOLDED, np.int8)
    erased = events.kind[begins] == ERASE
    fate[erased] = Fate.ERASED
    reset(states.header, rows[erased])
    duplicate = (states.header["recent_ids"][rows] == events.id_hash[begins, None]).any(axis=1)
    fate[~erased & duplicate] = Fate.DUPLICATE
    last_ms = states.header["last_ms"][rows]
    late = (last_ms != NO_TIME) & (time_ms < last_ms - rules.max_lateness_ms)
    fate[(fate == Fate.FOLDED) & late] = Fate.TOO_LATE

    day = rules.calendar.day_of(time_ms)
    candidates = np.flatnonzero(fate == Fate.FOLDED)
    slot = _open_days(states, rows[candidates], day[candidates])
    fate[candidates[slot < 0]] = Fate.TOO_LATE
    folded, slot = candidates[slot >= 0], slot[slot >= 0]
    count = np.where(fate == Fate.FOLDED, runs.count, 0)
    index = runs.index if len(folded) == len(rows) else runs.index[runs.kept(count)]
    chosen, part = Runs(np.arange(len(index)), runs.count[folded]), events.take(index)
    today = days_after(states, part, chosen, day[folded], slot, rules.calendar)
    return Opened(fate, chosen, index, part, day[folded], slot, today)


def _open_days(states: States, rows: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Slot of each row's user-day, made where missing; -1 where it is older than all 64 kept days."""
    last = states.last_day(rows)
    count = states.header["days"][rows].astype(np.int64)
    newer, older = day > last, day < last
    full = newer & (count == MAX_DAYS)
    _evict_oldest(states, rows[full])
    slot = np.where(newer, np.minimum(count, MAX_DAYS - 1), count - 1)
    _start_day(states, rows[newer], slot[newer], day[newer])
    states.header["days"][rows[newer]] = slot[newer] + 1
    for index in np.flatnonzero(older):  # late events are rare: one at a time
        slot[index] = _late_slot(states, int(rows[index]), int(day[index]))
    return slot


def _evict_oldest(states: States, rows: np.ndarray) -> None:
    oldest = gathered(states.days[:, 0], rows)
    header = states.header
    gap_days = oldest["day"].astype(np.int64) - header["evicted_day"][rows]
    header["evicted_trends"][rows] = advanced(header["evicted_trends"][rows], gap_days, increments(oldest))
    header["evicted_day"][rows] = oldest["day"]
    bought = oldest["purchases"] > 0
    header["evicted_purchase_day"][rows[bought]] = oldest["day"][bought]
    words = states.words()
    words[rows, :-DAY_WORDS] = words[rows, DAY_WORDS:]


def _start_day(states: States, rows: np.ndarray, slot: np.ndarray, day: np.ndarray) -> None:
    blank = np.zeros(len(rows), USER_DAY)
    blank["day"] = day
    blank["first_ms"] = np.iinfo(np.int32).max
    blank["last_ms"] = -1
    raw(states.days)[rows, slot] = raw(blank)


def _late_slot(states: States, row: int, day: int) -> int:
    count = int(states.header["days"][row])
    slot = int(np.searchsorted(states.days["day"][row, :count], day))
    if states.days["day"][row, slot] == day:
        return slot
    if count == MAX_DAYS:
        if slot == 0:
            return -1
        _evict_oldest(states, np.array([row]))
        slot, count = slot - 1, count - 1
    states.days[row, slot + 1 : count + 1] = states.days[row, slot:count].copy()
    _start_day(states, np.array([row]), np.array([slot]), np.array([day]))
    states.header["days"][row] = count + 1
    return slot


def _close_header(header: np.ndarray, events: Events, runs: Runs, day: np.ndarray, rules: FoldRules) -> None:
    """Note the events of runs on local days `day` (R,) in the users' headers, in place."""
    first, last, count = runs.first, runs.last, runs.count
    rows = events.row[first]
    first_ms, last_ms = header["first_ms"][rows], header["last_ms"][rows]
    begins_ms, ends_ms = events.time_ms[first], events.time_ms[last]
    header["first_ms"][rows] = np.where(first_ms == NO_TIME, begins_ms, np.minimum(first_ms, begins_ms))
    header["last_ms"][rows] = np.maximum(last_ms, ends_ms)
    header["events"][rows] += count.astype(np.uint32)
    target = rules.is_target(events.kind)
    target_ms = np.maximum.reduceat(np.where(target, events.time_ms, NO_TIME), first)
    header["last_target_ms"][rows] = np.maximum(header["last_target_ms"][rows], target_ms)
    header["target_events"][rows] += np.add.reduceat(target.astype(np.uint32), first)
    header["unsubscribed"][rows] |= np.logical_or.reduceat(events.kind == _UNSUBSCRIBE, first)
    speaker = np.maximum.reduceat(np.where(events.language != b"", np.arange(len(events)), -1), first)
    header["language"][rows[speaker >= 0]] = events.language[speaker[speaker >= 0]]
    _like(header, events, runs, day)
    latest = np.flatnonzero(runs.place >= np.repeat(count - RECENT_IDS, count))
    next_id = header["next_id"][rows].astype(np.int64)
    header["recent_ids"][events.row[latest], (next_id[runs.run[latest]] + runs.place[latest]) % RECENT_IDS] = (
        events.id_hash[latest]
    )
    header["next_id"][rows] = (next_id + count) % RECENT_IDS


def _like(header: np.ndarray, events: Events, runs: Runs, day: np.ndarray) -> None:
    """Of the events of runs on local days `day` (R,); many say nothing of favourites."""
    telling = np.flatnonzero(says_something(events))
    if len(telling):
        who, run = np.unique(runs.run[telling], return_inverse=True)
        like(header, events.row[runs.first[who]], day[who], events.take(telling), run)
