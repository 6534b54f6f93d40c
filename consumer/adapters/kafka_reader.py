"""Ranges of a partition, read with consumers that are kept for the next time: connecting takes longer than reading."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumer.adapters.kafka import MAX_MESSAGE_BYTES, connection, start_client, stopped
from consumer.errors import UnavailableError
from consumer.settings import Settings

_CHUNK_RECORDS = 5_000
_POLL_MS = 200
_MAX_IDLE = 8


class Readers:
    """Consumers without a group; each serves one reading at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: list[AIOKafkaConsumer] = []

    async def close(self) -> None:
        """Disconnect those that are not in use."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(stopped(consumer.stop) for consumer in idle))

    @asynccontextmanager
    async def reading(self, topic: str, partition: int) -> AsyncIterator["Reader"]:
        """A reader of one partition; kept for others afterwards, unless something went wrong."""
        consumer = self._idle.pop() if self._idle else await self._start()
        part = TopicPartition(topic, partition)
        try:
            consumer.assign([part])
            consumer.pause(part)  # so that nothing is fetched before somebody says from where
            consumer.seek(part, 0)
            yield Reader(consumer, part, self._settings.kafka_transaction_timeout_ms / 1000)
            consumer.pause(part)
        except BaseException:
            await stopped(consumer.stop)
            raise
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(consumer)
        else:
            await stopped(consumer.stop)

    async def _start(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
            fetch_max_wait_ms=50,  # a seek waits for the fetch that is under way
        )
        await start_client(consumer.start, consumer.stop)
        return consumer


class Reader:
    """One partition, read in ranges."""

    def __init__(self, consumer: AIOKafkaConsumer, part: TopicPartition, patience_s: float) -> None:
        self._consumer, self._part, self._patience_s = consumer, part, patience_s

    async def first_offset(self) -> int:
        """The oldest offset that may still hold a record."""
        found = await self._consumer.beginning_offsets([self._part])
        return int(found[self._part])

    async def end_offset(self) -> int:
        """The one after the last that is stable: no transaction before it is open."""
        found = await self._consumer.end_offsets([self._part])
        return int(found[self._part])

    async def records(self, first: int, last: int) -> AsyncGenerator[list[Any]]:
        """Committed records at the offsets from `first` to `last`, oldest first, in lists of bounded length.

        Offsets without a record (compacted, aborted, markers) are passed over; raises `UnavailableError` when those
        up to `last` do not become readable for a while.
        """
        self._consumer.seek(self._part, first)
        self._consumer.resume(self._part)
        reached, since = first, time.monotonic()
        while (position := await self._consumer.position(self._part)) <= last:
            if position > reached:
                reached, since = position, time.monotonic()
            elif time.monotonic() - since > self._patience_s:
                raise UnavailableError("kafka", f"{self._part} cannot be read beyond offset {position}, up to {last}")
            batch = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_CHUNK_RECORDS)
            found = batch.get(self._part, [])
            if found and found[-1].offset > last:
                found = [record for record in found if record.offset <= last]
            if found:
                yield found
