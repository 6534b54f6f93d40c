"""Unsigned integers of any width as bits, for a whole batch of users at once.

A user's cells are a table of `count` rows; every column has its own width in bits, and rows follow each other without
gaps. Bits are counted from the lowest of the first byte (little-endian), so that a cell is a shift of one or two words.
Operations are in place where they can be: fresh memory costs more than the arithmetic.
"""

from dataclasses import dataclass

import numpy as np

WORD = 64
PADDING = b"\0" * 64  # what `read` may touch beyond the last byte
_MASKS = np.array([(1 << width) - 1 for width in range(WORD + 1)], np.uint64)
_ONE, _LAST_BIT = np.uint64(1), np.uint64(WORD - 1)


def bit_length(values: np.ndarray) -> np.ndarray:
    """Bits to hold each value, int64; one too many just below a power of two from 2^53 on."""
    return np.minimum(np.frexp(values.astype(np.float64))[1], WORD).astype(np.int64)


@dataclass(frozen=True)
class Tables:
    """The tables of U users with C columns: `widths` in bits, int64 (U, C); `count` of rows, int64 (U,)."""

    widths: np.ndarray
    count: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        """Size of each user's table, int64 (U,)."""
        return self.widths.sum(axis=1) * self.count

    @property
    def bytes(self) -> np.ndarray:
        """The same in whole bytes."""
        return -(-self.bits // 8)

    def places(self, start: np.ndarray) -> np.ndarray:
        """Where each cell begins, in bits: int64 (N, C), for tables that begin at bits `start` (U,)."""
        row_bits = self.widths.sum(axis=1)
        rows_before = np.cumsum(self.count) - self.count
        row = np.arange(self.count.sum())
        row *= np.repeat(row_bits, self.count)
        row += np.repeat(start - rows_before * row_bits, self.count)
        at = np.repeat(np.cumsum(self.widths, axis=1) - self.widths, self.count, axis=0)
        at += row[:, None]
        return at


def write(tables: Tables, values: np.ndarray) -> list[bytes]:
    """Each user's table; `values` are the rows of all, uint64 (N, C), and nowhere wider than the user's column."""
    word_count = -(-tables.bits // WORD)  # a user's table begins with a word, so that no word is of two users
    begin = np.cumsum(word_count) - word_count
    words = np.zeros(int(word_count.sum()) + 2, np.uint64)
    if values.size:
        _put(words, tables.places(begin * WORD).ravel(), values.ravel())
    content, first = words.tobytes(), 8 * begin
    return [content[start:end] for start, end in zip(first.tolist(), (first + tables.bytes).tolist(), strict=True)]


def _put(words: np.ndarray, at: np.ndarray, cells: np.ndarray) -> None:
    """Set the cells, which do not overlap and are in order of the bits `at` which they begin (overwritten)."""
    word = at >> 6
    at &= WORD - 1
    shift = at.view(np.uint64)
    starts = np.flatnonzero(word[1:] != word[:-1])
    starts = np.concatenate(([0], starts + 1))
    words[word[starts]] = np.bitwise_or.reduceat(cells << shift, starts)
    rest = cells >> _ONE  # in two steps, since a shift by 64 is undefined
    rest >>= np.subtract(_LAST_BIT, shift, out=shift)
    spilt = np.flatnonzero(rest)  # at most one cell reaches into a word
    words[word[spilt] + 1] |= rest[spilt]


def read(tables: Tables, words: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The inverse: uint64 (N, C) from words, uint64, in which each user's table begins at bit `start` (U,)."""
    at = tables.places(start)
    word = at >> 6
    at &= WORD - 1
    shift = at.view(np.uint64)
    cells = words[word]
    cells >>= shift
    word += 1
    rest = words[word]
    rest <<= _ONE
    rest <<= np.subtract(_LAST_BIT, shift, out=shift)
    cells |= rest
    cells &= np.repeat(_MASKS[tables.widths], tables.count, axis=0)
    return cells
