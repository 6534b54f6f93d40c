"""The outgoing topics and the state topic as a `Changelog`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumer.adapters.kafka import MAX_MESSAGE_BYTES, connection, start_client, stop_client, translated
from consumer.core.state import NO_TIME, UnreadableStateError, unpack
from consumer.errors import ConfigurationError, UnavailableError
from consumer.ports import Position, Step, UserState
from consumer.settings import Settings

POSITION_KEY = b""  # user ids are never empty
_CHUNK_RECORDS = 5_000


class KafkaChangelog:
    """Publishes through one idempotent producer; a producer that failed is replaced."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.state_topic
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect, unless connected."""
        if self._producer is None:
            producer = AIOKafkaProducer(
                **connection(self._settings),
                enable_idempotence=True,
                max_batch_size=MAX_MESSAGE_BYTES // 8,
                max_request_size=MAX_MESSAGE_BYTES,
            )
            await start_client(producer.start, producer.stop)
            self._producer = producer

    async def close(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await stop_client(producer)

    async def publish(self, steps: Sequence[Step]) -> None:
        """See `Changelog.publish`."""
        await self.start()
        try:
            with translated():
                await self._send(steps)
        except (UnavailableError, asyncio.CancelledError):
            await self._discard()
            raise

    async def _send(self, steps: Sequence[Step]) -> None:
        assert self._producer is not None
        acknowledgements = []
        for step in steps:
            for message in step.messages:
                send = self._producer.send(message.topic, message.value, message.key, headers=list(message.headers))
                acknowledgements += [await send]
            acknowledgements += await self._send_states(step)
        await asyncio.gather(*acknowledgements)

    async def _send_states(self, step: Step) -> list[asyncio.Future[Any]]:
        """States and, last, the position: batches of one partition keep their order."""
        assert self._producer is not None
        records = [(user.user_id.encode(), user.value or None) for user in step.users]
        records.append((POSITION_KEY, str(step.position).encode()))
        sent, batch = [], self._producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await self._producer.send_batch(batch, self._topic, partition=step.partition))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        sent.append(await self._producer.send_batch(batch, self._topic, partition=step.partition))
        return sent

    async def _discard(self) -> None:
        """Drop the producer and what it has not sent: an idempotent one would send it whenever Kafka is back, be it
        after newer states."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer._sender.sender_task.cancel()
            await stop_client(producer)

    async def read(self, partition: int) -> AsyncIterator[tuple[list[UserState], Position | None]]:
        """See `Changelog.read`."""
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        part = TopicPartition(self._topic, partition)
        try:
            with translated():
                await consumer.start()
                consumer.assign([part])
                end = (await consumer.end_offsets([part]))[part]
                await consumer.seek_to_beginning(part)
                while await consumer.position(part) < end:
                    batch = await consumer.getmany(timeout_ms=1_000, max_records=_CHUNK_RECORDS)
                    yield _states_and_position(batch.get(part, []))
        finally:
            await stop_client(consumer)


def _states_and_position(records: list[Any]) -> tuple[list[UserState], Position | None]:
    latest = {record.key: record.value or b"" for record in records}
    position = latest.pop(POSITION_KEY, None)
    names, values = list(latest), list(latest.values())
    try:
        due_ms = unpack(values).header["due_ms"].tolist()
    except UnreadableStateError as error:
        raise ConfigurationError(f"the state topic holds what this version cannot read: {error}") from error
    users = [
        UserState(name.decode(), value, None if due == NO_TIME else due)
        for name, value, due in zip(names, values, due_ms, strict=True)
    ]
    return users, Position.parse(position) if position else None
