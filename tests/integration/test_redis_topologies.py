"""The Redis store on a cluster of three nodes, and on a master with a replica that Sentinel promotes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ResponseError

from consumer.adapters.redis_store import Keys, RedisStore
from consumer.embedded import EmbeddedSentinel, EmbeddedValkey, EmbeddedValkeyCluster, ValkeyNode
from consumer.errors import ConfigurationError, EbbtideError, LostPartitionError, UnavailableError
from consumer.records import Chunk, Header, Logged, Position, UserState, View
from support import unique, until

PARTITIONS = range(12)
NOTHING = View(None, is_intact=False)


def position(next_offset: int) -> Position:
    return Position("genesis", next_offset, next_offset * 100, 2, 1, len(PARTITIONS))


def at(offset: int, generation: str = "g1") -> Header:
    return Header.of(Logged(position(offset * 10), offset), generation)


def users(partition: int, version: int = 1) -> list[UserState]:
    return [UserState("anna", b"%d %d" % (partition, version), partition), UserState("ben", b"B", None)]


async def place(store: RedisStore, partition: int, header: Header) -> None:
    await store.fill(partition, header.generation, 0, users(partition))
    await store.switch(partition, None, 1, header)


# A cluster.


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedValkeyCluster]:
    """Three masters; they are all there again when a test ends."""
    with EmbeddedValkeyCluster(nodes=3) as servers:
        yield servers


@pytest.fixture
def group() -> str:
    return unique("store")


def cluster_url(cluster: EmbeddedValkeyCluster) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in cluster.nodes)


@pytest.fixture
async def spread(cluster: EmbeddedValkeyCluster, group: str) -> AsyncIterator[RedisStore]:
    """A store with partitions on every node."""
    store = RedisStore(cluster_url(cluster), group, 2.0)
    for partition in PARTITIONS:
        await place(store, partition, at(1))
    yield store
    await store.close()


async def raw(node: ValkeyNode, *command: str | int) -> object:
    """The answer of one node."""
    async with aclosing(Redis.from_url(node.url)) as redis:
        return await redis.execute_command(*command)


def slot_of(group: str, partition: int) -> int:
    return key_slot(Keys(group).of(partition, "")[0].encode())


def owner(cluster: EmbeddedValkeyCluster, slot: int) -> int:
    return next(index for index in range(3) if slot < 16_384 * (index + 1) // 3)


async def holds(store: RedisStore, partition: int, header: Header, value: bytes) -> bool:
    """Whether a partition can be read there, now."""
    with suppress(EbbtideError):
        return await store.load({partition: ["anna"]}, {partition: [header]}) == {partition: [value]}
    return False


async def test_partitions_spread_over_the_nodes(cluster: EmbeddedValkeyCluster, spread: RedisStore, group: str) -> None:
    """Every node has partitions, each whole, and one call reads them all."""
    assert {owner(cluster, slot_of(group, partition)) for partition in PARTITIONS} == {0, 1, 2}
    headers = {partition: [at(1)] for partition in PARTITIONS}
    states = await spread.load({partition: ["anna", "nobody"] for partition in PARTITIONS}, headers)
    assert states == {partition: [b"%d 1" % partition, None] for partition in PARTITIONS}
    due = await spread.due(dict.fromkeys(PARTITIONS, 5), headers, 10)
    assert due == {partition: ["anna"] if partition <= 5 else [] for partition in PARTITIONS}


async def test_all_refused_partitions_of_a_cluster_are_named(spread: RedisStore) -> None:
    """Refusals on several nodes become one error."""
    headers = {partition: [at(9 if partition % 3 == 0 else 1)] for partition in PARTITIONS}
    with pytest.raises(LostPartitionError) as refusal:
        await spread.load({partition: ["anna"] for partition in PARTITIONS}, headers)
    assert refusal.value.partitions == {0, 3, 6, 9}


async def test_a_partitions_life_on_a_cluster(spread: RedisStore) -> None:
    """Steps, catching up, restores and discards work as on one server."""
    await spread.step(1, at(1), at(2), users(1, 2))
    reached = await spread.catch_up(1, at(2), Chunk(users(1, 3), 3, Logged(position(30), 3)), Logged(position(30), 3))
    assert reached == at(3)
    await spread.fill(1, "g2", 0, users(1, 4))
    await spread.switch(1, reached, 1, at(4, "g2"))
    assert await holds(spread, 1, at(4, "g2"), b"1 4")
    await spread.discard(1, at(4, "g2"))
    assert await spread.view(1) == NOTHING


async def test_the_policy_of_every_node_counts(cluster: EmbeddedValkeyCluster, spread: RedisStore) -> None:
    """One node that evicts is enough."""
    assert await spread.policy_problem() is None
    await raw(cluster.nodes[2], "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    try:
        assert "volatile-ttl" in str(await spread.policy_problem())
    finally:
        await raw(cluster.nodes[2], "CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_a_slot_that_moves_is_followed(cluster: EmbeddedValkeyCluster, spread: RedisStore, group: str) -> None:
    """While a partition is moved between nodes it may have to wait; then it is found where it is, with all it holds."""
    partition = 5
    slot = slot_of(group, partition)
    here, there = cluster.nodes[owner(cluster, slot)], cluster.nodes[(owner(cluster, slot) + 1) % 3]
    ids = {node: (await raw(node, "CLUSTER", "MYID")).decode() for node in (here, there)}  # type: ignore[attr-defined]
    await raw(there, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
    await raw(here, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
    header, *others = Keys(group).of(partition, "g1")
    await raw(here, "MIGRATE", "127.0.0.1", there.port, header, 0, 5_000)
    with pytest.raises(UnavailableError):  # its keys are on two nodes
        await spread.step(partition, at(1), at(2), users(partition, 2))
    for key in others:
        await raw(here, "MIGRATE", "127.0.0.1", there.port, key, 0, 5_000)
    for node in (there, here):
        await raw(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[there])
    await spread.step(partition, at(1), at(2), users(partition, 2))
    assert await holds(spread, partition, at(2), b"5 2")
    assert await raw(there, "EXISTS", header) == 1


async def test_a_node_that_comes_back_empty_is_found_out(
    cluster: EmbeddedValkeyCluster, spread: RedisStore, group: str
) -> None:
    """A node that was killed is waited for; what it does not hold any more is told as lost, and can be restored."""
    lost = [partition for partition in PARTITIONS if owner(cluster, slot_of(group, partition)) == 1]
    kept = [partition for partition in PARTITIONS if partition not in lost]
    await asyncio.to_thread(cluster.nodes[1].kill)
    with pytest.raises(UnavailableError):
        await spread.step(lost[0], at(1), at(2), [])
    await asyncio.to_thread(cluster.nodes[1].start)

    async def answers() -> bool:
        with suppress(UnavailableError):
            return all([await spread.view(partition) is not None for partition in PARTITIONS])
        return False

    await until(answers, "all partitions answer again")
    assert [await spread.view(partition) for partition in lost] == [NOTHING] * len(lost)
    assert all([await holds(spread, partition, at(1), b"%d 1" % partition) for partition in kept])
    await place(spread, lost[0], at(2, "g2"))
    assert await holds(spread, lost[0], at(2, "g2"), b"%d 1" % lost[0])


async def test_one_address_is_enough_to_find_a_cluster(
    cluster: EmbeddedValkeyCluster, spread: RedisStore, group: str
) -> None:
    """The other nodes are learned, and an address that is dead does no harm."""
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[2].port}"
    store = RedisStore(url, group, 2.0)
    assert [await store.view(each) for each in PARTITIONS] == [await spread.view(each) for each in PARTITIONS]
    await store.close()


async def test_a_server_of_another_kind_is_told(cluster: EmbeddedValkeyCluster, group: str) -> None:
    """A cluster addressed as one server, and one server addressed as a cluster, are for a person to mend."""
    with EmbeddedValkey() as single:
        for url, remedy in (
            (single.url.replace("redis://", "redis+cluster://").removesuffix("/0"), "write redis://"),
            (cluster.url, r"write redis\+cluster://"),
        ):
            store = RedisStore(url, group, 2.0)
            with pytest.raises(ConfigurationError, match=remedy):
                await asyncio.gather(*map(store.view, PARTITIONS))
            await store.close()


async def test_a_cluster_that_is_away_is_waited_for(group: str) -> None:
    """No node that answers is an outage, not a mistake."""
    store = RedisStore("redis+cluster://127.0.0.1:1,127.0.0.1:2", group, 0.5)
    with pytest.raises(UnavailableError):
        await store.view(0)
    await store.close()


# Sentinel.


@pytest.fixture
def watched() -> Iterator[EmbeddedSentinel]:
    """A master, its replica and a sentinel."""
    with EmbeddedSentinel() as servers:
        yield servers


def sentinel_url(watched: EmbeddedSentinel) -> str:
    hosts = ",".join(f"{host}:{port}" for host, port in [("127.0.0.1", 1), *watched.addresses])
    return f"redis+sentinel://{hosts}/{watched.master_name}/0"


@pytest.fixture
async def store(watched: EmbeddedSentinel, group: str) -> AsyncIterator[RedisStore]:
    """A store with one partition."""
    store = RedisStore(sentinel_url(watched), group, 2.0)
    await place(store, 0, at(1))
    yield store
    await store.close()


async def replicated(watched: EmbeddedSentinel) -> None:
    """Wait until the replica has all that was written before."""
    await until(lambda: replicates(watched.master), "the replica has all")


async def test_the_new_master_is_used_after_a_failover(watched: EmbeddedSentinel, store: RedisStore) -> None:
    """When the master is killed, calls say that it is away, until the replica is promoted and goes on with its data."""
    await store.step(0, at(1), at(2), users(0, 2))
    await replicated(watched)
    old = await asyncio.to_thread(watched.kill_master)
    with pytest.raises(UnavailableError):
        await store.step(0, at(2), at(3), users(0, 3))

    async def is_back() -> bool:
        return await holds(store, 0, at(2), b"0 2")

    await until(is_back, "the replica is promoted")
    await store.step(0, at(2), at(3), users(0, 3))
    assert watched.master is not old
    await asyncio.to_thread(old.start)
    assert await holds(store, 0, at(3), b"0 3")


async def test_a_master_that_becomes_a_replica_is_left(
    watched: EmbeddedSentinel, store: RedisStore, group: str
) -> None:
    """After a failover on purpose, the first call that the old master refuses is followed by calls to the new one."""
    old = watched.master
    await until(lambda: replicates(old), "the other server is a replica of the master")
    [(host, port), *_] = watched.addresses
    async with aclosing(Redis(host=host, port=port)) as sentinel:
        await until(lambda: is_accepted(sentinel, watched.master_name), "sentinel accepts a failover")
    await until(lambda: watched.master is not old, "the replica is promoted")
    await raw(old, "REPLICAOF", "127.0.0.1", watched.master.port)  # as Sentinel does, 10 to 20 s later
    with pytest.raises(UnavailableError):
        await store.step(0, at(1), at(2), users(0, 2))
    await until(lambda: takes_step(store), "sentinel names the new master")
    assert await raw(watched.master, "GET", Keys(group).of(0, "")[0]) == str(at(2)).encode()


async def takes_step(store: RedisStore) -> bool:
    """Whether the master that is asked takes it."""
    with suppress(UnavailableError):
        await store.step(0, at(1), at(2), users(0, 2))
        return True
    return False


async def replicates(master: ValkeyNode) -> bool:
    """Whether it has a replica that keeps up."""
    async with aclosing(Redis.from_url(master.url)) as redis:
        await redis.set("last", "written")
        return bool(await redis.wait(1, 1_000))


async def is_accepted(sentinel: Redis, name: str) -> bool:
    """Whether a failover begins."""
    with suppress(ResponseError):  # NOGOODSLAVE
        return bool(await sentinel.execute_command("SENTINEL", "FAILOVER", name))
    return False


async def test_sentinels_that_are_away_are_waited_for(watched: EmbeddedSentinel, group: str) -> None:
    """No sentinel that answers, or none that knows the name, is told as an outage, with the reason."""
    (host, port) = watched.addresses[0]
    for url, reason in (
        ("redis+sentinel://127.0.0.1:1/shop", "No master found for 'shop'"),
        (f"redis+sentinel://{host}:{port}/other", "No master found for 'other'"),
    ):
        store = RedisStore(url, group, 0.5)
        with pytest.raises(UnavailableError, match=reason):
            await store.view(0)
        await store.close()


async def test_the_policy_is_that_of_the_master(watched: EmbeddedSentinel, store: RedisStore) -> None:
    """Sentinel's master is asked for its policy."""
    assert await store.policy_problem() is None
    await raw(watched.master, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    assert "allkeys-lfu" in str(await store.policy_problem())
    await raw(watched.master, "CONFIG", "SET", "maxmemory-policy", "noeviction")
