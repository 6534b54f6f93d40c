"""One round: a new world, a schedule of faults, and what the checker says of what is left."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from consumer.records import Record
from faults.checker import check
from faults.history import History, Truth, Violation
from faults.load import WATERMARK_DELAY_S
from faults.nemesis import Inflicted, Nemesis, Scheduled
from faults.reading import Tail, log_ends, read_input, read_outgoing, read_view, unsettled
from faults.truth import disorder_s, truth_of
from faults.world import Plan, World, made
from support import until

_BEGIN_DEADLINE_S = 90.0
_MARKERS_DEADLINE_S = 20.0  # less than the transactions' timeout: one that was left open must still be found


Log = dict[int, list[Record]]


@dataclass(frozen=True)
class Result:
    """What a round has come to."""

    plan: Plan
    faults: Sequence[Inflicted]
    violations: Sequence[Violation]
    counts: dict[str, int]
    times_s: dict[str, float]


@dataclass
class Stopwatch:
    """How long the parts of a round take."""

    times_s: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def lap(self, name: str) -> None:
        """What began with the last lap has ended."""
        now = time.monotonic()
        self.times_s[name], self._since = round(now - self._since, 1), now


async def run_round(plan: Plan, faults: Sequence[Scheduled], settle_s: float = 120.0) -> Result:
    """Inflict, heal, wait until all is done, stop, check."""
    watch, tail = Stopwatch(), Tail()
    async with made(plan) as world:
        watch.lap("servers")
        for _ in range(plan.services):
            await world.fleet.start()
        async with _background(tail.follow(world.shop.settings), world.fleet.keep()):
            async with fed(world):
                await until(lambda: has_begun(world), "every partition has begun", _BEGIN_DEADLINE_S)
                watch.lap("services")
                nemesis = Nemesis(world, plan.folder / "faults.jsonl")
                await nemesis.run(faults)
                watch.lap("faults")
                await world.heal()
            watch.lap("last records")
            left = await _settled(world, settle_s)
            watch.lap("settling")
        exits = world.fleet.exits + await world.fleet.stop()
        await _without_open_transactions(world)
        watch.lap("stopping")
        log, history, counts = await _history(world, tail, left, exits)
    violations = check(history)
    if violations:
        await asyncio.to_thread(_keep_input, plan, log, violations)
    watch.lap("checking")
    counts |= {
        "restarts": world.fleet.restarts,
        "records sent": world.feeder.produced,
        "producers": 1 + world.feeder.failures,
    }
    return Result(plan, nemesis.inflicted, violations, counts, watch.times_s)


@asynccontextmanager
async def _background(*coroutines: Any) -> AsyncIterator[None]:
    """Run along with the block; that one fails is an error."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


@asynccontextmanager
async def fed(world: World) -> AsyncIterator[None]:
    """While the block runs, records keep coming."""
    stop = asyncio.Event()
    feeding = asyncio.create_task(world.feeder.run(stop))
    try:
        yield
    finally:
        stop.set()
        await feeding


async def has_begun(world: World) -> bool:
    """Whether something was folded in every partition."""
    return all(header is not None and header.next_offset > 0 for header in (await world.shop.headers()).values())


async def _settled(world: World, deadline_s: float) -> list[str]:
    """Wait until nothing is left to do; what is left at the deadline."""
    left: list[str] = []

    async def is_settled() -> bool:
        left[:] = await unsettled(world.shop)
        return not left

    with suppress(AssertionError):
        await until(is_settled, "nothing left to do", deadline_s)
    return left


async def _without_open_transactions(world: World) -> None:
    """Wait for markers that are still being written, and for nothing else: what stays open is found by the checker."""

    async def all_stable() -> bool:
        return all(stable == end for stable, end in (await log_ends(world.shop.settings)).values())

    with suppress(AssertionError):
        await until(all_stable, "no open transaction", _MARKERS_DEADLINE_S)


async def _history(world: World, tail: Tail, left: list[str], exits: list[str]) -> tuple[Log, History, dict[str, int]]:
    settings = world.shop.settings
    log = await read_input(settings)
    sent = await read_outgoing(settings)
    if (disorder := disorder_s(log)) >= WATERMARK_DELAY_S:
        raise AssertionError(f"the load itself was out of order by {disorder:.0f} s: nothing follows from this round")
    last = {each.partition: each.position.next_offset for each in sent.positions}
    folded = {each: [record for record in log[each] if record.offset < last.get(each, 0)] for each in log}
    truth: Truth = await asyncio.to_thread(truth_of, settings, folded)
    history = History(
        truth=truth,
        alerts=sent.alerts,
        others=sent.others,
        dead_letters=sent.dead_letters,
        positions=sent.positions,
        logged_states=sent.states,
        logged_timers=sent.timers(),
        view=await read_view(world.shop),
        input_ends=await world.shop.ends(),
        read=sent.read,
        read_during=tail.seen,
        log_ends=await log_ends(settings),
        unsettled=left,
        exits=exits,
    )
    counts = {
        "records": sum(map(len, log.values())),
        "users": len(truth.states),
        "timers": len(truth.timers),
        "alerts": len(sent.alerts),
        "alerts in truth": len(truth.alerts),
        "alerts of silence": sum(alert["cause"] == "silence" for alert in truth.alerts),
        "triggers and outcomes": sum(sent.others.values()),
        "dead letters": len(sent.dead_letters),
        "commits": len(sent.positions),
        "states written": sent.states_written,
        "read during the run": len(tail.seen),
    }
    return log, history, counts


def _keep_input(plan: Plan, log: Log, violations: Sequence[Violation]) -> None:
    """All input records of the users that violations speak of."""
    text = json.dumps([asdict(each) for each in violations], default=str)
    users = set(re.findall(r"user-\d+", text))
    with (plan.folder / "input.jsonl").open("w") as out:
        for partition, records in log.items():
            for record in records:
                key = (record.key or b"").decode(errors="replace")
                if key in users:
                    value = record.value.decode(errors="replace") if record.value is not None else None
                    out.write(json.dumps({"at": f"{partition}@{record.offset}", "key": key, "value": value}) + "\n")
