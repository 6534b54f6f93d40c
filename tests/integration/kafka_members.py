"""Members of the shop's consumer group, as tests of the source need them."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from consumer.adapters.kafka_source import KafkaSource
from consumer.records import Record
from consumer.settings import Settings
from support import DEADLINE_S, until


@asynccontextmanager
async def member(settings: Settings) -> AsyncIterator[KafkaSource]:
    """A source that has been given its partitions, all on hold."""
    source = KafkaSource(settings)
    await source.start()

    async def ignore(_: Collection[int]) -> None:
        """Nothing depends on who owns the partitions."""

    try:
        source.subscribe(ignore, ignore)
        await until(source.is_member, "member of the group")
        yield source
    finally:
        await source.close()


async def take(source: KafkaSource, count: int) -> dict[int, list[Record]]:
    """Poll until so many records have come; by partition."""
    got: dict[int, list[Record]] = {}
    async with asyncio.timeout(DEADLINE_S):
        while sum(map(len, got.values())) < count:
            for partition, records in (await source.poll(1_000, 100)).items():
                got.setdefault(partition, []).extend(records)
    return got
