"""Brokers of an embedded cluster can be taken away and given back, with or without proxies in front of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NodeNotReadyError
from proxy import proxies_to
from waiting import DEADLINE_S, until

from consumer.embedded import EmbeddedKafka, free_ports

STALL_S = 0.5
REQUEST_TIMEOUT_MS = 5_000  # aiokafka's own is 40 s, which is how long it waits for each broker that hangs
ALL = [1, 2, 3]
SAFE = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedKafka]:
    """Three brokers; whoever takes one away gives it back."""
    with EmbeddedKafka(3, SAFE) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def proxied() -> Iterator[EmbeddedKafka]:
    """Three brokers that tell their clients to come through proxies."""
    with EmbeddedKafka(3, SAFE, advertised_ports=free_ports(3)) as kafka:
        yield kafka


def unique(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(4)}"


@asynccontextmanager
async def administration(kafka: EmbeddedKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def in_sync(kafka: EmbeddedKafka, topic: str) -> list[list[int]]:
    """In-sync replicas by partition, by any broker that can be reached."""
    partitions: list[dict[str, Any]] = []

    async def is_told() -> bool:
        async with administration(kafka) as admin:
            with suppress(NodeNotReadyError):  # aiokafka asks a random one
                partitions[:] = (await admin.describe_topics([topic]))[0]["partitions"]
        return bool(partitions)

    await until(is_told, f"a broker tells of {topic}")
    return [sorted(each["isr"]) for each in sorted(partitions, key=lambda each: each["partition"])]


async def until_all_in_sync(kafka: EmbeddedKafka, topic: str, partitions: int) -> None:
    async def are_in_sync() -> bool:
        return await in_sync(kafka, topic) == [ALL] * partitions

    await until(are_in_sync, f"all replicas of {topic} in sync")


async def leader_of(kafka: EmbeddedKafka, topic: str) -> int:
    """Node that leads partition 0."""
    async with administration(kafka) as admin:
        return int((await admin.describe_topics([topic]))[0]["partitions"][0]["leader"])


async def new_topic(kafka: EmbeddedKafka, partitions: int = 1) -> str:
    topic = unique("topic")
    async with administration(kafka) as admin:
        await admin.create_topics([NewTopic(topic, partitions, kafka.brokers)])
    if kafka.brokers == 3:
        await until_all_in_sync(kafka, topic, partitions)
    return topic


async def send_transaction(kafka: EmbeddedKafka, topic: str, value: bytes, partitions: int) -> None:
    """To each partition the same, all or none, in sync with a majority."""
    servers = kafka.bootstrap_servers
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, transactional_id=unique("id"), request_timeout_ms=REQUEST_TIMEOUT_MS
    )
    async with producer, producer.transaction():
        for partition in range(partitions):
            await producer.send(topic, value, partition=partition)


async def send(producer: AIOKafkaProducer, topic: str, value: bytes) -> None:
    await producer.send_and_wait(topic, value, partition=0)


async def values(kafka: EmbeddedKafka, topic: str, count: int) -> list[bytes]:
    """The first of partition 0."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        return [(await asyncio.wait_for(consumer.getone(), DEADLINE_S)).value for _ in range(count)]


async def is_stalled(task: asyncio.Task[None]) -> bool:
    """That nothing comes can only be seen by waiting for it."""
    return not (await asyncio.wait({task}, timeout=STALL_S))[0]


async def test_topics_want_two_in_sync_replicas(cluster: EmbeddedKafka) -> None:
    """`min.insync.replicas` of the configuration is what a new topic has."""
    topic = await new_topic(cluster)
    async with administration(cluster) as admin:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    settings = {name: value for name, value, *_ in answer.resources[0][4]}
    assert settings["min.insync.replicas"] == "2"


@pytest.mark.parametrize("which", ["the controller", "another"])
async def test_a_killed_broker_is_survived_and_comes_back(cluster: EmbeddedKafka, which: str) -> None:
    """After kill -9 of any broker transactions go on, and started again it gets in sync again."""
    topic = await new_topic(cluster, partitions=3)
    leader = cluster.controller
    victim = leader if which == "the controller" else cluster.nodes[leader.number % 3]
    await asyncio.to_thread(victim.kill)
    assert not victim.is_running
    await asyncio.wait_for(send_transaction(cluster, topic, b"meanwhile", 3), DEADLINE_S)
    if which == "the controller":
        assert cluster.controller is not victim
    await asyncio.to_thread(victim.start)
    assert victim.is_running
    await until_all_in_sync(cluster, topic, 3)


async def test_a_stopped_broker_hands_over_first(cluster: EmbeddedKafka) -> None:
    """SIGTERM moves leadership before the broker ends, and started again it gets in sync again."""
    topic = await new_topic(cluster)
    victim = cluster.nodes[await leader_of(cluster, topic) - 1]
    await asyncio.to_thread(victim.stop)
    assert not victim.is_running
    assert await leader_of(cluster, topic) not in (victim.number, -1)
    await asyncio.to_thread(victim.start)
    await until_all_in_sync(cluster, topic, 1)


async def test_a_paused_broker_is_survived_and_comes_back(cluster: EmbeddedKafka) -> None:
    """A broker that hangs is replaced, and when it goes on it gets in sync again."""
    topic = await new_topic(cluster)
    victim = cluster.nodes[await leader_of(cluster, topic) - 1]
    victim.pause()
    try:
        assert victim.is_running
        await asyncio.wait_for(send_transaction(cluster, topic, b"meanwhile", 1), DEADLINE_S)
    finally:
        victim.resume()
    await until_all_in_sync(cluster, topic, 1)


@pytest.mark.parametrize("way", ["kill", "stop"])
async def test_a_lone_broker_keeps_its_data(way: str) -> None:
    """What one broker acknowledged is there when it is started again, at the same address."""
    with EmbeddedKafka() as kafka:
        topic = await new_topic(kafka)
        await send_transaction(kafka, topic, b"before", 1)
        await asyncio.to_thread(getattr(kafka.nodes[0], way))
        await asyncio.to_thread(kafka.nodes[0].start)
        assert await values(kafka, topic, 1) == [b"before"]


async def test_clients_come_through_the_proxies(proxied: EmbeddedKafka) -> None:
    """With the leader's proxy cut a client cannot write, though the brokers stay in sync; healed, it can."""
    async with proxies_to(proxied) as proxies:
        topic = await new_topic(proxied)
        way = proxies[await leader_of(proxied, topic) - 1]
        async with AIOKafkaProducer(bootstrap_servers=proxied.bootstrap_servers, acks="all") as producer:
            await send(producer, topic, b"before")
            await way.cut()
            sending = asyncio.create_task(send(producer, topic, b"meanwhile"))
            assert await is_stalled(sending)
            assert await in_sync(proxied, topic) == [ALL]
            await way.open()
            await asyncio.wait_for(sending, DEADLINE_S)
        assert await values(proxied, topic, 2) == [b"before", b"meanwhile"]


async def test_every_broker_is_behind_its_own_proxy(proxied: EmbeddedKafka) -> None:
    """What brokers say of themselves are the proxies' ports."""
    async with proxies_to(proxied) as proxies, administration(proxied) as admin:
        brokers = (await admin.describe_cluster())["brokers"]
        assert {each["node_id"]: each["port"] for each in brokers} == dict(enumerate((way.port for way in proxies), 1))


def test_there_is_one_advertised_port_per_broker() -> None:
    """Too few advertised ports are refused before anything starts."""
    with pytest.raises(ValueError, match="one per broker"):
        EmbeddedKafka(3, advertised_ports=[1, 2])
