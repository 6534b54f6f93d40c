"""A user's state as one small stored value, and back to the bit; its first byte is the number of its layout."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from consumer.core import layout
from consumer.core.layout import DUE_MS_AT, check
from consumer.core.state import (
    LAYOUT_VERSION,
    MAX_DAYS,
    NO_TIME,
    States,
    UnreadableStateError,
    empty_states,
    gathered,
    raw,
)

_START_BYTES: Final = DUE_MS_AT + 8
# What a block of users works on fits in the cache, and in memory that need not be asked for again and again.
_BLOCK_DAYS: Final = 8192
_HEADER_AS_DAYS: Final = 4


def pack(states: States) -> list[bytes]:
    """One value per user; empty (b"") for a user of whom nothing is known."""
    values = [b""] * len(states)
    known = np.flatnonzero(states.header["events"])
    for block in _blocks(states.header["days"][known]):
        rows = known[block]
        header = gathered(states.header, rows)
        days = gathered(states.days.reshape(-1), _places(rows, header["days"], states.days.shape[1]))
        for row, value in zip(rows.tolist(), layout.pack(header, days), strict=True):
            values[row] = value
    return values


def unpack(values: Sequence[bytes | None]) -> States:
    """The inverse of `pack`; None or b"" is a user nothing is known of.

    Raises `UnreadableStateError` for an unknown layout version or a value that is cut short or garbled.
    """
    states = empty_states(len(values))
    known = [(row, value) for row, value in enumerate(values) if value]
    _check_versions([value for _, value in known])
    for block in _blocks(np.array([value[1] if len(value) > 1 else 0 for _, value in known])):
        rows = np.array([row for row, _ in known[block]])
        header = gathered(states.header, rows)
        days = layout.unpack([value for _, value in known[block]], header)
        raw(states.header)[rows] = raw(header)
        raw(states.days.reshape(-1))[_places(rows, header["days"], MAX_DAYS)] = raw(days)
    return states


def due_ms_of(values: Sequence[bytes]) -> list[int | None]:
    """When each state's silence timer fires (ms), read without unpacking; None without a timer, or without a state.

    Raises `UnreadableStateError` for an unknown layout version or a value that is too short to be a state.
    """
    stored = [value for value in values if value]
    _check_versions(stored)
    starts = np.frombuffer(b"".join([value[:_START_BYTES].ljust(_START_BYTES, b"\0") for value in stored]), np.uint8)
    starts = starts.reshape(len(stored), _START_BYTES)
    long_enough = np.array([len(value) >= layout.SHORTEST for value in stored], np.bool_)
    check(long_enough & (starts[:, 1] <= MAX_DAYS), stored)
    due_ms = iter(starts[:, DUE_MS_AT:].copy().view("<i8")[:, 0].tolist())
    return [None if not value or (due := next(due_ms)) == NO_TIME else due for value in values]


def _blocks(count: np.ndarray) -> list[slice]:
    """Users, with `count` (U,) days each, in blocks of about the same work."""
    if not len(count):
        return []
    end = np.cumsum(count.astype(np.int64) + _HEADER_AS_DAYS)
    cuts = np.flatnonzero(np.diff(end // _BLOCK_DAYS)) + 1
    return [slice(*each) for each in pairwise([0, *cuts.tolist(), len(count)])]


def _places(rows: np.ndarray, count: np.ndarray, slots: int) -> np.ndarray:
    """Where in `States.days`, flattened, the days of some rows are that count: int64 (N,)."""
    present = np.arange(slots) < count[:, None]
    return (rows[:, None] * slots + np.arange(slots))[present]


def _check_versions(values: Sequence[bytes]) -> None:
    for version in {value[0] for value in values} - {LAYOUT_VERSION}:
        raise UnreadableStateError(f"a stored user state has layout {version}; this version reads {LAYOUT_VERSION}")
