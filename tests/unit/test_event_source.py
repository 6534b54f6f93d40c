"""How `--events` names a file or a range of a topic."""

from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.event_source import events_source, instant
from consumer.settings import Settings


def ignore(_: str) -> None:
    """Nothing is said of a file."""


def test_a_file_is_itself() -> None:
    """A path is passed on, whether or not it exists."""
    with events_source("data/nowhere.csv", Settings(), ignore) as path:
        assert path == Path("data/nowhere.csv")


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ("kafka:", "name a topic"),
        ("kafka:no topic", "name a topic"),
        ("kafka:shop.events@2026-01-01", "TOPIC@FROM..TO"),
        ("kafka:shop.events@yesterday..", "yesterday"),
        ("kafka:shop.events@2026-02-01..2026-01-01", "ends before it begins"),
    ],
)
def test_what_names_nothing_is_explained(events: str, told: str) -> None:
    """A misspelt range is refused before anything is read."""
    with (
        pytest.raises(ConfigurationError, match=told),
        events_source(events, Settings(), ignore),
    ):
        pass


def test_a_time_without_a_zone_is_the_shops() -> None:
    """As in an event file; a date is its midnight."""
    assert instant("2026-07-01", "Europe/Berlin").isoformat() == "2026-07-01T00:00:00+02:00"
    assert instant("2026-07-01T12:00Z", "Europe/Berlin").isoformat() == "2026-07-01T12:00:00+00:00"
