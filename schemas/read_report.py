"""What was noticed while an event log was read: so that nothing is guessed, or dropped, without being said."""

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from schemas.dead_letter import RejectCode
from schemas.event import MAX_TIME_MS

SHOWN_BAD_ROWS: Final = 10
DAY_MS: Final = 86_400_000
_SHOWN_COLUMNS: Final = 20


def local_time(time_ms: int, timezone: str) -> str:
    """An instant for people, to the minute: "2026-03-01 14:05"."""
    seconds = min(time_ms, MAX_TIME_MS - DAY_MS) / 1000  # in every zone before the last day there is
    return datetime.fromtimestamp(seconds, ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M")


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    line: int  # of the file, the header being line 1; in Parquet the number of the row
    code: RejectCode
    reason: str


@dataclass
class ReadReport:
    """Filled while the rows go by; whole once all are read.

    What only the decoder can tell (`bad` and below) stays as it is where a log is passed on undecoded.
    """

    rows: int = 0
    line_name: str = "line"  # what the numbers of bad rows count
    ignored_columns: dict[str, None] = field(default_factory=dict)  # in order of appearance
    with_zone: int = 0  # rows whose time says its zone, or is in epoch milliseconds
    without_zone: int = 0  # rows whose time was read in `timezone`
    timezone: str = "UTC"

    until_ms: int | None = None  # the cut-off that it was read up to
    bad: Counter[RejectCode] = field(default_factory=Counter)
    first_bad: list[BadRow] = field(default_factory=list)
    used: int = 0  # valid and before the cut-off
    purchases: int = 0  # among them
    users: int = 0  # who did them
    first_ms: int | None = None  # time of the earliest used event
    last_ms: int | None = None
    out_of_order: int = 0  # used events that are earlier than the one before
    order: str = "sorted"  # what was done about that
    later: int = 0  # valid, but at or after the cut-off: not looked at
    first_later_ms: int | None = None

    def reject(self, line: int, code: RejectCode, reason: str) -> None:
        """Count a bad row; the first ten of the file are kept."""
        self.bad[code] += 1
        if len(self.first_bad) < SHOWN_BAD_ROWS or line < self.first_bad[-1].line:
            insort(self.first_bad, BadRow(line, code, reason), key=lambda each: each.line)
            del self.first_bad[SHOWN_BAD_ROWS:]

    def ignore(self, names: set[str]) -> None:
        """Columns that no ShopEvent has."""
        if len(self.ignored_columns) < _SHOWN_COLUMNS:
            self.ignored_columns |= dict.fromkeys(sorted(names))

    @property
    def bad_rows(self) -> int:
        """How many rows cannot be used."""
        return self.bad.total()
