"""What is foretold: users × cut-off times, and nothing but the log before each cut-off to foretell it from.

A `Past` holds the events before its cut-off and no others, so that whoever is handed one cannot reach later ones, by
mistake or otherwise. A customer is someone with at least one purchase before the cut-off: users known only from a
campaign or a refund have nothing to stay away from.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from consumer.core.events import PURCHASE, Events
from consumer.core.features import WINDOWS_DAYS, rolling
from consumer.core.fold import Fate, FoldRules, fold
from consumer.core.state import empty_states
from model_export.data import Log
from model_export.reading import read_columns
from schemas.read_report import ReadReport

FEATURE_WINDOWS_DAYS = (*WINDOWS_DAYS, 365)  # a year more than the service shows, for long horizons
_END_OF_TIME_MS = 2**62


class EvaluationError(Exception):
    """There is nothing to evaluate; the message says why."""


@dataclass(frozen=True, eq=False)
class Past:
    """Every event before local midnight of day `until_day`, in order of time, and nothing later.

    Users are numbered by first appearance.
    """

    users: list[str]
    events: Events
    until_day: int
    rules: FoldRules
    _features: dict[int, dict[str, np.ndarray]] = field(default_factory=dict, repr=False)

    def earlier(self, day: int) -> "Past":
        """The same log as it was before day `day`, which is not after the cut-off."""
        if day > self.until_day:
            raise EvaluationError(f"day {day} is after the cut-off, day {self.until_day}")
        return _before(self.users, self.events, day, self.rules)

    @cached_property
    def log(self) -> Log:
        """The events folded; one row per user."""
        states = empty_states(len(self.users))
        fate = fold(states, self.events, self.rules)
        folded = int((fate == Fate.FOLDED).sum())
        return Log(self.users, states, self.until_day, folded, len(fate) - folded)

    @cached_property
    def purchase_days(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and local day number of every purchase day, by row and day; int64 (N,) each."""
        bought = self.events.take(np.flatnonzero(self.events.kind == PURCHASE))
        pairs = np.stack((bought.row, self.rules.calendar.day_of(bought.time_ms)), axis=1)
        row, day = np.unique(pairs, axis=0).T
        return row, day

    @cached_property
    def customers(self) -> np.ndarray:
        """Rows of the users who have bought; int64 (C,), ascending."""
        return np.unique(self.purchase_days[0])

    def customers_before(self, day: int) -> np.ndarray:
        """Rows of the users who had bought before a day; int64, ascending."""
        row, bought = self.purchase_days
        return np.unique(row[bought < day])

    @cached_property
    def purchase_day_counts(self) -> np.ndarray:
        """On how many days each customer has bought; int64 (C,)."""
        return np.unique(self.purchase_days[0], return_counts=True)[1]

    @property
    def first_day(self) -> int:
        """Day number of the first purchase."""
        return int(self.purchase_days[1].min())

    def features(self, day: int) -> dict[str, np.ndarray]:
        """Rolling features of the customers known before day `day`, as of its eve; float64 (C,) each."""
        if day not in self._features:
            past = self if day == self.until_day else self.earlier(day)
            states = past.log.states.take(past.customers)
            as_of_day = np.full(len(states), day - 1, np.int64)
            self._features[day] = rolling(states, as_of_day, FEATURE_WINDOWS_DAYS)
        return self._features[day]

    def stayed_away(self, from_day: int, horizon_days: int) -> np.ndarray:
        """Whether each customer known before `from_day` bought nothing in the `horizon_days` from it on; bool (C,).

        The log must reach so far.
        """
        assert from_day + horizon_days <= self.until_day
        row, day = self.purchase_days
        bought = row[(day >= from_day) & (day < from_day + horizon_days)]
        return ~np.isin(self.customers_before(from_day), bought)


@dataclass(frozen=True, eq=False)
class Task:
    """Foretell for every customer of `past`: no purchase within `horizon_days` of the cut-off."""

    past: Past
    horizon_days: int


def read_past(path: Path, rules: FoldRules, report: ReadReport | None = None) -> Past:
    """All events of a file, up to the end of its last day; raises `EventFileError` where they are of no use."""
    users, events = read_columns(path, rules, _END_OF_TIME_MS, report or ReadReport())
    return Past(users, events, int(rules.calendar.day_of(events.time_ms[-1:])[0]) + 1, rules)


def _before(users: list[str], events: Events, day: int, rules: FoldRules) -> Past:
    until_ms = int(rules.calendar.start_of(np.array([day]))[0])
    count = int(np.searchsorted(events.time_ms, until_ms))
    kept = events.take(np.arange(count))
    known = int(kept.row.max()) + 1 if count else 0
    past = Past(users[:known], kept, day, rules)
    if not len(past.customers):
        raise EvaluationError("nobody has bought anything before the cut-off")
    return past
