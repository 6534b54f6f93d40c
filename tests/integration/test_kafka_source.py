"""The input topic as Kafka really delivers it."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.topics import create_topics, topic_problems
from consumer.embedded import KafkaServer, RedisServer
from consumer.ports import Record
from support import DEADLINE_S, shop_settings


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_every_compression_is_read(codec: str, kafka: KafkaServer, valkey: RedisServer) -> None:
    """What a producer has compressed arrives as it was, whatever the codec."""
    settings = shop_settings(kafka, valkey, partitions=1)
    await create_topics(settings)
    sent = [f"value {number}".encode() for number in range(100)]
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, compression_type=codec) as producer:
        for value in sent:
            await producer.send(settings.events_topic, value, b"user")

    async def ignore(_: object) -> None:
        """Nothing depends on who owns the partition."""

    source, got = KafkaSource(settings), list[Record]()
    await source.start()
    try:
        source.subscribe(ignore, ignore)
        async with asyncio.timeout(DEADLINE_S):
            while len(got) < len(sent):
                got += (await source.poll(1_000, 100)).get(0, [])
    finally:
        await source.close()
    assert [record.value for record in got] == sent


async def test_a_state_topic_with_too_few_partitions_is_named(kafka: KafkaServer, valkey: RedisServer) -> None:
    """Every input partition needs its own in the state topic: both topics and counts are told."""
    settings = shop_settings(kafka, valkey, partitions=1)
    await create_topics(settings)
    wide = settings.model_copy(update={"events_topic": settings.events_topic + ".wide", "partitions": 3})
    assert [problem.split(":")[0] for problem in await topic_problems(wide)] == [f"there is no {wide.events_topic}"]
    await create_topics(wide)
    [problem] = await topic_problems(wide)
    assert problem.startswith(f"{settings.state_topic} has 1 partitions and {wide.events_topic} has 3")
    assert await topic_problems(settings) == []
