"""Do pending timers slow a partition's event traffic down? (Part of `make bench-timers`.)

The service's pipeline, model and policy on one partition, between a log in memory and a real Valkey. Who waits has the
state and the next timer of one of CDNOW's customers; the traffic is of users of its own, the same in every run. In one
run time passes as it would, so that now and then a timer falls due. In the other a week has passed unseen before the
first event, and all that fell due in it is fired while events go on.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from time import perf_counter, process_time

import numpy as np
from prometheus_client import CollectorRegistry

from bench.restore import CDNOW
from consumer.adapters.clock import SystemClock
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.metrics import Metrics
from consumer.adapters.redis_store import RedisStore
from consumer.assembly import build_rules, build_worker
from consumer.batch import Worker
from consumer.core.calendar import DAY_MS
from consumer.core.decode import decode
from consumer.core.packing import due_ms_of, pack
from consumer.core.state import NO_TIME, States, empty_states
from consumer.health import Health
from consumer.pipeline import Pipeline, World
from consumer.records import Header, Logged, Position, Record, UserState
from consumer.settings import Settings
from schemas.event import MAX_TIME_MS
from schemas.files import read_events

BUYERS, EVENTS, LASTING_MS, UNSEEN_MS = 10_000, 100_000, DAY_MS // 4, 7 * DAY_MS
BATCH, PART = 500, 5_000
KINDS = ("view_item",) * 6 + ("search", "add_to_cart", "add_to_cart", "purchase")
_TICK_S = 0.01


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    waiting: int  # timers, beside those of the traffic's users
    backlog: bool  # a week has passed unseen
    events_per_s: float
    cpu_us: float  # processor time of the service for an event, and for what falls due meanwhile
    turn_p50_ms: float  # one turn of the loop: a micro-batch of events, then one of timers
    turn_p99_ms: float
    turn_max_ms: float
    loop_late_p99_ms: float  # how late the event loop, which heartbeats share, woke up
    due: int  # timers that fell due, of alerts and of outcomes
    alerts: int  # raised by them
    caught_up_s: float  # until nothing is left to fire


@dataclass(frozen=True)
class Shop:
    """CDNOW's customers at the end of its log, as the service has them, and the service."""

    worker: Worker
    states: States
    now_ms: int

    @classmethod
    def at_the_end(cls, settings: Settings) -> "Shop":
        """All events folded, all timers fired that were due."""
        worker = build_worker(settings, Metrics(CollectorRegistry()))
        decoded = decode(list(read_events(CDNOW)), now_ms=MAX_TIME_MS)
        states, events = empty_states(len(decoded.users)), decoded.events
        worker.engine.on_events(states, events, np.full(len(events), NO_TIME))
        now_ms = int(states.header["last_ms"].max())
        worker.engine.on_silence(states, np.arange(len(states)), np.full(len(states), now_ms))
        return cls(worker, states, now_ms)

    def users(self, name: str, count: int, rows: np.ndarray) -> Iterator[list[UserState]]:
        """So many with the states of these rows, their timers spread over a day more, in parts."""
        chance = np.random.default_rng(1)
        for start in range(0, count, PART):
            part = self.states.take(chance.choice(rows, min(PART, count - start)))
            due_ms = part.header["due_ms"]
            part.header["due_ms"] = np.where(
                due_ms == NO_TIME, due_ms, due_ms + chance.integers(DAY_MS, size=len(part))
            )
            values = pack(part)
            yield [
                UserState(f"{name}-{start + number}", value, due)
                for number, (value, due) in enumerate(zip(values, due_ms_of(values), strict=True))
            ]

    def who_waits(self, count: int) -> Iterator[list[UserState]]:
        """Users with a timer."""
        yield from self.users("waiting", count, np.flatnonzero(self.states.header["due_ms"] != NO_TIME))

    def buyers(self) -> Iterator[list[UserState]]:
        """Users whom the traffic is of."""
        yield from self.users("buyer", BUYERS, np.arange(len(self.states)))

    def traffic(self, from_ms: int) -> Iterator[tuple[int, Record]]:
        """Events of the buyers."""
        chance = np.random.default_rng(2)
        users, kinds = chance.integers(BUYERS, size=EVENTS), chance.choice(KINDS, EVENTS)
        times = np.sort(chance.integers(LASTING_MS, size=EVENTS)) + from_ms
        for offset, (user, kind, at_ms) in enumerate(zip(users.tolist(), kinds.tolist(), times.tolist(), strict=True)):
            content = {"user_id": f"buyer-{user}", "event_type": kind, "occurred_at": at_ms, "event_id": str(offset)}
            yield 0, Record(offset, at_ms, content["user_id"].encode(), json.dumps(content).encode())


