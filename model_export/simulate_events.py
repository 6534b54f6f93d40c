"""Simulated user-days as the events that a shop would have written, in order of time.

The fold of these events gives the user-days back: every count exactly, every sum to the cent. So what is learnt from
user-days is learnt from what the service would see. Events are made some days at a time and never held all at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from consumer.core.calendar import MINUTE_MS, Calendar
from consumer.core.day_sums import NEGATIVE_SENTIMENT, SESSION_GAP_MS
from consumer.core.events import KIND_OF
from model_export.simulate import Simulated
from schemas.event import EventType

# In which order things happen on one day, and the user-day's count of each.
_ORDER: Final = (
    ("campaign_contacts", EventType.CAMPAIGN_RECEIVED),
    ("email_opens", EventType.EMAIL_OPEN),
    ("searches", EventType.SEARCH),
    ("views", EventType.VIEW_ITEM),
    ("cart_adds", EventType.ADD_TO_CART),
    ("cart_removals", EventType.REMOVE_FROM_CART),
    ("checkouts", EventType.BEGIN_CHECKOUT),
    ("purchases", EventType.PURCHASE),
    ("refunds", EventType.REFUND),
    ("tickets", EventType.SUPPORT_TICKET),
    ("reviews", EventType.REVIEW),
    ("unsubscribes", EventType.UNSUBSCRIBE),
)
_NAMES: Final = tuple(name for name, _ in _ORDER)
_KINDS: Final = np.array([KIND_OF[event_type] for _, event_type in _ORDER], np.int8)
_EVENTS_AT_ONCE: Final = 20_000
# Hours of the day in which things happen; local days have 23 hours at least, so that none ends on the next day.
_OPENS_MS: Final = 6 * 60 * MINUTE_MS
_OPEN_MS: Final = 16 * 60 * MINUTE_MS
_LONGEST_PAUSE_MS: Final = 20 * MINUTE_MS  # within a session
_BUSY_MS: Final = 5 * 60 * MINUTE_MS  # of a day, at most, within sessions
_USUAL_PAUSE_MS: Final = 45_000
_BETWEEN_MS: Final = SESSION_GAP_MS + MINUTE_MS  # between sessions, at least
_BAD: Final = -0.6  # sentiment of a usual negative review


@dataclass(frozen=True)
class EventColumns:
    """N events in order of time; every field has shape (N,)."""

    number: np.ndarray  # int64: of the event in the whole log
    user: np.ndarray  # int64
    day: np.ndarray  # int64: of the log
    rank: np.ndarray  # int64: how many of the same kind the user has before it on that day
    time_ms: np.ndarray  # int64
    kind: np.ndarray  # int8: index into KINDS
    value: np.ndarray  # float64; NaN where absent, as in the next three
    discount: np.ndarray
    dwell_ms: np.ndarray
    sentiment: np.ndarray
    coupon: np.ndarray  # bool
    campaign: np.ndarray  # int64: which of the shop's campaigns; -1: none

    def __len__(self) -> int:
        return len(self.number)


def events_by_time(
    simulated: Simulated, start_day: int, calendar: Calendar, rng: np.random.Generator
) -> Iterator[EventColumns]:
    """All events in order of time, some local days at once; day 0 of the log is local day `start_day`.

    A user's events of the same instant (a log of dates without times) come in the order in which they happened.
    """
    by_day = np.argsort(simulated.days["day"], kind="stable")
    day = simulated.days["day"][by_day]
    so_far = np.cumsum(simulated.days["events"][by_day], dtype=np.int64)
    campaigns = np.unique(simulated.days["day"][simulated.days["campaign_contacts"] > 0])
    first, number = 0, 0
    while first < len(by_day):
        enough = min(int(np.searchsorted(so_far, number + _EVENTS_AT_ONCE)), len(day) - 1)
        last = int(np.searchsorted(day, day[enough], side="right"))
        yield _events_of(simulated, by_day[first:last], start_day, calendar, campaigns, number, rng)
        first, number = last, int(so_far[last - 1])


def _events_of(
    simulated: Simulated,
    chosen: np.ndarray,
    start_day: int,
    calendar: Calendar,
    campaigns: np.ndarray,
    first_number: int,
    rng: np.random.Generator,
) -> EventColumns:
    """The events of some user-days (D,)."""
    days = simulated.days[chosen]
    count = np.stack([days[name] for name in _NAMES], axis=1).astype(np.int64)
    row = np.repeat(np.arange(len(days)), count.sum(axis=1))
    stage = np.repeat(np.tile(np.arange(len(_NAMES)), len(days)), count.ravel())
    rank = np.arange(len(row)) - np.repeat(np.cumsum(count.ravel()) - count.ravel(), count.ravel())
    since_ms = np.zeros(len(row), np.int64) if simulated.shop.dated_only else _times(days["sessions"], row, rng)
    day = days["day"].astype(np.int64)
    each_day, which = np.unique(day, return_inverse=True)
    value, discount, dwell_ms, coupon = _amounts(days, row, stage, rank, rng)
    mailed = stage <= _NAMES.index("email_opens")
    columns = EventColumns(
        number=np.zeros(len(row), np.int64),
        user=simulated.user[chosen][row],
        day=day[row],
        rank=rank,
        time_ms=calendar.start_of(each_day + start_day)[which][row] + since_ms,
        kind=_KINDS[stage],
        value=value,
        discount=discount,
        dwell_ms=dwell_ms,
        sentiment=_sentiments(days, row, stage, rank),
        coupon=coupon,
        campaign=np.where(mailed, np.searchsorted(campaigns, day[row], side="right") - 1, -1),
    )
    order = np.argsort(columns.time_ms, kind="stable")
    sorted_columns = {field.name: getattr(columns, field.name)[order] for field in fields(EventColumns)}
    return EventColumns(**sorted_columns | {"number": first_number + np.arange(len(row))})


def _times(sessions: np.ndarray, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Times (N,) since local midnight, ms, ascending in each user-day, with as many sessions (D,) as it has.

    `row` (N,) says which user-day an event belongs to. Sessions are cut at random places; within one, no pause is as
    long as what ends a session, and between two every pause is longer.
    """
    sessions = sessions.astype(np.int64)
    is_first = np.append(True, row[1:] != row[:-1])
    start = np.flatnonzero(is_first)
    shuffled = np.lexsort((np.where(is_first, -1.0, rng.random(len(row))), row))
    begins = np.zeros(len(row), np.bool_)
    begins[shuffled[np.arange(len(row)) - start[row] < sessions[row]]] = True
    pause = np.where(begins, 0.0, np.minimum(rng.exponential(_USUAL_PAUSE_MS, len(row)), _LONGEST_PAUSE_MS))
    pause *= np.minimum(1.0, _BUSY_MS / np.maximum(np.bincount(row, pause), 1.0))[row]
    free_ms = _OPEN_MS - np.bincount(row, pause) - (sessions - 1) * _BETWEEN_MS
    assert (free_ms >= 0).all(), "a user-day has more sessions than fit into it"
    share = np.where(begins, rng.exponential(1.0, len(row)), 0.0)
    share /= (np.bincount(row, share) + rng.exponential(1.0, len(sessions)))[row]
    pause += share * free_ms[row] + np.where(begins & ~is_first, _BETWEEN_MS, 0)
    along = np.cumsum(pause)
    return _OPENS_MS + (along - (along - pause)[start][row]).astype(np.int64)


