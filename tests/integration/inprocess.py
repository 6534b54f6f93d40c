"""The service inside the test's own event loop, with a scorer whose curve is known; and what it must come to."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from consumer.adapters.clock import SystemClock
from consumer.adapters.kafka import partition_of
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.metrics import Metrics
from consumer.adapters.redis_store import RedisStore
from consumer.assembly import build_rules, late_after_ms, topics_of
from consumer.batch import Worker
from consumer.catalogues import load_languages
from consumer.core.alerts import AlertContext
from consumer.core.baseline import Baseline
from consumer.core.calendar import Calendar
from consumer.core.decode import decode
from consumer.core.fold import FoldRules
from consumer.core.outcomes import OutcomeRules
from consumer.core.packing import pack
from consumer.core.policy import Policy, PolicyRules
from consumer.core.state import empty_states
from consumer.health import Health
from consumer.messages import Messages, Origin
from consumer.pipeline import Pipeline, World
from consumer.policy_file import read_policy
from consumer.ports import Scorer
from consumer.records import Record
from consumer.scoring import Engine
from consumer.settings import Settings
from consumer.telemetry import Telemetry
from support import Keyed, KnownCurve, Shop, by_id, remembering, watermarks_of

THRESHOLDS = (0.5, 0.7)


def engine_of(settings: Settings, scorer: Scorer, thresholds: tuple[float, ...] = THRESHOLDS) -> Engine:
    """The pure core under a shop's settings."""
    calendar = Calendar(settings.timezone)
    grace_days = read_policy(settings.policy_file).policy.grace_days
    rules = PolicyRules(thresholds, rearm=thresholds[0] - 0.05, grace_days=grace_days)
    fold_rules = FoldRules(calendar, settings.target, int(settings.max_lateness_s * 1000))
    outcome_rules = OutcomeRules(share=settings.outcome_sample_share)
    score_step = settings.score_step if settings.scores_topic else None
    policy, baseline = Policy(rules, calendar), Baseline(0.4, 4.0, 6.0)
    return Engine(fold_rules, policy, remembering(scorer), outcome_rules, baseline, score_step=score_step)


def worker_of(settings: Settings, engine: Engine, telemetry: Telemetry) -> Worker:
    """As `build_worker`, around an engine of our own."""
    context = AlertContext(
        engine.scorer.model.version,
        engine.policy.rules.horizon_days,
        engine.conduct,
        settings.target,
        languages=load_languages(),
        late_after_ms=late_after_ms(settings),
    )
    topics = topics_of(settings)
    messages = Messages(topics, context)
    return Worker(engine, messages, telemetry, int(settings.watermark_delay_s * 1000))


@dataclass(frozen=True)
class Running:
    """A service that is running, seen from inside."""

    health: Health
    registry: CollectorRegistry

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value; 0 before its first."""
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def serving(shop: Shop, engine: Engine | None = None) -> AsyncIterator[Running]:
    """What `run_service` runs, until the block ends; an error of the service is an error of the block."""
    settings = shop.settings
    registry, clock, stop = CollectorRegistry(), SystemClock(), asyncio.Event()
    metrics = Metrics(registry)
    health = Health(metrics)
    async with AsyncExitStack() as stack:
        store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
        stack.push_async_callback(store.close)
        changelog = KafkaChangelog(settings)
        stack.push_async_callback(changelog.close)
        source = KafkaSource(settings)
        await source.start()
        stack.push_async_callback(source.close)
        worker = worker_of(settings, engine or engine_of(settings, KnownCurve()), metrics)
        world = World(source, store, changelog, clock, metrics)
        pipeline = Pipeline(world, worker, build_rules(settings), health)
        source.subscribe(pipeline.assigned, pipeline.revoked)
        async with asyncio.TaskGroup() as group:
            group.create_task(pipeline.run(stop))
            try:
                yield Running(health, registry)
            finally:
                stop.set()


@dataclass(frozen=True)
class Outcome:
    """What a log comes to: packed states by user, and alerts by id, as `support.by_id` has them."""

    states: dict[str, bytes]
    alerts: dict[str, dict[str, Any]]


def outcome_of(settings: Settings, engine: Engine, records: Sequence[Keyed]) -> Outcome:
    """The log folded in one go by the pure core, with silence counted up to each partition's watermark."""
    decoded = decode(records, SystemClock().now_ms())
    users, events = decoded.users, decoded.events
    states = empty_states(len(users))
    partitions = np.array([partition_of(user.encode(), settings.partitions) for user in users])
    before_ms, reached_ms = watermarks_of(settings, events, partitions[events.row])
    _, found = engine.on_events(states, events, before_ms)
    found += engine.on_silence(states, np.arange(len(users)), reached_ms[partitions])
    origins = [Origin(0, Record(0, 0, None, None))] * len(events)
    messages = worker_of(settings, engine, Metrics(CollectorRegistry())).messages
    sent = messages.alerts(found.alerts, users, [0] * len(users), origins, 0)[0]
    alerts = [message for message in sent if message.topic == settings.alerts_topic]
    return Outcome(
        states={user: value for user, value in zip(users, pack(states), strict=True) if value},
        alerts=by_id([json.loads(alert.value or b"") for alert in alerts]),
    )
