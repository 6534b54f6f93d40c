"""`ebbtide run`: the pipeline between real servers, until SIGTERM or Ctrl-C."""

import asyncio
import signal
from contextlib import AsyncExitStack, suppress

import structlog

from consumer.adapters.clock import SystemClock
from consumer.adapters.http import HttpServer
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.metrics import Metrics
from consumer.adapters.redis_store import RedisStore
from consumer.adapters.topics import topic_problems
from consumer.assembly import build_rules, build_worker
from consumer.errors import EbbtideError, UnavailableError
from consumer.health import Health
from consumer.pipeline import Pipeline, World
from consumer.settings import Settings

log = structlog.get_logger()
PROBE_EVERY_S = 5.0


async def run_service(settings: Settings) -> None:
    """Serve until told to stop; raises `ConfigurationError` for what only a person can mend."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    worker = build_worker(settings, metrics)
    clock = SystemClock()
    health = Health(clock, metrics, settings.stall_s)
    async with AsyncExitStack() as stack:
        http = HttpServer(metrics, health)
        stack.push_async_callback(http.close)
        log.info("listening", url=await http.start(settings.http_host, settings.http_port))
        store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
        stack.push_async_callback(store.close)
        stack.callback(asyncio.create_task(_greet(store, health)).cancel)
        changelog = KafkaChangelog(settings)
        stack.push_async_callback(changelog.close)
        source = await _connected(settings, health, stop)
        if source is None:
            return
        stack.push_async_callback(source.close)
        pipeline = Pipeline(World(source, store, changelog, clock, metrics), worker, build_rules(settings), health)
        source.subscribe(pipeline.assigned, pipeline.revoked)
        probe = asyncio.create_task(_probe(source, health))
        stack.callback(probe.cancel)
        await pipeline.run(stop)
        log.info("stopped", reason="asked to")


async def _connected(settings: Settings, health: Health, stop: asyncio.Event) -> KafkaSource | None:
    """A source once Kafka answers and has the topics; None when stopped before."""
    pause_s = 0.1
    while not stop.is_set():
        try:
            problems = await topic_problems(settings)
            if not problems:
                source = KafkaSource(settings)
                await source.start()
                health.up("kafka")
                health.up("topics")
                return source
            health.up("kafka")
            health.down("topics", "; ".join(problems))
        except UnavailableError as error:
            health.down("kafka", str(error))
        pause_s = min(pause_s * 2, settings.retry_max_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
    return None


async def _greet(store: RedisStore, health: Health) -> None:
    """Redis is used once a partition is ours, which may never be: see before whether it is there."""
    while True:
        try:
            await store.position(0)
            health.up("redis")
            return
        except EbbtideError as error:
            health.down("redis", str(error))
        await asyncio.sleep(PROBE_EVERY_S)


async def _probe(source: KafkaSource, health: Health) -> None:
    """A consumer does not say that its brokers are gone: ask now and then."""
    while True:
        await asyncio.sleep(PROBE_EVERY_S)
        try:
            await source.check()
            health.up("kafka")
        except UnavailableError as error:
            health.down("kafka", str(error))