def _amounts(
    days: np.ndarray, row: np.ndarray, stage: np.ndarray, rank: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Value, discount, dwell_ms (NaN: absent) and whether a coupon was used, (N,) each."""
    bought = stage == _NAMES.index("purchases")
    coupon = bought & (rank < days["coupons"][row])
    value, discount, dwell_ms = (np.full(len(row), np.nan) for _ in range(3))
    for column, hit, total, units in (
        (value, bought, days["spend"], 100),
        (value, stage == _NAMES.index("refunds"), days["refunded"], 100),
        (discount, coupon, days["discount"], 100),
        (dwell_ms, stage == _NAMES.index("views"), days["dwell_s"] * 1000, 1),
    ):
        column[hit] = _shared_out(np.rint(total * units), row[hit], rng) / units
    return value, discount, dwell_ms, coupon


def _shared_out(total: np.ndarray, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole parts (M,) of each row's `total` (D,); `row` (M,) ascends."""
    weight = rng.uniform(0.5, 1.5, len(row))
    along = np.cumsum(weight)
    first, last = np.searchsorted(row, row), np.searchsorted(row, row, side="right") - 1
    before = (along - weight)[first]
    until = np.rint(total[row] * ((along - before) / (along[last] - before)))
    return until - np.where(first == np.arange(len(row)), 0.0, np.append(0.0, until)[:-1])


def _sentiments(days: np.ndarray, row: np.ndarray, stage: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Sentiment of each review, NaN for other events (N,): so many negative ones, and so much in all, as was given."""
    opinions, negative = days["opinions"].astype(np.float64), days["negative_texts"].astype(np.float64)
    others = opinions - negative
    good = np.clip((days["sentiment"] - negative * _BAD) / np.maximum(others, 1), NEGATIVE_SENTIMENT, 1.0)
    bad = (days["sentiment"] - others * good) / np.maximum(negative, 1)
    each = np.clip(np.where(rank < negative[row], bad[row], good[row]), -1.0, 1.0)
    return np.where(stage == _NAMES.index("reviews"), each, np.nan)
