"""Kafka: the input topic as a `Source`, the outgoing topics and the state topic as a `Changelog`."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import OffsetAndMetadata

from consumer.core.state import NO_TIME, UnreadableStateError, unpack
from consumer.errors import ConfigurationError, UnavailableError
from consumer.ports import Position, Record, Step, UserState
from consumer.settings import Settings

POSITION_KEY = b""  # user ids are never empty
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
REQUEST_TIMEOUT_MS = 15_000
OFFSETS_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 5.0
MAX_POLL_INTERVAL_MS = 300_000
_CHUNK_RECORDS = 5_000


def connection(settings: Settings) -> dict[str, Any]:
    """What every client needs to reach the brokers."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=settings.kafka_ca_file)
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_sasl_password:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


@lru_cache(maxsize=1_000_000)
def partition_of(key: bytes, partitions: int) -> int:
    """Where every Kafka client puts a record with this key, unless told otherwise."""
    return int(DefaultPartitioner()(key, range(partitions), []))


@contextmanager
def translated() -> Iterator[None]:
    """Kafka's errors become what to do about them."""
    try:
        yield
    except MessageSizeTooLargeError as error:
        raise ConfigurationError(
            f"Kafka refuses a record for its size ({error}): raise max.message.bytes of the outgoing topics to "
            f"{MAX_MESSAGE_BYTES}, as `ebbtide topics create` does"
        ) from error
    except (KafkaError, OSError) as error:
        raise UnavailableError("kafka", str(error) or type(error).__name__) from error


OnPartitions = Callable[[Collection[int]], Awaitable[None]]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, assigned: OnPartitions, revoked: OnPartitions) -> None:
        self._assigned, self._revoked = assigned, revoked

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._assigned([each.partition for each in assigned])

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._revoked([each.partition for each in revoked])


class KafkaSource:
    """A member of the consumer group."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.events_topic
        self._from_end = settings.auto_offset_reset == "latest"
        self._delivered: dict[int, int] = {}  # by partition, the offset after the last record handed out …
        self._reads_on: dict[int, int] = {}  # … and where reading goes on: only transaction markers lie in between
        self._consumer = AIOKafkaConsumer(
            **connection(settings),
            group_id=settings.group_id,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset=settings.auto_offset_reset,
            session_timeout_ms=settings.kafka_session_timeout_ms,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            rebalance_timeout_ms=int(settings.drain_timeout_s * 1000) + REQUEST_TIMEOUT_MS,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )

    async def start(self) -> None:
        """Connect; raises `UnavailableError` when no broker answers."""
        with translated():
            try:
                await self._consumer.start()
            except BaseException:
                await self._consumer.stop()
                raise

    def subscribe(self, assigned: OnPartitions, revoked: OnPartitions) -> None:
        """Join the group; from now on the two callbacks follow its rebalances."""

        async def forgetting(partitions: Collection[int]) -> None:
            self._delivered.clear()  # a rebalance revokes all
            await revoked(partitions)

        self._consumer.subscribe([self._topic], listener=_Listener(assigned, forgetting))

    async def close(self) -> None:
        """Leave the group."""
        await _stop(self._consumer)

    async def check(self) -> None:
        """Raises `UnavailableError` when no broker answers."""
        with translated():
            await self._consumer.topics()

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """See `Source.poll`."""
        with translated():
            batch = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
            self._delivered |= {part.partition: records[-1].offset + 1 for part, records in batch.items()}
            for part in self._consumer.assignment():
                if part.partition in self._delivered:
                    self._reads_on[part.partition] = await self._consumer.position(part)
        return {
            part.partition: [Record(each.offset, each.timestamp, each.key, each.value) for each in records]
            for part, records in batch.items()
        }

    async def seek(self, partition: int, offset: int | None) -> None:
        """See `Source.seek`."""
        part = TopicPartition(self._topic, partition)
        self._delivered.pop(partition, None)
        with translated():
            if offset is not None:
                self._consumer.seek(part, offset)
                self._delivered[partition] = self._reads_on[partition] = offset
            elif self._from_end:
                await self._consumer.seek_to_end(part)
            else:
                await self._consumer.seek_to_beginning(part)

    def lag(self, partition: int, next_offset: int) -> int | None:
        """See `Source.lag`."""
        part = TopicPartition(self._topic, partition)
        if part not in self._consumer.assignment():
            return None
        end = self._consumer.last_stable_offset(part)
        if self._delivered.get(partition) == next_offset:
            next_offset = self._reads_on[partition]
        return None if end is None or end < 0 else max(end - next_offset, 0)

    async def commit_offsets(self, offsets: dict[int, int]) -> None:
        """See `Source.commit_offsets`."""
        owned = {part.partition for part in self._consumer.assignment()}
        named = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "")
            for partition, offset in offsets.items()
            if partition in owned
        }
        with translated():
            if named:  # by itself it would try for as long as Kafka is away
                await asyncio.wait_for(self._consumer.commit(named), OFFSETS_TIMEOUT_S)


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
            with translated():
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
            self._producer = producer

    async def close(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await _stop(producer)

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
            await _stop(producer)

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
            await _stop(consumer)


async def _stop(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Without a broker this may take for ever, or end in a stray cancellation (aiokafka 0.14)."""
    await asyncio.wait([asyncio.ensure_future(client.stop())], timeout=STOP_TIMEOUT_S)


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
