"""A state as it is stored: its head, then its days' columns as a table of bits (consumer.core.bits).

The head is a fixed record of bytes of which only those are stored that say something; its first bytes, which always
are, tell which. The days' columns are only as wide as the user needs, and a column that is zero on all days takes no
room.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from consumer.core.bits import PADDING, Tables, bit_length, read, write
from consumer.core.day_columns import COLUMN_BITS, COLUMNS, UNITS, from_columns, to_columns
from consumer.core.header_numbers import NUMBER_BYTES, NUMBERS, from_numbers, to_numbers
from consumer.core.state import (
    BINS,
    FAVOURITE,
    FAVOURITE_CATEGORIES,
    FAVOURITE_ITEMS,
    LAYOUT_VERSION,
    MAX_DAYS,
    NAME_BYTES,
    RECENT_IDS,
    TRENDS,
    garbled,
)

DUE_MS_AT: Final = 2  # where a value holds its timer, int64
_FAVOURITES: Final = FAVOURITE_CATEGORIES + FAVOURITE_ITEMS
_WIDTHS: Final = NUMBERS + COLUMNS + _FAVOURITES
_PREFIX: Final = np.dtype(
    [
        ("version", "u1"),
        ("days", "u1"),
        ("due_ms", "<i8"),  # at a fixed place: restores read nothing else
        ("next_id", "u1"),
        ("unsubscribed", "u1"),
        ("alerted_tier", "u1"),
        ("due_tier", "u1"),
        ("ids", "u1"),  # how many of `recent_ids` are stored: up to the last that is not zero
        ("units", "<u2"),  # two bits each, see consumer.core.day_columns
        ("filled", "<u8"),  # bit by bit: which widths are stored; then, whether trends are
        ("log_hazards", "<f4", (BINS,)),
    ]
)
HEAD: Final = np.dtype(
    [
        *_PREFIX.descr,
        # stored as far as needed:
        ("widths", "u1", (_WIDTHS,)),  # of the numbers in bytes, of the days' columns in bits, of names in bytes
        ("numbers", "<u8", (NUMBERS,)),
        ("recent_ids", "<u8", (RECENT_IDS,)),
        ("favourites", FAVOURITE, (_FAVOURITES,)),  # categories, then items
        ("evicted_trends", "<f4", (TRENDS,)),
    ]
)
_AS_IN_HEADER: Final = (
    "version", "days", "due_ms", "next_id", "unsubscribed", "alerted_tier", "due_tier", "log_hazards", "recent_ids",
    "evicted_trends",
)  # fmt: skip
_WIDTHS_AT: Final = _PREFIX.itemsize
SHORTEST: Final = _WIDTHS_AT + 1
_NUMBERS_AT: Final = _WIDTHS_AT + _WIDTHS
_IDS_AT: Final = _NUMBERS_AT + 8 * NUMBERS
_FAVOURITES_AT: Final = _IDS_AT + 8 * RECENT_IDS
_TRENDS_AT: Final = _FAVOURITES_AT + _FAVOURITES * FAVOURITE.itemsize
_WIDEST: Final = np.concatenate((NUMBER_BYTES, COLUMN_BITS, [NAME_BYTES] * _FAVOURITES)).astype(np.uint8)
_IN_COLUMNS: Final = slice(NUMBERS, NUMBERS + COLUMNS)
_IN_NAMES: Final = slice(NUMBERS + COLUMNS, _WIDTHS)
_FLAG_PLACES: Final = np.arange(_WIDTHS + 1, dtype=np.uint64)
_UNIT_PLACES: Final = 2 * np.arange(UNITS, dtype=np.uint16)


def pack(header: np.ndarray, days: np.ndarray) -> list[bytes]:
    """One value for each header (U,), all of known users; `days` (N,) are all of their days that count."""
    count = header["days"].astype(np.int64)
    columns, used, units = to_columns(days, count)
    widths = bit_length(used)
    head = np.zeros(len(header), HEAD)
    for name in _AS_IN_HEADER:
        head[name] = header[name]
    head["favourites"][:, :FAVOURITE_CATEGORIES] = header["categories"]
    head["favourites"][:, FAVOURITE_CATEGORIES:] = header["items"]
    head["version"] = LAYOUT_VERSION
    head["units"] = (units.astype(np.uint16) << _UNIT_PLACES).sum(axis=1)
    head["numbers"] = to_numbers(header, _first_day(days, count))
    head["widths"][:, :NUMBERS] = -(-bit_length(head["numbers"]) // 8)
    head["widths"][:, _IN_COLUMNS] = widths
    head["widths"][:, _IN_NAMES] = np.strings.str_len(head["favourites"]["name"])
    head["ids"] = np.where(head["recent_ids"] > 0, np.arange(1, RECENT_IDS + 1), 0).max(axis=1)
    has_trends = np.any(_bytes(head)[:, _TRENDS_AT:], axis=1)
    filled = np.concatenate((head["widths"] > 0, has_trends[:, None]), axis=1)
    head["filled"] = (filled.astype(np.uint64) << _FLAG_PLACES).sum(axis=1)
    is_stored = _is_stored(head, head["widths"], has_trends)
    heads, end = _bytes(head)[is_stored].tobytes(), np.cumsum(is_stored.sum(axis=1)).tolist()
    which = np.flatnonzero(widths.any(axis=0))
    tables = write(Tables(widths[:, which], count), columns)
    return [heads[begin:to] + table for begin, to, table in zip([0, *end[:-1]], end, tables, strict=True)]


def unpack(values: Sequence[bytes], header: np.ndarray) -> np.ndarray:
    """The inverse: sets all of `header` (U,), and returns the days (N,) of all users.

    Raises `UnreadableStateError`.
    """
    size = np.array([len(value) for value in values])
    check(size >= SHORTEST, values)
    prefix = np.frombuffer(b"".join([value[:_WIDTHS_AT] for value in values]), _PREFIX)
    check(_is_sound(prefix), values)
    content = b"".join([*values, PADDING])
    start = np.cumsum(size) - size
    filled = (prefix["filled"][:, None] >> _FLAG_PLACES & np.uint64(1)).astype(np.bool_)
    places = np.cumsum(filled[:, :-1], axis=1) + (start + _WIDTHS_AT - 1)[:, None]
    widths = np.frombuffer(content, np.uint8)[places] * filled[:, :-1]
    is_stored = _is_stored(prefix, widths, filled[:, -1])
    head_size = is_stored.sum(axis=1)
    count = prefix["days"].astype(np.int64)
    which = np.flatnonzero(widths[:, _IN_COLUMNS].any(axis=0))
    tables = Tables(widths[:, NUMBERS + which].astype(np.int64), count)
    check((widths <= _WIDEST).all(axis=1) & (size == head_size + tables.bytes), values)

    head = np.zeros(len(values), HEAD)
    heads = b"".join([value[:end] for value, end in zip(values, head_size.tolist(), strict=True)])
    _bytes(head)[is_stored] = np.frombuffer(heads, np.uint8)
    for name in _AS_IN_HEADER:
        header[name] = head[name]
    header["categories"] = head["favourites"][:, :FAVOURITE_CATEGORIES]
    header["items"] = head["favourites"][:, FAVOURITE_CATEGORIES:]
    first_day = from_numbers(header, head["numbers"])
    columns = read(tables, np.frombuffer(content, "<u8", len(content) // 8), 8 * (start + head_size))
    return from_columns(columns, which.tolist(), (head["units"][:, None] >> _UNIT_PLACES) & 3, count, first_day)


def check(holds: np.ndarray, values: Sequence[bytes]) -> None:
    """Raise `UnreadableStateError` about the first value for which something (U,) does not hold."""
    wrong = np.flatnonzero(~holds)
    if len(wrong):
        raise garbled(values[wrong[0]])


def _is_sound(head: np.ndarray) -> np.ndarray:
    """Whether counts and places are in range, bool (U,)."""
    in_range = (head["days"] <= MAX_DAYS) & (head["ids"] <= RECENT_IDS) & (head["next_id"] < RECENT_IDS)
    return in_range & (head["filled"] >> np.uint64(_WIDTHS + 1) == 0)


def _first_day(days: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Each user's oldest day, int32 (U,); 0 without any."""
    first_day = np.zeros(len(count), np.int32)
    first_day[count > 0] = days["day"][(np.cumsum(count) - count)[count > 0]]
    return first_day


