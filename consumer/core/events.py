"""A batch of decoded events as columns, and its split into rounds of distinct users."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from schemas.event import EventType

KINDS = tuple(EventType)
KIND_OF = {event_type: code for code, event_type in enumerate(KINDS)}
PURCHASE = KIND_OF[EventType.PURCHASE]
ERASE = -1  # a tombstone: forget the user


@dataclass(frozen=True)
class Events:
    """N events in arrival order; every field has shape (N,)."""

    row: np.ndarray  # int64: which of the batch's users
    time_ms: np.ndarray  # int64
    kind: np.ndarray  # int8: index into KINDS, or ERASE
    id_hash: np.ndarray  # uint64
    value: np.ndarray  # float64; 0 where absent
    discount: np.ndarray  # float64; 0 where absent
    dwell_s: np.ndarray  # float64; 0 where absent
    sentiment: np.ndarray  # float64; NaN where no opinion was given
    coupon: np.ndarray  # bool
    item: np.ndarray  # S32; empty where absent or longer
    category: np.ndarray  # S32; empty where absent or longer
    language: np.ndarray  # S4: ISO 639 code of the locale; empty where absent

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: np.ndarray) -> "Events":
        """Some of the events."""
        return Events(*(getattr(self, field.name)[index] for field in fields(self)))

    @staticmethod
    def concatenate(parts: Sequence["Events"]) -> "Events":
        """One batch after the other."""
        return Events(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)))


def watermarks(events: Events, before_ms: int, delay_ms: int) -> np.ndarray:
    """A partition's watermark before each of its N events and, last, after all of them: int64 (N + 1,).

    It stands `delay_ms` behind the largest event time so far, or at `before_ms`, where it stood.
    """
    reached_ms = np.where(events.kind == ERASE, before_ms, events.time_ms - delay_ms)
    return np.maximum.accumulate(np.concatenate(([np.int64(before_ms)], reached_ms)))


def rounds(row: np.ndarray) -> list[np.ndarray]:
    """Split events so that no user occurs twice in a round and each user's order is kept.

    Round k holds the k-th event of every user that has one; within a round events are in arrival order.
    """
    if len(row) == 0:
        return []
    order = np.argsort(row, kind="stable")
    by_user = row[order]
    is_first = np.concatenate(([True], by_user[1:] != by_user[:-1]))
    starts = np.flatnonzero(is_first)
    occurrence = np.arange(len(row)) - np.repeat(starts, np.diff(np.append(starts, len(row))))
    occurrence_of = np.empty_like(occurrence)
    occurrence_of[order] = occurrence
    by_round = np.argsort(occurrence_of, kind="stable")
    return np.split(by_round, np.cumsum(np.bincount(occurrence_of))[:-1])
