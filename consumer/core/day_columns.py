"""User-days as columns of small unsigned integers, and back to the bit.

Days become gaps, times of day come in the coarsest unit that fits all of a user's, sums in the coarsest decimal unit.
Differences wrap around, so that none is out of range; a sum that is no multiple of 1e-4 stays a float64's 64 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.state import COUNTS, SUM_DECIMALS, SUMS, USER_DAY

TIME_UNITS_MS: Final = np.array([1, 1_000, 60_000, 3_600_000], np.uint32)  # each a multiple of the one before
SUM_UNITS: Final = np.array([0, 1, 100, 10_000], np.int64)  # of 1e-4; 0: the float64's bits
_COARSEST: Final = 3
UNITS: Final = 1 + len(SUMS)  # each user's: of times, then of every sum
_INTEGERS: Final = 3 + len(COUNTS)
COLUMNS: Final = _INTEGERS + len(SUMS)
COLUMN_BITS: Final = np.array([32] * _INTEGERS + [64] * len(SUMS))  # at most

_DAY, _FIRST, _LAST, _EVENTS = range(4)
_SCALE = 10.0**SUM_DECIMALS
_LARGEST = 2.0**62
_SIGNED = SUMS.index("sentiment")  # other sums are never negative


@dataclass(frozen=True)
class PerUser:
    """U users of whom some, `active` (U,), have rows: `count` (U,) each, beginning with row `first` (active,)."""

    count: np.ndarray
    active: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, count: np.ndarray) -> "PerUser":
        """Of N rows in all."""
        active = np.flatnonzero(count)
        return cls(count, active, (np.cumsum(count) - count)[active])

    def reduced(self, reduce: np.ufunc, values: np.ndarray) -> np.ndarray:
        """Each user's part of N values reduced to one: (U,); zero for a user without any."""
        result = np.zeros(len(self.count), values.dtype)
        if len(values):
            result[self.active] = reduce.reduceat(values, self.first)
        return result

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Each user's value (U,) for each of their rows: (N,)."""
        return np.repeat(values, self.count)


def to_columns(days: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those columns of N user-days, `count` (U,) for each user, that are not zero throughout: uint64 (N, filled).

    And which bits each user needs of every column, uint64 (U, COLUMNS); and units below 4, uint8 (U, UNITS).
    """
    per_user = PerUser.of(count)
    words = days.view("<u4").reshape(len(days), USER_DAY.itemsize // 4)
    integers = words[:, :_INTEGERS].T.copy()
    integers[_DAY, 1:] -= words[:-1, _DAY] + np.uint32(1)
    integers[_DAY, per_user.first] = 0  # a user's first day is in the header
    integers[_LAST] -= integers[_FIRST]
    integers[_EVENTS] -= 1
    units = np.full((len(count), UNITS), _COARSEST, np.uint8)
    units[:, 0] = per_user.reduced(np.minimum, _time_unit(integers[_FIRST : _LAST + 1]))
    integers[_FIRST : _LAST + 1] //= per_user.spread(TIME_UNITS_MS[units[:, 0]])
    columns = {column: integers[column] for column in np.flatnonzero(integers.any(axis=1)).tolist()}
    sums = words[:, _INTEGERS:].copy().view("<u8").T.copy()
    for position in np.flatnonzero(sums.any(axis=1)).tolist():
        column, unit = _scaled(sums[position].view("<f8"), position == _SIGNED, per_user)
        columns[_INTEGERS + position], units[:, 1 + position] = column, unit
    units[count == 0] = 0  # so that a value depends on its own user alone
    used = np.zeros((len(count), COLUMNS), np.uint64)
    filled = np.empty((len(days), len(columns)), np.uint64)
    for position, (number, values) in enumerate(columns.items()):
        used[:, number] = per_user.reduced(np.bitwise_or, values)
        filled[:, position] = values
    return filled, used, units


def from_columns(
    columns: np.ndarray, which: Sequence[int], units: np.ndarray, count: np.ndarray, first_day: np.ndarray
) -> np.ndarray:
    """The inverse: user-days (N,) from the columns with numbers `which`, uint64 (N, len(which)), of users whose oldest
    days are `first_day`, uint32 (U,)."""
    per_user = PerUser.of(count)
    words = np.zeros((len(columns), USER_DAY.itemsize // 4), np.uint32)
    days = words.view(USER_DAY)[:, 0]
    for column, values in zip(which, columns.T, strict=True):
        if column < _INTEGERS:
            words[:, column] = values
        else:
            unit = per_user.spread(units[:, column - _INTEGERS + 1])
            days[SUMS[column - _INTEGERS]] = _unscaled(values.copy(), column - _INTEGERS == _SIGNED, unit)
    gap = words[:, _DAY] + np.uint32(1)
    since = np.cumsum(gap, dtype=np.uint32)
    base = first_day.copy()
    base[per_user.active] -= since[per_user.first]
    words[:, _DAY] = since + per_user.spread(base)
    words[:, _FIRST : _LAST + 1] *= per_user.spread(TIME_UNITS_MS[units[:, 0]])[:, None]
    words[:, _LAST] += words[:, _FIRST]
    words[:, _EVENTS] += 1
    return days


def _time_unit(times: np.ndarray) -> np.ndarray:
    """Index of the coarsest unit that each day's two times (2, N) are multiples of, uint8 (N,)."""
    if not times.any():
        return np.full(times.shape[1], _COARSEST, np.uint8)
    fits = [((times // unit) * unit == times).all(axis=0) for unit in TIME_UNITS_MS[1:]]
    return np.stack(fits).sum(axis=0, dtype=np.uint8)


def _scaled(sums: np.ndarray, signed: bool, per_user: PerUser) -> tuple[np.ndarray, np.ndarray]:
    """A sum's column, uint64 (N,), and each user's unit, uint8 (U,)."""
    bits = sums.view(np.uint64)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(sums * _SCALE)
        fits = (np.abs(scaled) < _LARGEST) if signed else (scaled >= 0) & (scaled < _LARGEST)
    integers = np.where(fits, scaled, 0.0).astype(np.int64)
    fits &= (integers / _SCALE).view(np.uint64) == bits  # bits, since -0.0 equals 0.0
    coarsest = fits.astype(np.uint8)
    quotients = [integers // multiple for multiple in SUM_UNITS[2:]]
    for multiple, quotient in zip(SUM_UNITS[2:], quotients, strict=True):
        coarsest += fits & (quotient * multiple == integers)
    unit = per_user.reduced(np.minimum, coarsest)
    unit_of_day = per_user.spread(unit)
    for code, quotient in enumerate(quotients, 2):
        np.copyto(integers, quotient, where=unit_of_day == code)
    if signed:
        integers = (integers << 1) ^ (integers >> 63)  # 0, -1, 1, -2 become 0, 1, 2, 3
    return np.where(unit_of_day > 0, integers.view(np.uint64), bits), unit


def _unscaled(column: np.ndarray, signed: bool, unit: np.ndarray) -> np.ndarray:
    """The inverse: sums, float64 (N,), given each day's unit."""
    integers = column.view(np.int64)
    if signed:
        integers = (column >> np.uint64(1)).view(np.int64) ^ -(integers & 1)
    return np.where(unit > 0, integers * SUM_UNITS[unit] / _SCALE, column.view(np.float64))
