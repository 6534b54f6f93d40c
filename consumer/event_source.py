"""Where events come from: a file, or `kafka:TOPIC[@FROM..TO]`, which is read into a file first."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from consumer.errors import ConfigurationError
from consumer.settings import Settings

_KAFKA = re.compile(r"kafka:(?P<topic>[A-Za-z0-9._-]+)(@(?P<start>.*?)\.\.(?P<end>.*))?")


@contextmanager
def events_source(events: Path | str, settings: Settings, say: Callable[[str], object]) -> Iterator[Path]:
    """The path of a file with the events that `events` names; `say` is told what was read of a topic.

    A topic's records are taken by their Kafka timestamps, FROM inclusive and TO exclusive, each a date or a time, in
    the shop's zone where it says none; without them from the first record to the last there is now.
    """
    if not str(events).startswith("kafka:"):
        yield Path(events)
        return
    from consumer.adapters.topic_range import TopicRange, dump
    from schemas.files import EventFileError

    topic, start, end = _parsed(str(events), settings.timezone)
    with TemporaryDirectory(prefix="ebbtide-") as folder:
        path = Path(folder) / f"{topic}.jsonl.zst"
        done = asyncio.run(dump(TopicRange(topic, start, end), settings, path))
        say(
            f"{done.records:,} records of {topic} read: {done.written:,} events, {done.misplaced:,} with another "
            f"user's key, {done.erased_users:,} users erased"
        )
        if not done.records:
            when = " whose Kafka timestamp (not `occurred_at`) is in that range" if start or end else ""
            raise ConfigurationError(f"{events}: the topic has no record{when}")
        try:
            yield path
        except EventFileError as error:
            raise EventFileError(str(error).replace(str(path), str(events))) from error


def instant(text: str, timezone: str) -> datetime:
    """A date (its local midnight) or a time, in `timezone` where it says no zone; raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))


def _parsed(events: str, timezone: str) -> tuple[str, datetime | None, datetime | None]:
    found = _KAFKA.fullmatch(events)
    if not found:
        raise ConfigurationError(f"{events}: name a topic as kafka:TOPIC or kafka:TOPIC@FROM..TO")
    try:
        start, end = (instant(found[name], timezone) if found[name] else None for name in ("start", "end"))
    except ValueError as error:
        raise ConfigurationError(f"{events}: {error}; write times as 2026-03-01 or 2026-03-01T12:00Z") from error
    if start and end and start >= end:
        raise ConfigurationError(f"{events}: the range ends before it begins")
    return found["topic"], start, end
