"""How fast a claim brings Redis in place, a partition restored or caught up (`make bench-restore`).

End to end through the service's own `Claimer`, on an embedded Kafka and Valkey: barrier, reading the changelog, filling
or applying, switching. The states are those that the CDNOW log leaves, under as many names as asked for.
"""

import argparse
import asyncio
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from bench.machine import QUICK_FOLDER, RESULTS, write_results
from bench.state_size import folded
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.memory import MemorySource
from consumer.adapters.metrics import Metrics
from consumer.adapters.redis_store import RedisStore
from consumer.adapters.topics import create_topics
from consumer.commit import Claimed, Claimer, ClaimRules, Ledger
from consumer.core.packing import due_ms_of, pack
from consumer.embedded import EmbeddedKafka, EmbeddedValkey
from consumer.pipeline import new_id
from consumer.records import UserState
from consumer.settings import Settings

CDNOW = Path(__file__).parent.parent / "data" / "cdnow" / "events.csv.xz"
COMMIT_USERS = 5_000


@dataclass(frozen=True)
class Figures:
    """Of one way to bring the view in place."""

    what: str
    users: int
    seconds: list[float]

    @property
    def users_per_s(self) -> float:
        """The median."""
        return self.users / median(self.seconds)


def some_users(count: int) -> list[UserState]:
    """So many, with the states of CDNOW's customers."""
    values = pack(folded(CDNOW))
    kinds = list(zip(values, due_ms_of(values), strict=True))
    return [UserState(f"user-{number}", *kinds[number % len(kinds)]) for number in range(count)]


class Bench:
    """One partition, its changelog and its view."""

    def __init__(self, changelog: KafkaChangelog, store: RedisStore) -> None:
        self._changelog, self._store = changelog, store
        ledger = Ledger(MemorySource([], partitions=1), changelog, store)  # nothing is read from the input
        self._claimer = Claimer(ledger, ClaimRules(), Metrics(), new_id)

    async def claim(self) -> Claimed:
        """As an owner does."""
        return await self._claimer.claim(0)

    async def commit(self, at: Claimed, users: list[UserState]) -> None:
        """Into the changelog alone: the view falls behind."""
        timers = sum(user.due_ms is not None for user in users)
        position = replace(at.position, users=len(users), timers=timers)  # as it is after the last one
        for begin in range(0, len(users), COMMIT_USERS):
            await self._changelog.commit(0, users[begin : begin + COMMIT_USERS], position, [])

    async def empty(self, at: Claimed) -> None:
        """The view is lost."""
        await self._store.discard(0, at.header)


async def measure(settings: Settings, count: int, repeats: int) -> list[Figures]:
    """Both ways, so often."""
    users = await asyncio.to_thread(some_users, count)
    changelog = KafkaChangelog(settings)
    store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
    restores, catch_ups = [], []
    try:
        await create_topics(settings)
        bench = Bench(changelog, store)
        await bench.commit(await bench.claim(), users)
        at = await bench.claim()
        for _ in range(repeats):
            await bench.empty(at)
            began = perf_counter()
            at = await bench.claim()
            restores.append(perf_counter() - began)
        for _ in range(repeats):
            await bench.commit(at, users)
            began = perf_counter()
            at = await bench.claim()
            catch_ups.append(perf_counter() - began)
    finally:
        await changelog.close()
        await store.close()
    return [Figures("restore", count, restores), Figures("catch-up", count, catch_ups)]


def main() -> None:
    """Measure, print a table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="20,000 users, once; into bench/quick/.")
    options = parser.parse_args()
    if options.quick:
        options.users, options.repeats = 20_000, 1
    with EmbeddedKafka() as kafka, EmbeddedValkey() as valkey:
        settings = Settings(kafka_bootstrap_servers=kafka.bootstrap_servers, redis_url=valkey.url, partitions=1)
        figures = asyncio.run(measure(settings, options.users, options.repeats))
    table = Table("", "users", "median, s", "longest, s", "users/s", title="A claim of one partition")
    for each in figures:
        seconds = f"{median(each.seconds):.2f}", f"{max(each.seconds):.2f}"
        table.add_row(each.what, f"{each.users:,}", *seconds, f"{each.users_per_s:,.0f}")
    Console().print(table)
    write_results(
        (QUICK_FOLDER if options.quick else RESULTS) / "restore.json",
        "make bench-restore",
        [asdict(each) for each in figures],
    )


if __name__ == "__main__":
    main()
