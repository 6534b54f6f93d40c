"""Event logs in files: CSV, JSON Lines or Parquet; plain, .gz, .xz or .zst; columns as ShopEvent's fields.

`user_id`, `event_type` and `occurred_at` are required; `event_id` is derived from the row if absent; a date, or a
time without zone, is read in `timezone`. What comes out is what a Kafka record would hold: (key, JSON value).
"""

import gzip
import io
import json
import lzma
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import zstandard

from schemas.event import ShopEvent

REQUIRED = ("user_id", "event_type", "occurred_at")
_NUMBERS = ("value", "quantity", "discount", "dwell_ms", "rating", "sentiment")


class EventFileError(Exception):
    """An event file cannot be read; the message says which and why."""


def read_events(path: Path, timezone: str = "UTC") -> Iterator[tuple[bytes, bytes]]:
    """Every row of `path` in file order, as a Kafka record's (key, value).

    Values are passed on as they are: a row that is not a valid ShopEvent is for the decoder to reject. Raises
    `EventFileError` where the file is missing, of an unknown format, or lacks a required column.
    """
    rows = _rows(path)
    zone = ZoneInfo(timezone)
    for number, row in enumerate(rows):
        event = {name: value for name, value in row.items() if value is not None and name in ShopEvent.model_fields}
        event["occurred_at"] = _with_zone(event.get("occurred_at"), zone)
        event.setdefault("event_id", _row_id(number, event))
        yield str(event.get("user_id", "")).encode(), json.dumps(event, separators=(",", ":")).encode()


def count_events(path: Path) -> int:
    """How many rows `read_events` would give."""
    return len(_frame(path)[0])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    frame, as_text = _frame(path)
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise EventFileError(f"{path} has no column {', '.join(missing)}; required are {', '.join(REQUIRED)}")
    rows = frame.iter_rows(named=True)
    return map(_with_numbers, rows) if as_text else rows


def _with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a row of text; what is no number stays, for the decoder to reject."""
    for name in _NUMBERS:
        with suppress(ValueError):
            if row.get(name) is not None:
                row[name] = float(row[name])
    return row


def _frame(path: Path) -> tuple[pl.DataFrame, bool]:
    """The file's table, and whether every column is text (a CSV has no types)."""
    try:
        content, suffix = _decompressed(path)
        match suffix:
            case ".csv":
                return pl.read_csv(content, infer_schema=False), True
            case ".jsonl" | ".ndjson":
                return pl.read_ndjson(content, infer_schema_length=None), False
            case ".parquet":
                return pl.read_parquet(content), False
    except (OSError, EOFError, lzma.LZMAError, zstandard.ZstdError, pl.exceptions.PolarsError) as error:
        raise EventFileError(f"cannot read the events in {path}: {error}") from error
    raise EventFileError(f"{path}: unknown format {suffix!r}; use .csv, .jsonl or .parquet, optionally .gz, .xz, .zst")


def _decompressed(path: Path) -> tuple[io.BytesIO, str]:
    content, suffixes = path.read_bytes(), path.suffixes
    match suffixes[-1:]:
        case [".gz"]:
            content, suffixes = gzip.decompress(content), suffixes[:-1]
        case [".xz"]:
            content, suffixes = lzma.decompress(content), suffixes[:-1]
        case [".zst"]:
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                content, suffixes = reader.read(), suffixes[:-1]
    return io.BytesIO(content), suffixes[-1] if suffixes else ""


def _with_zone(value: object, zone: ZoneInfo) -> object:
    """Dates and naive times get the zone; what is no time at all is left for the decoder to complain about."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    elif isinstance(value, str):
        return int(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=zone)).isoformat()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=zone).isoformat()
    return value


def _row_id(number: int, event: dict[str, Any]) -> str:
    content = json.dumps([number, event], default=str).encode()
    return blake2b(content, digest_size=12).hexdigest()
