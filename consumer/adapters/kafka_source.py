"""The input topic as a `Source`: a member of the consumer group."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import OffsetOutOfRangeError

from consumer.adapters.kafka import READ_ERRORS, REQUEST_TIMEOUT_MS, connection, start_client, stopped, translated
from consumer.errors import LostPartitionError, UnavailableError
from consumer.records import Record
from consumer.settings import Settings

MAX_POLL_INTERVAL_MS = 300_000
FETCH_WAIT_MS = 100  # seeks, and questions about offsets, wait for the fetch that is under way
NEWER_WAIT_MS = 5  # a fetch of records that are there takes less
TELL_TIMEOUT_S = 2.0
METADATA_TIMEOUT_S = 5.0  # a rebalance may have to wait for it
_AT_ONCE_S = 0.002  # an answer so soon was there before
METADATA_MAX_AGE_MS = 30_000  # how soon new partitions, or leaders of old ones, are noticed at the latest
OnPartitions = Callable[[Collection[int]], Awaitable[None]]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, assigned: OnPartitions, revoked: OnPartitions) -> None:
        self._assigned, self._revoked = assigned, revoked

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._assigned([each.partition for each in assigned])

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._revoked([each.partition for each in revoked])


class KafkaSource:
    """A member of the consumer group; a partition that it is given is on hold until its first `seek`."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.events_topic
        self._from_end = settings.auto_offset_reset == "latest"
        self._delivered: dict[int, int] = {}  # by partition, the offset after the last record handed out …
        self._reads_on: dict[int, int] = {}  # … and where reading goes on: only transaction markers lie in between
        self._consumer = AIOKafkaConsumer(
            **connection(settings),
            group_id=settings.group_id,
            group_instance_id=settings.kafka_group_instance_id,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",  # a position that is gone must not be skipped in silence
            session_timeout_ms=settings.kafka_session_timeout_ms,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            rebalance_timeout_ms=int(settings.drain_timeout_s * 1000) + REQUEST_TIMEOUT_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),  # with two of them it would join twice
        )

    # The group.

    async def start(self) -> None:
        """Connect; raises `UnavailableError` when no broker answers."""
        await start_client(self._consumer.start, self._consumer.stop)

    def subscribe(self, assigned: OnPartitions, revoked: OnPartitions) -> None:
        """Join the group; from now on the two callbacks follow its rebalances."""

        async def holding(partitions: Collection[int]) -> None:
            for partition in partitions:
                self.hold(partition)
                self._consumer.seek(self._part(partition), 0)  # or it would ask where the group is
            await assigned(partitions)

        async def forgetting(partitions: Collection[int]) -> None:
            self._delivered.clear()  # a rebalance revokes all
            await revoked(partitions)

        self._consumer.subscribe([self._topic], listener=_Listener(holding, forgetting))

    async def close(self) -> None:
        """Leave the group, unless the membership is static."""
        await stopped(self._consumer.stop)

    async def check(self) -> None:
        """Raises `UnavailableError` when no broker answers."""
        with translated():
            await self._consumer.topics()

    def is_member(self) -> bool:
        """Whether the group has given this process its share, be it nothing, and no rebalance is under way."""
        state, coordinator = self._consumer._subscription, self._consumer._coordinator
        is_assigned = state.subscription is not None and state.subscription.assignment is not None
        return bool(is_assigned and not state.reassignment_in_progress and coordinator and coordinator.generation > 0)

    def assigned(self) -> set[int]:
        """The partitions that the group has given this process."""
        return {part.partition for part in self._consumer.assignment()}

    def why_broken(self) -> str | None:
        """What ended a background task of the client, if anything did: only a new process reads again."""
        if not self._consumer._coordinator:
            return None
        for task in (self._consumer._coordinator._coordination_task, self._consumer._fetcher.error_future):
            if task.done():
                return repr(None if task.cancelled() else task.exception())
        return None

    # Records.

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """See `Source.poll`."""
        with translated():
            batch = await self._newest(max_records, timeout_ms)
            for part in self._consumer.assignment():
                if part.partition in self._delivered:
                    self._reads_on[part.partition] = await self._consumer.position(part)
        return {
            part.partition: [Record(each.offset, each.timestamp, each.key, each.value) for each in records]
            for part, records in batch.items()
        }

    async def _newest(self, max_records: int, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        """What was fetched ahead is as old as the call before this one; what has come since is fetched as well."""
        began = time.monotonic()
        batch = await self._getmany(max_records, timeout_ms)
        room = max_records - sum(map(len, batch.values()))
        if batch and room > 0 and time.monotonic() - began < _AT_ONCE_S:
            with suppress(LostPartitionError, *READ_ERRORS):  # another call says it again
                for part, records in (await self._getmany(room, NEWER_WAIT_MS)).items():
                    batch[part] = batch.get(part, []) + records
        return batch

    async def _getmany(self, max_records: int, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        try:
            found: dict[TopicPartition, list[Any]]
            found = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        except OffsetOutOfRangeError as error:
            self._forget_fetch()
            gone = {part.partition: offset for part, offset in error.args[0].items()}
            raise LostPartitionError(f"the input does not hold what comes next, by partition: {gone}", gone) from error
        except BaseException:
            self._forget_fetch()
            self._go_back()
            raise
        self._delivered |= {part.partition: records[-1].offset + 1 for part, records in found.items()}
        return found

    def _go_back(self) -> None:
        """aiokafka 0.14 drops what it has taken of other partitions when it stumbles over a damaged record."""
        for part in self._consumer.assignment():
            if part.partition in self._delivered:
                self._consumer.seek(part, self._delivered[part.partition])

    def _forget_fetch(self) -> None:
        """aiokafka 0.14 takes a call that was cancelled, or has failed, for one that is under way for ever; then a
        process that polls no more would keep its partitions."""
        state = self._consumer._subscription
        state._fetch_count, state._last_fetch_ended = 0, time.monotonic()

    def hold(self, partition: int) -> None:
        """See `Source.hold`."""
        part = self._part(partition)
        if part in self._consumer.assignment():
            self._consumer.pause(part)

    async def seek(self, partition: int, offset: int) -> None:
        """See `Source.seek`; raises `UnavailableError` while the partition is not ours."""
        part = self._part(partition)
        if part not in self._consumer.assignment():
            raise UnavailableError("kafka", f"partition {partition} is not ours now")
        self._consumer.seek(part, offset)
        self._consumer.resume(part)
        self._delivered[partition] = self._reads_on[partition] = offset

    # What is there.

    async def partitions(self) -> int:
        """See `Source.partitions`."""
        with translated():
            async with asyncio.timeout(METADATA_TIMEOUT_S):
                answered = await self._consumer._client.force_metadata_update()
        if not answered:
            raise UnavailableError("kafka", "no broker answers")
        found = self._consumer.partitions_for_topic(self._topic)
        if not found:
            raise UnavailableError("kafka", f"there is no topic {self._topic} now")
        return len(found)

    async def retained(self, partition: int) -> tuple[int, int]:
        """See `Source.retained`."""
        part = self._part(partition)
        with translated():
            first = await self._consumer.beginning_offsets([part])
            end = await self._consumer.end_offsets([part])
        return int(first[part]), int(end[part])

    async def configured_start(self, partition: int) -> int:
        """See `Source.configured_start`."""
        first, end = await self.retained(partition)
        return end if self._from_end else first

    async def tell(self, offsets: Mapping[int, int]) -> None:
        """See `Source.tell`."""
        parts = {self._part(partition): offset for partition, offset in offsets.items()}
        with translated():
            async with asyncio.timeout(TELL_TIMEOUT_S):
                await self._consumer.commit(parts)

    def lag(self, partition: int, next_offset: int) -> int | None:
        """See `Source.lag`."""
        part = self._part(partition)
        if part not in self._consumer.assignment():
            return None
        end = self._consumer.last_stable_offset(part)
        if self._delivered.get(partition) == next_offset:
            next_offset = self._reads_on[partition]
        return None if end is None or end < 0 else max(end - next_offset, 0)

    def stuck(self, partition: int) -> int:
        """Offsets that may not be read yet, as somebody's transaction before them is open; 0 if none is known."""
        part = self._part(partition)
        if part not in self._consumer.assignment():
            return 0
        stable, end = self._consumer.last_stable_offset(part), self._consumer.highwater(part)
        return 0 if stable is None or stable < 0 or end is None else max(end - stable, 0)

    def fetched(self, partition: int) -> tuple[int, int] | None:
        """When Kafka last answered a fetch of it, ms, and where the oldest open transaction begins, or else the end."""
        part = self._part(partition)
        if part not in self._consumer.assignment() or self._consumer.last_poll_timestamp(part) is None:
            return None
        return self._consumer.last_poll_timestamp(part), self._consumer.last_stable_offset(part)

    def _part(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)
