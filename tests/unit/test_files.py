"""Event files: the same records whatever the format and compression, clear errors, and nothing swallowed."""

import gzip
import json
import lzma
import random
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from consumer.core.decode import decode
from schemas.dead_letter import RejectCode
from schemas.files import EventFileError, count_events, read_events

CDNOW = Path(__file__).parents[2] / "data" / "cdnow" / "events.csv.xz"
NOW_MS = 1_760_000_000_000
HEAD = "user_id,event_type,occurred_at,value\n"

COLUMNS: dict[str, list[Any]] = {
    "event_id": ["1", None, "3"],
    "user_id": ["a", "Zoë, 客户 🛒", "c"],
    "event_type": ["purchase", "view_item", "purchase"],
    "occurred_at": ["2024-01-01", "2024-07-01T12:00:00", "2024-01-01T10:00:00+05:45"],
    "value": [12.5, None, 1000.0],
    "text": [None, 'She said "no",\nand left', None],
    "foreign": ["x", "y", "z"],
}

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def as_csv(columns: dict[str, list[Any]], path: Path) -> None:
    pl.DataFrame(columns).write_csv(path)


def as_jsonl(columns: dict[str, list[Any]], path: Path) -> None:
    pl.DataFrame(columns).write_ndjson(path)


def as_parquet(columns: dict[str, list[Any]], path: Path) -> None:
    pl.DataFrame(columns).write_parquet(path)


FORMATS = {".csv": as_csv, ".jsonl": as_jsonl, ".ndjson": as_jsonl, ".parquet": as_parquet}


def records(path: Path, content: str | bytes | None = None, timezone: str = "UTC") -> list[tuple[bytes, bytes]]:
    """What `path` holds, after writing `content` to it."""
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_events(path, timezone))


def events(path: Path, content: str | bytes | None = None, timezone: str = "UTC") -> list[dict[str, Any]]:
    """The same, as dictionaries."""
    return [json.loads(value) for _, value in records(path, content, timezone)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_and_compression_gives_the_same_records(tmp_path: Path, suffix: str, compression: str) -> None:
    """The same rows as CSV, JSON Lines and Parquet, compressed or not, are the same keys and values, ids included."""
    plain = tmp_path / f"events{suffix}"
    FORMATS[suffix](COLUMNS, plain)
    packed = tmp_path / f"packed{suffix}{compression}"
    packed.write_bytes(COMPRESSIONS[compression](plain.read_bytes()))
    (first, second, third), csv = events(packed, timezone="Europe/Berlin"), tmp_path / "reference.csv"
    assert first == {
        "event_id": "1",
        "user_id": "a",
        "event_type": "purchase",
        "occurred_at": "2024-01-01T00:00:00+01:00",
        "value": 12.5,
    }
    assert (second["text"], second["occurred_at"]) == ('She said "no",\nand left', "2024-07-01T12:00:00+02:00")
    assert third["occurred_at"] == "2024-01-01T10:00:00+05:45"
    as_csv(COLUMNS, csv)
    assert records(packed, timezone="Europe/Berlin") == records(csv, timezone="Europe/Berlin")


def test_what_comes_out_is_what_the_decoder_takes(tmp_path: Path) -> None:
    """Keys are the user ids in UTF-8, values are ShopEvents: nothing is rejected."""
    as_csv(COLUMNS, tmp_path / "events.csv")
    decoded = decode(list(read_events(tmp_path / "events.csv")), NOW_MS)
    assert (decoded.rejected, decoded.users) == ([], COLUMNS["user_id"])


def test_cdnow_is_whole() -> None:
    """The log that ships with the project has 69,404 purchases, all of them valid."""
    read = list(read_events(CDNOW))
    assert len(read) == count_events(CDNOW) == 69_404
    assert decode(read, NOW_MS).rejected == []


def test_ids_are_derived_from_the_row(tmp_path: Path) -> None:
    """Equal rows are different events, and the same row gets the same id whenever the file is read."""
    path = tmp_path / "events.csv"
    ids = [each["event_id"] for each in events(path, HEAD + "a,purchase,2024-01-01,1\n" * 3)]
    assert len(set(ids)) == 3
    assert [each["event_id"] for each in events(path)] == ids


def test_records_come_in_file_order(tmp_path: Path) -> None:
    """Rows are not sorted, by time or otherwise."""
    rows = "".join(f"u,view_item,{1_700_000_000_000 - number},\n" for number in range(50))
    times = [each["occurred_at"] for each in events(tmp_path / "events.csv", HEAD + rows)]
    assert times == [1_700_000_000_000 - number for number in range(50)]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-01-01", "2024-01-01T00:00:00+01:00"),
        ("2024-07-01", "2024-07-01T00:00:00+02:00"),
        ("2024-07-01 18:30", "2024-07-01T18:30:00+02:00"),
        ("2024-07-01T18:30:00.5", "2024-07-01T18:30:00.500000+02:00"),
        ("2024-07-01T18:30:00Z", "2024-07-01T18:30:00+00:00"),
        ("2024-07-01T18:30:00-03:00", "2024-07-01T18:30:00-03:00"),
        ("1700000000000", 1_700_000_000_000),
    ],
)
def test_naive_times_get_the_zone(tmp_path: Path, written: str, read: object) -> None:
    """Dates and times without a zone are the shop's, those with one and epoch milliseconds stay."""
    [event] = events(tmp_path / "events.csv", f"{HEAD}a,purchase,{written},1\n", "Europe/Berlin")
    assert event["occurred_at"] == read


