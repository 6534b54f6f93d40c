"""One process of the service: the real pipeline on a loop of its own, run from port call to port call."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar, cast

from consumer.batch import Worker
from consumer.errors import UnavailableError
from consumer.health import Health
from consumer.owner import CommitPace
from consumer.pipeline import Pipeline, Rules
from consumer.pipeline import World as Ports
from consumer.telemetry import Telemetry
from model.clients import ChangelogClient, SourceClient, StoreClient
from model.shop import START_MS, ShopWorker
from model.truth import CRASHED, require
from model.wire import Call, Kind, Wire
from model.world import World

WALL_MS = START_MS + 1_000_000  # long after the last event: silence is noticed as soon as a partition has been read
RULES = Rules(
    pace=CommitPace(interval_ms=100, max_users=2),
    watermark_delay_ms=0,
    max_due_users=2,
    drain_timeout_s=1.0,
    retry_max_s=0.4,
)
_CANCELLATIONS = 50


class Silent:
    """A `Telemetry` that counts how claims went, over all examples."""

    outcomes: ClassVar[Counter[str]] = Counter()

    def claimed(self, outcome: str) -> None:
        """See `Telemetry.claimed`."""
        self.outcomes[f"claim: {outcome}"] += 1

    def doubted(self, reason: str) -> None:
        """See `Telemetry.doubted`."""
        self.outcomes[f"doubt: {reason}"] += 1

    def stage(self, name: str) -> nullcontext[None]:
        """See `Telemetry.stage`."""
        return nullcontext()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class Process:
    """Started at once; a member of the group, which it learns about when it is told to look."""

    def __init__(self, number: int, world: World) -> None:
        self.number, self._world = number, world
        self.wire = Wire()
        self.source = SourceClient(self.wire, world)
        telemetry = cast("Telemetry", Silent())
        ports = Ports(
            self.source,
            StoreClient(self.wire, world),  # type: ignore[arg-type]
            ChangelogClient(self.wire, world),
            self,
            telemetry,
        )
        worker = cast("Worker", ShopWorker(world.script))
        self._stop = asyncio.Event()
        self.pipeline = Pipeline(ports, worker, RULES, Health(telemetry), world.new_id)
        self.seen = -1  # the last generation of the group that it has joined
        self.is_stopping = False
        self._tasks = [self.wire.loop.create_task(self.pipeline.run(self._stop))]
        self._settle()

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return WALL_MS + round(self.wire.loop.time() * 1_000)

    # What it waits for.

    @property
    def is_gone(self) -> bool:
        """Whether it has stopped as it was told to."""
        return self._tasks[0].done()

    @property
    def may_rebalance(self) -> bool:
        """Whether there is something to notice."""
        is_busy = any(not task.done() for task in self._tasks[1:])
        return self.seen != self._world.generation and not is_busy and not self.is_stopping

    def waiting(self, is_idle_allowed: bool = True) -> list[Call]:
        """Calls that may be answered; a poll that finds nothing only if there is nothing else, unless it is allowed."""
        self._world.in_flight += [call.effect for call in self.wire.given_up()]
        if is_idle_allowed or self.source.has_records:
            return list(self.wire.calls)
        return [call for call in self.wire.calls if call.what != "poll" or call.is_done] or list(self.wire.calls)

    # What can happen to it.

    def answer(self, call: Call) -> None:
        """A call has had its effect, and its answer comes."""
        call.perform()
        self.wire.calls.remove(call)
        call.answer()
        self._settle()

    def fail(self, call: Call, how: int) -> None:
        """A call gets no answer: it had no effect, or it had, or it will have one later."""
        if call.kind is Kind.LOCAL or call.is_done:
            return
        if call.kind is Kind.WRITE and how % 3 == 1:
            call.perform()
        if call.kind is Kind.WRITE and how % 3 == 2:
            self._world.in_flight.append(call.effect)
        call.is_done, call.error = True, call.failure
        self.answer(call)

    def rebalance(self) -> None:
        """It notices that the group has changed."""
        self._tasks.append(self.wire.loop.create_task(self._rebalance()))
        self._settle()

    async def _rebalance(self) -> None:
        await self.pipeline.revoked(self.source.assignment)
        self.source.assign(())
        await self.wire.send("join", Kind.LOCAL, self._join, UnavailableError("", ""))
        await self.pipeline.assigned(self.source.assignment)

    def _join(self) -> None:
        self.seen = self._world.generation
        self.source.assign([each for each, owner in enumerate(self._world.owner) if owner == self.number])

    def stop(self) -> None:
        """It is told to stop."""
        self.is_stopping = True
        asyncio._set_running_loop(self.wire.loop)
        self._stop.set()
        asyncio._set_running_loop(None)
        self._settle()

    def pass_time(self) -> bool:
        """Nobody answers until the next timer fires; whether there was one."""
        wait_s = self.wire.loop.next_timer_s()
        if wait_s is not None:
            self.wire.loop.pass_time(wait_s + 1e-6)
            self._settle()
        return wait_s is not None

    def crash(self, how: int) -> None:
        """It is no more: what it waits for has had no effect, or all of it had, or will have later."""
        for call in self.waiting():
            if call.kind is Kind.WRITE and not call.is_done:
                if how % 3 == 1:
                    call.perform()
                elif how % 3 == 2:
                    self._world.in_flight.append(call.effect)
        self.wire.is_cut = True
        for _ in range(_CANCELLATIONS):
            tasks = asyncio.all_tasks(self.wire.loop)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self.wire.loop.settle()
        raise AssertionError(f"tasks that cannot be cancelled: {tasks}")

    def _settle(self) -> None:
        self.wire.loop.settle()
        for task in self._tasks:
            error: Any = None if not task.done() or task.cancelled() else task.exception()
            require(error is None, CRASHED, repr(error))
            require(not task.cancelled(), CRASHED, "cancelled")
        require(not self.wire.loop.errors, CRASHED, self.wire.loop.errors)
