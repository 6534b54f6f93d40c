"""Ebbtide as a contestant: the service's own pipeline between real servers, until so many events are committed."""

import asyncio
import os
from contextlib import AsyncExitStack

from bench.rivals.command import POLICY, Meter, Options, options
from consumer.adapters.clock import SystemClock
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.metrics import Metrics
from consumer.adapters.redis_store import RedisStore
from consumer.adapters.topics import create_topics
from consumer.assembly import build_rules, build_worker
from consumer.event_loop import run_async
from consumer.health import Health
from consumer.logs import configure_logging
from consumer.pipeline import Pipeline, World
from consumer.records import Record
from consumer.settings import Settings, load_settings


class _Source(KafkaSource):
    """Tells the meter when records have come."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        super().__init__(settings)
        self._meter = meter

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """See `Source.poll`."""
        self._meter.reads()
        batch = await super().poll(max_records, timeout_ms)
        if batch:
            self._meter.begin(sum(map(len, batch.values())))
        return batch


class _Telemetry(Metrics):
    """Tells the meter when partitions are there."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def partitions_live(self, count: int) -> None:
        if count:
            self._meter.ready()
        super().partitions_live(count)


def settings_of(chosen: Options) -> Settings:
    """The job's settings; the environment (EBBTIDE_…) decides the rest."""
    return load_settings(
        kafka_bootstrap_servers=chosen.bootstrap,
        redis_url=chosen.redis,
        events_topic=chosen.input,
        alerts_topic=chosen.output,
        dead_letters_topic=f"{chosen.group}.dead-letters",
        outcomes_topic=f"{chosen.group}.outcomes",
        triggers_prefix=f"{chosen.group}.triggers",
        state_topic=f"{chosen.group}.state",
        group_id=chosen.group,
        delivery=chosen.delivery,
        model_dir=chosen.model,
        policy_file=POLICY,
        clock="watermark",
        outcome_sample_share=0.0,
        log_level=os.environ.get("EBBTIDE_LOG_LEVEL", "warning"),
    )


async def serve(settings: Settings, events: int, meter: Meter) -> None:
    """What `ebbtide run` serves, without its watchdog and its HTTP server."""
    await create_topics(settings)
    metrics = _Telemetry(meter)
    health = Health(metrics)
    async with AsyncExitStack() as stack:
        store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
        stack.push_async_callback(store.close)
        changelog = KafkaChangelog(settings)
        stack.push_async_callback(changelog.close)
        source = _Source(settings, meter)
        await source.start()
        stack.push_async_callback(source.close)
        world = World(source, store, changelog, SystemClock(), metrics)
        pipeline = Pipeline(world, build_worker(settings, metrics), build_rules(settings), health)
        source.subscribe(pipeline.assigned, pipeline.revoked)
        progress = _Progress(pipeline, events)
        await pipeline.run(asyncio.Event(), progress.is_done)
        meter.report(progress.processed)


class _Progress:
    """How many records have been processed, counted from where each partition was found."""

    def __init__(self, pipeline: Pipeline, events: int) -> None:
        self._pipeline, self._events = pipeline, events
        self._found_at: dict[int, int] = {}
        self.processed = 0

    def is_done(self) -> bool:
        """Whether as many as asked for; what is in flight then is still to be committed. Asked before each batch."""
        reached = {
            partition: standing.next_offset
            for partition, standing in self._pipeline.standings().items()
            if standing.next_offset is not None
        }
        self._found_at = reached | self._found_at
        self.processed = sum(offset - self._found_at[partition] for partition, offset in reached.items())
        return self.processed >= self._events


if __name__ == "__main__":
    chosen = options()
    settings = settings_of(chosen)
    configure_logging(settings)
    run_async(serve(settings, chosen.events, Meter(chosen.ready)))