@pytest.mark.parametrize("written", ["yesterday", "01/02/2024", "2024-02-30", "²", "9" * 5_000, "-5"])
def test_what_is_no_time_is_left_to_the_decoder(tmp_path: Path, written: str) -> None:
    """A garbled time does not stop the file: its row is rejected, its neighbours are not."""
    content = f"{HEAD}a,purchase,2024-01-01,1\nb,purchase,{written},1\nc,purchase,2024-01-01,1\n"
    decoded = decode(records(tmp_path / "events.csv", content), NOW_MS)
    assert (decoded.users, [each.index for each in decoded.rejected]) == (["a", "c"], [1])
    assert decoded.rejected[0].reason.startswith("occurred_at")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("abc", RejectCode.ILL_TYPED_FIELD),
        ("NaN", RejectCode.NOT_FINITE),
        ("1e400", RejectCode.NOT_FINITE),
        ("-1", RejectCode.NEGATIVE_VALUE),
    ],
)
def test_garbage_numbers_are_left_to_the_decoder(tmp_path: Path, suffix: str, written: str, code: RejectCode) -> None:
    """One garbled number rejects its own row only; the numbers around it stay numbers."""
    if suffix == ".csv":
        content = HEAD + "".join(f"u,purchase,2024-01-01,{each}\n" for each in ("12.5", written, "7"))
    else:
        line = '{"user_id":"u","event_type":"purchase","occurred_at":"2024-01-01","value":%s}\n'
        content = "".join(line % each for each in ("12.5", '"abc"' if written == "abc" else written, "7"))
    decoded = decode(records(tmp_path / f"events{suffix}", content), NOW_MS)
    assert [(each.index, each.code) for each in decoded.rejected] == [(1, code)]
    assert decoded.events.value.tolist() == [12.5, 7.0]


