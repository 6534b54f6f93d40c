"""An event log up to a cut-off: what counts, what is noticed, and what is refused."""

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.events import Events
from consumer.core.fold import FoldRules
from consumer.tables import read_notes
from model_export import reading
from model_export.reading import read_columns
from schemas.dead_letter import RejectCode
from schemas.event import MAX_TIME_MS
from schemas.files import EventFileError
from schemas.read_report import BadRow, ReadReport

RULES = FoldRules(Calendar("UTC"))
JUNE_MS = 1_748_736_000_000  # 2025-06-01, 00:00 UTC
HEAD = "user_id,event_type,occurred_at,value\n"


def row(user: str, at_ms: int, event_type: str = "purchase", **fields: Any) -> dict[str, Any]:
    return {"user_id": user, "event_type": event_type, "occurred_at": at_ms, **fields}


def written(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def read(
    path: Path, until_ms: int = MAX_TIME_MS, rules: FoldRules = RULES, needs_purchase: bool = True
) -> tuple[list[str], Events, ReadReport]:
    report = ReadReport()
    users, events = read_columns(path, rules, until_ms, report, needs_purchase)
    return users, events, report


def assert_same(first: Events, second: Events, *but: str) -> None:
    for field in fields(Events):
        if field.name not in but:
            np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_what_is_at_or_after_the_cut_off_does_not_exist(tmp_path: Path) -> None:
    """An event at the very instant is not read, and a user known only from then on is not known."""
    rows = [row("b", JUNE_MS - 1), row("a", JUNE_MS), row("b", JUNE_MS + 5), row("c", JUNE_MS - 1)]
    users, events, report = read(written(tmp_path / "log.jsonl", rows), JUNE_MS)
    assert users == ["b", "c"]
    assert events.row.tolist() == [0, 1]
    assert (report.used, report.later, report.first_later_ms, report.last_ms) == (2, 2, JUNE_MS, JUNE_MS - 1)


def test_unsorted_rows_are_put_in_order_of_time(tmp_path: Path) -> None:
    """What comes out is what the sorted file gives, and it is said how many rows were late."""
    rows = [row("b", 5), row("a", 3), row("c", 4), row("a", 9), row("b", 1)]
    users, events, report = read(written(tmp_path / "mixed.jsonl", rows))
    by_time = sorted(rows, key=lambda each: each["occurred_at"])
    sorted_users, sorted_events, of_sorted = read(written(tmp_path / "sorted.jsonl", by_time))
    assert users == sorted_users == ["b", "a", "c"]
    assert_same(events, sorted_events, "id_hash")  # ids follow from the place in the file
    assert (report.out_of_order, of_sorted.out_of_order) == (3, 0)
    assert "rows were not in time order (3 came after a later one): sorted" in read_notes(report)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1), st.integers(1, 7))
def test_reading_does_not_depend_on_where_chunks_end(tmp_path_factory: Any, rows: Any, size: int) -> None:
    """A few rows at a time or all at once: the same users, events and report; ties keep the file's order."""
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    written(path, [row(f"u{user}", at_ms, value=number) for number, (user, at_ms) in enumerate(rows)])
    users, events, report = read(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_ROWS_AT_ONCE", size)
        again, events_again, report_again = read(path)
    assert (again, report_again) == (users, report)
    assert_same(events, events_again)
    expected = sorted(enumerate(rows), key=lambda each: each[1][1]) if report.out_of_order else list(enumerate(rows))
    assert events.value.tolist() == [number for number, _ in expected]


def test_bad_rows_are_counted_and_the_first_ten_are_named(tmp_path: Path) -> None:
    """Lines are those of the file: the header is line 1, a text over two lines takes two, blank ones count."""
    path = tmp_path / "log.csv"
    good, bad = "a,purchase,2025-06-01,1\n", "a,purchase,2025-06-01,-1\n"
    path.write_text(
        'user_id,event_type,occurred_at,value,text\na,review,2025-06-01,,"two\nlines"\n\n' + bad + good + bad * 11
    )
    _, events, report = read(path)
    assert len(events) == 2
    assert (report.rows, report.bad) == (14, {RejectCode.NEGATIVE_VALUE: 12})
    assert [each.line for each in report.first_bad] == [5, *range(7, 16)]
    notes = read_notes(report)
    assert "rows that cannot be used: 12 of 14 (12 negative_value); the first 10:" in notes
    assert "  line 5: value: input should be greater than or equal to 0" in notes


def test_lines_of_json_count_blank_ones(tmp_path: Path) -> None:
    """So that an editor shows the line that is meant."""
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row("a", 1)) + "\n\n{\n" + json.dumps(row("a", 1)))
    assert [(each.line, each.code) for each in read(path)[2].first_bad] == [(3, RejectCode.INVALID_JSON)]