def _bytes(head: np.ndarray) -> np.ndarray:
    return head.view(np.uint8).reshape(len(head), HEAD.itemsize)


def _is_stored(head: np.ndarray, widths: np.ndarray, has_trends: np.ndarray) -> np.ndarray:
    """Which bytes of each head are stored, bool (U, HEAD.itemsize)."""
    is_stored = np.empty((len(head), HEAD.itemsize), np.bool_)
    is_stored[:, :_WIDTHS_AT] = True
    is_stored[:, _WIDTHS_AT:_NUMBERS_AT] = widths > 0
    in_number = np.arange(8) < widths[:, :NUMBERS, None]
    is_stored[:, _NUMBERS_AT:_IDS_AT] = in_number.reshape(len(head), -1)
    is_stored[:, _IDS_AT:_FAVOURITES_AT] = np.arange(8 * RECENT_IDS) < 8 * head["ids"].astype(np.int64)[:, None]
    is_stored[:, _FAVOURITES_AT:_TRENDS_AT] = _of_favourites(widths[:, _IN_NAMES])
    is_stored[:, _TRENDS_AT:] = has_trends[:, None]
    return is_stored


def _of_favourites(name_bytes: np.ndarray) -> np.ndarray:
    """Which bytes of their favourites are stored, bool: as much as the name has, and its weight."""
    is_stored = np.empty((*name_bytes.shape, FAVOURITE.itemsize), np.bool_)
    is_stored[..., :NAME_BYTES] = np.arange(NAME_BYTES) < name_bytes[..., None]
    is_stored[..., NAME_BYTES:] = name_bytes[..., None] > 0
    return is_stored.reshape(len(name_bytes), -1)


assert _WIDTHS < 64, "a bit each in `filled`"
