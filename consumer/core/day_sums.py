"""What events add to their user-day."""

import numpy as np

from consumer.core.calendar import Calendar
from consumer.core.events import KIND_OF, KINDS, PURCHASE, Events
from consumer.core.runs import Runs
from consumer.core.state import COUNTS, NO_TIME, SUM_DECIMALS, SUMS, USER_DAY, States, gathered
from schemas.event import EventType

SESSION_GAP_MS = 30 * 60 * 1000
NEGATIVE_SENTIMENT = -0.2
_REFUND, _COUPON_REDEMPTION = KIND_OF[EventType.REFUND], KIND_OF[EventType.COUPON_REDEMPTION]

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

_COUNTED = ("events", "sessions", *_COUNTED_AS.values(), "coupons", "opinions", "negative_texts")
_UNITS = 10.0**SUM_DECIMALS
_OF_KIND = np.zeros((len(KINDS), len(_COUNTED)), np.int64)
_OF_KIND[:, _COUNTED.index("events")] = 1
for _event_type, _name in _COUNTED_AS.items():
    _OF_KIND[KIND_OF[_event_type], _COUNTED.index(_name)] = 1

assert SUMS == ("spend", "refunded", "discount", "dwell_s", "sentiment")
assert set(_COUNTED) == set(COUNTS)
assert len(KINDS) < np.iinfo(np.int8).max


def days_after(
    states: States, events: Events, runs: Runs, day: np.ndarray, slot: np.ndarray, calendar: Calendar
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
    since_midnight = events.time_ms - calendar.start_of(day)[run]
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
    counts[:, _COUNTED.index("coupons")] = (events.kind == _COUPON_REDEMPTION) | with_coupon
    has_opinion = ~np.isnan(events.sentiment)
    counts[:, _COUNTED.index("opinions")] = has_opinion
    counts[:, _COUNTED.index("negative_texts")] = has_opinion & (events.sentiment < NEGATIVE_SENTIMENT)
    return counts


def _amounts(events: Events) -> np.ndarray:
    """What each event adds to `SUMS`, float64 (N, K)."""
    spend = np.where(events.kind == PURCHASE, events.value, 0.0)
    refunded = np.where(events.kind == _REFUND, events.value, 0.0)
    return np.stack((spend, refunded, events.discount, events.dwell_s, np.nan_to_num(events.sentiment)), axis=1)