def test_rows_of_parquet_are_numbered(tmp_path: Path) -> None:
    """Without lines there are row numbers, from 1."""
    rows = [row("a", 1), row("a", 2, "bought")]
    pl.DataFrame(rows).write_parquet(tmp_path / "log.parquet")
    report = read(tmp_path / "log.parquet")[2]
    assert [each.line for each in report.first_bad] == [2]
    assert any(note.startswith("  row 2: event_type: ") for note in read_notes(report))


def test_unknown_columns_are_named(tmp_path: Path) -> None:
    """Once, whatever the format."""
    rows = [row("a", 1, colour="red"), row("a", 2, size=5, colour="blue")]
    _, _, report = read(written(tmp_path / "log.jsonl", rows))
    assert read_notes(report)[0] == "columns that no event has, ignored: colour, size"
    (tmp_path / "log.csv").write_text("size," + HEAD + "5,a,purchase,2025-06-01,1\n")
    assert list(read(tmp_path / "log.csv")[2].ignored_columns) == ["size"]


def test_mixed_zones_are_told(tmp_path: Path) -> None:
    """Rows without a zone are the shop's time; how many, of how many, is said."""
    times = ["2025-06-01T00:00", "2025-06-01T00:00Z", str(JUNE_MS)]
    (tmp_path / "log.csv").write_text(HEAD + "".join(f"a,purchase,{each},1\n" for each in times))
    _, events, report = read(tmp_path / "log.csv", rules=FoldRules(Calendar("Europe/Berlin")))
    assert events.time_ms.tolist() == [JUNE_MS - 2 * 3_600_000, JUNE_MS, JUNE_MS]
    assert read_notes(report)[0] == "times without a zone, in 1 of 3 rows, were read in Europe/Berlin"


def test_a_cut_off_after_the_last_event_is_told(tmp_path: Path) -> None:
    """Customers may not have been silent, the log may only have ended: a day is no matter, more is said."""
    path = written(tmp_path / "log.jsonl", [row("a", JUNE_MS), row("b", JUNE_MS + 3 * DAY_MS)])
    assert read_notes(read(path, JUNE_MS + 4 * DAY_MS)[2]) == []
    assert [each[:30] for each in read_notes(read(path, JUNE_MS + DAY_MS)[2])] == [
        "all events are of one customer",
        "all events are from one day, 2",
    ]
    [note] = read_notes(read(path, JUNE_MS + 5 * DAY_MS)[2])
    assert note.startswith("the log ends on 2025-06-04 00:00, 2.0 days before 2025-06-06 00:00")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEAD, "has no events"),
        (HEAD + "a,purchase,yesterday,1\n,purchase,2025-01-01,1\n", "none of the 2 rows"),
        (HEAD + "a,purchase,yesterday,1\n", "line 2: occurred_at: "),
        (HEAD + "a,view_item,2025-01-01,1\n", "has no purchase before 2025-06-01 00:00 (UTC)"),
        (HEAD + "a,purchase,2025-06-01,1\n", "from before 2025-06-01 00:00 (UTC): its first event is of 2025-06-01"),
        ("user,event_type,occurred_at\n", "has no column user_id"),
    ],
    ids=["empty", "all bad", "reason", "no purchase", "all later", "missing column"],
)
def test_a_log_that_leads_nowhere_is_an_error_that_says_why(tmp_path: Path, content: str, told: str) -> None:
    """Each names the file and what is missing."""
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(EventFileError) as raised:
        read(tmp_path / "log.csv", JUNE_MS)
    assert told in str(raised.value)
    assert "log.csv" in str(raised.value)


def test_a_log_without_a_purchase_can_be_asked_for(tmp_path: Path) -> None:
    """Where purchases are not the target."""
    users, _, report = read(written(tmp_path / "log.jsonl", [row("a", 1, "view_item")]), needs_purchase=False)
    assert (users, report.purchases) == (["a"], 0)
    assert "none of the 1 events is a purchase: there is nobody to lose" in read_notes(report)


def test_the_first_bad_rows_are_the_files(tmp_path: Path) -> None:
    """Whatever the order in which they are found."""
    report = ReadReport()
    for line in (30, 2, *range(10, 20)):
        report.reject(line, RejectCode.INVALID_JSON, "")
    assert report.first_bad == [BadRow(line, RejectCode.INVALID_JSON, "") for line in (2, *range(10, 19))]
    assert report.bad_rows == 12