GOOD_LINE = b'{"user_id":"u","event_type":"purchase","occurred_at":"2024-01-01","value":1}\n'


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", RejectCode.INVALID_JSON),
        (b"[1, 2]\n", RejectCode.NOT_AN_OBJECT),
        (b'{"cut": \n', RejectCode.INVALID_JSON),
        (b"\xff\xfe\n", RejectCode.INVALID_UTF8),
        (b"[" * 100_000 + b"\n", RejectCode.RECORD_TOO_LARGE),
        (b"[" * 60_000 + b"\n", RejectCode.INVALID_JSON),
        (GOOD_LINE.replace(b'"u"', rb'"\ud800"'), RejectCode.INVALID_JSON),
        (GOOD_LINE.replace(b'"u"', b"17"), RejectCode.ILL_TYPED_FIELD),
        (GOOD_LINE.replace(b'"user_id"', b'"user"'), RejectCode.MISSING_FIELD),
        (GOOD_LINE.replace(b'"2024-01-01"', b"null"), RejectCode.MISSING_FIELD),
        (GOOD_LINE.replace(b'"u"', b'{"a":1}'), RejectCode.ILL_TYPED_FIELD),
        (GOOD_LINE.replace(b'"value":1', b'"value":true'), RejectCode.ILL_TYPED_FIELD),
        (GOOD_LINE.replace(b'"value":1', b'"value":' + b"9" * 5_000), RejectCode.INVALID_JSON),
    ],
    ids=lambda each: str(each)[:30],
)
def test_a_bad_line_is_left_to_the_decoder(tmp_path: Path, line: bytes, code: RejectCode) -> None:
    """Whatever a line of JSON Lines holds, the lines around it are read as if it were not there."""
    decoded = decode(records(tmp_path / "events.jsonl", GOOD_LINE + line + GOOD_LINE), NOW_MS)
    assert [(each.index, each.code) for each in decoded.rejected] == [(1, code)]
    assert decoded.events.value.tolist() == [1.0, 1.0]


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    """Blank lines in JSON Lines are passed over, a byte order mark and CRLF are understood."""
    content = b"\xef\xbb\xbf" + GOOD_LINE + b"\n  \r\n" + GOOD_LINE.replace(b"\n", b"\r\n")
    assert decode(records(tmp_path / "events.jsonl", content), NOW_MS).rejected == []
    assert count_events(tmp_path / "events.jsonl") == 2


def test_json_types_are_kept(tmp_path: Path) -> None:
    """A number in quotes is a string, in this line as in a Kafka record, and rejected as one."""
    content = GOOD_LINE + GOOD_LINE.replace(b'"value":1', b'"value":"1"')
    decoded = decode(records(tmp_path / "events.jsonl", content), NOW_MS)
    assert [each.code for each in decoded.rejected] == [RejectCode.ILL_TYPED_FIELD]


def test_an_excel_csv_is_understood(tmp_path: Path) -> None:
    """A byte order mark, CRLF and quotes are no part of the data."""
    content = "\ufeff" + (HEAD + '"a,""b""",purchase,2024-01-01,5\n').replace("\n", "\r\n")
    [event] = events(tmp_path / "events.csv", content)
    assert (event["user_id"], event["value"]) == ('a,"b"', 5.0)


def test_empty_cells_are_absent(tmp_path: Path) -> None:
    """An empty cell of a CSV is a missing field, in required columns too."""
    decoded = decode(records(tmp_path / "events.csv", HEAD + "a,purchase,2024-01-01,\n,,,\n"), NOW_MS)
    assert decoded.events.value.tolist() == [0.0]
    assert [each.code for each in decoded.rejected] == [RejectCode.MISSING_FIELD]


def test_a_log_without_rows_is_empty(tmp_path: Path) -> None:
    """A header alone, or an empty JSON Lines file, holds no events."""
    assert records(tmp_path / "events.csv", HEAD) == []
    assert records(tmp_path / "events.jsonl", "") == []


