"""An event log up to a cut-off as columns: what training, calibration, evaluation and scoring read of a file.

What is at or after the cut-off is never used; everything unusual (bad rows, rows out of order, times without a zone)
is written into a `ReadReport`, and what cannot lead to a result raises `EventFileError` with a sentence for people.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from consumer.core.decode import decode
from consumer.core.events import PURCHASE, Events
from consumer.core.fold import FoldRules
from schemas.event import MAX_TIME_MS
from schemas.files import EventFileError, numbered_events, useless_file
from schemas.read_report import ReadReport, local_time

_ROWS_AT_ONCE = 20_000
Numbered = list[tuple[int, bytes, bytes]]  # (line, key, value)


def read_columns(
    path: Path, rules: FoldRules, until_ms: int, report: ReadReport, needs_purchase: bool = True
) -> tuple[list[str], Events]:
    """Users known before `until_ms`, in order of appearance, and their events in order of time.

    Rows of one instant keep the file's order. Raises `EventFileError`, see `check`.
    """
    row_of: dict[str, int] = {}
    parts: list[Events] = []
    for users, events in decoded_chunks(path, rules.calendar.timezone, until_ms, report):
        rows = np.array([row_of.setdefault(user, len(row_of)) for user in users], np.int64)
        parts.append(replace(events, row=rows[events.row]))
    check(path, report, needs_purchase)
    report.users = len(row_of)
    users, events = list(row_of), Events.concatenate(parts)
    return _in_time_order(users, events) if report.out_of_order else (users, events)


def decoded_chunks(path: Path, timezone: str, until_ms: int, report: ReadReport) -> Iterator[tuple[list[str], Events]]:
    """The usable events before `until_ms` in file order, some thousands at a time, with the users that rows mean.

    Call `check` when all are read.
    """
    report.until_ms = until_ms if until_ms <= MAX_TIME_MS else None
    numbered = numbered_events(path, timezone, report)
    while chunk := list(islice(numbered, _ROWS_AT_ONCE)):
        yield _usable(chunk, until_ms, report)


def check(path: Path, report: ReadReport, needs_purchase: bool = True) -> None:
    """Raises `EventFileError` where a log that has been read is empty, useless, all later, or without a purchase."""
    if not report.used and not report.later:
        raise useless_file(path, report)
    if report.used and (report.purchases or not needs_purchase):
        return
    until = "" if report.until_ms is None else f" before {_written(report.until_ms, report)}"
    if report.used:
        raise EventFileError(
            f"{path} has no purchase{until}, only {report.used:,} other events: nothing can be said of buying"
        )
    first = _written(report.first_later_ms, report)
    raise EventFileError(f"nothing in {path} is from{until}: its first event is of {first}")


def _usable(chunk: Numbered, until_ms: int, report: ReadReport) -> tuple[list[str], Events]:
    decoded = decode([(key, value) for _, key, value in chunk], now_ms=MAX_TIME_MS)
    for each in decoded.rejected:
        report.reject(chunk[each.index][0], each.code, each.reason)
    is_before = decoded.events.time_ms < until_ms
    _note_later(decoded.events.time_ms[~is_before], report)
    events = decoded.events.take(is_before)
    _note_used(events, report)
    rows, row = np.unique(events.row, return_inverse=True)  # numbered by appearance, so they stay in that order
    return [decoded.users[each] for each in rows.tolist()], replace(events, row=row)


def _note_later(time_ms: np.ndarray, report: ReadReport) -> None:
    if len(time_ms):
        report.later += len(time_ms)
        report.first_later_ms = min([int(time_ms.min()), *_known(report.first_later_ms)])


def _note_used(events: Events, report: ReadReport) -> None:
    if not len(events):
        return
    time_ms = events.time_ms
    latest_ms = np.maximum.accumulate(np.array([*_known(report.last_ms), *time_ms], np.int64))
    report.out_of_order += int((time_ms < latest_ms[-len(time_ms) :]).sum())
    report.used += len(events)
    report.purchases += int((events.kind == PURCHASE).sum())
    report.first_ms = min([int(time_ms.min()), *_known(report.first_ms)])
    report.last_ms = int(latest_ms[-1])


def _known(value: int | None) -> list[int]:
    return [] if value is None else [value]


def _in_time_order(users: list[str], events: Events) -> tuple[list[str], Events]:
    events = events.take(np.argsort(events.time_ms, kind="stable"))
    rows, first = np.unique(events.row, return_index=True)
    appearance = rows[np.argsort(first, kind="stable")]
    row_of = np.empty(len(users), np.int64)
    row_of[appearance] = np.arange(len(users))
    return [users[each] for each in appearance.tolist()], replace(events, row=row_of[events.row])


def _written(time_ms: int | None, report: ReadReport) -> str:
    assert time_ms is not None
    return f"{local_time(time_ms, report.timezone)} ({report.timezone})"
