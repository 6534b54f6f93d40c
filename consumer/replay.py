"""`ebbtide replay`: the service's pipeline over an event file, without servers; the same alerts with the same ids."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from consumer.adapters.clock import ManualClock, SystemClock
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.assembly import build_rules, build_worker
from consumer.backtest.recording import Curves, recording
from consumer.batch import Worker
from consumer.concluding import ALERTS_FILE, Conclusion, Replay, conclude, log_name
from consumer.event_log import EventLog
from consumer.health import Health
from consumer.owner import CommitPace
from consumer.pipeline import Pipeline, World
from consumer.ports import Message, Record
from consumer.settings import Settings
from consumer.tally import Tally
from schemas.read_report import ReadReport

DEAD_LETTERS_FILE = "dead_letters.jsonl"


def replay(events: Path, out: Path, settings: Settings, partitions: int) -> tuple[Conclusion, ReadReport]:
    """Write alerts, dead letters, a summary and a page to `out`; returns also what was unusual about the log."""
    worker, manifest = build_worker(settings, Metrics()), verified_manifest(settings.model_dir)
    tally, log = Tally(manifest), EventLog(events, settings.timezone, partitions)
    records = list(log.records(SystemClock().now_ms(), tally))  # before older results are replaced
    out.mkdir(parents=True, exist_ok=True)
    with (out / ALERTS_FILE).open("wb") as alerts, (out / DEAD_LETTERS_FILE).open("wb") as dead_letters:

        def deliver(message: Message) -> None:
            assert message.value is not None
            if message.topic == settings.alerts_topic:
                alerts.write(message.value + b"\n")
                tally.alert(message.value)
            else:
                dead_letters.write(message.value + b"\n")
                tally.dead_letters += 1
                log.reject(message.value)

        curves = run_through(records, partitions, worker, tally, settings, deliver)
    told = Replay(log_name(events), manifest, worker.engine.policy)
    return conclude(out, told, tally, curves), log.report


def curves_of(events: Path, tally: Tally, settings: Settings) -> Curves:
    """The curve after every event of a log whose alerts have come from elsewhere, as `tally` knows."""
    worker, partitions = build_worker(settings, Metrics()), 4
    log = EventLog(events, settings.timezone, partitions)
    records = log.records(SystemClock().now_ms(), Tally(verified_manifest(settings.model_dir)))
    return run_through(records, partitions, worker, tally, settings, lambda _: None)


def run_through(
    records: Iterable[tuple[int, Record]],
    partitions: int,
    worker: Worker,
    tally: Tally,
    settings: Settings,
    deliver: Callable[[Message], object],
) -> Curves:
    """All records through the pipeline; the curve after every event, by the users that `tally` knows."""
    recorded, recorder = recording(worker, tally.chronicle)
    source, metrics = MemorySource(records, partitions), Metrics()
    world = World(source, MemoryStore(), MemoryChangelog(deliver), ManualClock(SystemClock().now_ms()), metrics)
    rules = replace(build_rules(settings), pace=CommitPace(interval_ms=0, urgent_gap_ms=0))
    asyncio.run(_run(Pipeline(world, recorded, rules, Health(metrics)), source))
    return recorder.curves()


async def _run(pipeline: Pipeline, source: MemorySource) -> None:
    await pipeline.assigned(range(await source.partitions()))
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
