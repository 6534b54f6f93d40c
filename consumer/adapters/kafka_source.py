"""The input topic as a `Source`: a member of the consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.structs import OffsetAndMetadata

from consumer.adapters.kafka import REQUEST_TIMEOUT_MS, connection, start_client, stop_client, translated
from consumer.ports import Record
from consumer.settings import Settings

OFFSETS_TIMEOUT_S = 2.0
MAX_POLL_INTERVAL_MS = 300_000
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
        await start_client(self._consumer.start, self._consumer.stop)

    def subscribe(self, assigned: OnPartitions, revoked: OnPartitions) -> None:
        """Join the group; from now on the two callbacks follow its rebalances."""

        async def forgetting(partitions: Collection[int]) -> None:
            self._delivered.clear()  # a rebalance revokes all
            await revoked(partitions)

        self._consumer.subscribe([self._topic], listener=_Listener(assigned, forgetting))

    async def close(self) -> None:
        """Leave the group."""
        await stop_client(self._consumer)

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
