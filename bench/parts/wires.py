"""What it takes this process to read and write: each client alone, between real servers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from bench.parts.alone import Shop, Turn
from bench.parts.stages import CHANGELOG, LOAD, LOOK, READ, STORE
from bench.rivals.command import PARTITIONS
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.redis_store import RedisStore
from consumer.adapters.topics import create_topics
from consumer.ports import Header, Logged, Step
from consumer.settings import Settings

_POLL_RECORDS, _POLL_MS, _FILL_USERS = 10_000, 100, 5_000


async def measured(settings: Settings, shop: Shop, turns: list[Turn], events: int) -> dict[str, float]:
    """By stage, processor seconds of this process for the turns after those that `shop` has seen."""
    await create_topics(settings)
    return {
        READ: await _reading(settings, shop, events),
        CHANGELOG: await _committing(settings, turns),
        **await _storing(settings, shop, turns),
    }


async def _reading(settings: Settings, shop: Shop, events: int) -> float:
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
        return await _cpu_s(lambda: _read(source, events))
    finally:
        await source.close()


async def _read(source: KafkaSource, events: int) -> None:
    while events > 0:
        events -= sum(map(len, (await source.poll(_POLL_RECORDS, _POLL_MS)).values()))


async def _committing(settings: Settings, turns: list[Turn]) -> float:
    changelog = KafkaChangelog(settings)

    async def commit(step: Step) -> None:
        await changelog.commit(step.partition, step.users, step.position, step.messages)

    try:
        for partition in range(PARTITIONS):
            await changelog.fence(partition)
        total_s = 0.0
        for turn in turns:
            total_s += await _cpu_s(lambda steps=turn.steps: asyncio.gather(*map(commit, steps)))
        return total_s
    finally:
        await changelog.close()


async def _storing(settings: Settings, shop: Shop, turns: list[Turn]) -> dict[str, float]:
    store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
    seconds = dict.fromkeys((LOAD, LOOK, STORE), 0.0)
    try:
        at = await _filled(store, shop)
        for turn in turns:
            headers = {partition: [header] for partition, header in at.items()}
            seconds[LOAD] += await _cpu_s(lambda: store.load(turn.names, headers))
            seconds[LOOK] += await _cpu_s(lambda: store.due(turn.until_ms, headers, 1))
            after = {step.partition: _after(at[step.partition], step) for step in turn.steps}
            steps = [(step.partition, at[step.partition], after[step.partition], step.users) for step in turn.steps]
            seconds[STORE] += await _cpu_s(lambda: asyncio.gather(*(store.step(*each) for each in steps)))
            at |= after
    finally:
        await store.close()
    return seconds


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


async def _cpu_s(work: Callable[[], Awaitable[object]]) -> float:
    """Of all threads of this process, while it is awaited."""
    began = time.process_time()
    await work()
    return time.process_time() - began
