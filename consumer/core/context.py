"""Which of a user's kept days the model reads.

All of them while none has left the 64. From then on whole blocks of 32 calendar days: days whose block has lost one
are not read any more, so that 33 to 64 days are. If every new day pushed one out of what the model reads, all that is
kept of the others would have to be computed again each time, since they have seen the one that left.
"""

from typing import Final

import numpy as np

from consumer.core.features import tokens
from consumer.core.state import NO_DAY, States

BLOCK_DAYS: Final = 32


def first_read(states: States) -> np.ndarray:
    """Index of the first day that the model reads of each user: int64 (U,)."""
    evicted = states.header["evicted_day"]
    first = np.zeros(len(states), np.int64)
    rows = np.flatnonzero(evicted != NO_DAY)
    is_broken = states.days["day"][rows] // BLOCK_DAYS == evicted[rows, None] // BLOCK_DAYS
    first[rows] = np.cumprod(is_broken, axis=1).sum(axis=1)
    return first


def read_tokens(states: States, length: int) -> tuple[np.ndarray, np.ndarray]:
    """What the model reads of users who have no more than `length` days.

    Tokens float32 (U, length, TOKEN_SIZE), oldest first, zero-padded at the end, and how many they are, int64 (U,).
    """
    return left_aligned(tokens(states, length), states.header["days"].astype(np.int64), first_read(states))


def left_aligned(given: np.ndarray, count: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (U, L, …) of `count` (U,) days without those before `first` (U,), and how many are left (U,)."""
    moved = np.flatnonzero(first)
    if len(moved):
        length = given.shape[1]
        source = first[moved, None] + np.arange(length)
        is_read = source < count[moved, None]
        taken = given[moved[:, None], np.minimum(source, length - 1)]
        given[moved] = np.where(is_read[..., None], taken, 0.0)
    return given, count - first
