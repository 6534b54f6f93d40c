"""A range of a topic, read into a file like any other event log."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from consumer.adapters.topic_range import Dumped, TopicRange, dump
from consumer.embedded import KafkaServer, RedisServer
from consumer.errors import ConfigurationError, UnavailableError
from consumer.event_source import events_source
from consumer.settings import Settings
from schemas.files import EventFileError, read_events
from support import DEADLINE_S, Keyed, Shop, event, shop_settings, unique

JUNE_MS = 1_748_736_000_000  # 2025-06-01, 00:00 UTC
DAY_MS = 86_400_000


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop with topics of its own."""
    shop = Shop(shop_settings(kafka, valkey, partitions=3))
    await shop.create_topics()
    return shop


async def dumped(shop: Shop, folder: Path, **bounds: datetime) -> tuple[Dumped, list[Keyed]]:
    """What a range came to, and the records of the file."""
    path = folder / "events.jsonl.zst"
    async with asyncio.timeout(DEADLINE_S):
        done = await dump(TopicRange(shop.settings.events_topic, **bounds), shop.settings, path)
    return done, list(read_events(path))


def users_of(records: list[Keyed]) -> list[str]:
    return sorted(key.decode() for key, _ in records if key is not None)


async def test_all_committed_records_are_read(shop: Shop, tmp_path: Path) -> None:
    """From all partitions, each in order, and past the end of a transaction, which is no record."""
    sent = [event(f"user-{number % 7}", "purchase", JUNE_MS + number, value=number) for number in range(200)]
    await shop.produce(sent[:100])
    await shop.produce(sent[100:], transactional_id=unique("sender"))  # ends in a marker that is no record
    done, records = await dumped(shop, tmp_path)
    assert done == Dumped(records=200, written=200, misplaced=0, erased_users=0)
    for user in {key for key, _ in sent}:
        expected = [json.loads(value) for key, value in sent if key == user]
        assert [json.loads(value) for key, value in records if key == user] == expected


async def test_what_is_not_committed_is_not_read(shop: Shop, tmp_path: Path) -> None:
    """An aborted transaction leaves nothing, and an open one does not keep reading from ending."""
    await shop.produce([event("anna", "purchase", JUNE_MS)])
    aborted, still_open = (
        AIOKafkaProducer(bootstrap_servers=shop.settings.kafka_bootstrap_servers, transactional_id=unique("sender"))
        for _ in range(2)
    )
    await aborted.start()
    await still_open.start()
    try:
        for producer in (aborted, still_open):
            await producer.begin_transaction()
            key, value = event("anna", "purchase", JUNE_MS + 1)
            await producer.send_and_wait(shop.settings.events_topic, value, key)
            if producer is aborted:
                await producer.abort_transaction()
        done, records = await dumped(shop, tmp_path)
        await still_open.abort_transaction()
    finally:
        await aborted.stop()
        await still_open.stop()
    assert (done.written, users_of(records)) == (1, ["anna"])


async def test_an_erased_user_is_forgotten(shop: Shop, tmp_path: Path) -> None:
    """What came before a record without a value is gone; what came after it, and other users, stay."""
    await shop.produce(
        [
            event("anna", "purchase", JUNE_MS),
            event("bert", "purchase", JUNE_MS),
            (b"anna", None),
            event("anna", "view_item", JUNE_MS + 1),
        ]
    )
    done, records = await dumped(shop, tmp_path)
    assert done == Dumped(records=4, written=2, misplaced=0, erased_users=1)
    assert [json.loads(value)["event_type"] for key, value in records if key == b"anna"] == ["view_item"]
    assert users_of(records) == ["anna", "bert"]


async def test_whatever_a_record_holds_it_is_one_line(shop: Shop, tmp_path: Path) -> None:
    """Line breaks in a value do not make two rows; garbage stays a row, to be counted; a wrong key is left out."""
    key, value = event("anna", "purchase", JUNE_MS, text="a\nb")
    pretty = json.dumps(json.loads(value or b""), indent=2).encode()
    await shop.produce([(key, pretty), (b"anna", b""), (b"anna", b"\xff\n{"), (b"bert", value)])
    done, records = await dumped(shop, tmp_path)
    assert done == Dumped(records=4, written=3, misplaced=1, erased_users=0)
    assert len(records) == 3
    assert [json.loads(value) for key, value in records if key] == [json.loads(pretty)]


async def test_a_range_is_by_the_records_timestamps(shop: Shop, tmp_path: Path) -> None:
    """From the start on, and before the end: an end at a record's own time leaves it out."""
    async with AIOKafkaProducer(bootstrap_servers=shop.settings.kafka_bootstrap_servers) as producer:
        for day in range(5):
            key, value = event(f"user-{day}", "purchase", JUNE_MS)
            await producer.send_and_wait(shop.settings.events_topic, value, key, timestamp_ms=JUNE_MS + day * DAY_MS)
    second, fourth, later = (datetime.fromtimestamp((JUNE_MS + day * DAY_MS) / 1000, UTC) for day in (1, 3, 50))
    for bounds, expected in (
        ({"start": second, "end": fourth}, ["user-1", "user-2"]),
        ({"start": second}, ["user-1", "user-2", "user-3", "user-4"]),
        ({"end": second}, ["user-0"]),
        ({"start": later}, []),
    ):
        (tmp_path / "events.jsonl.zst").unlink(missing_ok=True)
        _, records = await dumped(shop, tmp_path, **bounds)
        assert users_of(records) == expected


def read(path: Path) -> list[Keyed]:
    return list(read_events(path))


def broken(path: Path) -> list[Keyed]:
    raise EventFileError(f"cannot read the events in {path}: broken")


def in_a_thread(
    events: str, settings: Settings, reading: Callable[[Path], list[Keyed]] = read
) -> tuple[list[Keyed], list[str]]:
    """What a command reads: `events_source` runs an event loop of its own."""
    said: list[str] = []
    with events_source(events, settings, said.append) as path:
        return reading(path), said


async def test_a_topic_is_named_like_a_file(shop: Shop) -> None:
    """`kafka:TOPIC@FROM..TO` gives a file; a topic that is not there, or a server, is an error that names it."""
    await shop.produce([event("anna", "purchase", JUNE_MS)])
    topic = shop.settings.events_topic
    records, said = await asyncio.to_thread(in_a_thread, f"kafka:{topic}@2020-01-01..", shop.settings)
    assert users_of(records) == ["anna"]
    assert said == [f"1 records of {topic} read: 1 events, 0 with another user's key, 0 users erased"]
    with pytest.raises(ConfigurationError, match=r"Kafka timestamp \(not `occurred_at`\)"):
        await asyncio.to_thread(in_a_thread, f"kafka:{topic}@..2020-01-01", shop.settings)
    with pytest.raises(EventFileError, match=f"^cannot read the events in kafka:{topic}: broken"):
        await asyncio.to_thread(in_a_thread, f"kafka:{topic}", shop.settings, broken)
    with pytest.raises(ConfigurationError, match="there is no topic nowhere"):
        await asyncio.to_thread(in_a_thread, "kafka:nowhere", shop.settings)
    away = shop.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
        await asyncio.to_thread(in_a_thread, f"kafka:{topic}", away)
