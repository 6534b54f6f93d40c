"""`python -m faults.recovery`: how long it takes until all is well again, on real servers and processes.

Three brokers, one Valkey and all processes share this machine, so that these are upper bounds for real machines.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.table import Table

from bench.machine import RESULTS, facts, write_results
from faults.fleet import Service
from faults.load import START_MS
from faults.reading import unsettled
from faults.rounds import fed, has_begun
from faults.world import SESSION_TIMEOUT_MS, Plan, World, made
from support import event, until

_DEADLINE_S = 300.0
_PARTITIONS = 16


@dataclass(frozen=True)
class Measured:
    """Seconds, of some repetitions."""

    what: str
    seconds: list[float]

    def row(self) -> tuple[str, str, str, str]:
        """For the table."""
        return self.what, str(len(self.seconds)), f"{median(self.seconds):.2f}", f"{max(self.seconds):.2f}"


# From one owner to the next.


async def takeovers(plan: Plan, repeats: int) -> list[Measured]:
    """kill -9 of the only owner, until the next one has published an alert."""
    session = f"session timeout {SESSION_TIMEOUT_MS / 1000:.0f} s"
    async with made(replace(plan, partitions=1)) as world:
        await world.fleet.start()
        async with fed(world):
            await until(lambda: has_begun(world), "begun", _DEADLINE_S)
            waiting = [await _takeover(world, is_waiting=True) for _ in range(repeats)]
            fresh = [await _takeover(world, is_waiting=False) for _ in range(repeats)]
    return [
        Measured(f"kill -9 of the owner to the next alert, another one waits ({session})", waiting),
        Measured(f"the same, a new process starts at that moment ({session})", fresh),
    ]


async def _takeover(world: World, is_waiting: bool) -> float:
    if is_waiting:
        await world.fleet.start()
        await until(lambda: _members(world, 2), "two members", _DEADLINE_S)
    since = time.time()  # the partition may just have gone to the newcomer: what is published from now on tells
    await until(lambda: _has_alert(world, since), "alerts are flowing", _DEADLINE_S)
    owner = max(world.fleet.running, key=lambda service: max(_claims(service).values(), default=""))
    killed_at = time.time()
    await owner.kill()
    if not is_waiting:
        await world.fleet.start()
    await until(lambda: _has_alert(world, killed_at), "an alert by the next owner", _DEADLINE_S)
    return time.time() - killed_at


async def _members(world: World, count: int) -> bool:
    """Whether the group has so many, and is not about to change."""
    admin = AIOKafkaAdminClient(bootstrap_servers=world.shop.settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        [answer] = await admin.describe_consumer_groups([world.shop.settings.group_id])
        [(_, _, state, _, _, members, *_)] = answer.groups
        return state == "Stable" and len(members) == count
    finally:
        await admin.close()


async def _has_alert(world: World, since_s: float) -> bool:
    """Whether a reader of committed records gets an alert that was appended since then."""
    settings = world.shop.settings
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        parts = [TopicPartition(settings.alerts_topic, each) for each in range(settings.partitions)]
        consumer.assign(parts)
        found = await consumer.offsets_for_times({part: int(since_s * 1000) + 1 for part in parts})
        ends = await consumer.end_offsets(parts)
    return any(at is not None and at.offset < ends[part] for part, at in found.items())


# A lost Redis, and starting.


async def with_many_users(plan: Plan, users: int, repeats: int) -> list[Measured]:
    """Claims of 16 partitions with few and with many users; FLUSHALL with many."""
    slow = {"max_batch_records": 2_000, "max_due_users": 2_000}
    async with made(replace(plan, partitions=_PARTITIONS, settings=slow)) as world:
        few = await _with(world, 500, repeats)
        many = await _with(world, users, repeats)
        lost = [await _start(world, before=_flush) for _ in range(repeats)]
        await world.fleet.start()
        await until(lambda: _all_intact(world), "all partitions intact", _DEADLINE_S)
        flushed = [await _flushed(world) for _ in range(repeats)]
    return [
        Measured(f"start of a process until all {_PARTITIONS} partitions are live, 500 users", few),
        Measured(f"the same, {users:,} users", many),
        Measured(f"the same, {users:,} users and an empty Redis", lost),
        Measured(f"FLUSHALL with {users:,} users until all {_PARTITIONS} partitions are intact again", flushed),
    ]


async def _with(world: World, users: int, repeats: int) -> list[float]:
    """Have so many users known, then measure starts."""
    await world.shop.produce(event(f"user-{number}", "purchase", START_MS + number) for number in range(users))
    service = await world.fleet.start()

    async def is_settled() -> bool:
        return not await unsettled(world.shop)

    await until(is_settled, f"{users} users", _DEADLINE_S)
    await service.stop()
    return [await _start(world, before=_nothing) for _ in range(repeats)]


async def _start(world: World, before: Callable[[World], Awaitable[object]]) -> float:
    """Of one process, until it has claimed all partitions."""
    await before(world)
    begun = time.monotonic()
    service = await world.fleet.start()
    await until(lambda: len(_claims(service)) == _PARTITIONS, "all partitions claimed", _DEADLINE_S)
    took_s = time.monotonic() - begun
    await service.stop()
    return took_s


def _claims(service: Service) -> dict[int, str]:
    """By partition, when it was last claimed."""
    lines = [json.loads(line) for line in service.log.read_text().rpartition("\n")[0].splitlines()]
    return {line["partition"]: line["timestamp"] for line in lines if line["event"] == "claimed"}


async def _nothing(world: World) -> None:
    """Leave Redis alone."""


async def _flush(world: World) -> None:
    await world.redis(lambda redis: redis.flushall())


async def _flushed(world: World) -> float:
    await _flush(world)
    begun = time.monotonic()
    await until(lambda: _all_intact(world), "all partitions intact", _DEADLINE_S)
    return time.monotonic() - begun


async def _all_intact(world: World) -> bool:
    headers = await world.shop.headers()
    for partition, header in headers.items():
        if header is None:
            return False
        users, due = (world.shop.key(partition, f"{name}:{header.generation}") for name in ("users", "due"))
        counts = (
            await world.redis(lambda redis, users=users: redis.hlen(users)),
            await world.redis(lambda redis, due=due: redis.zcard(due)),
        )
        if counts != (header.users, header.timers):
            return False
    return True


async def measure(folder: Path, users: int, repeats: int) -> list[Measured]:
    """All of it."""
    plan = Plan(1, folder)
    return await takeovers(plan, repeats) + await with_many_users(plan, users, repeats)


def main() -> int:
    """Measure, show, keep."""
    parser = argparse.ArgumentParser(prog="python -m faults.recovery", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "recovery.json")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    machine = facts()
    folder = Path(tempfile.mkdtemp(prefix="ebbtide-recovery-"))
    measured = asyncio.run(measure(folder, given.users, given.repeats))
    table = Table("what", "times", "median, s", "longest, s", title=f"Recovery. {machine['machine']}")
    for each in measured:
        table.add_row(*each.row())
    Console(width=140).print(table)
    rows = [{"what": each.what, "seconds": [round(took_s, 3) for took_s in each.seconds]} for each in measured]
    write_results(given.out, "make recovery", rows, machine)
    print(f"{given.out}; logs in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
