"""`ebbtide replay`: the service's pipeline over an event file, without servers; the same alerts with the same ids."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from consumer.adapters.clock import ManualClock, SystemClock
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.assembly import build_rules, build_worker
from consumer.backtest.recording import Curves, curves_on, recording
from consumer.batch import Worker
from consumer.concluding import ALERTS_FILE, Conclusion, Replay, conclude, log_name
from consumer.core.decode import decode
from consumer.event_log import EventLog
from consumer.event_loop import run_async
from consumer.health import Health
from consumer.owner import CommitPace
from consumer.pipeline import Pipeline, World
from consumer.policy_tape import record_tapes
from consumer.ports import Clock
from consumer.records import Message, Record
from consumer.settings import Settings
from consumer.tally import Tally
from schemas.files import read_events
from schemas.read_report import ReadReport

TRIGGERS_FILE, OUTCOMES_FILE, DEAD_LETTERS_FILE = "triggers.jsonl", "outcomes.jsonl", "dead_letters.jsonl"
_MOMENT = {ALERTS_FILE: "decided_at", TRIGGERS_FILE: "created_at", OUTCOMES_FILE: "known_at"}


def replay(events: Path, out: Path, settings: Settings, partitions: int) -> tuple[Conclusion, ReadReport]:
    """Write alerts and all that goes with them to `out`; returns also what was unusual about the log.

    The service's clock stands at the end of the log, so that a log always gives the same files.
    """
    settings = settings.model_copy(update={"scores_topic": None})  # nobody reads them here
    worker, manifest = build_worker(settings, Metrics()), verified_manifest(settings.model_dir)
    tally, log, now_ms = (
        Tally(manifest, settings.target),
        EventLog(events, settings.timezone, partitions),
        SystemClock().now_ms(),
    )
    records = list(log.records(now_ms, tally, build_rules(settings).limits))  # before older results are replaced
    results: dict[str, list[bytes]] = {name: [] for name in (*_MOMENT, DEAD_LETTERS_FILE)}
    files = dict.fromkeys(settings.trigger_topics, TRIGGERS_FILE) | {
        settings.alerts_topic: ALERTS_FILE,
        settings.outcomes_topic: OUTCOMES_FILE,
        settings.dead_letters_topic: DEAD_LETTERS_FILE,
    }

    def deliver(message: Message) -> None:
        assert message.value is not None
        name = files[message.topic]
        results[name].append(message.value)
        if name == DEAD_LETTERS_FILE:
            tally.dead_letters += 1
            log.reject(message.value)

    clock = ManualClock(min(now_ms, log.report.last_ms or now_ms))
    came = [(partition, record._replace(timestamp_ms=clock.now_ms())) for partition, record in records]
    curves = run_through(came, partitions, worker, tally, settings, clock, deliver)
    out.mkdir(parents=True, exist_ok=True)
    for name, values in results.items():
        ordered = _in_order(values, _MOMENT.get(name))
        (out / name).write_bytes(b"".join(value + b"\n" for value in ordered))
        for value in ordered if name == ALERTS_FILE else ():
            tally.alert(value)  # as they lie in the file: examples are looked up there by number
    told = Replay(log_name(events), manifest, worker.engine.policy, worker.engine.conduct.value.horizon_days)
    return conclude(out, told, tally, curves), log.report


def _in_order(values: list[bytes], moment: str | None) -> list[bytes]:
    """By time, then by user; each user's as they came, whatever the micro-batches were."""
    if moment is None:
        return values

    def key(value: bytes) -> tuple[str, str]:
        record = json.loads(value)
        return record[moment], record["user_id"]

    return sorted(values, key=key)


def curves_of(events: Path, tally: Tally, settings: Settings) -> Curves:
    """The curve after every event of a log whose alerts have come from elsewhere: scored, and no more."""
    engine, limits = build_worker(settings, Metrics()).engine, build_rules(settings).limits
    decoded = decode(list(read_events(events, settings.timezone)), SystemClock().now_ms(), limits)
    numbers = np.array([tally.chronicle.user(name) for name in decoded.users], np.int64)
    return curves_on(record_tapes(engine, decoded.events, len(decoded.users)), numbers)


def run_through(
    records: Iterable[tuple[int, Record]],
    partitions: int,
    worker: Worker,
    tally: Tally,
    settings: Settings,
    clock: Clock,
    deliver: Callable[[Message], object],
) -> Curves:
    """All records through the pipeline; the curve after every event, by the users that `tally` knows."""
    recorded, recorder = recording(worker, tally.chronicle)
    source, metrics = MemorySource(records, partitions), Metrics()
    world = World(source, MemoryStore(), MemoryChangelog(deliver), clock, metrics)
    rules = replace(build_rules(settings), pace=CommitPace(interval_ms=0), timers_every_ms=0)
    run_async(_run(Pipeline(world, recorded, rules, Health(metrics)), source))
    return recorder.curves()


async def _run(pipeline: Pipeline, source: MemorySource) -> None:
    await pipeline.assigned(range(await source.partitions()))
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
