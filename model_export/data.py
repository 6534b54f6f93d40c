"""Training data: an event log folded up to a cut-off, as tokens and the times to what came next.

Tokens come from the decode, fold and features that the service runs; only the targets are made here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from consumer.core.decode import Limits, Record, decode
from consumer.core.events import Events
from consumer.core.features import tokens
from consumer.core.fold import Fate, FoldRules, Target, fold, target_count
from consumer.core.state import MAX_DAYS, States, empty_states
from schemas.dead_letter import RejectCode
from schemas.files import read_events

HEADS: Final[tuple[Target, Target]] = ("purchase", "activity")
PRIMARY_TARGET: Final = HEADS[0]  # what thresholds and metrics are about
_EPOCH = date(1970, 1, 1)
_RECORDS_AT_ONCE = 20_000
_USERS_AT_ONCE = 2_000
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Log:
    """An event log folded up to, and without, local day `until_day`; `states` has one row per user."""

    users: list[str]
    states: States
    until_day: int
    events: int  # folded
    dropped: int  # unusable, duplicate or too late

    @property
    def first_day(self) -> int:
        """Day number of the earliest kept user-day."""
        return int(self.states.days["day"][:, 0].min())

    def silence_days(self) -> np.ndarray:
        """Days from the end of each user's last active day to the cut-off; int64 (U,)."""
        return self.until_day - 1 - self.states.last_day(np.arange(len(self.states)))


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def read_log(path: Path, until: date, rules: FoldRules) -> Log:
    """Fold the events of `path` that happened before local midnight of `until`; later ones are not looked at."""
    until_ms = int(rules.calendar.start_of(np.array([day_number(until)]))[0])
    row_of: dict[str, int] = {}
    parts: list[Events] = []
    rejected = 0
    for records in _chunks(read_events(path, rules.calendar.timezone)):
        decoded = decode(records, now_ms=until_ms - 1, limits=Limits(max_future_ms=0))
        rejected += sum(each.code != RejectCode.IN_THE_FUTURE for each in decoded.rejected)
        rows = np.array([row_of.setdefault(user, len(row_of)) for user in decoded.users], np.int64)
        parts.append(replace(decoded.events, row=rows[decoded.events.row]))
    states = empty_states(len(row_of))
    fate = fold(states, Events.concatenate(parts), rules)
    folded = int((fate == Fate.FOLDED).sum())
    return Log(list(row_of), states, day_number(until), folded, rejected + len(fate) - folded)


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while chunk := list(islice(records, _RECORDS_AT_ONCE)):
        yield chunk


@dataclass(frozen=True)
class Panel:
    """N user-days of U users, user by user, oldest first, and what came after each.

    Per head: `gap_days` counts whole days from the end of the user-day. Observed: the next target event fell into
    (gap - 1, gap]. Not observed: there was none in (0, gap], and nothing is known beyond (right-censored).
    """

    tokens: np.ndarray  # float32 (N, TOKEN_SIZE)
    day: np.ndarray  # int64 (N,)
    gap_days: np.ndarray  # int64 (N, heads)
    observed: np.ndarray  # bool (N, heads)
    length: np.ndarray  # int64 (U,): user-days per user
    until_day: int

    @property
    def start(self) -> np.ndarray:
        """Where each user's user-days begin; int64 (U,)."""
        return np.cumsum(self.length) - self.length

    def entry_days(self, from_day: int) -> np.ndarray:
        """Silence already seen when day `from_day` begins: int64 (N,); scoring later time counts from there."""
        return np.maximum(from_day - 1 - self.day, 0)


def panel_of(log: Log) -> Panel:
    """The user-days of a log, with targets."""
    rows = np.arange(len(log.states))
    parts = [
        _user_days(log.states.take(rows[first : first + _USERS_AT_ONCE]), log.until_day)
        for first in range(0, len(rows), _USERS_AT_ONCE)
    ]
    token, day, gap_days, observed = (np.concatenate(column) for column in zip(*parts, strict=True))
    length = log.states.header["days"].astype(np.int64)
    return Panel(token, day, gap_days, observed, length, log.until_day)


def _user_days(states: States, until_day: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    present = np.arange(MAX_DAYS) < states.header["days"][:, None]
    targets = [_next_target(states, present, head, until_day) for head in HEADS]
    gap_days = np.stack([gap for gap, _ in targets], axis=-1)
    observed = np.stack([seen for _, seen in targets], axis=-1)
    day = states.days["day"].astype(np.int64)
    return tokens(states)[present], day[present], gap_days[present], observed[present]


def _next_target(states: States, present: np.ndarray, target: Target, until_day: int) -> tuple[np.ndarray, np.ndarray]:
    """Days from each user-day to the user's next target day, and whether there was one; shapes (U, 64)."""
    day = states.days["day"].astype(np.int64)
    target_day = np.where(present & (target_count(states.days, target) > 0), day, _NEVER)
    at_or_after = np.minimum.accumulate(target_day[:, ::-1], axis=1)[:, ::-1]
    following = np.concatenate((at_or_after[:, 1:], np.full((len(day), 1), _NEVER)), axis=1)
    observed = following != _NEVER
    return np.where(observed, following, until_day - 1) - day, observed
