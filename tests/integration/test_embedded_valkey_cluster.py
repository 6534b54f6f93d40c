"""Embedded Valkeys that share the slots of a cluster, and ones that sentinels watch over."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError
from redis.sentinel import MasterNotFoundError, Sentinel
from waiting import wait_until

from consumer.embedded import EmbeddedSentinel, EmbeddedValkeyCluster, ValkeyNode


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedValkeyCluster]:
    """Three masters."""
    with EmbeddedValkeyCluster(nodes=3) as servers:
        yield servers


def state_of(node: ValkeyNode) -> tuple[str, str, str]:
    with Redis.from_url(node.url, decode_responses=True) as client:
        info = client.cluster("INFO")
    return info["cluster_state"], info["cluster_slots_assigned"], info["cluster_size"]


def test_every_node_has_the_whole_cluster(cluster: EmbeddedValkeyCluster) -> None:
    """On entry each node says that all slots are assigned, to three masters, and that all is well."""
    assert {state_of(node) for node in cluster.nodes} == {("ok", "16384", "3")}


def test_a_cluster_client_finds_all_nodes(cluster: EmbeddedValkeyCluster) -> None:
    """From one URL a client finds the owner of each key, and every node owns some."""
    with RedisCluster.from_url(cluster.url, decode_responses=True) as client:
        for number in range(100):
            client.set(f"key:{number}", number)
        assert [client.get(f"key:{number}") for number in range(100)] == [str(number) for number in range(100)]
    for node in cluster.nodes:
        with Redis.from_url(node.url) as client:
            assert client.dbsize() > 0


def test_the_cluster_fails_without_a_node_and_recovers() -> None:
    """The others notice that a master is gone, and all is well once it is started again."""
    with EmbeddedValkeyCluster() as cluster:
        first, second, third = cluster.nodes
        second.kill()
        wait_until(lambda: state_of(first)[0] == state_of(third)[0] == "fail", "the others notice")
        second.start()
        wait_until(lambda: all(state_of(node)[0] == "ok" for node in cluster.nodes), "all is well")


@pytest.mark.parametrize("sentinels", [1, 3])
def test_sentinels_replace_a_killed_master(sentinels: int) -> None:
    """Clients that ask the sentinels get to the replica, with the master's data; the old master becomes a replica."""
    with EmbeddedSentinel(sentinels) as servers:
        asked = Sentinel(servers.addresses, socket_timeout=5, decode_responses=True)
        assert port_found(asked) == servers.master.port
        with asked.master_for(servers.master_name) as client:
            client.set("key", "value")
            assert client.wait(1, 60_000) == 1
        killed = servers.kill_master()
        wait_until(lambda: servers.master is not killed, "another master")
        wait_until(lambda: port_found(asked) == servers.master.port, "clients find it")
        wait_until(lambda: value_found(asked) == "value", "the master's data is there")
        killed.start()
        wait_until(lambda: role_of(killed) == "slave", "the old master follows the new one")
        for address in asked.sentinels:
            address.close()


def port_found(sentinels: Sentinel) -> int | None:
    """Where a client finds the master; nowhere while it is being replaced."""
    with suppress(MasterNotFoundError):
        return int(sentinels.discover_master(EmbeddedSentinel.master_name)[1])
    return None


def value_found(sentinels: Sentinel) -> str | None:
    """Of the key, at the master; nothing while its connections are closed, as sentinels do when a role changes."""
    with sentinels.master_for(EmbeddedSentinel.master_name) as client, suppress(ConnectionError):
        return str(client.get("key"))
    return None


def role_of(node: ValkeyNode) -> str | None:
    with Redis.from_url(node.url, decode_responses=True) as client, suppress(ConnectionError):
        return str(client.info("replication")["role"])
    return None


def test_sentinels_replace_a_paused_master() -> None:
    """A master that hangs is replaced like one that is gone."""
    with EmbeddedSentinel() as servers:
        hanging = servers.master
        hanging.pause()
        wait_until(lambda: servers.master is not hanging, "another master")
