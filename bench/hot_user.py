"""What does one user with a million events in a day cost, and who waits for it (`make bench-hot`)?

A user's events must be folded and scored in order; those of a day are taken together up to the first that decides
something. Measured is the service's pipeline, model and policy on one partition, in memory, with a growing share of
events that are one user's.
"""

import argparse
import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from prometheus_client import CollectorRegistry

from bench.machine import RESULTS, write_results
from bench.timers_traffic import KINDS, TimedSource
from consumer.adapters.clock import SystemClock
from consumer.adapters.memory import MemoryChangelog
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_rules, build_worker
from consumer.event_loop import run_async
from consumer.health import Health
from consumer.logs import configure_logging
from consumer.pipeline import Pipeline, World
from consumer.records import Record
from consumer.settings import Settings

SHARES = (0.0, 0.001, 0.01, 0.1, 0.5, 1.0)
EVENTS, USERS, BATCH = 20_000, 10_000, 2_000
_JUNE_MS, _DAY_MS = 1_748_736_000_000, 86_400_000


@dataclass(frozen=True)
class Figures:
    """Of one share."""

    hot_share: float  # of all events
    in_batch: int  # events of the hot user in a micro-batch
    events_per_s: float
    cpu_us: float  # of an event, whoever's
    turn_p50_ms: float  # how long a micro-batch takes, and everybody in it waits
    turn_max_ms: float
    rejected: int


def traffic(share: float) -> Iterator[tuple[int, Record]]:
    """Events of an hour, some of them the hot user's."""
    chance = np.random.default_rng(1)
    is_hot, users = chance.random(EVENTS) < share, chance.integers(USERS, size=EVENTS)
    kinds, times = chance.choice(KINDS, EVENTS), np.sort(chance.integers(_DAY_MS // 24, size=EVENTS)) + _JUNE_MS
    rows = zip(is_hot.tolist(), users.tolist(), kinds.tolist(), times.tolist(), strict=True)
    for offset, (hot, user, kind, at_ms) in enumerate(rows):
        name = "hot" if hot else f"user-{user}"
        content = {"user_id": name, "event_type": kind, "occurred_at": at_ms, "event_id": str(offset)}
        yield 0, Record(offset, at_ms, name.encode(), json.dumps(content).encode())


async def through(records: Iterable[tuple[int, Record]], settings: Settings, share: float) -> Figures:
    """The pipeline's figures."""
    registry = CollectorRegistry()
    metrics, source = Metrics(registry), TimedSource(records)
    worker = build_worker(settings, metrics)
    world = World(source, MemoryStore(), MemoryChangelog(lambda _: None), SystemClock(), metrics)
    pipeline = Pipeline(world, worker, build_rules(settings), Health(metrics))
    await pipeline.assigned([0])
    began_s, cpu_s = perf_counter(), process_time()
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
    took_s, cpu_s = perf_counter() - began_s, process_time() - cpu_s
    turns_ms = np.diff(source.asked_s) * 1_000
    rejected = int(registry.get_sample_value("ebbtide_records_total", {"result": "rejected"}) or 0)
    return Figures(
        share,
        round(share * BATCH),
        EVENTS / took_s,
        cpu_s / EVENTS * 1e6,
        float(np.median(turns_ms)),
        float(turns_ms.max()),
        rejected,
    )


def main() -> None:
    """Measure, print, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "hot_user.json")
    options = parser.parse_args()
    settings = Settings(clock="watermark", max_batch_records=BATCH)
    configure_logging(settings.model_copy(update={"log_level": "warning"}))
    found = [run_async(through(traffic(share), settings, share)) for share in SHARES]
    print(f"{'hot share':>10}{'in batch':>10}{'events/s':>10}{'CPU µs/event':>14}{'turn p50 ms':>13}{'longest':>9}")
    for each in found:
        print(
            f"{each.hot_share:10.1%}{each.in_batch:10,}{each.events_per_s:10,.0f}{each.cpu_us:14.0f}"
            f"{each.turn_p50_ms:13.0f}{each.turn_max_ms:9.0f}"
        )
    write_results(options.out, "make bench-hot", [asdict(each) for each in found])


if __name__ == "__main__":
    main()
