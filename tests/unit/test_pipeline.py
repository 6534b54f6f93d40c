"""The main loop, over servers in memory."""

import asyncio
import json
from collections.abc import Mapping, Sequence

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
from consumer.ports import Headers, Message, Record
from histories import day, engine
from schemas.event import EventType
from support import event

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


async def run(timers_every_ms: int) -> tuple[list[int], list[tuple[str, str, float]]]:
    """When timers were looked at, in ten micro-batches and after them, and the alerts of a silent customer."""
    rows = [event("calm", EventType.PURCHASE, day(0))]
    rows += [event("clock", EventType.CAMPAIGN_RECEIVED, day(number)) for number in range(1, 20, 2)]
    delivered: list[Message] = []
    metrics, clock = Metrics(CollectorRegistry()), ManualClock(NOW_MS)
    source, store = MemorySource([(0, Record(number, 0, *row)) for number, row in enumerate(rows)], 1), Store(clock)
    worker = Worker(engine(), Messages(Topics(), AlertContext("known", 30.0)), metrics, watermark_delay_ms=0)
    pace = CommitPace(interval_ms=0)
    rules = Rules(pace=pace, max_batch_records=1, wall_clock_when_idle=False, timers_every_ms=timers_every_ms)
    pipeline = Pipeline(
        World(source, store, MemoryChangelog(delivered.append), clock, metrics), worker, rules, Health(metrics)
    )
    await pipeline.assigned([0])
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
    alerts = [json.loads(each.value or b"") for each in delivered if each.topic == Topics().alerts]
    return store.asked_ms, sorted((each["alert_id"], each["decided_at"], each["churn_probability"]) for each in alerts)


async def test_timers_are_looked_at_now_and_then() -> None:
    """Not after every micro-batch while records keep coming, but once none does; no alert depends on it."""
    often, alerts = await run(timers_every_ms=0)
    seldom, same = await run(timers_every_ms=100)
    assert len(alerts) > 0
    assert same == alerts
    assert len(often) > 10
    assert seldom == [0, 120, 240, 360, 360]  # the last time because nothing came any more