@pytest.mark.parametrize(
    ("column", "read"),
    [
        (pl.Series([datetime(2024, 7, 1, 12)]), "2024-07-01T12:00:00+02:00"),
        (pl.Series([datetime(2024, 7, 1, 12)]).dt.cast_time_unit("ns"), "2024-07-01T12:00:00+02:00"),
        (pl.Series([date(2024, 7, 1)]), "2024-07-01T00:00:00+02:00"),
        (pl.Series([datetime(2024, 7, 1, 12, tzinfo=UTC)]), "2024-07-01T12:00:00+00:00"),
        (pl.Series([1_700_000_000_000]), 1_700_000_000_000),
    ],
    ids=["naive", "nanoseconds", "date", "UTC", "epoch"],
)
def test_typed_times_of_parquet_are_understood(tmp_path: Path, column: pl.Series, read: object) -> None:
    """Timestamps and dates, naive or not, and integers."""
    path = tmp_path / "events.parquet"
    as_parquet({"user_id": ["a"], "event_type": ["purchase"], "occurred_at": column}, path)
    assert [each["occurred_at"] for each in events(path, timezone="Europe/Berlin")] == [read]


def test_amounts_of_parquet_may_be_decimals(tmp_path: Path) -> None:
    """Money is often a decimal: it is read as the number it is."""
    path = tmp_path / "events.parquet"
    as_parquet({name: COLUMNS[name] for name in ("user_id", "event_type", "occurred_at")}, tmp_path / "x.parquet")
    frame = pl.read_parquet(tmp_path / "x.parquet").with_columns(
        value=pl.Series([Decimal("12.50"), None, Decimal("0.07")])
    )
    frame.write_parquet(path)
    assert decode(list(read_events(path)), NOW_MS).events.value.tolist() == [12.5, 0.0, 0.07]


def test_odd_types_of_parquet_are_left_to_the_decoder(tmp_path: Path) -> None:
    """Bytes or dates where text belongs do not stop the file."""
    path = tmp_path / "events.parquet"
    as_parquet(
        {
            "user_id": ["a"],
            "event_type": ["purchase"],
            "occurred_at": ["2024-01-01"],
            "value": [date(2024, 1, 1)],
            "text": [b"abc"],
        },
        path,
    )
    assert [each.code for each in decode(list(read_events(path)), NOW_MS).rejected] == [RejectCode.ILL_TYPED_FIELD]


def test_a_row_with_too_many_fields_is_one_bad_row(tmp_path: Path) -> None:
    """It is passed on for the decoder to reject; the rows around it stay."""
    path = tmp_path / "events.csv"
    path.write_text(HEAD + "a,purchase,2024-01-01,1\nb,purchase,2024-01-01,1,2,3\nc,purchase,2024-01-01,1\n")
    decoded = decode(list(read_events(path)), NOW_MS)
    assert decoded.users == ["a", "c"]
    assert [each.index for each in decoded.rejected] == [1]


def test_eight_digits_are_a_date(tmp_path: Path) -> None:
    """20240105 is a day in January, not an instant in 1970."""
    path = tmp_path / "events.csv"
    path.write_text(HEAD + "a,purchase,20240105,1\n")
    assert json.loads(next(read_events(path))[1])["occurred_at"].startswith("2024-01-05T00:00:00")


# Errors.

