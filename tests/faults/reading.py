"""Reading back what a run has left: the input, what went out, the store; and a reader that runs along."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.adapters.kafka_changelog import BARRIER_KEY, POSITION_KEY
from consumer.core.packing import unpack
from consumer.core.state import NO_TIME
from consumer.records import Position, Record
from consumer.settings import Settings
from faults.history import SeenAlert, SeenDeadLetter, SeenPosition, View, Where, name_of
from support import Shop

_READ_DEADLINE_S = 120.0
_OFFSETS_TOPIC, _OFFSETS_PARTITIONS = "__consumer_offsets", 4  # as the embedded Kafka has it


def digest(record: Any) -> bytes:
    """Of all that a record says."""
    parts = [record.key, record.value, *(part for name, value in record.headers for part in (name.encode(), value))]
    return blake2b(b"\0".join(b"-" if part is None else b"+" + part for part in parts), digest_size=8).digest()


def outgoing(settings: Settings) -> tuple[str, ...]:
    """The topics that the service writes."""
    return tuple(topic for topic in settings.topics if topic != settings.events_topic)


def _parts(settings: Settings, topics: Iterable[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, each) for topic in topics for each in range(settings.partitions)]


@asynccontextmanager
async def _consumer(settings: Settings, isolation_level: str = "read_committed") -> AsyncIterator[AIOKafkaConsumer]:
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level=isolation_level,
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    ) as consumer:
        yield consumer


async def _records(settings: Settings, topic: str) -> AsyncIterator[Any]:
    """Every committed record of a topic, each partition's in order."""
    async with _consumer(settings) as consumer, asyncio.timeout(_READ_DEADLINE_S):
        parts = _parts(settings, [topic])
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        while any([await consumer.position(part) < end for part, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                for record in batch:
                    yield record


@dataclass
class Tail:
    """What a reader of committed records saw while faults happened."""

    seen: dict[Where, bytes] = field(default_factory=dict)

    async def follow(self, settings: Settings) -> None:
        """Read what the service writes, until cancelled."""
        while True:
            with suppress(KafkaError, OSError):
                async with _consumer(settings) as consumer:
                    consumer.assign(_parts(settings, outgoing(settings)))
                    while True:
                        for part, batch in (await consumer.getmany(timeout_ms=500)).items():
                            for record in batch:
                                self.seen[part.topic, part.partition, record.offset] = digest(record)
            await asyncio.sleep(0.2)


async def read_input(settings: Settings) -> dict[int, list[Record]]:
    """The input topic by partition."""
    found: dict[int, list[Record]] = {partition: [] for partition in range(settings.partitions)}
    async with aclosing(_records(settings, settings.events_topic)) as records:
        async for each in records:
            found[each.partition].append(Record(each.offset, each.timestamp, each.key, each.value))
    return found


@dataclass
class Outgoing:
    """What the service's topics hold."""

    alerts: list[SeenAlert] = field(default_factory=list)
    dead_letters: list[SeenDeadLetter] = field(default_factory=list)
    positions: list[SeenPosition] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    states: dict[str, bytes] = field(default_factory=dict)
    read: dict[Where, bytes] = field(default_factory=dict)
    states_written: int = 0

    def timers(self) -> dict[str, int]:
        """When the logged states' timers fire."""
        return timers_of(self.states)

    def take(self, settings: Settings, record: Any) -> None:
        """One more record; each partition's in order."""
        self.read[record.topic, record.partition, record.offset] = digest(record)
        if record.topic == settings.alerts_topic:
            self.alerts.append(SeenAlert(record.partition, record.offset, json.loads(record.value)))
        elif record.topic == settings.dead_letters_topic:
            letter = json.loads(record.value)
            source = letter["source_partition"], letter["source_offset"]
            self.dead_letters.append(SeenDeadLetter(source, letter["code"]))
        elif record.topic != settings.state_topic:
            self.others[name_of(record.topic, record.value)] += 1
        elif record.key == POSITION_KEY:
            self.positions.append(SeenPosition(record.partition, record.offset, Position.from_json(record.value)))
        elif record.key != BARRIER_KEY:
            self.states_written += 1
            user = record.key.decode()
            self.states.pop(user, None)
            if record.value:
                self.states[user] = record.value


async def read_outgoing(settings: Settings) -> Outgoing:
    """All of it."""
    found = Outgoing()
    for topic in outgoing(settings):
        async with aclosing(_records(settings, topic)) as records:
            async for record in records:
                found.take(settings, record)
    return found


def timers_of(states: dict[str, bytes]) -> dict[str, int]:
    """Due time by user, of those that have one."""
    due_ms = unpack(list(states.values())).header["due_ms"].tolist()
    return {user: due for user, due in zip(states, due_ms, strict=True) if due != NO_TIME}


async def read_view(shop: Shop) -> View:
    """What Redis holds."""
    return View(await shop.headers(), await shop.states(), await shop.timers())


async def log_ends(settings: Settings) -> dict[tuple[str, int], tuple[int, int]]:
    """By topic and partition, the last stable offset and the high watermark."""
    parts = _parts(settings, [settings.events_topic, *outgoing(settings)])
    parts += [TopicPartition(_OFFSETS_TOPIC, each) for each in range(_OFFSETS_PARTITIONS)]
    async with _consumer(settings) as consumer:
        stable = await consumer.end_offsets(parts)
    async with _consumer(settings, "read_uncommitted") as consumer:
        ends = await consumer.end_offsets(parts)
    return {(part.topic, part.partition): (stable[part], ends[part]) for part in parts}


async def unsettled(shop: Shop) -> list[str]:
    """What is left to do: records not folded yet, timers due by their partition's watermark."""
    headers, left = await shop.headers(), []
    for partition, end in (await shop.ends()).items():
        header = headers[partition]
        if header is None:
            left += [f"partition {partition} has no header in Redis"] if end else []
            continue
        if header.next_offset < end:
            left.append(f"partition {partition} stands at {header.next_offset}, its input ends at {end}")
        key, until_ms = shop.key(partition, f"due:{header.generation}"), header.watermark_ms
        due = await shop.redis(lambda redis, key=key, until_ms=until_ms: redis.zcount(key, "-inf", until_ms))
        if due:
            left.append(f"partition {partition}: {due} timers are due by its watermark")
    return left
