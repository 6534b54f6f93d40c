"""A service that stands still says so, and ends where only a new process helps: as real processes."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from proxy import free_port
from service_process import ServiceProcess, metric, service

from consumer.embedded import EmbeddedValkey, KafkaServer, RedisServer
from support import DEADLINE_S, Shop, event, shop_settings, unique

JUNE_MS = 1_748_736_000_000
WRAPPER = """
import gc, signal, time
from consumer.cli import app
from aiokafka.consumer.group_coordinator import GroupCoordinator

def block(*_):
    time.sleep(BLOCK_S)

def break_client(*_):
    async def broken():
        raise KeyError("broken on purpose")
    for each in gc.get_objects():
        if isinstance(each, GroupCoordinator):
            each.ensure_coordinator_known = broken
            each.request_rejoin()

signal.signal(signal.SIGUSR1, block)
signal.signal(signal.SIGUSR2, break_client)
app()
"""


@dataclass(frozen=True)
class Nowhere:
    """A server that does not run."""

    port: int

    @property
    def bootstrap_servers(self) -> str:
        """For Kafka."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For Redis."""
        return f"redis://127.0.0.1:{self.port}/0"


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float], None]:
    """Have `service` start one that SIGUSR1 blocks for so long, and whose Kafka client SIGUSR2 breaks."""

    def start_with(block_s: float) -> None:
        script = tmp_path / "sabotaged.py"
        script.write_text(WRAPPER.replace("BLOCK_S", str(block_s)))
        monkeypatch.setattr("service_process.COMMAND", (sys.executable, "-W", "error", str(script)))

    return start_with


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop of our own, with its topics and two partitions."""
    shop = Shop(shop_settings(kafka, valkey))
    await shop.create_topics()
    return shop


async def problems(process: ServiceProcess) -> list[str]:
    """What /healthz complains about."""
    status, body = await process.get("/healthz")
    found: list[str] = json.loads(body)["problems"]
    assert status == (503 if found else 200)
    return found


async def until_unhealthy(process: ServiceProcess) -> list[str]:
    """Wait for it; what it complains about."""
    found: list[str] = []

    async def complains() -> bool:
        found[:] = await problems(process)
        return bool(found)

    await process.until(complains, "/healthz complaining")
    return found


async def ended(process: ServiceProcess) -> int:
    """Its exit code, once it has ended by itself."""
    return await asyncio.wait_for(process._process.wait(), DEADLINE_S)


def settings_of(shop: Shop, **changes: object) -> Shop:
    return Shop(shop.settings.model_validate(shop.settings.model_dump(exclude_unset=True) | changes))


async def test_a_blocked_loop_shows_where(sabotage: Callable[[float], None], tmp_path: Path) -> None:
    """While no endpoint can answer the log shows the stack of the main thread; afterwards the service goes on."""
    sabotage(4.0)
    nowhere = Nowhere(free_port())
    async with service(shop_settings(nowhere, nowhere, loop_lag_max_s=1.0), tmp_path) as process:
        await process.until(lambda: process.lines("away"), "begun")
        process._process.send_signal(signal.SIGUSR1)
        await process.until(lambda: process.lines("is blocked"), "a warning")
        [line] = process.lines("is blocked")
        assert "in block" in line["stack"]
        assert "time.sleep" in line["stack"]
        await process.until(lambda: process.lines("runs again"), "the end of it")
        _, exposition = await process.get("/metrics")
        assert metric(exposition, "ebbtide_loop_blocks_total") == 1
        await process.until(lambda: process.lines("healthy again"), "a last lag that is short")
        [unhealthy] = process.lines("unhealthy")
        assert unhealthy["check"] == "event loop late"
        assert await problems(process) == []
        assert await process.end(signal.SIGTERM) == 0


async def test_a_loop_that_stays_blocked_ends_the_process(sabotage: Callable[[float], None], tmp_path: Path) -> None:
    """At the hard limit it leaves with code 70, and the log says why."""
    sabotage(600.0)
    nowhere = Nowhere(free_port())
    settings = shop_settings(nowhere, nowhere, loop_lag_max_s=1.0, loop_block_exit_s=3.0)
    async with service(settings, tmp_path) as process:
        await process.until(lambda: process.lines("away"), "begun")
        process._process.send_signal(signal.SIGUSR1)
        assert await ended(process) == 70
        [line] = process.lines("stays blocked")
        assert "in block" in line["stack"]


async def test_a_broken_client_ends_the_process(sabotage: Callable[[float], None], shop: Shop, tmp_path: Path) -> None:
    """When the task that keeps it in the group has died, it commits what it has and ends with code 1."""
    sabotage(0.0)
    async with service(shop.settings, tmp_path) as process:
        await process.until_ready()
        await shop.produce([event("anna", "purchase", JUNE_MS)])
        await shop.settled()
        process._process.send_signal(signal.SIGUSR2)
        assert await ended(process) == 1
    said = process._log.read_text()
    assert "only a new process gets on" in said
    assert "broken on purpose" in said
    assert '"event": "stopped"' in said


async def delete_records(shop: Shop, partition: int, before: int) -> None:
    """As retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        part = TopicPartition(shop.settings.events_topic, partition)
        await admin.delete_records({part: RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def test_a_held_partition_is_unhealthy(shop: Shop, tmp_path: Path) -> None:
    """Input deleted before it was read: /healthz says so and what to set, the other partition goes on; then all do."""
    users = [f"user-{number}" for number in range(20)]
    async with service(shop.settings, tmp_path) as process:
        await shop.produce([event(user, "purchase", JUNE_MS) for user in users])
        await shop.settled()
        assert await process.end(signal.SIGTERM) == 0
    await shop.produce([event(user, "view_item", JUNE_MS + 1) for user in users])
    end = (await shop.ends())[1]
    await delete_records(shop, 1, end)
    async with service(shop.settings, tmp_path) as process:
        [sentence] = await until_unhealthy(process)
        assert sentence.startswith("partition 1 is held: ")
        assert f"the input holds {end} to {end}" in sentence
        assert "EBBTIDE_SKIP_LOST_INPUT=true" in sentence
        await process.until(lambda: owns(process, 1), "the other partition live")
        _, exposition = await process.get("/metrics")
        assert metric(exposition, "ebbtide_partition_held", partition="1") == 1
        assert metric(exposition, "ebbtide_position_outside_retention", partition="1") == 1
        assert await process.end(signal.SIGTERM) == 0
    async with service(settings_of(shop, skip_lost_input=True).settings, tmp_path) as process:
        await process.until(lambda: owns(process, 2), "both partitions live")
        assert await problems(process) == []


async def owns(process: ServiceProcess, partitions: int) -> bool:
    _, exposition = await process.get("/metrics")
    return metric(exposition, "ebbtide_partitions_live") == partitions


async def test_an_open_transaction_is_unhealthy(shop: Shop, tmp_path: Path) -> None:
    """Somebody's transaction that hides input is named with its partition; when it ends, all is well."""
    shop = settings_of(shop, open_transaction_max_s=2.0)
    async with service(shop.settings, tmp_path) as process:
        await process.until_ready()
        await process.until(lambda: owns(process, 2), "both partitions live")
        async with AIOKafkaProducer(
            bootstrap_servers=shop.settings.kafka_bootstrap_servers, transactional_id=unique("somebody")
        ) as producer:
            await producer.begin_transaction()
            key, value = event("anna", "purchase", JUNE_MS)
            await producer.send_and_wait(shop.settings.events_topic, value, key, partition=1)
            [sentence] = await until_unhealthy(process)
            assert sentence.startswith("partition 1: somebody's transaction that is open at offset 0 hides 1 offsets")
            await producer.abort_transaction()
        await process.until(lambda: is_healthy(process), "healthy again")


async def is_healthy(process: ServiceProcess) -> bool:
    return not await problems(process)


async def test_a_spare_is_healthy(shop: Shop, kafka: KafkaServer, valkey: RedisServer, tmp_path: Path) -> None:
    """A process that the group gave no partition, as all are taken, is well however long that lasts."""
    shop = Shop(shop_settings(kafka, valkey, partitions=1, assignment_max_s=6.0))
    await shop.create_topics()
    async with service(shop.settings, tmp_path) as first, service(shop.settings, tmp_path) as second:
        for process in (first, second):
            await process.until_ready()
        await asyncio.sleep(10)
        assert [await problems(process) for process in (first, second)] == [[], []]
        assert sorted([await owns(process, 1) for process in (first, second)]) == [False, True]
        assert not first.lines("cannot tell") + second.lines("cannot tell")


async def test_an_evicting_redis_is_refused(kafka: KafkaServer, tmp_path: Path) -> None:
    """A Redis that drops states when it is full ends the service with code 2, and the command that mends it."""
    with EmbeddedValkey({"maxmemory-policy": "allkeys-lru"}) as valkey:
        shop = Shop(shop_settings(kafka, valkey))
        await shop.create_topics()
        async with service(shop.settings, tmp_path) as process:
            assert await ended(process) == 2
    assert "CONFIG SET maxmemory-policy noeviction" in process._log.read_text()
