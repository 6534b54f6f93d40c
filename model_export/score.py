"""`ebbtide score`: an event log in, one row per customer out.

One pass over the log spreads its events over files by user; then these are folded and scored some thousand users at a
time, so that memory depends neither on how long the log is nor on how many customers it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.events import Events
from consumer.core.fold import FoldRules, fold
from consumer.core.policy import Policy, PolicyRules
from consumer.core.risk import churn_probability, expected_events
from consumer.core.state import States, empty_states
from model_export.reading import check, decoded_chunks
from model_export.results import check_name, results
from model_export.shards import Shards, UserEvents
from schemas.read_report import ReadReport

COLUMNS: Final = ("user_id", "churn_probability", "expected_purchases", "days_since_last_event")
_PURCHASE_HEAD = 0
_USERS_AT_ONCE = 4_096
_SHARDS = 64


class Model(Protocol):
    """What scoring needs of a model."""

    def with_shop(self, shop: np.ndarray) -> Self:
        """The same weights for a shop with this token."""

    def log_hazards(self, states: States) -> np.ndarray:
        """Log-hazards as of each user's last active day: float32 (U, heads, BINS)."""


@dataclass(frozen=True)
class ShopSample:
    """How the shop token is computed from the log itself."""

    token: Callable[[States, int], np.ndarray]  # (states, until_day) to the token
    users: int  # of so many customers at most


@dataclass(frozen=True)
class Question:
    """Who will not have bought within `horizon_days` of `as_of_ms`? Days are those of the calendar's zone."""

    as_of_ms: int
    horizon_days: float
    calendar: Calendar

    @property
    def day(self) -> int:
        """Number of the local day that the question falls into."""
        return int(self.calendar.day_of(np.array([self.as_of_ms]))[0])


def score(
    path: Path,
    out: Path,
    question: Question,
    model: Model,
    sample: ShopSample | None = None,
    shards: int = _SHARDS,
    users_at_once: int = _USERS_AT_ONCE,
) -> ReadReport:
    """Write `COLUMNS` of every user known before the question to `out`; returns how reading went.

    Rows come in an order that depends on the user ids alone. With a `sample`, the model is told of the shop by what
    the log holds before the question's day. Raises `EventFileError`.
    """
    check_name(out)
    report = ReadReport()
    with results(out) as (write, folder), Shards(folder, shards) as spread, _progress() as progress:
        _spread(path, question, report, spread, progress)
        check(path, report)
        if sample:
            model = model.with_shop(_shop(spread, question, sample, users_at_once))
        for shard in progress.track(range(shards), description="scoring"):
            for part in spread.read(shard, users_at_once):
                report.users += len(part.users)
                write(_rows(part, question, model))
    return report


def _spread(path: Path, question: Question, report: ReadReport, spread: Shards, progress: Progress) -> None:
    task = progress.add_task("reading", total=None)
    for users, events in decoded_chunks(path, question.calendar.timezone, question.as_of_ms, report):
        spread.add(users, events)
        progress.update(task, description=f"reading, {report.rows:,} rows")
    spread.finish()
    progress.update(task, total=1, completed=1)


def _rows(part: UserEvents, question: Question, model: Model) -> pl.DataFrame:
    states = _folded(len(part.users), part.events, question.calendar)
    rows, as_of_ms = np.arange(len(states)), np.full(len(states), question.as_of_ms)
    log_hazards = model.log_hazards(states)[:, _PURCHASE_HEAD]
    horizon_days = question.horizon_days
    policy = Policy(PolicyRules((), 0.0, horizon_days), question.calendar)
    silence_days = policy.silence_days(states, rows, as_of_ms)
    values = (
        part.users,
        churn_probability(log_hazards, silence_days, horizon_days),
        expected_events(log_hazards, silence_days, horizon_days),
        (as_of_ms - states.header["last_ms"]) / DAY_MS,
    )
    return pl.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def _folded(users: int, events: Events, calendar: Calendar) -> States:
    states = empty_states(users)
    fold(states, events, FoldRules(calendar, "purchase"))
    return states


def _shop(spread: Shards, question: Question, sample: ShopSample, users_at_once: int) -> np.ndarray:
    """The token as of the start of the question's day, of the users with the smallest hashes: a random sample.

    Of a log that began on that very day it is the token as of the day's end.
    """
    for until_day in (question.day, question.day + 1):
        until_ms = int(question.calendar.start_of(np.array([until_day]))[0])
        states = _sampled_states(spread, until_ms, question.calendar, sample.users, users_at_once)
        if len(states):
            break
    return sample.token(states, until_day)


def _sampled_states(spread: Shards, until_ms: int, calendar: Calendar, count: int, users_at_once: int) -> States:
    parts, missing = [empty_states(0)], count
    for shard in range(spread.count):
        for part in spread.read(shard, users_at_once):
            events = part.events.take(part.events.time_ms < until_ms)
            known = np.unique(events.row)[:missing]
            parts.append(_folded(len(part.users), events, calendar).take(known))
            missing -= len(known)
            if not missing:
                return _joined(parts)
    return _joined(parts)


def _joined(parts: list[States]) -> States:
    return States(np.concatenate([part.header for part in parts]), np.concatenate([part.days for part in parts]))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)
