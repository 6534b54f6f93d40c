"""Event logs in files: CSV, JSON Lines or Parquet; plain, .gz, .xz or .zst; columns as ShopEvent's fields.

`user_id`, `event_type` and `occurred_at` are required; `event_id` is derived from the row if absent; a date, or a
time without zone, is read in `timezone`. What comes out is what a Kafka record would hold: (key, JSON value).
"""

import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import zstandard
from polars import selectors

from schemas.event import ShopEvent

REQUIRED = ("user_id", "event_type", "occurred_at")
_NUMBERS = ("value", "quantity", "discount", "dwell_ms", "rating", "sentiment")
Row = dict[str, Any] | bytes  # bytes: a line that is no JSON object


class EventFileError(Exception):
    """An event file cannot be read; the message says which and why."""


def read_events(path: Path, timezone: str = "UTC") -> Iterator[tuple[bytes, bytes]]:
    """Every row of `path` in file order, as a Kafka record's (key, value).

    Values are passed on as they are: a row that is not a valid ShopEvent is for the decoder to reject. Raises
    `EventFileError` where the file is missing, of an unknown format, or a table that lacks a required column.
    """
    zone = ZoneInfo(timezone)
    for number, row in enumerate(_rows(path)):
        yield (b"", row) if isinstance(row, bytes) else _record(number, row, zone)


def count_events(path: Path) -> int:
    """How many rows `read_events` would give."""
    return sum(1 for _ in _rows(path))


def _record(number: int, row: dict[str, Any], zone: ZoneInfo) -> tuple[bytes, bytes]:
    event = {name: value for name, value in row.items() if value is not None and name in ShopEvent.model_fields}
    if "occurred_at" in event:
        event["occurred_at"] = _with_zone(event["occurred_at"], zone)
    event.setdefault("event_id", _row_id(number, event))
    key = str(event.get("user_id", "")).encode(errors="replace")
    return key, json.dumps(event, separators=(",", ":"), default=str).encode()


def _rows(path: Path) -> Iterator[Row]:
    try:
        content, suffix = _decompressed(path)
        match suffix:
            case ".csv":
                return map(_with_numbers, _named(path, pl.read_csv(content, infer_schema=False)))
            case ".jsonl" | ".ndjson":
                return (_json_object(line) for line in content if line.strip())
            case ".parquet":
                return _named(path, pl.read_parquet(content).with_columns(selectors.decimal().cast(pl.Float64)))
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, pl.exceptions.PolarsError) as error:
        raise EventFileError(f"cannot read the events in {path}: {error}") from error
    raise EventFileError(f"{path}: unknown format {suffix!r}; use .csv, .jsonl or .parquet, optionally .gz, .xz, .zst")


def _named(path: Path, frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise EventFileError(f"{path} has no column {', '.join(missing)}; required are {', '.join(REQUIRED)}")
    return frame.iter_rows(named=True)


def _json_object(line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return row if isinstance(row, dict) else line


def _with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a row of text; what is no number stays, for the decoder to reject."""
    for name in _NUMBERS:
        with suppress(ValueError):
            if row.get(name) is not None:
                row[name] = float(row[name])
    return row


def _decompressed(path: Path) -> tuple[io.BytesIO, str]:
    content, suffixes = path.read_bytes(), path.suffixes
    match suffixes[-1:]:
        case [".gz"]:
            content, suffixes = gzip.decompress(content), suffixes[:-1]
        case [".xz"]:
            content, suffixes = lzma.decompress(content), suffixes[:-1]
        case [".zst"]:
            content, suffixes = _without_zstd(content), suffixes[:-1]
    return io.BytesIO(content), suffixes[-1] if suffixes else ""


def _without_zstd(content: bytes) -> bytes:
    """All frames, one after the other; unlike the library's readers, it notices that the last one is cut short."""
    frames = []
    while content:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        frames.append(decompressor.decompress(content))
        if not decompressor.eof:
            raise EOFError("compressed file ended before the end of its last frame")
        content = decompressor.unused_data
    return b"".join(frames)


def _with_zone(value: object, zone: ZoneInfo) -> object:
    """Dates and naive times get the zone; what is no time at all is left for the decoder to complain about."""
    if isinstance(value, str):
        try:
            value = int(value) if value.isdecimal() else datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=zone)).isoformat()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=zone).isoformat()
    return value


def _row_id(number: int, event: dict[str, Any]) -> str:
    content = json.dumps([number, event], default=str).encode()
    return blake2b(content, digest_size=12).hexdigest()
