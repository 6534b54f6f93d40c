"""The fold: (states, events) to states. The one definition of a user-day, for training, replay and serving."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from consumer.core.affinity import like, says_something
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.events import ERASE, KIND_OF, KINDS, Events, rounds
from consumer.core.runs import Runs
from consumer.core.state import (
    COUNTS,
    DAY_WORDS,
    MAX_DAYS,
    NO_TIME,
    RECENT_IDS,
    SUM_DECIMALS,
    SUMS,
    USER_DAY,
    States,
    gathered,
    raw,
    reset,
)
from consumer.core.trends import advanced, increments
from schemas.event import EventType

SESSION_GAP_MS = 30 * 60 * 1000
NEGATIVE_SENTIMENT = -0.2
Target = Literal["purchase", "activity"]

_COUNTED_AS = {
    EventType.VIEW_ITEM: "views",
    EventType.SEARCH: "searches",
    EventType.ADD_TO_CART: "cart_adds",
    EventType.REMOVE_FROM_CART: "cart_removals",
    EventType.BEGIN_CHECKOUT: "checkouts",
    EventType.PURCHASE: "purchases",
    EventType.REFUND: "refunds",
    EventType.REVIEW: "reviews",
    EventType.SUPPORT_TICKET: "tickets",
    EventType.EMAIL_OPEN: "email_opens",
    EventType.CAMPAIGN_RECEIVED: "campaign_contacts",
    EventType.UNSUBSCRIBE: "unsubscribes",
}
_PASSIVE = (KIND_OF[EventType.CAMPAIGN_RECEIVED], KIND_OF[EventType.UNSUBSCRIBE])
PURCHASE, REFUND = KIND_OF[EventType.PURCHASE], KIND_OF[EventType.REFUND]
UNSUBSCRIBE, COUPON_REDEMPTION = KIND_OF[EventType.UNSUBSCRIBE], KIND_OF[EventType.COUPON_REDEMPTION]


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
    today = _days_after(states, part, chosen, day[folded], slot, rules)
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


def _days_after(
    states: States, events: Events, runs: Runs, day: np.ndarray, slot: np.ndarray, rules: FoldRules
) -> np.ndarray:
    """The day after each event of its run, USER_DAY (N,)."""
    if not len(events):
        return np.zeros(0, USER_DAY)
    rows, run, first = events.row[runs.first], runs.run, runs.first
    before = gathered(states.days, rows, slot)
    today = gathered(before, run)
    counted = _cumulated(_counts(events, _new_sessions(states.header["last_ms"][rows], events, first)), first, run)
    for column, name in enumerate(_COUNTED):
        today[name] += counted[:, column].astype(np.uint32)
    units = _cumulated(np.rint(_amounts(events) * _UNITS).astype(np.int64), first, run)
    for column, name in enumerate(SUMS):
        # As integers of 1e-4: 0.1 + 0.2 becomes 0.3, which packs well, and the order of a day's events does not matter.
        # Adding 0.0 turns -0.0, which is no such integer, into 0.0.
        known = np.rint(before[name] * _UNITS).astype(np.int64)
        today[name] = (known[run] + units[:, column]) / _UNITS + 0.0
    since_midnight = events.time_ms - rules.calendar.start_of(day)[run]
    today["first_ms"] = np.minimum(before["first_ms"], since_midnight[first])[run]
    today["last_ms"] = np.maximum(today["last_ms"], since_midnight)
    return today


def _cumulated(values: np.ndarray, first: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Sums (N, K) of each run's values so far, of integers (N, K)."""
    if len(first) == len(values):
        return values
    total = np.cumsum(values, axis=0)
    return total - (total[first] - values[first])[run]


def _new_sessions(last_ms: np.ndarray, events: Events, first: np.ndarray) -> np.ndarray:
    before_ms = np.concatenate(([np.int64(NO_TIME)], events.time_ms[:-1]))
    before_ms[first] = last_ms
    return (before_ms == NO_TIME) | (events.time_ms - before_ms > SESSION_GAP_MS)


def _counts(events: Events, new_session: np.ndarray) -> np.ndarray:
    """What each event adds to `_COUNTED`, int64 (N, K)."""
    counts = _OF_KIND[events.kind]
    counts[:, _COUNTED.index("sessions")] = new_session
    with_coupon = (events.kind == PURCHASE) & events.coupon
    counts[:, _COUNTED.index("coupons")] = (events.kind == COUPON_REDEMPTION) | with_coupon
    has_opinion = ~np.isnan(events.sentiment)
    counts[:, _COUNTED.index("opinions")] = has_opinion
    counts[:, _COUNTED.index("negative_texts")] = has_opinion & (events.sentiment < NEGATIVE_SENTIMENT)
    return counts


def _amounts(events: Events) -> np.ndarray:
    """What each event adds to `SUMS`, float64 (N, K)."""
    spend = np.where(events.kind == PURCHASE, events.value, 0.0)
    refunded = np.where(events.kind == REFUND, events.value, 0.0)
    return np.stack((spend, refunded, events.discount, events.dwell_s, np.nan_to_num(events.sentiment)), axis=1)


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
    header["unsubscribed"][rows] |= np.logical_or.reduceat(events.kind == UNSUBSCRIBE, first)
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


_COUNTED = ("events", "sessions", *_COUNTED_AS.values(), "coupons", "opinions", "negative_texts")
_UNITS = 10.0**SUM_DECIMALS
_OF_KIND = np.zeros((len(KINDS), len(_COUNTED)), np.int64)
_OF_KIND[:, _COUNTED.index("events")] = 1
for _event_type, _name in _COUNTED_AS.items():
    _OF_KIND[KIND_OF[_event_type], _COUNTED.index(_name)] = 1

assert SUMS == ("spend", "refunded", "discount", "dwell_s", "sentiment")
assert set(_COUNTED) == set(COUNTS)
assert len(KINDS) < np.iinfo(np.int8).max
