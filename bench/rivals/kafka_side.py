"""Topics made and read by the harness."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.rivals.command import PARTITIONS
from bench.rivals.judging import Alerts, Key


async def make_topics(bootstrap: str, *names: str) -> None:
    """With four partitions each."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    finally:
        await admin.close()


async def drop_topics(bootstrap: str, names: list[str]) -> None:
    """For good, so that their bytes do not burden who comes after."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()


@asynccontextmanager
async def _reading(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_alerts(bootstrap: str, topic: str) -> tuple[Alerts, int]:
    """What a reader of committed records sees, and how often something was told again."""
    alerts: dict[Key, float] = {}
    repeated = 0
    async for record in _committed(bootstrap, topic):
        alert = json.loads(record.value)
        source = alert["source"]
        key = (alert["user_id"], alert["tier"], source["partition"], source["offset"])
        repeated += key in alerts
        alerts[key] = alert["churn_probability"]
    return alerts, repeated


async def latest_bytes(bootstrap: str, topic: str) -> tuple[int, int]:
    """Keys of a changelog, and bytes of their latest records, as compaction would leave them."""
    size: dict[bytes, int] = {}
    async for record in _committed(bootstrap, topic):
        size[record.key] = len(record.key) + len(record.value or b"")
    return len(size), sum(size.values())


async def _committed(bootstrap: str, topic: str) -> AsyncIterator[Any]:
    async with _reading(bootstrap) as consumer:
        parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        await consumer.seek_to_beginning(*parts)
        while any([await consumer.position(part) < ends[part] for part in parts]):
            batches = await consumer.getmany(timeout_ms=200, max_records=50_000)
            for records in batches.values():
                for record in records:
                    yield record


async def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """How many records each partition has."""
    async with _reading(bootstrap) as consumer:
        found = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
    return {part.partition: end for part, end in found.items()}


async def sent_ms(bootstrap: str, topic: str, after: Mapping[int, int]) -> dict[tuple[int, int], int]:
    """When each record from these offsets on was sent, by partition and offset."""
    return {
        (record.partition, record.offset): record.timestamp
        async for record in _committed(bootstrap, topic)
        if record.offset >= after[record.partition]
    }
