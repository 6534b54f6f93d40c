"""Event logs in files: CSV, JSON Lines or Parquet; plain, .gz, .xz or .zst; columns as ShopEvent's fields.

`user_id`, `event_type` and `occurred_at` are required; `event_id` is derived from the row if absent; a date, or a
time without zone, is read in `timezone`. What comes out is what a Kafka record would hold: (key, JSON value).
Files are streamed: memory does not grow with their length.
"""

import json
from collections.abc import Iterator
from datetime import date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from schemas.read_report import ReadReport
from schemas.rows import REQUIRED, EventFileError, rows_of

__all__ = ["REQUIRED", "EventFileError", "count_events", "numbered_events", "read_events", "useless_file"]
_COMPACT_DATE = len("20260105")  # digits of a date; epoch milliseconds had so few on 1970-01-01 only
_dumps = json.JSONEncoder(default=str).encode


def read_events(path: Path, timezone: str = "UTC") -> Iterator[tuple[bytes, bytes]]:
    """Every row of `path` in file order, as a Kafka record's (key, value).

    Values are passed on as they are: a row that is not a valid ShopEvent is for the decoder to reject. Raises
    `EventFileError` where the file is missing, of an unknown format, or a table that lacks a required column.
    """
    for _, key, value in numbered_events(path, timezone, ReadReport()):
        yield key, value


def numbered_events(path: Path, timezone: str, report: ReadReport) -> Iterator[tuple[int, bytes, bytes]]:
    """The same as (line, key, value); what is noticed on the way goes into `report`."""
    zone = ZoneInfo(timezone)
    report.timezone = timezone
    for number, (line, row) in enumerate(rows_of(path, report)):
        report.rows = number + 1
        yield (line, b"", row) if isinstance(row, bytes) else (line, *_record(number, row, zone, report))


def count_events(path: Path) -> int:
    """How many rows `read_events` would give."""
    return sum(1 for _ in rows_of(path, ReadReport()))


def useless_file(path: Path, report: ReadReport) -> EventFileError:
    """The error about a file that was read whole and holds no event, with the first reasons why."""
    if not report.rows:
        return EventFileError(f"{path} has no events")
    bad = "".join(f"\n  {report.line_name} {each.line:,}: {each.reason}" for each in report.first_bad)
    return EventFileError(f"none of the {report.rows:,} rows of {path} can be used:{bad}")


def _record(number: int, event: dict[str, Any], zone: ZoneInfo, report: ReadReport) -> tuple[bytes, bytes]:
    if "occurred_at" in event:
        event["occurred_at"] = _with_zone(event["occurred_at"], zone, report)
    content = _dumps(event)
    if "event_id" not in event:
        identity = blake2b(f"[{number}, {content}]".encode(), digest_size=12).hexdigest()
        content = f'{{"event_id": "{identity}"{", " if event else ""}{content[1:]}'
    return str(event.get("user_id", "")).encode(errors="replace"), content.encode()


def _with_zone(value: object, zone: ZoneInfo, report: ReadReport) -> object:
    """Dates and naive times get the zone; what is no time at all is left for the decoder to complain about."""
    if isinstance(value, str):
        try:
            value = int(value) if value.isdecimal() and len(value) != _COMPACT_DATE else datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, date):
        if isinstance(value, datetime) and value.tzinfo:
            report.with_zone += 1
            return value.isoformat()
        report.without_zone += 1
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return moment.replace(tzinfo=zone).isoformat()
    report.with_zone += 1
    return value
