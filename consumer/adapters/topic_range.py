"""A range of a topic as an event file: what training, evaluation and scoring read instead of an export.

Every partition is read from the first record at or after `from` up to the last before `to`, or up to where the
partition ended when reading began. An erased user (a record without a value) loses what came before, as in the service.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import zstandard
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumer.adapters.kafka import connection, start_client, stopped, translated
from consumer.adapters.topics import partition_count
from consumer.settings import Settings
from schemas.compressed import open_content

_POLL_MS = 200
_NULL = b"null"  # a line that no decoder takes, for a value that is no line


@dataclass(frozen=True)
class TopicRange:
    """Records of `topic` by their Kafka timestamps: `start` inclusive, `end` exclusive; None is without bound."""

    topic: str
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Dumped:
    """What became of the records of a range."""

    records: int  # read
    written: int
    misplaced: int  # whose key is not their user: the service rejects them
    erased_users: int


async def dump(source: TopicRange, settings: Settings, path: Path) -> Dumped:
    """Write the values of a range to `path`, a .jsonl.zst; raises `ConfigurationError`, `UnavailableError`."""
    raw = path.with_name(f"raw.{path.name}")
    erased: dict[str, int] = {}  # user to the number of the record that erased them last
    records = written = misplaced = 0
    with zstandard.open(raw, "wb") as lines:
        async with aclosing(_records(source, settings)) as found:
            async for record in found:
                key = (record.key or b"").decode(errors="replace")
                if record.value is None:
                    erased[key] = records
                elif _user_of(record.value) not in (None, key):
                    misplaced += 1
                else:
                    lines.write(b"%d %s\n" % (records, _as_line(record.value)))
                records += 1
    with open_content(raw, ".zst") as numbered, zstandard.open(path, "wb") as lines:
        for each in numbered:
            number, _, line = each.partition(b" ")
            if not erased or int(number) > erased.get(_user_of(line) or "", -1):
                lines.write(line)
                written += 1
    raw.unlink()
    return Dumped(records, written, misplaced, len(erased))


def _as_line(value: bytes) -> bytes:
    """JSON has no meaning in its line breaks."""
    return value.replace(b"\r", b" ").replace(b"\n", b" ").strip() or _NULL


def _user_of(value: bytes) -> str | None:
    """The user that a value names; None where it names none, which is for the decoder to reject."""
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        return None
    user = event.get("user_id") if isinstance(event, dict) else None
    return user if isinstance(user, str) else None


async def _records(source: TopicRange, settings: Settings) -> AsyncGenerator[ConsumerRecord]:
    """Committed records of the range, each partition's in order."""
    parts = [TopicPartition(source.topic, each) for each in range(await partition_count(settings, source.topic))]
    consumer = AIOKafkaConsumer(
        **connection(settings), isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await start_client(consumer.start, consumer.stop)
    try:
        with translated():
            consumer.assign(parts)
            starts, ends = await _bounds(consumer, parts, source)
            for part in parts:
                consumer.seek(part, starts[part])
            while reading := [part for part in parts if await consumer.position(part) < ends[part]]:
                batches = await consumer.getmany(*reading, timeout_ms=_POLL_MS)  # never cancelled: aiokafka 0.14
                for part, batch in batches.items():
                    for record in batch:
                        if record.offset < ends[part]:
                            yield record
    finally:
        await stopped(consumer.stop)


async def _bounds(
    consumer: AIOKafkaConsumer, parts: list[TopicPartition], source: TopicRange
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """First offset to read and first not to read, per partition."""
    starts = await consumer.beginning_offsets(parts)
    ends = await consumer.end_offsets(parts)  # the last stable offsets: nothing of an open transaction
    from_offsets = await _offsets_at(consumer, parts, source.start, ends) if source.start else starts
    until = await _offsets_at(consumer, parts, source.end, ends) if source.end else ends
    return {part: max(starts[part], from_offsets[part]) for part in parts}, {
        part: min(ends[part], until[part]) for part in parts
    }


async def _offsets_at(
    consumer: AIOKafkaConsumer, parts: list[TopicPartition], at: datetime, ends: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Offsets of the first records at or after an instant; the end where there is none."""
    at_ms = round(at.timestamp() * 1000)
    found = await consumer.offsets_for_times(dict.fromkeys(parts, at_ms))
    return {part: ends[part] if found.get(part) is None else found[part].offset for part in parts}
