"""User state: a header and the last 64 active user-days, as fixed numpy layouts.

A `States` holds a batch of users side by side, so that folding and scoring are vectorised; how it becomes one small
value per user is told in `consumer.core.packing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LAYOUT_VERSION = 4  # of packed values, see consumer.core.packing
MAX_DAYS = 64
RECENT_IDS = 16
NO_DAY = np.iinfo(np.int32).min
NO_TIME = -1

# Right edges of the hazard bins, in days of silence; the last hazard holds for ever.
BIN_EDGES_DAYS = np.array([1, 2, 3, 5, 7, 10, 14, 21, 28, 42, 56, 84, 112, 168, 224, 365], dtype=np.float64)
BINS = len(BIN_EDGES_DAYS)

COUNTS = (
    "events", "sessions", "views", "searches", "cart_adds", "cart_removals", "checkouts", "purchases", "refunds",
    "reviews", "opinions", "negative_texts", "tickets", "email_opens", "campaign_contacts", "coupons",
    "unsubscribes",
)  # fmt: skip
TRENDS = 9  # decayed sums, see consumer.core.trends
SUMS = ("spend", "refunded", "discount", "dwell_s", "sentiment")
SUM_DECIMALS = 4  # sums are kept to 1e-4
TRIGGER_ACTIONS = 4  # see consumer.core.actions
FAVOURITE_CATEGORIES, FAVOURITE_ITEMS = 4, 6
NAME_BYTES = 32  # a category or item with a longer name is nobody's favourite

USER_DAY = np.dtype(
    [("day", "<i4"), ("first_ms", "<i4"), ("last_ms", "<i4")]  # local calendar day; times since its midnight
    + [(name, "<u4") for name in COUNTS]
    + [(name, "<f8") for name in SUMS]
)

DAY_WORDS = USER_DAY.itemsize // 8
FAVOURITE = np.dtype([("name", f"S{NAME_BYTES}"), ("weight", "<f4")])  # no name, no weight

HEADER = np.dtype(
    [
        ("version", "u1"),
        ("days", "u1"),  # how many user-days follow
        ("next_id", "u1"),  # slot of `recent_ids` to overwrite next
        ("unsubscribed", "u1"),
        ("alerted_tier", "u1"),  # highest tier alerted in the open episode; 0: no episode is open
        ("due_tier", "u1"),  # tier of the pending timer; 0: an outcome is to be looked at then
        ("evicted_day", "<i4"),  # last day that left the 64, so that gaps of the oldest kept day stay known
        ("evicted_purchase_day", "<i4"),
        ("target_events", "<u4"),
        ("events", "<u4"),
        ("first_ms", "<i8"),
        ("last_ms", "<i8"),
        ("last_target_ms", "<i8"),
        ("episode_ms", "<i8"),  # when the open episode began
        ("anchor_id", "<u8"),  # id hash of the last event when it began: what identifies the episode
        ("due_ms", "<i8"),  # when the pending timer fires
        ("recent_ids", "<u8", (RECENT_IDS,)),
        ("evicted_trends", "<f4", (TRENDS,)),  # of all days that left the 64, as of `evicted_day`
        ("log_hazards", "<f4", (BINS,)),  # of the target event, counted from the end of the last active day
        ("last_alert_ms", "<i8"),
        ("triggered_day", "<i4", (TRIGGER_ACTIONS,)),  # when each action was last triggered
        ("sample_ms", "<i8"),  # a sampled prediction whose outcome is still to come: when it was made
        ("sample_risk", "<f4"),
        ("watch_ms", "<i8"),  # an alert whose outcome is still to come: when it was raised
        ("watch_risk", "<f4"),
        ("watch_tier", "u1"),
        ("published_risk", "<f4"),  # the score that other teams were last told; 0: none
        ("language", "S4"),  # ISO 639 code of the last locale
        ("affinity_day", "<i4"),  # to which the weights of favourites are decayed
        ("categories", FAVOURITE, (FAVOURITE_CATEGORIES,)),  # see consumer.core.affinity
        ("items", FAVOURITE, (FAVOURITE_ITEMS,)),
    ]
)


_TIMES = (
    "first_ms", "last_ms", "last_target_ms", "episode_ms", "due_ms", "last_alert_ms", "sample_ms", "watch_ms",
)  # fmt: skip


class UnreadableStateError(Exception):
    """A stored state is of an unknown layout, cut short or garbled: restore it from the changelog."""


def raw(records: np.ndarray) -> np.ndarray:
    """A view of records as so many bytes each, which numpy moves ten times as fast as field by field."""
    return records.view(np.dtype((np.void, records.itemsize)))


def gathered(records: np.ndarray, *at: np.ndarray) -> np.ndarray:
    """A copy of the records at some indices."""
    return raw(records)[at].view(records.dtype)


def garbled(value: bytes) -> UnreadableStateError:
    """The error about a stored state that is not what it says it is."""
    return UnreadableStateError(f"a stored user state of {len(value)} bytes is cut short or garbled")


@dataclass
class States:
    """A batch of U user states: `header` of shape (U,), `days` of shape (U, 64), left-aligned, oldest first."""

    header: np.ndarray
    days: np.ndarray

    def __len__(self) -> int:
        return len(self.header)

    def take(self, rows: np.ndarray) -> "States":
        """A copy of some rows."""
        words = self.words()[rows]
        return States(gathered(self.header, rows), words.view(USER_DAY).reshape(len(words), self.days.shape[1]))

    def words(self) -> np.ndarray:
        """All days of each user as a row of words, (U, words), which numpy moves many times faster than records.

        Of days that lie one after the other, as they do but in a view of the first few, it is a view itself.
        """
        slots = self.days.shape[1]
        return np.ascontiguousarray(self.days).view(np.uint64).reshape(len(self), slots * DAY_WORDS)

    def last_day(self, rows: np.ndarray) -> np.ndarray:
        """Day number of each row's latest active day; `NO_DAY` where there is none."""
        count = self.header["days"][rows].astype(np.int64)
        day = self.days["day"][rows, np.maximum(count - 1, 0)]
        return np.where(count > 0, day, NO_DAY)

    def last_id(self, rows: np.ndarray) -> np.ndarray:
        """Id hash of the event that each row was last changed by."""
        slot = self.header["next_id"][rows].astype(np.int64) - 1
        return self.header["recent_ids"][rows, slot % RECENT_IDS]


def joined(parts: Sequence[States]) -> States:
    """The users of all parts, one after the other."""
    header, days = ([raw(getattr(part, name)) for part in parts] for name in ("header", "days"))
    return States(np.concatenate(header).view(HEADER), np.concatenate(days).view(USER_DAY))


def empty_states(count: int) -> States:
    """States of `count` users nothing is known of."""
    header = np.zeros(count, HEADER)
    reset(header, np.arange(count))
    return States(header, np.zeros((count, MAX_DAYS), USER_DAY))


assert USER_DAY.itemsize == 8 * DAY_WORDS


def reset(header: np.ndarray, rows: np.ndarray) -> None:
    """Forget everything about some rows (their days stop counting with `days` = 0)."""
    blank = np.zeros((), HEADER)
    blank["version"] = LAYOUT_VERSION
    for name in ("evicted_day", "evicted_purchase_day", "triggered_day", "affinity_day"):
        blank[name] = NO_DAY
    for name in _TIMES:
        blank[name] = NO_TIME
    raw(header)[rows] = raw(blank)
