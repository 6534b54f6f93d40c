"""`ebbtide run` as processes on a real log and the shipped model: signals, exit codes, sharing, and `replay`."""

import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from inprocess import Outcome, outcome_of
from prometheus_client import CollectorRegistry
from service_process import ServiceProcess, ebbtide, metric, service

from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.embedded import KafkaServer, RedisServer
from schemas.files import read_events
from support import Keyed, Shop, by_id, shop_settings

CDNOW = Path(__file__).parents[2] / "data" / "cdnow" / "events.csv.xz"
EVERY = 23  # of CDNOW's customers one in so many, over all of their 18 months


@pytest.fixture(scope="module")
def log() -> list[Keyed]:
    """About 3,000 real purchases."""
    return [(key, value) for key, value in read_events(CDNOW) if int(key) % EVERY == 0]


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop of our own, with its topics; batches are small, so that there is time to interfere."""
    shop = Shop(shop_settings(kafka, valkey, max_batch_records=25, kafka_session_timeout_ms=6_000))
    await shop.create_topics()
    return shop


def expected(shop: Shop, log: Sequence[Keyed]) -> Outcome:
    return outcome_of(shop.settings, build_worker(shop.settings, Metrics(CollectorRegistry())).engine, log)


async def assert_came_to(shop: Shop, log: Sequence[Keyed]) -> None:
    """The log is processed, and left what the pure core makes of it in one go."""
    await shop.settled()
    outcome, alerts = expected(shop, log), await shop.alerts()
    assert len(outcome.alerts) > 500
    assert by_id(alerts) == outcome.alerts
    assert await shop.states() == outcome.states
    assert len(alerts) == len(outcome.alerts)


async def until_processed(shop: Shop, process: ServiceProcess, offsets: int) -> None:
    async def has_come_so_far() -> bool:
        return await shop.processed() >= offsets

    await process.until(has_come_so_far, f"{offsets} offsets processed")


async def test_sigterm_in_the_middle_is_graceful(shop: Shop, log: list[Keyed], tmp_path: Path) -> None:
    """SIGTERM ends the service soon and with code 0, all it did is committed, and the next one repeats nothing."""
    await shop.produce(log)
    async with service(shop.settings, tmp_path) as first:
        await until_processed(shop, first, 500)
        asked = time.monotonic()
        assert await first.end(signal.SIGTERM) == 0
        assert time.monotonic() - asked < 5
        assert first.lines("stopped")
    assert 500 <= await shop.processed() < len(log)
    assert await shop.committed() == {each: at and at.next_offset for each, at in (await shop.headers()).items()}
    async with service(shop.settings, tmp_path):
        await assert_came_to(shop, log)


async def test_kill_in_the_middle_changes_nothing(shop: Shop, log: list[Keyed], tmp_path: Path) -> None:
    """After kill -9 states and alerts are those of an undisturbed run: none is lost, none comes twice."""
    await shop.produce(log)
    async with service(shop.settings, tmp_path) as doomed:
        await until_processed(shop, doomed, 500)
        await doomed.end(signal.SIGKILL)
    assert await shop.processed() < len(log)
    async with service(shop.settings, tmp_path):
        await assert_came_to(shop, log)


async def test_a_second_process_takes_its_share_and_leaves_it(shop: Shop, log: list[Keyed], tmp_path: Path) -> None:
    """Two processes work on one partition each; when one is stopped, the other finishes its work."""
    async with service(shop.settings, tmp_path) as first, service(shop.settings, tmp_path) as second:
        for process in (first, second):
            await process.until(lambda process=process: owns(process, 1), "a partition for each")
        await shop.produce(log)
        await until_processed(shop, first, 500)
        assert await second.end(signal.SIGTERM) == 0
        await assert_came_to(shop, log)
        assert await owns(first, 2)


async def owns(process: ServiceProcess, partitions: int) -> bool:
    _, exposition = await process.get("/metrics")
    return metric(exposition, "ebbtide_partitions_live") == partitions


async def test_a_process_that_was_frozen_does_no_harm(shop: Shop, log: list[Keyed], tmp_path: Path) -> None:
    """A process that freezes until its partitions are taken from it finds itself displaced, and goes on."""
    async with service(shop.settings, tmp_path) as frozen, service(shop.settings, tmp_path) as other:
        for process in (frozen, other):
            await process.until(lambda process=process: owns(process, 1), "a partition for each")
        await shop.produce(log)
        await until_processed(shop, frozen, 500)
        frozen.suspend()
        await other.until(lambda: owns(other, 2), "both partitions with the other")
        frozen.resume()
        await assert_came_to(shop, log)
        await frozen.until_ready()
        assert await frozen.end(signal.SIGTERM) == 0


async def test_replay_gives_the_same_alerts(shop: Shop, log: list[Keyed], tmp_path: Path) -> None:
    """`ebbtide replay` of a file writes the alerts that the service publishes, but for when and from which offset."""
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"\n".join(value or b"" for _, value in log))
    await shop.produce(log)
    async with service(shop.settings, tmp_path):
        arguments = ("--events", str(events), "--out", str(tmp_path / "out"), "--partitions", "2", "--json")
        replayed = await ebbtide("replay", *arguments, settings=shop.settings)
        assert (replayed.code, replayed.err) == (0, "")
        await shop.settled()
    lines = (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()
    alerts = [json.loads(line) for line in lines]
    assert by_id(alerts) == by_id(await shop.alerts())
    assert len(alerts) == sum(json.loads(replayed.out)["alerts"].values()) > 500


async def test_a_process_without_a_partition_is_ready(kafka: KafkaServer, valkey: RedisServer, tmp_path: Path) -> None:
    """More processes than partitions: the one that has none is ready to take over, and does."""
    shop = Shop(shop_settings(kafka, valkey, partitions=1))
    await shop.create_topics()
    async with service(shop.settings, tmp_path) as first, service(shop.settings, tmp_path) as second:
        await first.until_ready()
        await second.until_ready()
        assert await first.end(signal.SIGTERM) == 0
        await second.until(lambda: owns(second, 1), "the partition taken over")
