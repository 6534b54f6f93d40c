"""The main loop: poll, decode, load, fold, score, decide, commit; then the silence timers, on the same path."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TypeVar

from consumer.batch import Slice, Worker, decode_slices
from consumer.commit import Claimer, ClaimRules, Committer, Ledger
from consumer.core.decode import Limits
from consumer.errors import DamagedViewError, LostPartitionError, UnavailableError
from consumer.health import Health
from consumer.loading import Loader
from consumer.owner import CommitPace, Owner, Surroundings
from consumer.partitions import PartitionTask
from consumer.ports import Changelog, Clock, Source, StateStore
from consumer.records import Record, Step
from consumer.retry import Retrier
from consumer.telemetry import Telemetry
from consumer.watch_facts import Standing

T = TypeVar("T")


def new_id() -> str:
    """A name that nobody else has."""
    return token_hex(8)


@dataclass(frozen=True)
class World:
    """The ports that the pipeline works with."""

    source: Source
    store: StateStore
    changelog: Changelog
    clock: Clock
    telemetry: Telemetry


@dataclass(frozen=True)
class Rules:
    """How the pipeline batches, waits and tells time."""

    limits: Limits = Limits()
    pace: CommitPace = field(default_factory=CommitPace)
    claims: ClaimRules = field(default_factory=ClaimRules)
    max_batch_records: int = 10_000
    poll_timeout_ms: int = 100
    max_due_users: int = 2_000
    timers_every_ms: int = 0  # while records keep coming; no alert depends on it
    watermark_delay_ms: int = 60_000
    wall_clock_when_idle: bool = True
    drain_timeout_s: float = 20.0
    retry_max_s: float = 10.0


class Pipeline:
    """Processes the partitions assigned to this process, all in one joint micro-batch at a time."""

    def __init__(
        self, world: World, worker: Worker, rules: Rules, health: Health, new_id: Callable[[], str] = new_id
    ) -> None:
        self._world, self._worker, self._rules, self._health = world, worker, rules, health
        self._giving_up = asyncio.Event()
        ledger = Ledger(world.source, world.changelog, world.store)
        self._owner = Owner(
            Surroundings(world.source, world.clock, world.telemetry, health),
            Claimer(ledger, rules.claims, world.telemetry, new_id),
            Committer(world.changelog, world.store, world.telemetry),
            rules.pace,
            rules.retry_max_s,
        )
        retry = Retrier(health, rules.retry_max_s, self._giving_up)
        self._stored = Loader(self._owner, world.store, retry, world.telemetry)
        self._computing = ThreadPoolExecutor(1, "compute")  # of several each would come to keep as much memory
        self._working = asyncio.Lock()  # held while a micro-batch is under way: what a revocation waits for
        self._looked_ms = 0  # when timers were looked at last
        self.is_caught_up = False  # the last round found neither events nor due timers

    # Assignment: called by the source.

    async def assigned(self, partitions: Collection[int]) -> None:
        """These partitions are ours: those we had go on as they are, the others are claimed."""
        await self._owner.assigned(partitions)

    async def revoked(self, partitions: Collection[int]) -> None:
        """Commit what is in flight, or abandon it at the drain deadline; a partition that stays goes on from there."""
        with self._deadline():
            async with self._working:
                await self._owner.suspend(partitions, self._giving_up)

    def standings(self) -> Mapping[int, Standing]:
        """By partition, where it is, for the watchdog."""
        return self._owner.standings()

    def use(self, worker: Worker) -> None:
        """Decide by this worker from the next micro-batch on; one that is under way ends as it began."""
        self._worker = worker

    # The loop.

    async def run(self, stop: asyncio.Event, until: Callable[[], bool] = lambda: False) -> None:
        """Process until `stop` is set, or until `until` holds between two batches; commit what is in flight."""
        draining = asyncio.create_task(self._drain(stop))
        polling = asyncio.create_task(self._poll())
        try:
            while not stop.is_set() and not until():
                await asyncio.wait(
                    {polling, *self._owner.commits()},
                    timeout=self._owner.next_commit_s(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                async with self._working:
                    if polling.done():
                        batch = await polling
                        await self._owner.settle()  # seeks, so only while no poll is under way
                        await self._process(batch)
                        polling = asyncio.create_task(self._poll())  # not before: what is read ahead grows old
                    self._owner.start_commits()
                    self._owner.start_telling()
            await self._owner.finish(self._owner.live(), self._giving_up)
        finally:
            draining.cancel()
            await asyncio.wait([polling])  # a cancelled poll would leave the source in doubt
            await self._owner.close()
            self._computing.shutdown(wait=False)

    async def _drain(self, stop: asyncio.Event) -> None:
        await stop.wait()
        with self._deadline():
            await asyncio.Event().wait()  # until cancelled: the loop has ended

    async def _process(self, batch: Mapping[int, Slice]) -> None:
        """One micro-batch of events, then one of timers if it is time for them."""
        current = {partition: part for partition, part in batch.items() if self._is_current(partition, part)}
        if current:
            self._world.telemetry.caught_up(False)
        idle = self._owner.tasks.keys() - current.keys()
        *earlier, last = self._parts(current)
        for part in earlier:
            await self._process_part(part)
            while await self._process_due(idle):
                pass  # a day is over only when all that fell due in it has fired
        await self._process_part(last)
        is_time = not current or abs(self._now_ms() - self._looked_ms) >= self._rules.timers_every_ms
        fired = is_time and await self._process_due(idle)
        self.is_caught_up = not current and not fired and self._owner.all_live()
        self._world.telemetry.caught_up(self.is_caught_up and not self._owner.has_changes())
        self._report()

    def _parts(self, batch: Mapping[int, Slice]) -> list[dict[int, Slice]]:
        """What has to be processed one after the other."""

        def decoded(partition: int, records: list[Record]) -> Slice:
            reads = {partition: batch[partition].read}
            return decode_slices({partition: records}, reads, self._now_ms(), self._rules.limits)[partition]

        return self._worker.cut(batch, self._owner.positions(batch), decoded) or [{}]

    async def _process_part(self, batch: Mapping[int, Slice]) -> None:
        """Of those partitions that still stand where their records were read."""
        if current := {partition: part for partition, part in batch.items() if self._is_current(partition, part)}:
            await self._process_events(current)

    def _is_current(self, partition: int, part: Slice) -> bool:
        """Whether a slice was read where its partition stands: not before a claim that moved it elsewhere."""
        task = self._owner.tasks.get(partition)
        return task is not None and task.is_live and part.read == task.read

    # poll → decode

    async def _poll(self) -> dict[int, Slice]:
        reads = {task.partition: task.read for task in self._owner.live()}
        try:
            batch = await self._world.source.poll(self._rules.max_batch_records, self._rules.poll_timeout_ms)
        except UnavailableError as error:
            self._health.down("input", str(error))
            await asyncio.sleep(self._rules.poll_timeout_ms / 1000)
            return {}
        except LostPartitionError as doubt:
            self._owner.doubt(doubt, among=doubt.partitions)
            return {}
        self._health.up("input")
        with self._world.telemetry.stage("decode"):
            return decode_slices(batch, reads, self._now_ms(), self._rules.limits)

    # load → fold → score → decide → commit

    async def _process_events(self, batch: Mapping[int, Slice]) -> None:
        self._world.telemetry.batch(sum(len(part.records) for part in batch.values()))
        stored = await self._stored.load({partition: part.decoded.users for partition, part in batch.items()})
        batch = {partition: batch[partition] for partition in stored}
        if not batch:
            return
        stand = self._owner.positions(stored)
        await self._take_in(lambda: self._worker.on_events(batch, stored, stand, self._now_ms()))

    async def _process_due(self, idle: Set[int]) -> bool:
        """By the watermark first: the wall clock may be on a later day, and each day has a budget of its own."""
        fired = await self._process_timers(())
        if self._rules.wall_clock_when_idle and (quiet := idle - fired):
            fired |= await self._process_timers(quiet)
        return bool(fired)

    async def _process_timers(self, idle: Collection[int]) -> set[int]:
        """Fire what is due, up to a bound per partition, so that events keep flowing; where anything was."""
        self._looked_ms = self._now_ms()
        until_ms = {task.partition: self._time_reached_ms(task, idle) for task in self._owner.live()}
        due = await self._stored.due(until_ms, self._rules.max_due_users)
        self._world.telemetry.timers_due(sum(map(len, due.values())))
        stored = await self._stored.load(due)
        due = {partition: due[partition] for partition in stored}
        if due:
            stand = self._owner.positions(due)
            await self._take_in(lambda: self._worker.on_silence(due, stored, stand, until_ms, self._now_ms()))
        return {*due}

    async def _take_in(self, compute: Callable[[], list[Step]]) -> None:
        """Compute in a worker thread; a partition that came into doubt meanwhile is left out."""
        owned = {task.partition: task.read for task in self._owner.live()}
        try:
            with self._world.telemetry.stage("score"):
                steps = await asyncio.get_running_loop().run_in_executor(self._computing, compute)
        except DamagedViewError as damage:
            await self._owner.give_up_view(damage)
            return
        for step in steps:
            if self._owner.is_live(step.partition) and self._owner.tasks[step.partition].read == owned[step.partition]:
                await self._owner.take_in(step, self._giving_up)

    def _time_reached_ms(self, task: PartitionTask, idle: Collection[int]) -> int:
        """Event time up to which a partition is complete: its watermark, or the wall clock once it has been read."""
        assert task.work is not None
        position = task.work.position
        on_wall_clock = task.partition in idle and self._world.source.lag(task.partition, position.next_offset) == 0
        wall_ms = self._now_ms() - self._rules.watermark_delay_ms
        return max(position.watermark_ms, wall_ms) if on_wall_clock else position.watermark_ms

    # Housekeeping.

    def _report(self) -> None:
        lag_sum = 0
        for task in self._owner.live():
            assert task.work is not None
            position = task.work.position
            lag = self._world.source.lag(task.partition, position.next_offset) or 0
            lag_sum += lag
            delay_s = (self._now_ms() - position.watermark_ms) / 1000
            self._world.telemetry.partition(task.partition, lag, delay_s)
        self._health.progress(len(self._owner.live()), lag_sum)

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Within, what waits for a server gives up after the drain time."""
        timer = asyncio.get_running_loop().call_later(self._rules.drain_timeout_s, self._giving_up.set)
        try:
            yield
        finally:
            timer.cancel()
            self._giving_up.clear()

    def _now_ms(self) -> int:
        return self._world.clock.now_ms()
