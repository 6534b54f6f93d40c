"""What `ebbtide repartition` asks of Kafka: is the service stopped, and what waits in the input?"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from consumer.adapters.kafka import connection, start_client, stopped, translated
from consumer.adapters.kafka_reader import Readers
from consumer.records import Message
from consumer.settings import Settings


async def members(settings: Settings) -> list[str]:
    """Where the members of the consumer group are."""
    admin = AIOKafkaAdminClient(**connection(settings))
    await start_client(admin.start, admin.close)
    try:
        with translated():
            [response] = await admin.describe_consumer_groups([settings.group_id])
            code, _, _, _, _, found, *_ = response.groups[0]
            if code:
                raise for_code(code)
        return [host.lstrip("/") for *_, host, _, _ in found]
    finally:
        await stopped(admin.close)


async def retained(settings: Settings, topic: str, partitions: int, with_open: bool = True) -> list[tuple[int, int]]:
    """By partition, the first offset that may be read, and the one after the last, in open transactions or before."""
    parts = [TopicPartition(topic, each) for each in range(partitions)]
    consumer = AIOKafkaConsumer(
        **connection(settings),
        isolation_level="read_uncommitted" if with_open else "read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    await start_client(consumer.start, consumer.stop)
    try:
        with translated():
            first, end = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        return [(int(first[part]), int(end[part])) for part in parts]
    finally:
        await stopped(consumer.stop)


class UnreadInput:
    """Ranges of the input."""

    def __init__(self, settings: Settings) -> None:
        self._topic, self._readers = settings.events_topic, Readers(settings)

    async def close(self) -> None:
        """Disconnect."""
        await self._readers.close()

    async def read(self, partition: int, offsets: range) -> AsyncGenerator[list[tuple[int, Message]]]:
        """See `Unread.read`; raises `UnavailableError` while an open transaction may add records."""
        with translated():
            async with (
                self._readers.reading(self._topic, partition) as reader,
                aclosing(reader.records(offsets.start, offsets.stop - 1)) as batches,
            ):
                async for records in batches:
                    yield [(each.timestamp, self._message(each)) for each in records]

    def _message(self, record: Any) -> Message:
        """No client publishes a record with neither key nor value; one with an empty key is rejected like it."""
        key = b"" if record.key is None and record.value is None else record.key
        return Message(self._topic, key, record.value, tuple(record.headers))
