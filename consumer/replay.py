"""`ebbtide replay`: the service's pipeline over an event file, without servers; the same alerts with the same ids."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from consumer.adapters.clock import ManualClock, SystemClock
from consumer.adapters.kafka import partition_of
from consumer.adapters.memory import MemoryChangelog, MemorySource, MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_rules, build_worker
from consumer.core.calendar import DAY_MS
from consumer.errors import ConfigurationError
from consumer.health import Health
from consumer.outcomes import FollowUp, Outcome
from consumer.pipeline import Pipeline, World
from consumer.ports import Message, Record
from consumer.settings import Settings
from schemas.alert import RetentionAlert, Tier
from schemas.event import EventType, ShopEvent
from schemas.files import EventFileError, read_events

ALERTS_FILE, DEAD_LETTERS_FILE, SUMMARY_FILE = "alerts.jsonl", "dead_letters.jsonl", "summary.json"


@dataclass
class Tally:
    """What people want to know of a replayed log: filled from the records that go in and the alerts that come out."""

    follow_up: FollowUp
    events: int = 0
    dead_letters: int = 0
    users: set[str] = field(default_factory=set)
    alerts: dict[str, int] = field(default_factory=lambda: {str(tier): 0 for tier in Tier})
    first_ms: int | None = None
    last_ms: int = 0

    def event(self, value: bytes) -> None:
        """An event goes in; what is no valid event is counted as nothing else."""
        self.events += 1
        try:
            event = ShopEvent.model_validate_json(value)
        except ValidationError:
            return
        self.users.add(event.user_id)
        self.first_ms = event.time_ms if self.first_ms is None else min(self.first_ms, event.time_ms)
        self.last_ms = max(self.last_ms, event.time_ms)
        if event.event_type is EventType.PURCHASE:
            self.follow_up.purchase(event.user_id, event.time_ms)

    def alert(self, alert: RetentionAlert) -> None:
        """An alert came out."""
        self.alerts[alert.tier] += 1
        self.follow_up.alert(alert.user_id, int(alert.decided_at.timestamp() * 1000), alert.tier)

    def outcomes(self) -> dict[str, Outcome]:
        """What became of alerted and of other customers, from one horizon after the first event on."""
        horizon_ms = int(self.follow_up.horizon_days * DAY_MS)
        return self.follow_up.outcomes((self.first_ms or 0) + horizon_ms, self.last_ms)

    def summary(self) -> dict[str, object]:
        """As `summary.json` has it."""
        return {
            "events": self.events,
            "users": len(self.users),
            "dead_letters": self.dead_letters,
            "alerts": self.alerts,
            "horizon_days": self.follow_up.horizon_days,
            "bought_within_horizon": {
                group: {"customers": each.customers, "bought": each.bought, "share": round(each.share, 4)}
                for group, each in self.outcomes().items()
            },
        }


def replay(events: Path, out: Path, settings: Settings, partitions: int) -> dict[str, object]:
    """Write alerts, dead letters and a summary to `out`; returns the summary."""
    metrics = Metrics(CollectorRegistry())
    worker = build_worker(settings, metrics)
    tally = Tally(FollowUp(worker.engine.policy.rules.horizon_days))
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        alerts = stack.enter_context((out / ALERTS_FILE).open("wb"))
        dead_letters = stack.enter_context((out / DEAD_LETTERS_FILE).open("wb"))

        def deliver(message: Message) -> None:
            assert message.value is not None
            if message.topic == settings.alerts_topic:
                alerts.write(message.value + b"\n")
                tally.alert(RetentionAlert.model_validate_json(message.value))
            else:
                dead_letters.write(message.value + b"\n")
                tally.dead_letters += 1

        clock = ManualClock(SystemClock().now_ms())
        records = list(_records(events, settings, partitions, clock.now_ms(), tally))
        source = MemorySource(records, partitions)
        world = World(source, MemoryStore(), MemoryChangelog(deliver), clock, metrics)
        pipeline = Pipeline(world, worker, build_rules(settings), Health(clock, metrics, settings.stall_s))
        asyncio.run(_run(pipeline, source, partitions))
    (out / SUMMARY_FILE).write_text(json.dumps(tally.summary(), indent=2) + "\n")
    return tally.summary()


async def _run(pipeline: Pipeline, source: MemorySource, partitions: int) -> None:
    await pipeline.assigned(range(partitions))
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)


def _records(
    path: Path, settings: Settings, partitions: int, now_ms: int, tally: Tally
) -> Iterator[tuple[int, Record]]:
    offsets = [0] * partitions
    try:
        for key, value in read_events(path, settings.timezone):
            tally.event(value)
            partition = partition_of(key, partitions)
            yield partition, Record(offsets[partition], now_ms, key, value)
            offsets[partition] += 1
    except EventFileError as error:
        raise ConfigurationError(str(error)) from error