LONG = (HEAD + "".join(f"u{number},purchase,2024-01-01,{number}\n" for number in range(3_000))).encode()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def scrambled(content: bytes) -> bytes:
    return content[:40] + bytes(255 - each for each in content[40:80]) + content[80:]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("events.txt", b"", "unknown format '.txt'; use .csv, .jsonl or .parquet, optionally .gz, .xz, .zst"),
        ("events", b"", "unknown format ''"),
        ("events.gz", gzip.compress(b""), "unknown format ''"),
        ("events.csv", b"", "empty CSV"),
        ("events.csv", b"user_id,when\na,b\n", "has no column event_type, occurred_at; required are user_id, event"),
        ("events.csv", HEAD.encode() + "é,purchase,2024-01-01,1\n".encode("latin-1"), "invalid utf-8"),
        ("events.parquet", b"hello", "parquet"),
        ("events.csv.gz", b"hello", "Not a gzipped file"),
        ("events.csv.gz", half(gzip.compress(LONG)), "ended before the end"),
        ("events.csv.gz", scrambled(gzip.compress(LONG)), "decompress"),
        ("events.csv.xz", b"hello", "not supported by decoder"),
        ("events.csv.xz", half(lzma.compress(LONG)), "ended before the end"),
        ("events.csv.zst", b"hello", "zstd"),
        ("events.csv.zst", half(zstandard.compress(LONG)), "ended before the end"),
        ("events.csv.zst", zstandard.compress(LONG) + half(zstandard.compress(LONG)), "ended before the end"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_says_why(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    """The error names the file and what is wrong with it; a file cut short is never taken for a shorter one."""
    path = tmp_path / name
    with pytest.raises(EventFileError) as raised:
        records(path, content)
    assert str(path) in str(raised.value)
    assert words in str(raised.value)
    with pytest.raises(EventFileError):
        count_events(path)


def test_a_missing_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    """As does a folder."""
    with pytest.raises(EventFileError, match="No such file"):
        records(tmp_path / "events.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(EventFileError, match="Is a directory"):
        records(tmp_path / "folder.csv")


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst"])
def test_files_compressed_in_parts_are_read_whole(tmp_path: Path, compression: str) -> None:
    """Concatenated members or frames, as parallel compressors write them, are one file."""
    compress = COMPRESSIONS[compression]
    parts = [HEAD, "a,purchase,2024-01-01,1\n", "b,purchase,2024-01-01,1\n"]
    path = tmp_path / f"events.csv{compression}"
    assert [key for key, _ in records(path, b"".join(compress(part.encode()) for part in parts))] == [b"a", b"b"]


# Streaming.


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str, compression: str) -> None:
    """Of 15 MB no more is held than a few rows, and what the compressor looks back on."""
    texts = [random.Random(number).randbytes(1_500).hex() for number in range(5_000)]
    count = len(texts)
    columns = {"user_id": ["u"] * count, "event_type": ["review"] * count, "occurred_at": [1] * count, "text": texts}
    FORMATS[suffix](columns, tmp_path / f"plain{suffix}")
    path = tmp_path / f"events{suffix}{compression}"
    quickly = COMPRESSIONS | {".xz": partial(lzma.compress, preset=0)}
    path.write_bytes(quickly[compression]((tmp_path / f"plain{suffix}").read_bytes()))
    tracemalloc.start()
    assert sum(1 for _ in read_events(path)) == count
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 12e6


def test_a_long_line_is_one_bad_row(tmp_path: Path) -> None:
    """Three million bytes without an end are not three rows, and not held in memory either."""
    content = GOOD_LINE + b"x" * 3_000_000 + b"\n" + GOOD_LINE
    decoded = decode(records(tmp_path / "events.jsonl", content), NOW_MS)
    assert [(each.index, each.code) for each in decoded.rejected] == [(1, RejectCode.RECORD_TOO_LARGE)]


def test_an_unclosed_quote_is_an_error(tmp_path: Path) -> None:
    """Rather than one row that swallows the rest of the file."""
    content = HEAD + 'a,purchase,2024-01-01,"1\n' + "b,purchase,2024-01-01,1\n" * 10_000
    with pytest.raises(EventFileError, match="field larger than"):
        records(tmp_path / "events.csv", content)


def test_a_column_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    """Which of the two is meant would be a guess."""
    with pytest.raises(EventFileError, match="more than one column user_id"):
        records(tmp_path / "events.csv", "user_id,user_id,event_type,occurred_at\na,b,purchase,2024-01-01\n")


def test_short_rows_lack_their_last_fields(tmp_path: Path) -> None:
    """What a row does not have is absent, and the decoder judges whether that matters."""
    decoded = decode(records(tmp_path / "events.csv", HEAD + "a,purchase,2024-01-01\nb,purchase\n"), NOW_MS)
    assert (decoded.users, [each.index for each in decoded.rejected]) == (["a"], [1])
