"""The partitions that this process owns: claiming them, committing their changes, letting them go."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from consumer.commit import Claimed, Claimer, Committer
from consumer.errors import DamagedViewError, LostPartitionError, PartitionHeldError, UnavailableError
from consumer.group_offsets import GroupOffsets
from consumer.health import Health
from consumer.partitions import Happening, PartitionTask
from consumer.ports import Clock, Source
from consumer.records import Header, Headers, Message, Position, Step
from consumer.retry import FIRST_PAUSE_S
from consumer.tasks import done_before, ended
from consumer.telemetry import Telemetry
from consumer.watch_facts import Standing
from consumer.working_set import WorkingSet

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True)
class CommitPace:
    """How long changes gather before they are committed."""

    interval_ms: int = 100
    max_users: int = 10_000  # per partition; then processing waits, as it does …
    max_message_bytes: int = 16 * 1024 * 1024  # … for this much of alerts and dead letters
    told_every_ms: int = 1_000  # lag tools


@dataclass(frozen=True)
class Surroundings:
    """What ownership needs of the world."""

    source: Source
    clock: Clock
    telemetry: Telemetry
    health: Health


class Owner:
    """One task for each partition; at most one commit of each is under way."""

    def __init__(
        self, around: Surroundings, claimer: Claimer, committer: Committer, pace: CommitPace, retry_max_s: float
    ) -> None:
        self._source, self._clock, self._telemetry = around.source, around.clock, around.telemetry
        self._health, self._claimer, self._committer = around.health, claimer, committer
        self._pace, self._retry_max_s = pace, retry_max_s
        self.tasks: dict[int, PartitionTask] = {}
        self._is_closed = False
        self._group = GroupOffsets(around.source, around.clock, pace.told_every_ms)

    # What is there.

    def live(self) -> list[PartitionTask]:
        """Tasks whose records may be processed."""
        return [task for task in self.tasks.values() if task.is_live]

    def is_live(self, partition: int) -> bool:
        """Whether a partition's records may be processed."""
        return partition in self.tasks and self.tasks[partition].is_live

    def all_live(self) -> bool:
        """Whether nothing is being claimed."""
        return all(task.is_live and not task.needs_seek for task in self.tasks.values())

    def has_changes(self) -> bool:
        """Whether anything waits to be committed."""
        return any(self.work(task.partition).has_changes for task in self.live())

    def work(self, partition: int) -> WorkingSet:
        """A live partition's changes."""
        work = self.tasks[partition].work
        assert work is not None, "a live partition has a working set"
        return work

    def positions(self, partitions: Iterable[int]) -> dict[int, Position]:
        """Where partitions stand in memory."""
        return {partition: self.work(partition).position for partition in partitions}

    def standings(self) -> dict[int, Standing]:
        """By partition, where it is, for the watchdog."""
        return {partition: task.standing for partition, task in self.tasks.items()}

    def live_of(self, by_partition: Mapping[int, T]) -> dict[int, T]:
        """The live partitions' share of something."""
        return {partition: value for partition, value in by_partition.items() if self.is_live(partition)}

    def headers(self, partitions: Iterable[int]) -> Headers:
        """Where the store may stand; raises `LostPartitionError` if a partition has come into doubt."""
        gone = [partition for partition in partitions if not self.is_live(partition)]
        if gone:
            raise LostPartitionError(f"partitions {gone} are being claimed again", gone)
        return {partition: self.work(partition).headers() for partition in partitions}

    # Coming and going.

    async def assigned(self, partitions: Collection[int]) -> None:
        """Go on with those that were suspended and stay; claim the new ones; let the others go."""
        await self._let_go([task for task in self.tasks.values() if task.partition not in partitions])
        for partition in () if self._is_closed else partitions:
            self._source.hold(partition)
            if partition not in self.tasks:
                self.tasks[partition] = PartitionTask(partition)
                self._start_claim(self.tasks[partition])
            elif self.tasks[partition].is_suspended:
                self.tasks[partition].kept()

    async def suspend(self, partitions: Collection[int], giving_up: asyncio.Event) -> None:
        """Commit what is in flight; what cannot be committed before `giving_up` is abandoned."""
        tasks = [task for task in self.tasks.values() if task.partition in partitions]
        await self.finish(tasks, giving_up)
        for task in tasks:
            if task.is_live:
                task.on(Happening.REVOKED)
        await self._let_go([task for task in tasks if not task.is_suspended])

    async def settle(self) -> None:
        """Let flow what has been claimed or kept; no poll may be under way. Raises what a claim has failed with."""
        for task in self.tasks.values():
            if task.claiming is not None and task.claiming.done():
                task.claimed(task.claiming.result())
                self._health.release(task.partition)
        positions = {task.partition: self.work(task.partition).position for task in self.live() if task.needs_seek}
        with suppress(UnavailableError):  # no answer, or a rebalance is under way, which decides
            if positions:
                await self._claimer.check_partition_count([*positions.values()])
            for partition, position in positions.items():
                if self.is_live(partition):  # a commit may have failed meanwhile
                    await self._source.seek(partition, position.next_offset)
                    self.tasks[partition].sought()

    async def close(self) -> None:
        """Let everything go, and take nothing any more."""
        self._is_closed = True
        await self._let_go(self.tasks.values())

    async def _let_go(self, tasks: Iterable[PartitionTask]) -> None:
        """All at once: one whose servers do not answer keeps none of the others."""
        await asyncio.gather(*map(self._released, [*tasks]))

    async def _released(self, task: PartitionTask) -> None:
        if self.tasks.get(task.partition) is not task:
            return  # a rebalance and the end of the service may come together
        del self.tasks[task.partition]
        task.on(Happening.GONE)
        await ended(task.claiming, task.committing, task.abandoned)
        await self._claimer.release(task.partition)
        self._health.release(task.partition)
        self._telemetry.released(task.partition)

    # Claims.

    def doubt(self, doubt: LostPartitionError, among: Iterable[int]) -> None:
        """Claim again those of some partitions that an error concerns; all, if it names none."""
        for partition in list(among):
            if self.is_live(partition) and (partition in doubt.partitions or not doubt.partitions):
                log.warning("claiming again", partition=partition, reason=doubt.reason, why=str(doubt))
                self._telemetry.doubted(doubt.reason)
                self.tasks[partition].doubted()
                self._source.hold(partition)
                self._start_claim(self.tasks[partition])

    async def give_up_view(self, damage: DamagedViewError) -> None:
        """Have the damaged partitions restored. The others of the batch read their records again."""
        for partition in filter(self.is_live, damage.partitions):
            with suppress(UnavailableError, LostPartitionError):  # then it is given up when it is read the next time
                await self._claimer.discard(partition, self.work(partition).header)
        self.doubt(LostPartitionError(str(damage), reason=damage.reason), among=list(self.tasks))

    def _start_claim(self, task: PartitionTask) -> None:
        task.abandoned, task.committing = task.committing, None  # ended by the claim, or when the partition is let go
        task.claiming = asyncio.create_task(self._claim(task))

    async def _claim(self, task: PartitionTask) -> Claimed:
        await ended(task.abandoned)
        if task.doubts > 1:  # two that take it from each other must not do so without pause
            await asyncio.sleep(min(FIRST_PAUSE_S * 2**task.doubts, self._retry_max_s))
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((UnavailableError, LostPartitionError, PartitionHeldError)),
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_S, max=self._retry_max_s),
            before_sleep=lambda state: self._tell(task, state),
        )
        return await retrying(self._claimer.claim, task.partition)

    def _tell(self, task: PartitionTask, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnavailableError):
            self._health.down(error.dependency, str(error))
        elif isinstance(error, PartitionHeldError):
            self._health.hold(task.partition, str(error))
        else:
            log.warning("claiming again", partition=task.partition, why=str(error))

    # Commits.

    async def take_in(self, step: Step, giving_up: asyncio.Event) -> None:
        """Add a step to its partition's changes; commits them, and waits for that, once they are too many."""
        task, work = self.tasks[step.partition], self.work(step.partition)
        work.gathering.add(step, self._clock.now_ms())
        if not work.is_within(self._pace.max_users, self._pace.max_message_bytes):
            await self.flush([task], giving_up)

    def commits(self) -> set["asyncio.Task[None]"]:
        """Those under way."""
        return {each.committing for each in self.tasks.values() if each.committing and not each.committing.done()}

    def next_commit_s(self) -> float | None:
        """How long until some partition's changes are to be committed; None while nothing waits for that."""
        waits_ms = [self._wait_ms(task) for task in self.live() if task.committing is None or task.committing.done()]
        known_ms = [each for each in waits_ms if each is not None]
        return min(known_ms) / 1000 if known_ms else None

    def start_commits(self) -> None:
        """Commit what is due; raises what a commit that has ended has failed with."""
        for task in self.live():
            if task.committing is not None and task.committing.done():
                task.committing.result()
                task.committing = None
            if task.committing is None and self._wait_ms(task) == 0:
                self._start_commit(task)

    def _wait_ms(self, task: PartitionTask) -> int | None:
        """How long until its changes are to be committed; None if there are none."""
        changes = self.work(task.partition).gathering
        if changes.since_ms is None:
            return None
        gathered_ms = abs(self._clock.now_ms() - changes.since_ms)  # a clock may be put back
        return 0 if changes.is_urgent else max(self._pace.interval_ms - gathered_ms, 0)

    async def flush(self, tasks: Collection[PartitionTask], giving_up: asyncio.Event) -> None:
        """Commit all changes of some partitions now; what is not done before `giving_up` comes into doubt."""
        while busy := [task for task in tasks if task.is_live and self.work(task.partition).has_changes]:
            for task in busy:
                if task.committing is None or task.committing.done():
                    self._start_commit(task)
            await done_before(giving_up, *(task.committing for task in busy if task.committing is not None))
            if giving_up.is_set():
                error = LostPartitionError("not committed in time", reason="given_up")
                self.doubt(error, [task.partition for task in busy])

    async def finish(self, tasks: Collection[PartitionTask], giving_up: asyncio.Event) -> None:
        """Commit all changes of some partitions, and say where that has brought them."""
        await self.flush(tasks, giving_up)
        await self._group.finish(self._stands(tasks), giving_up)

    def start_telling(self) -> None:
        """Say where partitions stand, if that was not done lately."""
        self._group.start(self._stands(self.live()))

    def _stands(self, tasks: Iterable[PartitionTask]) -> dict[int, int]:
        return {task.partition: self.work(task.partition).header.next_offset for task in tasks if task.is_live}

    def _start_commit(self, task: PartitionTask) -> None:
        if task.committing is not None:
            task.committing.result()
        task.committing = asyncio.create_task(self._commit(task))

    async def _commit(self, task: PartitionTask) -> None:
        """One transaction, then one call to the store."""
        partition, work = task.partition, self.work(task.partition)
        changes = work.take()
        users = list(changes.users.values())
        try:
            logged = await self._committer.publish(partition, users, changes.position, changes.messages)
            self._tell_of(changes.messages)
            work.header_under_way = Header.of(logged, work.header.generation)
            await self._committer.follow(partition, work.header, work.header_under_way, users)
        except LostPartitionError as doubt:
            if task.work is work:
                self.doubt(doubt, [partition])
            return
        work.settled(work.header_under_way)
        task.doubts = 0

    def _tell_of(self, messages: Sequence[Message]) -> None:
        """They are permanent, and counted only now: what is done again after a doubt is counted once."""
        now_ms = self._clock.now_ms()
        for message in messages:
            if message.note is not None:
                message.note.tell(self._telemetry, now_ms)
