"""`ebbtide replay`: the service's pipeline over an event file, without servers; the same alerts with the same ids."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from consumer.adapters.clock import ManualClock, SystemClock
from consumer.adapters.kafka import partition_of
from consumer.adapters.memory import MemoryChangelog, MemorySource, MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.assembly import build_rules, build_worker
from consumer.errors import ConfigurationError
from consumer.health import Health
from consumer.pipeline import Pipeline, World
from consumer.ports import Message, Record
from consumer.settings import Settings
from consumer.tally import Tally
from schemas.alert import RetentionAlert
from schemas.files import EventFileError, read_events

ALERTS_FILE, DEAD_LETTERS_FILE, SUMMARY_FILE = "alerts.jsonl", "dead_letters.jsonl", "summary.json"


def replay(events: Path, out: Path, settings: Settings, partitions: int) -> dict[str, object]:
    """Write alerts, dead letters and a summary to `out`; returns the summary."""
    metrics = Metrics()
    worker = build_worker(settings, metrics)
    tally = Tally(verified_manifest(settings.model_dir))
    clock = ManualClock(SystemClock().now_ms())
    records = list(_records(events, settings, partitions, clock.now_ms(), tally))  # before older results are replaced
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

        source = MemorySource(records, partitions)
        world = World(source, MemoryStore(), MemoryChangelog(deliver), clock, metrics)
        pipeline = Pipeline(world, worker, build_rules(settings), Health(clock, metrics, settings.stall_s))
        asyncio.run(_run(pipeline, source, partitions))
    summary = tally.summary()
    (out / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    return summary


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
