"""What it takes this process to read and write: each client alone, between real servers."""

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from bench.parts.alone import Shop, Turn
from bench.parts.stages import CHANGELOG, LOAD, LOOK, READ, STORE
from bench.rivals.command import PARTITIONS
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.redis_store import RedisStore
from consumer.adapters.topics import create_topics
from consumer.records import Header, Logged, Step
from consumer.settings import Settings

_POLL_RECORDS, _POLL_MS, _FILL_USERS = 10_000, 100, 5_000
Seconds = dict[str, float]


async def measured(settings: Settings, shop: Shop, turns: list[Turn], events: int) -> Seconds:
    """By stage, processor seconds of this process for the turns after those that `shop` has seen."""
    await create_topics(settings)
    seconds = dict.fromkeys((READ, LOAD, LOOK, CHANGELOG, STORE), 0.0)
    await _read(settings, shop, events, seconds)
    await _commit(settings, turns, seconds)
    await _store(settings, shop, turns, seconds)
    return seconds


async def _read(settings: Settings, shop: Shop, events: int, seconds: Seconds) -> None:
    joined = asyncio.Event()

    async def assigned(partitions: Collection[int]) -> None:
        joined.set()

    async def revoked(partitions: Collection[int]) -> None:
        pass

    source = KafkaSource(settings)
    await source.start()
    try:
        source.subscribe(assigned, revoked)
        while not joined.is_set() or len(source.assigned()) < PARTITIONS:
            await source.poll(1, _POLL_MS)
        for partition in range(PARTITIONS):
            await source.seek(partition, shop.stand[partition].next_offset)
        with _counted(seconds, READ):
            while events > 0:
                events -= sum(map(len, (await source.poll(_POLL_RECORDS, _POLL_MS)).values()))
    finally:
        await source.close()


async def _commit(settings: Settings, turns: list[Turn], seconds: Seconds) -> None:
    changelog = KafkaChangelog(settings)
    try:
        for partition in range(PARTITIONS):
            await changelog.fence(partition)
        for turn in turns:
            with _counted(seconds, CHANGELOG):
                await asyncio.gather(
                    *(changelog.commit(each.partition, each.users, each.position, each.messages) for each in turn.steps)
                )
    finally:
        await changelog.close()


async def _store(settings: Settings, shop: Shop, turns: list[Turn], seconds: Seconds) -> None:
    store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
    try:
        at = await _filled(store, shop)
        for turn in turns:
            headers = {partition: [header] for partition, header in at.items()}
            with _counted(seconds, LOAD):
                await store.load(turn.names, headers)
            with _counted(seconds, LOOK):
                await store.due(turn.until_ms, headers, 1)
            after = {step.partition: _after(at[step.partition], step) for step in turn.steps}
            with _counted(seconds, STORE):
                await asyncio.gather(
                    *(
                        store.step(each.partition, at[each.partition], after[each.partition], each.users)
                        for each in turn.steps
                    )
                )
            at |= after
    finally:
        await store.close()


async def _filled(store: RedisStore, shop: Shop) -> dict[int, Header]:
    """Where the view stands once it holds all that the shop knows."""
    at = {}
    for partition, known in shop.users.items():
        users = [user for user in known.values() if user.value]
        parts = [users[begin : begin + _FILL_USERS] for begin in range(0, len(users), _FILL_USERS)]
        for number, part in enumerate(parts):
            await store.fill(partition, "bench", number, part)
        at[partition] = Header.of(Logged(shop.stand[partition], 0), "bench")
        await store.switch(partition, None, len(parts), at[partition])
    return at


def _after(before: Header, step: Step) -> Header:
    return Header.of(Logged(step.position, before.offset + 1), before.generation)


@contextmanager
def _counted(seconds: Seconds, stage: str) -> Iterator[None]:
    """Add what all threads of this process work meanwhile."""
    began = time.process_time()
    yield
    seconds[stage] += time.process_time() - began
