"""The rows of an event file as dictionaries with line numbers, one after the other: CSV, JSON Lines or Parquet."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars import selectors

from schemas.compressed import UNREADABLE, kind_of, open_content, open_seekable
from schemas.event import ShopEvent
from schemas.read_report import ReadReport

REQUIRED: Final = ("user_id", "event_type", "occurred_at")
FIELDS: Final = frozenset(ShopEvent.model_fields)
NUMBERS: Final = frozenset(("value", "quantity", "discount", "dwell_ms", "rating", "sentiment"))
Row = dict[str, Any] | bytes  # bytes: a line that is no JSON object, or has more fields than the header
_MAX_LINE_BYTES = 1024 * 1024  # of a longer line the rest is passed over: it is far beyond what the decoder takes
_ROWS_AT_ONCE = 50_000


class EventFileError(Exception):
    """An event file cannot be read, or is of no use; the message says which and why."""


def rows_of(path: Path, report: ReadReport) -> Iterator[tuple[int, Row]]:
    """(line, row) in file order: known columns only, empty values left out. Raises `EventFileError`."""
    suffix, compression = kind_of(path)
    reader = _READERS.get(suffix)
    if reader is None:
        known = ".csv, .jsonl or .parquet, optionally .gz, .xz, .zst"
        raise EventFileError(f"{path}: unknown format {suffix!r}; use {known}")
    try:
        yield from reader(path, compression, report)
    except UnicodeDecodeError as error:
        raise EventFileError(f"cannot read the events in {path}: invalid utf-8 text: {error}") from error
    except (*UNREADABLE, csv.Error, pl.exceptions.PolarsError) as error:
        raise EventFileError(f"cannot read the events in {path}: {error}") from error


def _csv(path: Path, compression: str, report: ReadReport) -> Iterator[tuple[int, Row]]:
    with open_content(path, compression) as content:
        lines = csv.reader(io.TextIOWrapper(content, "utf-8-sig", newline=""))
        header = next(lines, None)
        if header is None:
            raise EventFileError(f"cannot read the events in {path}: empty CSV")
        _check_columns(path, header, report)
        known = [(index, name, name in NUMBERS) for index, name in enumerate(header) if name in FIELDS]
        line, width = lines.line_num + 1, len(header)
        for values in lines:
            if len(values) > width:
                yield line, ",".join(values).encode()  # one field too many: for the decoder to reject
            elif values:
                yield line, _csv_row(values, known)
            line = lines.line_num + 1


def _csv_row(values: list[str], known: list[tuple[int, str, bool]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for index, name, is_number in known:
        text = values[index] if index < len(values) else ""
        if text:
            row[name] = _number(text) if is_number else text
    return row


def _number(text: str) -> float | str:
    """What is no number stays, for the decoder to reject."""
    try:
        return float(text)
    except ValueError:
        return text


def _json_lines(path: Path, compression: str, report: ReadReport) -> Iterator[tuple[int, Row]]:
    with open_content(path, compression) as content:
        number = 0
        while line := content.readline(_MAX_LINE_BYTES):
            number += 1
            rest = line
            while len(rest) == _MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = content.readline(_MAX_LINE_BYTES)
            if not line.isspace():
                yield number, _json_row(line, report)


def _json_row(line: bytes, report: ReadReport) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(row, dict):
        return line
    if not row.keys() <= FIELDS:
        report.ignore(row.keys() - FIELDS)
        row = {name: value for name, value in row.items() if name in FIELDS}
    return {name: value for name, value in row.items() if value is not None} if None in row.values() else row


def _parquet(path: Path, compression: str, report: ReadReport) -> Iterator[tuple[int, Row]]:
    report.line_name = "row"
    with open_seekable(path, compression) as content:
        frame = pl.scan_parquet(content if compression else path)
        names = frame.collect_schema().names()
        _check_columns(path, names, report)
        known = frame.select([name for name in names if name in FIELDS])
        number = 0
        for batch in known.with_columns(selectors.decimal().cast(pl.Float64)).collect_batches(chunk_size=_ROWS_AT_ONCE):
            for row in batch.iter_rows(named=True):
                number += 1
                yield number, {name: value for name, value in row.items() if value is not None}


_READERS: Final[dict[str, Callable[[Path, str, ReadReport], Iterator[tuple[int, Row]]]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}


def _check_columns(path: Path, names: list[str], report: ReadReport) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        found = ", ".join(name[:40] for name in names[:20])
        raise EventFileError(
            f"{path} has no column {', '.join(missing)}; required are {', '.join(REQUIRED)}; its columns are {found!r}"
        )
    if twice := sorted({name for name in names if name in FIELDS and names.count(name) > 1}):
        raise EventFileError(f"{path} has more than one column {', '.join(twice)}")
    report.ignore(set(names) - FIELDS)
