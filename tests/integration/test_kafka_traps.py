"""Traps of aiokafka 0.14 that would be silent: that they are there, and that we do not step into them.

Where "the trap is there" fails, a newer aiokafka has closed it: then the guard that the other test shows may go.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka_members import member

from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_source import KafkaSource
from consumer.embedded import KafkaServer, RedisServer
from consumer.errors import LostPartitionError, UnavailableError
from consumer.records import Message, Position
from consumer.settings import Settings
from support import Shop, shop_settings, until

DEADLINE_MS = 1_500
FIRST = Position("genesis", 1, 1)


@pytest.fixture
async def settings(kafka: KafkaServer, valkey: RedisServer) -> Settings:
    """A shop in which nothing has happened."""
    settings = shop_settings(kafka, valkey, partitions=1, kafka_transaction_timeout_ms=DEADLINE_MS)
    await Shop(settings).create_topics()
    return settings


async def cancelled(task: "asyncio.Task[object]") -> None:
    """Let it begin, then cancel it."""
    await asyncio.sleep(0.05)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def idle_s(consumer: AIOKafkaConsumer) -> float:
    """For how long aiokafka believes that nobody has polled, a moment after the last call."""
    await asyncio.sleep(0.05)
    return float(consumer._subscription.fetcher_idle_time)


async def test_a_cancelled_getmany_counts_as_polling_for_ever(settings: Settings) -> None:
    """The trap is there: after a cancellation a consumer that is not polled is never idle, so it is never given up."""
    async with AIOKafkaConsumer(
        settings.events_topic, bootstrap_servers=settings.kafka_bootstrap_servers, group_id=settings.group_id
    ) as consumer:
        await consumer.getmany(timeout_ms=10)
        assert await idle_s(consumer) > 0
        await cancelled(asyncio.create_task(consumer.getmany(timeout_ms=60_000)))
        assert await idle_s(consumer) == 0


async def test_a_source_that_is_not_polled_is_idle(settings: Settings) -> None:
    """However a poll ends: by its timeout, in an error or, though nobody does that, by a cancellation."""
    async with member(settings) as source:
        await source.poll(10, 10)
        assert await idle_s(source._consumer) > 0
        await cancelled(asyncio.create_task(source.poll(10, 60_000)))
        assert await idle_s(source._consumer) > 0
        await failed_poll(source)
        assert await idle_s(source._consumer) > 0
        await source.poll(10, 10)
        assert await idle_s(source._consumer) > 0


async def failed_poll(source: KafkaSource) -> None:
    """A poll that ends as when the group coordinator refuses us."""
    polling = asyncio.create_task(source.poll(10, 60_000))
    await asyncio.sleep(0.05)
    for waiter in list(source._consumer._fetcher._fetch_waiters):
        waiter.set_exception(OSError("refused"))
    with pytest.raises(UnavailableError, match="refused"):
        await polling


async def test_two_assignors_join_twice(settings: Settings) -> None:
    """The trap is there: a consumer with two assignors joins once for each, and every join is a new generation."""
    async with AIOKafkaConsumer(
        settings.events_topic,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=settings.group_id,
        partition_assignment_strategy=(RangePartitionAssignor, RoundRobinPartitionAssignor),
    ) as consumer:
        assert consumer._coordinator.generation == 2


async def test_the_source_joins_once(settings: Settings) -> None:
    """One member's join makes the first generation, and nothing follows it."""
    async with member(settings) as source:
        await source.poll(10, 200)
        assert source._consumer._coordinator.generation == 1


async def stuck_after(settings: Settings, changelog: KafkaChangelog) -> Coroutine[object, object, int]:
    """A commit that will not end, after one that did: it writes to a topic that has gone since."""
    await changelog.fence(0)
    await changelog.commit(0, [], FIRST, [Message(settings.outcomes_topic, b"anna", b"{}")])
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    await admin.delete_topics([settings.outcomes_topic])
    await admin.close()
    messages = [Message(topic, b"anna", b"{}") for topic in (settings.alerts_topic, settings.outcomes_topic)]
    return changelog.commit(0, [], replace(FIRST, next_offset=2), messages)


async def test_a_commit_for_a_topic_that_is_gone_ends(settings: Settings) -> None:
    """aiokafka tries to send to it for ever: our deadline ends it, and nothing of the commit is ever seen."""
    changelog, loop = KafkaChangelog(settings), asyncio.get_running_loop()
    try:
        stuck, begun = await stuck_after(settings, changelog), loop.time()
        with pytest.raises(LostPartitionError) as doubt:
            await stuck
        assert (doubt.value.partitions, doubt.value.reason) == ({0}, "unknown")
        assert DEADLINE_MS / 1000 <= loop.time() - begun < DEADLINE_MS / 1000 + 1
        await changelog.fence(0)
        last = await changelog.last(0, await changelog.barrier(0))
        assert last is not None
        assert last.position == FIRST
    finally:
        await changelog.close()
    assert await Shop(settings).alerts() == []


async def test_a_commit_that_is_cancelled_leaves_nothing_behind(settings: Settings) -> None:
    """Its producer is given up at once: what was under way is aborted by the next fence, and no task goes on."""
    before = asyncio.all_tasks()
    changelog = KafkaChangelog(settings.model_copy(update={"kafka_transaction_timeout_ms": 60_000}))
    await cancelled(asyncio.create_task(await stuck_after(settings, changelog)))
    with pytest.raises(LostPartitionError, match="no writer"):
        await changelog.barrier(0)
    await changelog.fence(0)
    last = await changelog.last(0, await changelog.barrier(0))
    assert last is not None
    assert last.position == FIRST
    await changelog.close()
    await until(lambda: asyncio.all_tasks() <= before, "no task left")
