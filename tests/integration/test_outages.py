"""Kafka or Redis away, at the start or later: the service says so once, stays calm, and recovers by itself."""

import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from proxy import Proxy, free_port, proxy
from service_process import ServiceProcess, ebbtide, service

from consumer.embedded import EmbeddedKafka, RedisServer
from support import Shop, event, shop_settings, until

JUNE_MS = 1_748_736_000_000
CALM_CPU_SHARE = 0.25


@dataclass(frozen=True)
class Place:
    """Where a server is said to be, and where it is."""

    port: int
    target: int

    @property
    def bootstrap_servers(self) -> str:
        """For Kafka."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For Redis."""
        return f"redis://127.0.0.1:{self.port}/0"


@dataclass(frozen=True)
class Setup:
    """A shop whose servers can be taken away."""

    shop: Shop
    kafka: Proxy
    redis: Proxy


@pytest.fixture(scope="module")
def kafka_place() -> Iterator[Place]:
    """A Kafka that tells its clients to come through a proxy."""
    port = free_port()
    with EmbeddedKafka(config={"advertised.listeners": f"BROKER://127.0.0.1:{port}"}) as server:
        yield Place(port, int(server.bootstrap_servers.rpartition(":")[2]))


@pytest.fixture
async def setup(kafka_place: Place, valkey: RedisServer) -> AsyncIterator[Setup]:
    """A shop without topics, and no way to its servers yet."""
    redis_place = Place(free_port(), urlsplit(valkey.url).port or 0)
    settings = shop_settings(kafka_place, redis_place, redis_timeout_s=1.0, drain_timeout_s=2.0, max_batch_records=20)
    async with (
        proxy(kafka_place.port, kafka_place.target) as kafka,
        proxy(redis_place.port, redis_place.target) as redis,
    ):
        yield Setup(Shop(settings), kafka, redis)


@pytest.fixture
async def running(setup: Setup, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A service that is ready and has processed a first event."""
    await setup.kafka.open()
    await setup.redis.open()
    await setup.shop.create_topics()
    async with service(setup.shop.settings, tmp_path) as process:
        await process.until_ready()
        await process_one(setup, process, "before")
        yield process


async def process_one(setup: Setup, process: ServiceProcess, user: str) -> None:
    """An event goes in and is processed."""
    await setup.shop.produce([event(user, "purchase", JUNE_MS)])
    await setup.shop.settled()
    assert user in await setup.shop.states()
    await process.until_ready()


async def until_problems(process: ServiceProcess, *names: str, deadline_s: float = 60.0) -> list[str]:
    """Wait until /readyz complains about exactly these; what it says."""
    said: list[str] = []

    async def complains() -> bool:
        said[:] = await process.problems() or []
        return [each.partition(":")[0] for each in said] == list(names)

    await process.until(complains, f"/readyz naming {names}, not {said}", deadline_s)
    return said


async def assert_calm(process: ServiceProcess, for_s: float = 1.5) -> None:
    """The process waits rather than works."""
    cpu_s, begun = process.cpu_s(), time.monotonic()
    await until(lambda: time.monotonic() > begun + for_s, "time passed")
    share = (process.cpu_s() - cpu_s) / (time.monotonic() - begun)
    assert share < CALM_CPU_SHARE


def reported(process: ServiceProcess, dependency: str) -> list[str]:
    """What the log says of a server, in order."""
    return [line["event"] for line in process.lines() if line.get("dependency") == dependency]


async def test_it_may_start_before_its_servers_and_topics(setup: Setup, tmp_path: Path) -> None:
    """Started first, it waits for Redis, Kafka and the topics, says what is missing, and begins when all is there."""
    async with service(setup.shop.settings, tmp_path) as process:
        await until_problems(process, "kafka", "redis")
        await assert_calm(process)
        await setup.redis.open()
        await until_problems(process, "kafka")
        await setup.kafka.open()
        [missing] = await until_problems(process, "topics")
        assert setup.shop.settings.events_topic in missing
        assert "`ebbtide topics create`" in missing
        await assert_calm(process)
        created = await ebbtide("topics", "create", settings=setup.shop.settings)
        assert (created.code, created.err) == (0, "")
        await process.until_ready()
        await process_one(setup, process, "anna")
        for name in ("kafka", "redis", "topics"):
            assert reported(process, name) == ["away, trying again", "connected"]
        assert await process.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("how", ["cut", "blocked"])
async def test_redis_away_for_a_while(setup: Setup, running: ServiceProcess, how: str) -> None:
    """Without Redis it is not ready but alive, and does its work when Redis is back."""
    if how == "cut":
        await setup.redis.cut()
    else:
        setup.redis.block()
    await setup.shop.produce([event("during", "purchase", JUNE_MS)])
    await until_problems(running, "redis")
    await assert_calm(running)
    assert (await running.get("/healthz"))[0] == 200
    await setup.redis.open()
    await running.until_ready()
    await setup.shop.settled()
    await process_one(setup, running, "after")
    assert (await setup.shop.states()).keys() == {"before", "during", "after"}
    assert reported(running, "redis") == ["connected", "away, trying again", "connected"]
    assert await running.end(signal.SIGTERM) == 0


async def test_kafka_away_for_a_while(setup: Setup, running: ServiceProcess) -> None:
    """Without Kafka it is not ready but alive, and does its work when Kafka is back."""
    await setup.kafka.cut()
    await until_problems(running, "kafka")
    await assert_calm(running)
    assert (await running.get("/healthz"))[0] == 200
    await setup.kafka.open()
    await running.until_ready()
    await process_one(setup, running, "after")
    assert (await setup.shop.states()).keys() == {"before", "after"}
    assert reported(running, "kafka") == ["connected", "away, trying again", "connected"]
    assert await running.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("away", ["kafka", "redis"])
async def test_it_can_be_stopped_while_a_server_is_away(setup: Setup, running: ServiceProcess, away: str) -> None:
    """SIGTERM ends it in about the drain time, and with code 0, even if it cannot finish what it holds."""
    await setup.shop.produce([event("during", "purchase", JUNE_MS)])
    await (setup.kafka if away == "kafka" else setup.redis).cut()
    await until_problems(running, away)
    asked = time.monotonic()
    assert await running.end(signal.SIGTERM) == 0
    assert time.monotonic() - asked < setup.shop.settings.drain_timeout_s + 10


@pytest.mark.parametrize("reachable", ["nothing", "kafka"])
async def test_it_can_be_stopped_before_it_has_begun(setup: Setup, tmp_path: Path, reachable: str) -> None:
    """SIGTERM ends it with code 0 while it waits for servers."""
    if reachable == "kafka":
        await setup.kafka.open()
        await setup.shop.create_topics()
    async with service(setup.shop.settings, tmp_path) as process:
        away = [name for name in ("kafka", "redis") if name != reachable]
        await until_problems(process, *away)
        await process.until(lambda: all(reported(process, name) for name in away), "a line for each")
        asked = time.monotonic()
        assert await process.end(signal.SIGTERM) == 0
        assert time.monotonic() - asked < setup.shop.settings.drain_timeout_s + 10


async def test_a_blink_under_load_is_survived(setup: Setup, running: ServiceProcess) -> None:
    """Connections that break again and again while there is work cost nothing but time."""
    users = [f"user-{number}" for number in range(500)]
    await setup.shop.produce([event(user, "purchase", JUNE_MS) for user in users])
    for way in (setup.redis, setup.kafka, setup.redis):
        await way.cut()
        await way.open()
    await setup.shop.settled()
    await running.until_ready()
    assert (await setup.shop.states()).keys() == {"before", *users}
