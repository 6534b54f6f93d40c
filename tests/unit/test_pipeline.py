"""The main loop, over servers in memory."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client import CollectorRegistry

from consumer.adapters.clock import ManualClock
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.batch import Worker
from consumer.core.alerts import AlertContext
from consumer.health import Health
from consumer.messages import Messages, Topics
from consumer.owner import CommitPace
from consumer.pipeline import Pipeline, Rules, World
from consumer.records import Headers, Message, Record
from consumer.scoring import Engine
from histories import day, engine
from schemas.event import EventType
from support import Keyed, event

NOW_MS = day(100)


class Store(MemoryStore):
    """Notes when it is asked whose timers are due; each micro-batch takes 30 ms."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.asked_ms: list[int] = []

    async def load(self, users: Mapping[int, Sequence[str]], at: Headers) -> dict[int, list[bytes | None]]:
        """See `StateStore.load`."""
        self._clock.move_to(self._clock.now_ms() + 30)
        return await super().load(users, at)

    async def due(self, until_ms: Mapping[int, int], at: Headers, limit: int) -> dict[int, list[str]]:
        """See `StateStore.due`."""
        self.asked_ms.append(self._clock.now_ms() - NOW_MS)
        return await super().due(until_ms, at, limit)


SILENT = [event("calm", EventType.PURCHASE, day(0))]
SILENT += [event("clock", EventType.CAMPAIGN_RECEIVED, day(number)) for number in range(1, 20, 2)]
MANY_SILENT = [event(f"{number}", EventType.PURCHASE, day(number % 2)) for number in range(60)]
MANY_SILENT += [event("clock", EventType.CAMPAIGN_RECEIVED, day(at)) for at in (2, 5.95, 6.1, 6.99)]


@dataclass(frozen=True)
class Ran:
    """When timers were looked at, and the alerts."""

    looks_ms: list[int]
    alerts: list[tuple[str, str, float]]
    alerted: list[str]  # users, in the order in which their alerts came


async def ran(rows: list[Keyed], engine: Engine, elsewhere: int | None = None, **rules: Any) -> Ran:
    """One record in each micro-batch; that `elsewhere` is of another partition."""
    delivered: list[Message] = []
    metrics, clock = Metrics(CollectorRegistry()), ManualClock(NOW_MS)
    before = len(rows) if elsewhere is None else elsewhere
    log = [(0, Record(number, 0, *row)) for number, row in enumerate(rows[:before] + rows[before + 1 :])]
    log[before:before] = [(1, Record(0, 0, *row)) for row in rows[before : before + 1]]
    source, store = MemorySource(log, 2), Store(clock)
    worker = Worker(engine, Messages(Topics(), AlertContext("known", 30.0)), metrics, watermark_delay_ms=0)
    world = World(source, store, MemoryChangelog(delivered.append), clock, metrics)
    chosen = Rules(pace=CommitPace(interval_ms=0), max_batch_records=1, **rules)
    pipeline = Pipeline(world, worker, chosen, Health(metrics))
    await pipeline.assigned([0, 1])
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
    alerts = [json.loads(each.value or b"") for each in delivered if each.topic == Topics().alerts]
    told = sorted((each["alert_id"], each["decided_at"], each["churn_probability"]) for each in alerts)
    return Ran(store.asked_ms, told, [each["user_id"] for each in alerts])


async def test_timers_are_looked_at_now_and_then() -> None:
    """Not after every micro-batch while records keep coming, but once none does; no alert depends on it."""
    often = await ran(SILENT, engine(), wall_clock_when_idle=False)
    seldom = await ran(SILENT, engine(), wall_clock_when_idle=False, timers_every_ms=100)
    assert len(often.alerts) > 0
    assert seldom.alerts == often.alerts
    assert len(often.looks_ms) > 10
    assert seldom.looks_ms == [0, 120, 240, 360, 360]  # the last time because nothing came any more


async def test_a_day_that_is_read_late_has_its_own_budget() -> None:
    """Timers that fell due long ago are judged by the bar of that day, though the wall clock is at another one."""
    usual = engine()
    tight = replace(usual, conduct=replace(usual.conduct, alerts_per_day=1.0))
    everybody = await ran(MANY_SILENT, usual)
    first, *others = [
        await ran(MANY_SILENT, tight, timers_every_ms=every_ms, max_due_users=most)
        for every_ms, most in ((0, 2_000), (100, 2_000), (100, 10))
    ]
    assert 0 < len(first.alerts) < len(everybody.alerts)
    for other in others:
        assert other.alerts == first.alerts


async def test_an_idle_partition_waits_for_no_busy_one() -> None:
    """Its silence goes by the wall clock, though timers of the other fall due at every look."""
    rows = [event(f"busy-{number}", EventType.PURCHASE, day(0)) for number in range(50)]
    rows += [event("clock", EventType.CAMPAIGN_RECEIVED, day(20) + number) for number in range(20)]
    rows.insert(55, event("idle", EventType.PURCHASE, day(0)))
    found = await ran(rows, engine(), elsewhere=55, max_due_users=1)
    assert found.alerted[0].startswith("busy")
    assert found.alerted.index("idle") < len(found.alerted) / 2
