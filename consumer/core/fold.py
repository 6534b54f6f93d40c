"""The fold: (states, events) to states. The one definition of a user-day, for training, replay and serving."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from consumer.core.affinity import like
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.events import ERASE, KIND_OF, KINDS, Events, rounds
from consumer.core.state import MAX_DAYS, NO_TIME, RECENT_IDS, SUM_DECIMALS, USER_DAY, States, reset
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
    rows = events.row
    fate = np.full(len(rows), Fate.FOLDED, np.int8)
    erased = events.kind == ERASE
    fate[erased] = Fate.ERASED
    reset(states.header, rows[erased])
    duplicate = (states.header["recent_ids"][rows] == events.id_hash[:, None]).any(axis=1)
    fate[~erased & duplicate] = Fate.DUPLICATE
    last_ms = states.header["last_ms"][rows]
    late = (last_ms != NO_TIME) & (events.time_ms < last_ms - rules.max_lateness_ms)
    fate[(fate == Fate.FOLDED) & late] = Fate.TOO_LATE

    day = rules.calendar.day_of(events.time_ms)
    candidates = np.flatnonzero(fate == Fate.FOLDED)
    slot = _open_days(states, rows[candidates], day[candidates])
    fate[candidates[slot < 0]] = Fate.TOO_LATE
    kept = candidates[slot >= 0]
    _add(states, events.take(kept), day[kept], slot[slot >= 0], rules)
    return fate


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
    oldest = states.days[rows, 0]
    header = states.header
    gap_days = oldest["day"].astype(np.int64) - header["evicted_day"][rows]
    header["evicted_trends"][rows] = advanced(header["evicted_trends"][rows], gap_days, increments(oldest))
    header["evicted_day"][rows] = oldest["day"]
    bought = oldest["purchases"] > 0
    header["evicted_purchase_day"][rows[bought]] = oldest["day"][bought]
    states.days[rows, :-1] = states.days[rows, 1:]


def _start_day(states: States, rows: np.ndarray, slot: np.ndarray, day: np.ndarray) -> None:
    blank = np.zeros(len(rows), USER_DAY)
    blank["day"] = day
    blank["first_ms"] = np.iinfo(np.int32).max
    blank["last_ms"] = -1
    states.days[rows, slot] = blank


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


def _add(states: States, events: Events, day: np.ndarray, slot: np.ndarray, rules: FoldRules) -> None:
    rows, header = events.row, states.header
    today = states.days[rows, slot]
    last_ms = header["last_ms"][rows]
    in_order = events.time_ms >= last_ms
    new_session = (last_ms == NO_TIME) | (events.time_ms - last_ms > SESSION_GAP_MS)
    _count(today, events, new_session)
    _sum(today, events)
    since_midnight = events.time_ms - rules.calendar.start_of(day)
    today["first_ms"] = np.minimum(today["first_ms"], since_midnight)
    today["last_ms"] = np.maximum(today["last_ms"], since_midnight)
    states.days[rows, slot] = today

    first_ms = header["first_ms"][rows]
    header["first_ms"][rows] = np.where(first_ms == NO_TIME, events.time_ms, np.minimum(first_ms, events.time_ms))
    header["last_ms"][rows] = np.where(in_order, events.time_ms, last_ms)
    header["events"][rows] += 1
    target = rules.is_target(events.kind)
    last_target_ms = header["last_target_ms"][rows]
    header["last_target_ms"][rows] = np.where(target, np.maximum(last_target_ms, events.time_ms), last_target_ms)
    header["target_events"][rows] += target
    header["unsubscribed"][rows] |= events.kind == UNSUBSCRIBE
    speaks = events.language != b""
    header["language"][rows[speaks]] = events.language[speaks]
    like(header, events, day)
    next_id = header["next_id"][rows]
    header["recent_ids"][rows, next_id] = events.id_hash
    header["next_id"][rows] = (next_id + 1) % RECENT_IDS


def _count(today: np.ndarray, events: Events, new_session: np.ndarray) -> None:
    today["events"] += 1
    today["sessions"] += new_session
    for event_type, name in _COUNTED_AS.items():
        today[name] += events.kind == KIND_OF[event_type]
    with_coupon = (events.kind == PURCHASE) & events.coupon
    today["coupons"] += (events.kind == COUPON_REDEMPTION) | with_coupon
    has_opinion = ~np.isnan(events.sentiment)
    today["opinions"] += has_opinion
    today["negative_texts"] += has_opinion & (events.sentiment < NEGATIVE_SENTIMENT)


def _sum(today: np.ndarray, events: Events) -> None:
    added = (
        ("spend", np.where(events.kind == PURCHASE, events.value, 0.0)),
        ("refunded", np.where(events.kind == REFUND, events.value, 0.0)),
        ("discount", events.discount),
        ("dwell_s", events.dwell_s),
        ("sentiment", np.nan_to_num(events.sentiment)),
    )
    for name, values in added:
        # 0.1 + 0.2 becomes 0.3, which packs as a small integer of 1e-4; with errors of addition in the last bits, every
        # sum would take 8 bytes. Adding 0.0 turns -0.0, which is no such integer, into 0.0.
        today[name] = np.round(today[name] + values, SUM_DECIMALS) + 0.0


assert len(KINDS) < np.iinfo(np.int8).max
