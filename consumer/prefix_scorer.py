"""Scores after events: of the open day alone where the model remembers the days before it, else of all days.

Both give the same bits (model_export.model.Attention), so that no alert depends on what was remembered.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from consumer.core.context import BLOCK_DAYS, first_read, left_aligned
from consumer.core.features import Days, tokens_of, walked
from consumer.core.state import BINS, MAX_DAYS, NO_DAY, RECENT_IDS, States
from consumer.core.trends import advanced, increments
from consumer.ports import Scorer
from consumer.prefix_cache import CAPACITIES, PrefixCache

_STEP_ROWS = 256  # what a run works on fits in the processor's cache
_PREFILL_TOKENS = 2048
_SMALL_GROUP = 32  # fewer rows cost less as part of a run over longer histories than in a run of their own


@dataclass(frozen=True)
class PrefixScorer:
    """The model, and what it remembers of past days."""

    model: Scorer
    cache: PrefixCache

    def afresh(self) -> "PrefixScorer":
        """The same model, with nothing remembered and no bound on what will be."""
        return PrefixScorer(self.model, PrefixCache(self.cache.shape, sys.maxsize))

    def score(self, states: States, rows: np.ndarray) -> np.ndarray:
        """Log-hazards (R, BINS) of some users, from all of their days; nothing is remembered."""
        hazards = np.empty((len(rows), BINS), np.float32)
        for part in _by_length(states.header["days"][rows]):
            given = _Read.of(States(states.header[rows[part]], states.days[rows[part]]))
            hazards[part] = self.model.prefill(given.tokens, given.lengths)[0]
        return hazards

    def score_after_events(
        self, states: States, rows: np.ndarray, entries: np.ndarray, is_late: np.ndarray
    ) -> np.ndarray:
        """The same of users (no row twice) who have each had one event since they were scored the last time, if ever.

        `entries` (R,) are their numbers in the cache; an event that `is_late` (R,) may have changed a past day.
        """
        hazards = np.empty((len(rows), BINS), np.float32)
        hit, past = self._remembered(states, rows, entries, is_late)
        hits, misses = np.flatnonzero(hit), np.flatnonzero(~hit)
        self.cache.hits += len(hits)
        self.cache.prefills += len(misses)
        if len(hits):
            hazards[hits] = self._step(states, rows[hits], entries[hits], past[hits])
        for part in _by_length(states.header["days"][rows[misses]]):
            some = misses[part]
            hazards[some] = self._prefill(states, rows[some], entries[some])
        table, header = self.cache.table, states.header
        table["events"][entries] = header["events"][rows]
        table["last_id"][entries] = states.last_id(rows)
        return hazards

    def _remembered(
        self, states: States, rows: np.ndarray, entries: np.ndarray, is_late: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whose entry holds all days before the open one, bool (R,), and how many these are, int64 (R,)."""
        header, entry = states.header, self.cache.table[entries]
        before_last = header["recent_ids"][rows, (header["next_id"][rows].astype(np.int64) - 2) % RECENT_IDS]
        is_next = (header["events"][rows] == entry["events"] + 1) & (before_last == entry["last_id"])
        last = header["days"][rows].astype(np.int64) - 1
        day = states.days["day"]
        is_open = day[rows, last] == entry["last_day"]
        past = entry["days"].astype(np.int64) - is_open
        first = np.maximum(last - past, 0)
        first_day, day_before = day[rows, first], day[rows, np.maximum(first - 1, 0)]
        evicted_day = header["evicted_day"][rows]
        block, none_left = evicted_day // BLOCK_DAYS, evicted_day == NO_DAY
        begins = np.where(none_left, first == 0, first_day // BLOCK_DAYS != block)
        begins &= (first == 0) | (day_before // BLOCK_DAYS == block)
        follows = is_open | (day[rows, np.maximum(last - 1, 0)] == entry["last_day"])
        holds = is_next & (entry["days"] > 0) & ~is_late & (past <= last)
        return holds & (first_day == entry["first_day"]) & begins & follows, past

    def _step(self, states: States, rows: np.ndarray, entries: np.ndarray, past: np.ndarray) -> np.ndarray:
        """Of users whose entries hold their `past` (R,) days: the open day, which is remembered as well."""
        entry, last = self.cache.table[entries], states.header["days"][rows].astype(np.int64) - 1
        today = states.days[rows, last]
        is_open = today["day"] == entry["last_day"]
        trends_before = np.where(is_open[:, None], entry["trends_before"], entry["trends_through"])
        purchase_before = np.where(is_open, entry["purchase_before"], entry["purchase_through"])
        earlier = states.days["day"][rows, np.maximum(last - 1, 0)]
        day_before = np.where(last > 0, earlier, states.header["evicted_day"][rows])
        gap_days = _gap(today["day"], day_before)
        trends = advanced(trends_before, gap_days, increments(today))
        token = tokens_of(Days(today, gap_days, _gap(today["day"], purchase_before), trends))
        hazards = np.empty((len(rows), BINS), np.float32)
        memory = np.empty((len(rows), self.cache.shape.layers, self.cache.shape.width), self.cache.shape.dtype)
        for part in _by_past(past):
            kept = self.cache.memory(entries[part], max(int(past[part].max()), 1))
            hazards[part], memory[part] = self.model.step(token[part], kept, past[part])
        self.cache.append(entries, memory, past + 1)
        self._note(entries, today, past + 1, (purchase_before, trends_before, trends))
        return hazards

    def _prefill(self, states: States, rows: np.ndarray, entries: np.ndarray) -> np.ndarray:
        given = _Read.of(States(states.header[rows], states.days[rows]))
        hazards, memory = self.model.prefill(given.tokens, given.lengths)
        self.cache.replace(entries, memory, given.lengths)
        all_rows, last = np.arange(len(rows)), states.header["days"][rows].astype(np.int64) - 1
        walked_days, today = given.walked, states.days[rows, last]
        gap_days = walked_days.purchase_gap_days[all_rows, last]
        purchase_before = np.where(gap_days < 0, NO_DAY, today["day"] - gap_days)
        before = walked_days.trends[all_rows, np.maximum(last - 1, 0)]
        before = np.where(last[:, None] > 0, before, states.header["evicted_trends"][rows])
        trends = (purchase_before, before, walked_days.trends[all_rows, last])
        self._note(entries, today, given.lengths, trends)
        self.cache.table["first_day"][entries] = states.days["day"][rows, last + 1 - given.lengths]
        return hazards

    def _note(
        self,
        entries: np.ndarray,
        today: np.ndarray,
        days: np.ndarray,
        summary: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        """What entries hold now, `today` being the open day."""
        purchase_before, trends_before, trends = summary
        table = self.cache.table
        table["days"][entries] = days
        table["last_day"][entries] = today["day"]
        table["purchase_before"][entries] = purchase_before
        table["purchase_through"][entries] = np.where(today["purchases"] > 0, today["day"], purchase_before)
        table["trends_before"][entries] = trends_before
        table["trends_through"][entries] = trends


@dataclass(frozen=True)
class _Read:
    """What the model reads of some users."""

    walked: Days
    tokens: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, states: States) -> "_Read":
        count = states.header["days"].astype(np.int64)
        length = _padded(int(count.max()))
        part = States(states.header, states.days[:, :length])
        days = walked(part, length)
        given = tokens_of(days)
        given[np.arange(length) >= count[:, None]] = 0.0
        return cls(days, *left_aligned(given, count, first_read(part)))


def _gap(day: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Days since an earlier day; -1 if that is NO_DAY."""
    return np.where(before == NO_DAY, -1, day.astype(np.int64) - before)


def _padded(length: int) -> int:
    """The next power of two."""
    return 1 << (length - 1).bit_length()


def _by_length(days: np.ndarray) -> Iterator[np.ndarray]:
    """Rows whose histories fit into 1, 2, 4 … 64 tokens, as many as are worked on at a time."""
    length = 1
    while length <= MAX_DAYS:
        rows = np.flatnonzero((days <= length) & (days > length // 2))
        size = max(_PREFILL_TOKENS // length, 1)
        yield from (rows[begin : begin + size] for begin in range(0, len(rows), size))
        length *= 2


def _by_past(past: np.ndarray) -> Iterator[np.ndarray]:
    """Rows that are stepped together: about as many past days each, unless they are few."""
    order = np.argsort(past, kind="stable")
    ends = np.searchsorted(past[order], CAPACITIES, side="right")
    begin = 0
    for end in ends.tolist():
        if end - begin < _SMALL_GROUP and end < len(past):
            continue
        for at in range(begin, end, _STEP_ROWS):
            yield order[at : min(at + _STEP_ROWS, end)]
        begin = end
