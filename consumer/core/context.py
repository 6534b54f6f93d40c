"""Which of a user's kept days the model reads.

All of them while none has left the 64. From then on whole blocks of 32 calendar days: days whose block has lost one
are not read any more, so that 33 to 64 days are. If every new day pushed one out of what the model reads, all that is
kept of the others would have to be computed again each time, since they have seen the one that left. Blocks begin with
the (UTC) day of each user's first event: those who come daily are not all read again on the same day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.calendar import DAY_MS
from consumer.core.features import Days, tokens_of, unpadded, walked
from consumer.core.state import MAX_DAYS, NO_DAY, States

BLOCK_DAYS: Final = 32
_TOKENS_AT_ONCE: Final = 2048  # what a run works on fits in the processor's cache


def blocks_of(first_ms: np.ndarray, *days: np.ndarray) -> list[np.ndarray]:
    """In which block each of some days (U, …) is, of users (U,) whose first event was at `first_ms`: int64 (U, …)."""
    born = first_ms // DAY_MS
    return [(day - born.reshape(-1, *[1] * (day.ndim - 1))) // BLOCK_DAYS for day in days]


def first_read(states: States) -> np.ndarray:
    """Index of the first day that the model reads of each user: int64 (U,)."""
    evicted = states.header["evicted_day"]
    first = np.zeros(len(states), np.int64)
    rows = np.flatnonzero(evicted != NO_DAY)
    first_ms = states.header["first_ms"][rows]
    block, broken = blocks_of(first_ms, states.days["day"][rows], evicted[rows, None])
    first[rows] = np.cumprod(block == broken, axis=1).sum(axis=1)
    return first


@dataclass(frozen=True)
class Read:
    """What the model reads of U users."""

    walked: Days  # of all kept days, (U, length)
    tokens: np.ndarray  # float32 (U, length, TOKEN_SIZE), oldest first, zero-padded at the end
    lengths: np.ndarray  # int64 (U,): how many are read

    @classmethod
    def of(cls, states: States, length: int) -> "Read":
        """Of users who have no more than `length` days."""
        part = States(states.header, states.days[:, :length])
        days = walked(part, length)
        given, count = unpadded(tokens_of(days), part), part.header["days"].astype(np.int64)
        return cls(days, *_left_aligned(given, count, first_read(part)))


def by_length(days: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Rows whose histories, of `days` (U,), fit into 1, 2, 4 … 64 tokens, as many as are best read at a time."""
    length = 1
    while length <= MAX_DAYS:
        rows = np.flatnonzero((days <= length) & (days > length // 2))
        size = max(_TOKENS_AT_ONCE // length, 1)
        yield from ((length, rows[begin : begin + size]) for begin in range(0, len(rows), size))
        length *= 2


def _left_aligned(given: np.ndarray, count: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (U, L, …) of `count` (U,) days without those before `first` (U,), and how many are left (U,)."""
    moved = np.flatnonzero(first)
    if len(moved):
        length = given.shape[1]
        source = first[moved, None] + np.arange(length)
        is_read = source < count[moved, None]
        taken = given[moved[:, None], np.minimum(source, length - 1)]
        given[moved] = np.where(is_read[..., None], taken, 0.0)
    return given, count - first
