"""Does the service's memory stay flat over half an hour (`make bench-soak`)?

One process of the service over an embedded Kafka and Valkey, under a steady load that comes in lumps of growing size,
so that micro-batches vary from some tens of events to thousands. Before it begins everybody has come on as many days as
are kept, and the prefix cache is small enough to be full: nothing is left that should grow. The line is fitted to the
last two thirds.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from matplotlib.figure import Figure

from bench import plots
from bench.fits import last_two_thirds, line
from bench.fleet import Fleet, Records, producer, send
from bench.machine import PLOTS, RESULTS, write_results
from bench.rivals.command import POLICY
from bench.workload import Workload
from consumer.adapters.topics import create_topics
from consumer.core.state import MAX_DAYS
from consumer.embedded import EmbeddedKafka, EmbeddedValkey

USERS, CACHE_MB = 10_000, 32
LUMPS_S = (0.02, 0.1, 0.5, 1.0, 2.0, 4.0)  # one after the other, each for a while: how much is sent at a time
_EACH_LUMP_S, _SAMPLE_EVERY_S = 12.0, 10.0


@dataclass(frozen=True)
class Sample:
    """Of the process, at a moment."""

    at_s: float
    rss_mb: float
    cpu_s: float
    cache_mb: float
    evictions: int
    records: int
    batches: int
    timers: int
    alerts: int


@dataclass(frozen=True)
class Soak:
    """What came of it."""

    minutes: float
    days: int  # that pass meanwhile, by the log
    events_per_s: float
    cache_limit_mb: int
    mb_per_hour: float  # over the last two thirds
    first_mb: float  # of them, on the line
    last_mb: float
    peak_mb: float
    cpu_us: float  # for an event
    samples: list[Sample]


async def soak(fleet: Fleet, minutes: float, days: int, per_s: float) -> list[Sample]:
    """Samples until the time is over."""
    workload = Workload(round(60 * minutes * per_s * 1.05), USERS, days, seed=1, history_days=MAX_DAYS)
    async with producer(fleet.settings.kafka_bootstrap_servers) as to:
        records = workload.records()
        await send(to, fleet, islice(records, workload.history_events))
        await fleet.drained()
        feeding = asyncio.create_task(_feed(to, fleet, records, per_s))
        began, samples = time.monotonic(), []
        try:
            while (at_s := time.monotonic() - began) < 60 * minutes:
                fleet.check()
                samples.append(await asyncio.to_thread(_sample, fleet, at_s))
                await asyncio.sleep(_SAMPLE_EVERY_S)
                if feeding.done():
                    await feeding
                    break
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding
    return samples


async def _feed(to: object, fleet: Fleet, records: Iterator[tuple[bytes, bytes]], per_s: float) -> None:
    began, sent = time.monotonic(), 0
    while True:
        elapsed_s = time.monotonic() - began
        some: Records = list(islice(records, int(elapsed_s * per_s) - sent))
        sent += await send(to, fleet, some)
        await asyncio.sleep(lump_s(elapsed_s))


def lump_s(elapsed_s: float) -> float:
    """For how long what is sent next is gathered."""
    return LUMPS_S[int(elapsed_s / _EACH_LUMP_S) % len(LUMPS_S)]


def _sample(fleet: Fleet, at_s: float) -> Sample:
    found = fleet.metrics()
    counts = (
        "ebbtide_prefix_cache_evictions_total", "ebbtide_records_total", "ebbtide_batch_records_count",
        "ebbtide_timers_fired_total", "ebbtide_alerts_total",
    )  # fmt: skip
    return Sample(
        round(at_s, 1),
        round(fleet.rss_mb(), 1),
        fleet.cpu_s(),
        round(found["ebbtide_prefix_cache_bytes"] / 2**20, 1),
        *(int(found.get(name, 0)) for name in counts),
    )


def summary(samples: list[Sample], minutes: float, days: int) -> Soak:
    """Lines through them."""
    at_s, rss_mb = last_two_thirds([each.at_s for each in samples], [each.rss_mb for each in samples])
    slope, intercept = line(at_s, rss_mb)
    first, last = samples[0], samples[-1]
    return Soak(
        minutes=minutes,
        days=days,
        events_per_s=(last.records - first.records) / (last.at_s - first.at_s),
        cache_limit_mb=CACHE_MB,
        mb_per_hour=3600 * slope,
        first_mb=intercept + slope * at_s[0],
        last_mb=intercept + slope * at_s[-1],
        peak_mb=max(each.rss_mb for each in samples),
        cpu_us=(last.cpu_s - first.cpu_s) / (last.records - first.records) * 1e6,
        samples=samples,
    )


def draw(found: Soak, figure: Figure) -> None:
    """Memory over time."""
    axes = figure.subplots()
    minutes = [each.at_s / 60 for each in found.samples]
    axes.plot(minutes, [each.rss_mb for each in found.samples], color="#2563eb", label="resident memory")
    axes.plot(minutes, [each.cache_mb for each in found.samples], color="#94a3b8", label="of it, the prefix cache")
    axes.plot(
        [minutes[-1] / 3, minutes[-1]], [found.first_mb, found.last_mb], color="#dc2626", linestyle="--",
        label="line through the last two thirds",
    )  # fmt: skip
    axes.set(
        title=f"{found.events_per_s:,.0f} events/s: {found.mb_per_hour:+.1f} MB an hour",
        xlabel="minutes", ylabel="MB", ylim=(0, None),
    )  # fmt: skip
    axes.legend()


def main() -> None:
    """Measure, print, plot, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--days", type=int, default=60, help="That pass meanwhile, by the log.")
    parser.add_argument("--per-second", type=float, default=1_500.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "soak.json")
    parser.add_argument("--plot", type=Path, default=PLOTS / "soak.svg")
    options = parser.parse_args()
    with EmbeddedKafka() as kafka, EmbeddedValkey() as valkey:
        settings = {
            "kafka_bootstrap_servers": kafka.bootstrap_servers, "redis_url": valkey.url, "clock": "watermark",
            "prefix_cache_mb": CACHE_MB, "policy_file": POLICY,
        }  # fmt: skip
        fleet = Fleet(settings)
        asyncio.run(create_topics(fleet.settings))
        with fleet:
            fleet.await_ready()
            samples = asyncio.run(soak(fleet, options.minutes, options.days, options.per_second))
    found = summary(samples, options.minutes, options.days)
    print(
        f"{found.events_per_s:,.0f} events/s for {found.minutes:.0f} minutes: {found.mb_per_hour:+.1f} MB an hour, "
        f"from {found.first_mb:.0f} to {found.last_mb:.0f} MB, at most {found.peak_mb:.0f}; "
        f"{found.cpu_us:.0f} µs of processor time an event"
    )
    plots.save(options.plot, partial(draw, found), (7.0, 3.7))
    write_results(options.out, "make bench-soak", asdict(found))


if __name__ == "__main__":
    main()
