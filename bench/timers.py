"""What pending timers cost a partition (`make bench-timers`): calls to Valkey, and event traffic beside them.

Neither may grow with the number of timers that wait. Calls (looking for due timers, changing states) are those of the
service's own `RedisStore`; users have the states of CDNOW's customers and timers spread over a year. The traffic, which
runs through the whole pipeline, is described in bench/timers_traffic.py.
"""

import argparse
import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from bench import timers_traffic
from bench.machine import RESULTS, write_results
from bench.restore import some_users
from consumer.adapters.redis_store import RedisStore
from consumer.core.calendar import DAY_MS
from consumer.embedded import EmbeddedValkey
from consumer.logs import configure_logging
from consumer.records import Header, UserState
from consumer.settings import Settings

SIZES = (10_000, 100_000, 1_000_000)
PART, CHANGED, LIMIT = 5_000, 1_000, 2_000
REPEATS = 30


@dataclass(frozen=True)
class Figures:
    """Medians, in milliseconds."""

    timers: int
    fill_s: float
    none_due_ms: float  # a look that finds nothing
    many_due_ms: float  # a look that finds `LIMIT`
    step_ms: float  # a commit of `CHANGED` users, whose timers move


class Bench:
    """A partition with so many timers."""

    def __init__(self, store: RedisStore, partition: int, count: int) -> None:
        self._store, self._partition, self._chance = store, partition, random.Random(1)
        self._users = [
            UserState(each.user_id, each.value, self._chance.randrange(365 * DAY_MS)) for each in some_users(count)
        ]
        self._at = Header("bench", 1, f"g{partition}", count, count, 0, 0)

    async def fill(self) -> None:
        """Write them all."""
        parts = range(0, len(self._users), PART)
        for number, start in enumerate(parts):
            users = self._users[start : start + PART]
            await self._store.fill(self._partition, self._at.generation, number, users)
        await self._store.switch(self._partition, None, len(parts), self._at)

    async def look(self, until_ms: int) -> None:
        """As every tick does."""
        await self._store.due({self._partition: until_ms}, {self._partition: [self._at]}, LIMIT)

    async def step(self) -> None:
        """As every commit does."""
        changed = self._chance.sample(self._users, CHANGED)
        users = [UserState(each.user_id, each.value, self._chance.randrange(365 * DAY_MS)) for each in changed]
        await self._store.step(self._partition, self._at, self._at, users)


async def measure(url: str, sizes: tuple[int, ...]) -> list[Figures]:
    """One partition after the other."""
    store, found = RedisStore(url, "bench", 60.0), []
    try:
        for partition, count in enumerate(sizes):
            bench = await asyncio.to_thread(Bench, store, partition, count)
            began = perf_counter()
            await bench.fill()
            fill_s = perf_counter() - began
            nothing = await _median_ms(partial(bench.look, -1))
            many = await _median_ms(partial(bench.look, 365 * DAY_MS))
            found.append(Figures(count, fill_s, nothing, many, await _median_ms(bench.step)))
    finally:
        await store.close()
    return found


async def _median_ms(work: Callable[[], Awaitable[None]]) -> float:
    times = []
    for _ in range(REPEATS):
        began = perf_counter()
        await work()
        times.append(1_000 * (perf_counter() - began))
    return median(times)


def _traffic(runs: list[timers_traffic.Figures]) -> Table:
    columns = (
        "waiting",
        "",
        "events/s",
        "CPU, µs/event",
        "turn p50, ms",
        "p99",
        "longest",
        "loop late p99, ms",
        "fell due",
        "alerts",
        "s",
    )
    table = Table(*columns, title="Event traffic beside waiting timers")
    for each in runs:
        table.add_row(
            f"{each.waiting:,}",
            "a week's backlog" if each.backlog else "",
            f"{each.events_per_s:,.0f}",
            *(f"{value:.0f}" for value in (each.cpu_us, each.turn_p50_ms, each.turn_p99_ms, each.turn_max_ms)),
            f"{each.loop_late_p99_ms:.0f}",
            f"{each.due:,}",
            f"{each.alerts:,}",
            f"{each.caught_up_s:.1f}",
        )
    return table


def main() -> None:
    """Measure, print a table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=3, help="of the traffic")
    options = parser.parse_args()
    configure_logging(Settings(log_level="warning"))
    with EmbeddedValkey() as valkey:
        figures = asyncio.run(measure(valkey.url, tuple(options.sizes)))
    with EmbeddedValkey() as valkey:
        runs = asyncio.run(timers_traffic.measure(valkey.url, (0, *options.sizes), options.repeats))
    columns = (
        "timers",
        "fill, s",
        "look, none due, ms",
        f"look, {LIMIT:,} due, ms",
        f"commit of {CHANGED:,} users, ms",
    )
    table = Table(*columns, title="One partition's timers in Valkey")
    for each in figures:
        values = (each.fill_s, each.none_due_ms, each.many_due_ms, each.step_ms)
        table.add_row(f"{each.timers:,}", *(f"{value:.2f}" for value in values))
    Console().print(table)
    Console(width=140).print(_traffic(runs))
    write_results(RESULTS / "timers.json", "make bench-timers", [asdict(each) for each in figures])
    write_results(RESULTS / "timers_traffic.json", "make bench-timers", [asdict(each) for each in runs])


if __name__ == "__main__":
    main()
