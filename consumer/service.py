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
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.adapters.redis_store import RedisStore
from consumer.adapters.topics import topic_problems
from consumer.assembly import build_rules, build_worker, with_policy
from consumer.batch import Worker
from consumer.companions import Companions, end_within
from consumer.errors import ConfigurationError, UnavailableError
from consumer.health import Health
from consumer.loop_guard import LoopGuard
from consumer.pipeline import Pipeline, World
from consumer.policy_file import load_policy
from consumer.policy_watch import PolicyWatch
from consumer.settings import Settings
from consumer.watch import Watch

log = structlog.get_logger()
PROBE_EVERY_S = 5.0


async def run_service(settings: Settings) -> None:
    """Serve until told to stop.

    Raises `ConfigurationError` for what only a person can mend, `RestartNeededError` for what only a new process can.
    """
    stop = asyncio.Event()

    def told(number: signal.Signals) -> None:
        stop.set()
        end_within(settings.drain_timeout_s, f"{number.name} was received")

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told, number)
    metrics = Metrics()
    worker = build_worker(settings, metrics)
    metrics.watch_drift(worker.engine.drift)
    health = Health(metrics)
    async with AsyncExitStack() as stack:
        guard = LoopGuard(settings.loop_lag_max_s, settings.loop_block_exit_s, metrics.loop_blocked)
        guard.start()
        stack.callback(guard.stop)
        http = HttpServer(metrics, health)
        stack.push_async_callback(http.close)
        log.info("listening", url=await http.start(settings.http_host, settings.http_port))
        store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
        stack.push_async_callback(store.close)
        changelog = KafkaChangelog(settings)
        stack.push_async_callback(changelog.close)
        later = await stack.enter_async_context(AsyncExitStack())  # closed after the companions that look at it
        companions = await stack.enter_async_context(Companions(stop, settings.drain_timeout_s))
        watch = Watch(settings, health, metrics)
        companions.start(watch.run())
        companions.start(_greet(store, health))
        source = await _connected(settings, health, stop)
        if source is None:
            return
        later.push_async_callback(source.close)
        world = World(source, store, changelog, SystemClock(), metrics)
        pipeline = Pipeline(world, worker, build_rules(settings), health)
        companions.start(_policy_watch(settings, worker, pipeline, metrics).run())
        watch.serving(source, pipeline)
        source.subscribe(companions.watched(pipeline.assigned), companions.watched(pipeline.revoked))
        companions.start(watch.count_members())
        companions.start(_probe(source, health))
        await pipeline.run(stop)
        log.info("stopped")


def _policy_watch(settings: Settings, worker: Worker, pipeline: Pipeline, metrics: Metrics) -> PolicyWatch:
    path, manifest = settings.policy_file, verified_manifest(settings.model_dir)
    return PolicyWatch(
        path,
        load=lambda: load_policy(path, manifest, settings.timezone),
        use=lambda policy: pipeline.use(with_policy(worker, policy)),
        telemetry=metrics,
    )


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
    """Redis is used once a partition is ours, which may never be: see before whether it is there, and keeps all."""
    while True:
        try:
            await store.view(0)
            await _refuse_eviction(store)
            health.up("redis")
            return
        except UnavailableError as error:
            health.down("redis", str(error))
        await asyncio.sleep(PROBE_EVERY_S)


async def _refuse_eviction(store: RedisStore) -> None:
    try:
        problem = await store.policy_problem()
    except ConfigurationError as error:
        log.warning("Redis does not say whether it drops states when its memory is full", why=str(error))
        return
    if problem is not None:
        raise ConfigurationError(problem)


async def _probe(source: KafkaSource, health: Health) -> None:
    """A consumer does not say that its brokers are gone: ask now and then."""
    while True:
        await asyncio.sleep(PROBE_EVERY_S)
        try:
            await source.check()
            health.up("kafka")
        except UnavailableError as error:
            health.down("kafka", str(error))
