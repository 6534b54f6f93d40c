"""Calendar days of the shop's time zone, against the standard library."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from consumer.core.calendar import DAY_MS, Calendar

EPOCH = date(1970, 1, 1)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",  # 5:45
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Kiritimati",  # 14 hours ahead
    "America/St_Johns",  # changed at 00:01 until 2011
    "America/Santiago",  # at midnight: the day begins at 01:00, or has midnight once though 23:00 twice
    "Atlantic/Azores",
    "America/Havana",
    "Asia/Amman",  # midnight twice
    "Pacific/Apia",  # has no 2011-12-30
]


def local_day(time_ms: int, zone: str) -> int:
    return (datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(ZoneInfo(zone)).date() - EPOCH).days


def ms(year: int, month: int, day_of_month: int, zone: str = "UTC", hour: int = 0) -> int:
    return int(datetime(year, month, day_of_month, hour, tzinfo=ZoneInfo(zone)).timestamp()) * 1000


@pytest.mark.parametrize("zone", ZONES)
def test_an_instant_has_the_local_date(zone: str) -> None:
    """Every instant belongs to the day that a calendar on the shop's wall shows."""
    times_ms = np.random.default_rng(1).integers(ms(1988, 1, 1), ms(2037, 1, 1), 2_000)
    assert Calendar(zone).day_of(times_ms).tolist() == [local_day(each, zone) for each in times_ms.tolist()]


@pytest.mark.parametrize("zone", ["America/St_Johns", "America/Santiago", "Asia/Amman", "Europe/Berlin"])
def test_every_minute_around_midnight_has_the_local_date(zone: str) -> None:
    """Days are right to the minute through the months in which clocks change, even if they do not on the hour."""
    minutes_ms = np.concatenate([ms(2010, month, 1) + 60_000 * np.arange(0, 44_640, 7) for month in (3, 10, 11)])
    around = minutes_ms[Calendar(zone).day_of(minutes_ms - 7_200_000) != Calendar(zone).day_of(minutes_ms + 7_200_000)]
    assert len(around) > 3_000
    assert Calendar(zone).day_of(around).tolist() == [local_day(each, zone) for each in around.tolist()]


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_starts_at_its_first_instant(zone: str) -> None:
    """`start_of` is in the day and the instant before it is not, also where midnight comes never or twice."""
    calendar = Calendar(zone)
    days = np.arange((date(2009, 1, 1) - EPOCH).days, (date(2026, 1, 1) - EPOCH).days)
    skipped = (date(2011, 12, 30) - EPOCH).days if zone == "Pacific/Apia" else None
    days = days[days != skipped]
    start_ms = calendar.start_of(days)
    assert calendar.day_of(start_ms).tolist() == days.tolist()
    assert (calendar.day_of(start_ms - 1) < days).all()


def test_a_skipped_day_starts_where_the_next_does() -> None:
    """Samoa left out 2011-12-30: that day is over as soon as it begins."""
    days = np.array([(date(2011, 12, each) - EPOCH).days for each in (30, 31)])
    start_ms = Calendar("Pacific/Apia").start_of(days)
    assert start_ms[0] == start_ms[1] == ms(2011, 12, 30, hour=10)


@pytest.mark.parametrize(("month", "day_of_month", "hours"), [(3, 31, 23), (10, 27, 25), (6, 1, 24)])
def test_days_of_clock_changes_are_shorter_or_longer(month: int, day_of_month: int, hours: int) -> None:
    """In Berlin the last Sunday of March 2024 has 23 hours, that of October 25."""
    first = (date(2024, month, day_of_month) - EPOCH).days
    starts = Calendar("Europe/Berlin").start_of(np.array([first, first + 1]))
    assert np.diff(starts).tolist() == [timedelta(hours=hours) // timedelta(milliseconds=1)]


def test_shapes_are_kept() -> None:
    """Instants of any shape come back as days of that shape, none as none."""
    for zone in ("UTC", "Asia/Tokyo"):
        assert Calendar(zone).day_of(np.zeros((2, 3), np.int64)).shape == (2, 3)
        assert Calendar(zone).day_of(np.zeros(0, np.int64)).shape == (0,)
        assert Calendar(zone).start_of(np.zeros(0, np.int64)).shape == (0,)


def test_the_day_before_1970_is_minus_one() -> None:
    """West of Greenwich the epoch belongs to the day before: numbers are floors."""
    assert Calendar("America/New_York").day_of(np.array([0])).tolist() == [-1]
    assert Calendar().day_of(np.array([-1, 0, DAY_MS])).tolist() == [-1, 0, 1]
