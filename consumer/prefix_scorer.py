"""Scores after events: of the open day alone where the model remembers the days before it, else of all days.

Both give the same bits (model_export.model.Attention), so that no alert depends on what was remembered.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from consumer.core.context import Read, blocks_of, by_length
from consumer.core.features import Days, tokens_of
from consumer.core.fold import Opened
from consumer.core.state import BINS, NO_DAY, States, gathered
from consumer.core.trends import advanced, increments
from consumer.ports import Scorer
from consumer.prefix_cache import CAPACITIES, PrefixCache

_STEP_ROWS = 256  # what a run works on fits in the processor's cache
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
        for length, part in by_length(states.header["days"][rows]):
            given = Read.of(states.take(rows[part]), length)
            hazards[part] = self.model.prefill(given.tokens, given.lengths)[0]
        return hazards

    def score_runs(self, states: States, opened: Opened, entries: np.ndarray) -> "Scored":
        """The same after each event of runs (no user twice) whose days are open and not closed yet.

        `entries` (R,) are the users' numbers in the cache. `Scored.remember` keeps what comes of them.
        """
        runs, rows = opened.runs, opened.rows
        last = states.header["days"][rows].astype(np.int64) - 1
        today, is_late = opened.today, opened.slot < last
        if is_late.any():  # a past day changes: it is closed before the score, which is of the last day as it was
            late = np.flatnonzero(is_late)
            states.days[rows[late], opened.slot[late]] = today[runs.first[late]]
            today = today.copy()
            today[runs.first[late]] = states.days[rows[late], last[late]]
        hit, before = self._remembered(states, rows, entries, is_late)
        misses = np.flatnonzero(~hit)
        self.cache.hits += len(today)
        for length, part in by_length(states.header["days"][rows[misses]]):
            self._prefill(states, rows, entries, misses[part], length, before)
        run = runs.run
        day_before = states.days["day"][rows, np.maximum(last - 1, 0)]
        earlier = np.where(last > 0, day_before, states.header["evicted_day"][rows])
        day = today["day"][runs.first]
        gap_days, purchase_gap_days = _gap(day, earlier), _gap(day, before.purchase_day)
        trends = advanced(before.trends[run], gap_days[run], increments(today))
        token = tokens_of(Days(today, gap_days[run], purchase_gap_days[run], trends))
        hazards = np.empty((len(run), BINS), np.float32)
        memory = np.empty((len(run), self.cache.shape.layers, self.cache.shape.width), self.cache.shape.dtype)
        for part in _by_past(before.days[run]):
            past = before.days[run[part]]
            kept = self.cache.memory(entries[run[part]], max(int(past.max()), 1))
            hazards[part], memory[part] = self.model.step(token[part], kept, past)
        return Scored(self.cache, rows, entries, before, today, trends, memory, hazards)

    def _remembered(
        self, states: States, rows: np.ndarray, entries: np.ndarray, is_late: np.ndarray
    ) -> tuple[np.ndarray, "_Before"]:
        """Whose entry holds all days before the open one, bool (R,), and what it says of them."""
        header, entry = states.header, gathered(self.cache.table, entries)
        same = (header["events"][rows] == entry["events"]) & (states.last_id(rows) == entry["last_id"])
        last = header["days"][rows].astype(np.int64) - 1
        day = states.days["day"]
        is_open = day[rows, last] == entry["last_day"]
        past = np.maximum(entry["days"].astype(np.int64) - is_open, 0)  # an empty entry's last day is somebody else's
        first = np.maximum(last - past, 0)
        first_day, day_before = day[rows, first], day[rows, np.maximum(first - 1, 0)]
        evicted_day = header["evicted_day"][rows]
        broken, of_first, of_before = blocks_of(header["first_ms"][rows], evicted_day, first_day, day_before)
        begins = np.where(evicted_day == NO_DAY, first == 0, of_first != broken)
        begins &= (first == 0) | (of_before == broken)
        follows = is_open | (day[rows, np.maximum(last - 1, 0)] == entry["last_day"])
        holds = same & (entry["days"] > 0) & ~is_late & (past <= last)
        return holds & (first_day == entry["first_day"]) & begins & follows, _Before(
            days=past,
            first_day=entry["first_day"].copy(),
            purchase_day=np.where(is_open, entry["purchase_before"], entry["purchase_through"]),
            trends=np.where(is_open[:, None], entry["trends_before"], entry["trends_through"]),
        )

    def _prefill(
        self, states: States, rows: np.ndarray, entries: np.ndarray, part: np.ndarray, length: int, before: "_Before"
    ) -> None:
        """Have the days before the open one of a `part` of the users, who have no more than `length`, remembered, and
        told in `before`, in place."""
        rows, entries = rows[part], entries[part]
        given = Read.of(states.take(rows), length)
        past = given.lengths - 1
        if past.any():
            prefilled = int(np.count_nonzero(past))
            self.cache.hits -= prefilled
            self.cache.prefills += prefilled
            self.cache.replace(entries, self.model.prefill(given.tokens, np.maximum(past, 1))[1], past)
        all_rows, last = np.arange(len(rows)), states.header["days"][rows].astype(np.int64) - 1
        day, gap_days = states.days["day"][rows, last], given.walked.purchase_gap_days[all_rows, last]
        trends = given.walked.trends[all_rows, np.maximum(last - 1, 0)]
        before.days[part] = past
        before.first_day[part] = states.days["day"][rows, last - past]
        before.purchase_day[part] = np.where(gap_days < 0, NO_DAY, day - gap_days)
        before.trends[part] = np.where(last[:, None] > 0, trends, states.header["evicted_trends"][rows])


@dataclass(frozen=True)
class _Before:
    """What is known of the days before the open one, of R users."""

    days: np.ndarray  # int64 (R,): how many the model reads
    first_day: np.ndarray  # (R,): the first that it reads, the open one included
    purchase_day: np.ndarray  # (R,): the last with a purchase; NO_DAY: none
    trends: np.ndarray  # float32 (R, TRENDS)


@dataclass(frozen=True)
class Scored:
    """Scores after each of N events of R runs, and what the model made of the open day at each."""

    cache: PrefixCache
    rows: np.ndarray  # (R,)
    entries: np.ndarray  # (R,)
    before: _Before
    today: np.ndarray  # (N,)
    trends: np.ndarray  # float32 (N, TRENDS)
    memory: np.ndarray  # (N, layers, width)
    hazards: np.ndarray  # float32 (N, BINS)

    def remember(self, states: States, at: np.ndarray) -> None:
        """Keep the open days as of the events `at` (R,), the last ones that were folded into `states`."""
        table, entries, before, today = self.cache.table, self.entries, self.before, gathered(self.today, at)
        self.cache.append(entries, self.memory[at], before.days + 1)
        table["events"][entries] = states.header["events"][self.rows]
        table["last_id"][entries] = states.last_id(self.rows)
        table["days"][entries] = before.days + 1
        table["first_day"][entries] = before.first_day
        table["last_day"][entries] = today["day"]
        table["purchase_before"][entries] = before.purchase_day
        table["purchase_through"][entries] = np.where(today["purchases"] > 0, today["day"], before.purchase_day)
        table["trends_before"][entries] = before.trends
        table["trends_through"][entries] = self.trends[at]


def _gap(day: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Days since an earlier day; -1 if that is NO_DAY."""
    return np.where(before == NO_DAY, -1, day.astype(np.int64) - before)


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