class TimedSource(MemorySource):
    """Knows when it was asked for what it had."""

    def __init__(self, records: Iterable[tuple[int, Record]]) -> None:
        super().__init__(records, partitions=1)
        self.asked_s: list[float] = []

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """See `MemorySource.poll`."""
        batch = await super().poll(max_records, timeout_ms)
        if batch:
            self.asked_s.append(perf_counter())
        return batch


class Counting(Metrics):
    """Knows how many timers were found due."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.due = 0

    def timers_due(self, users: int) -> None:
        """See `Telemetry.timers_due`."""
        super().timers_due(users)
        self.due += users


@dataclass
class Ticker:
    """Looks how late the event loop wakes up."""

    late_s: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = perf_counter()
            await asyncio.sleep(_TICK_S)
            self.late_s.append(perf_counter() - began - _TICK_S)


async def measure(url: str, sizes: Iterable[int], repeats: int) -> list[Figures]:
    """Every number of waiting timers, without and with a backlog: of some repeats the one of median throughput."""
    settings = Settings(redis_url=url, clock="watermark", max_batch_records=BATCH)
    shop = await asyncio.to_thread(Shop.at_the_end, settings)
    runs = [
        await _run(shop, settings, waiting, backlog)
        for _ in range(repeats)
        for waiting in sizes
        for backlog in (False, True)
    ]
    return [_median([each for each in runs if (each.waiting, each.backlog) == key]) for key in _keys(runs)]


def _keys(runs: list[Figures]) -> list[tuple[int, bool]]:
    return list(dict.fromkeys((each.waiting, each.backlog) for each in runs))


def _median(runs: list[Figures]) -> Figures:
    return sorted(runs, key=lambda each: each.events_per_s)[len(runs) // 2]


async def _run(shop: Shop, settings: Settings, waiting: int, backlog: bool) -> Figures:
    registry = CollectorRegistry()
    metrics, changelog = Counting(registry), MemoryChangelog(lambda _: None)
    store = RedisStore(settings.redis_url.get_secret_value(), f"bench-{waiting}-{backlog}", 60.0)
    source = TimedSource(shop.traffic(shop.now_ms + backlog * UNSEEN_MS))
    world, worker = World(source, store, changelog, SystemClock(), metrics), replace(shop.worker, telemetry=metrics)
    pipeline = Pipeline(world, worker, build_rules(settings), Health(metrics))
    ticker = Ticker()
    try:
        at = await _filled(shop, store, changelog, waiting)
        await pipeline.assigned([0])
        began, cpu_s, ticking = perf_counter(), process_time(), asyncio.create_task(ticker.run())
        await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
        caught_up_s, cpu_s = perf_counter() - began, process_time() - cpu_s
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await store.discard(0, (await store.view(0)).header or at)  # not two such partitions in memory
    finally:
        await store.close()
    turns_ms, late_ms = np.diff(source.asked_s) * 1_000, np.array(ticker.late_s) * 1_000
    return Figures(
        waiting,
        backlog,
        EVENTS / (source.asked_s[-1] - source.asked_s[0]),
        cpu_s / EVENTS * 1e6,
        float(np.percentile(turns_ms, 50)),
        float(np.percentile(turns_ms, 99)),
        float(turns_ms.max()),
        float(np.percentile(late_ms, 99)),
        metrics.due,
        int(registry.get_sample_value("ebbtide_timers_fired_total") or 0),
        caught_up_s,
    )


async def _filled(shop: Shop, store: RedisStore, changelog: MemoryChangelog, waiting: int) -> Header:
    """The partition as a claim must find it."""
    part = users = timers = 0
    for some in chain(shop.buyers(), shop.who_waits(waiting)):
        await store.fill(0, "g", part, some)
        part, users = part + 1, users + len(some)
        timers += sum(each.due_ms is not None for each in some)
    position = Position("bench", 0, shop.now_ms, users, timers, partitions=1)
    await changelog.fence(0)
    header = Header.of(Logged(position, await changelog.commit(0, [], position, [])), "g")
    await store.switch(0, None, part, header)
    return header
