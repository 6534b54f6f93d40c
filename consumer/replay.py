"""`ebbtide replay`: the service's pipeline over an event file, without servers; the same alerts with the same ids."""

import asyncio
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from consumer.adapters.clock import ManualClock, SystemClock
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.assembly import build_rules, build_worker
from consumer.event_log import EventLog
from consumer.health import Health
from consumer.owner import CommitPace
from consumer.pipeline import Pipeline, World
from consumer.ports import Message
from consumer.settings import Settings
from consumer.tally import Tally
from schemas.alert import RetentionAlert
from schemas.read_report import ReadReport

ALERTS_FILE, TRIGGERS_FILE, DEAD_LETTERS_FILE = "alerts.jsonl", "triggers.jsonl", "dead_letters.jsonl"
SUMMARY_FILE = "summary.json"


def replay(events: Path, out: Path, settings: Settings, partitions: int) -> tuple[dict[str, object], ReadReport]:
    """Write all results to `out`; returns the summary, and what was unusual about the log."""
    metrics = Metrics()
    worker = build_worker(settings, metrics)
    tally = Tally(verified_manifest(settings.model_dir))
    clock = ManualClock(SystemClock().now_ms())
    log = EventLog(events, settings.timezone, partitions)
    records = list(log.records(clock.now_ms(), tally))  # before older results are replaced
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        alerts = stack.enter_context((out / ALERTS_FILE).open("wb"))
        triggers = stack.enter_context((out / TRIGGERS_FILE).open("wb"))
        dead_letters = stack.enter_context((out / DEAD_LETTERS_FILE).open("wb"))

        def deliver(message: Message) -> None:
            assert message.value is not None
            if message.topic == settings.alerts_topic:
                alerts.write(message.value + b"\n")
                tally.alert(RetentionAlert.model_validate_json(message.value))
            elif message.topic in settings.trigger_topics:
                triggers.write(message.value + b"\n")
            else:
                dead_letters.write(message.value + b"\n")
                tally.dead_letters += 1
                log.reject(message.value)

        source = MemorySource(records, partitions)
        world = World(source, MemoryStore(), MemoryChangelog(deliver), clock, metrics)
        rules = replace(build_rules(settings), pace=CommitPace(interval_ms=0, urgent_gap_ms=0))
        pipeline = Pipeline(world, worker, rules, Health(metrics))
        asyncio.run(_run(pipeline, source, partitions))
    summary = tally.summary()
    (out / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    return summary, log.report


async def _run(pipeline: Pipeline, source: MemorySource, partitions: int) -> None:
    await pipeline.assigned(range(partitions))
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
