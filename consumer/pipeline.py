"""The main loop: poll, decode, load, fold, score, decide, commit; then the silence timers, on the same path."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog

from consumer.batch import Slice, Stored, Worker, decode_slices
from consumer.commit import Committer, Retrier
from consumer.core.decode import Limits
from consumer.errors import LostPartitionError, UnavailableError
from consumer.health import Health
from consumer.partitions import Happening, PartitionTask
from consumer.ports import Changelog, Clock, Positions, Source, StateStore, Step, Telemetry

log = structlog.get_logger()
OFFSETS_EVERY_MS = 1_000


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
    max_batch_records: int = 2_000
    poll_timeout_ms: int = 100
    max_due_users: int = 2_000
    watermark_delay_ms: int = 60_000
    wall_clock_when_idle: bool = True
    drain_timeout_s: float = 20.0
    retry_max_s: float = 10.0


class Pipeline:
    """Owns the partitions assigned to this process; processes them all in one joint micro-batch at a time."""

    def __init__(self, world: World, worker: Worker, rules: Rules, health: Health) -> None:
        self._world, self._worker, self._rules, self._health = world, worker, rules, health
        self._giving_up = asyncio.Event()
        self._retry = Retrier(health, rules.retry_max_s, self._giving_up)
        self._committer = Committer(world.store, world.changelog, self._retry, world.telemetry)
        self._tasks: dict[int, PartitionTask] = {}
        self._working = asyncio.Lock()  # held while a micro-batch is under way: what a revocation waits for
        self._next_offsets_ms = 0
        self.is_caught_up = False  # the last round found neither events nor due timers

    # Assignment: called by the source.

    async def assigned(self, partitions: Collection[int]) -> None:
        """These partitions are ours; each is claimed before its first record is taken."""
        self._tasks |= {each: PartitionTask(each) for each in partitions if each not in self._tasks}

    async def revoked(self, partitions: Collection[int]) -> None:
        """Let these partitions go once what is under way is finished, or abandoned at the drain deadline."""
        with self._deadline():
            async with self._working:
                await self._commit_offsets([each for each in self._live() if each.partition in partitions])
                for partition in [each for each in partitions if each in self._tasks]:
                    self._tasks.pop(partition).on(Happening.REVOKED)
                    self._world.telemetry.released(partition)

    # The loop.

    async def run(self, stop: asyncio.Event, until: Callable[[], bool] = lambda: False) -> None:
        """Process until `stop` is set, or until `until` holds between two batches; finish what is under way."""
        draining = asyncio.create_task(self._drain(stop))
        polling = asyncio.create_task(self._poll())
        try:
            while not stop.is_set() and not until():
                batch = await polling
                async with self._working:
                    await self._claim_all()  # seeks, so only while no poll is under way
                    polling = asyncio.create_task(self._poll())
                    await self._process(batch)
        finally:
            draining.cancel()
            await polling  # a cancelled poll would leave the source in doubt; what it brings is read again later
        await self._commit_offsets(self._live())

    async def _drain(self, stop: asyncio.Event) -> None:
        await stop.wait()
        with self._deadline():
            await asyncio.Event().wait()  # until cancelled: the loop has ended

    async def _claim_all(self) -> None:
        for task in [task for task in self._tasks.values() if not task.is_live]:
            with suppress(LostPartitionError):
                await self._claim(task)

    async def _claim(self, task: PartitionTask) -> None:
        stored = await self._committer.claim(task.partition)
        offset = stored.next_offset if stored else None
        await self._retry("kafka", lambda: self._world.source.seek(task.partition, offset))
        task.claimed(stored)

    async def _process(self, batch: Mapping[int, Slice]) -> None:
        """One micro-batch of events, then one of timers; in doubt, every partition is claimed again."""
        current = {partition: part for partition, part in batch.items() if self._is_current(partition, part)}
        try:
            if current:
                await self._process_events(current)
            fired = await self._process_timers(idle=self._tasks.keys() - current.keys())
            self.is_caught_up = not current and not fired
        except LostPartitionError as doubt:
            log.warning("claiming again", partitions=sorted(self._tasks), why=str(doubt))
            for task in self._live():
                task.on(Happening.DOUBTED)
        else:
            await self._report(worked=bool(current) or fired)

    def _is_current(self, partition: int, part: Slice) -> bool:
        """Whether a slice was read where its partition stands: not before a claim that moved it elsewhere."""
        task = self._tasks.get(partition)
        return task is not None and task.is_live and part.claim == task.claim

    # poll → decode

    async def _poll(self) -> dict[int, Slice]:
        claims = {task.partition: task.claim for task in self._live()}
        try:
            batch = await self._world.source.poll(self._rules.max_batch_records, self._rules.poll_timeout_ms)
        except UnavailableError as error:
            self._health.down("input", str(error))
            await asyncio.sleep(self._rules.poll_timeout_ms / 1000)
            return {}
        self._health.up("input")
        with self._world.telemetry.stage("decode"):
            return await asyncio.to_thread(decode_slices, batch, claims, self._now_ms(), self._rules.limits)

    # load → fold → score → decide → commit

    async def _process_events(self, batch: Mapping[int, Slice]) -> None:
        self._world.telemetry.batch(sum(len(part.records) for part in batch.values()))
        stored = await self._load({partition: part.decoded.users for partition, part in batch.items()})
        await self._commit_result(lambda: self._worker.on_events(batch, stored, self._tasks, self._now_ms()))

    async def _process_timers(self, idle: Collection[int]) -> bool:
        """Fire what is due, up to a bound per partition, so that events keep flowing; whether anything was."""
        until_ms = {task.partition: self._time_reached_ms(task, idle) for task in self._live() if task.stored}
        if not until_ms:
            return False
        limit = self._rules.max_due_users
        due = await self._retry("redis", lambda: self._world.store.due(until_ms, self._stand(until_ms), limit))
        due = {partition: users for partition, users in due.items() if users}
        self._world.telemetry.timers_due(sum(map(len, due.values())))
        if due:
            stored = await self._load(due)
            await self._commit_result(
                lambda: self._worker.on_silence(due, stored, self._tasks, until_ms, self._now_ms())
            )
        return bool(due)

    async def _load(self, users: dict[int, list[str]]) -> Stored:
        with self._world.telemetry.stage("load"):
            return await self._retry("redis", lambda: self._world.store.load(users, self._stand(users)))

    def _stand(self, partitions: Collection[int]) -> Positions:
        return {partition: self._tasks[partition].stored for partition in partitions}

    async def _commit_result(self, compute: Callable[[], list[Step]]) -> None:
        with self._world.telemetry.stage("score"):
            steps = await asyncio.to_thread(compute)
        await self._committer.commit(steps)
        for step in steps:
            self._tasks[step.partition].stored = step.position

    def _time_reached_ms(self, task: PartitionTask, idle: Collection[int]) -> int:
        """Event time up to which a partition is complete: its watermark, or the wall clock once it has been read."""
        assert task.stored is not None
        on_wall_clock = (
            self._rules.wall_clock_when_idle
            and task.partition in idle
            and self._world.source.lag(task.partition, task.stored.next_offset) == 0
        )
        wall_ms = self._now_ms() - self._rules.watermark_delay_ms
        return max(task.stored.watermark_ms, wall_ms) if on_wall_clock else task.stored.watermark_ms

    # Housekeeping.

    async def _report(self, worked: bool) -> None:
        lags = {}
        for task in self._live():
            if task.stored:
                lag = lags[task.partition] = self._world.source.lag(task.partition, task.stored.next_offset) or 0
                delay_s = (self._now_ms() - task.stored.watermark_ms) / 1000
                self._world.telemetry.partition(task.partition, lag, delay_s)
        self._health.progress(len(self._live()), sum(lags.values()), worked)
        if self._now_ms() >= self._next_offsets_ms:
            self._next_offsets_ms = self._now_ms() + OFFSETS_EVERY_MS
            await self._commit_offsets(self._live())

    async def _commit_offsets(self, tasks: list[PartitionTask]) -> None:
        """For lag tools only, so a failure does no harm."""
        offsets = {task.partition: task.stored.next_offset for task in tasks if task.stored}
        if offsets:
            with suppress(UnavailableError):
                await self._world.source.commit_offsets(offsets)

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Within, what waits for a server gives up after the drain time."""
        timer = asyncio.get_running_loop().call_later(self._rules.drain_timeout_s, self._giving_up.set)
        try:
            yield
        finally:
            timer.cancel()
            self._giving_up.clear()

    def _live(self) -> list[PartitionTask]:
        return [task for task in self._tasks.values() if task.is_live]

    def _now_ms(self) -> int:
        return self._world.clock.now_ms()
