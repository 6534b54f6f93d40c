"""Planted bugs: each is a small change of the real code that a reader might miss."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from consumer.adapters.memory_store import MemoryStore, _Generation
from consumer.commit import Claimed, Claimer, Committer
from consumer.errors import LostPartitionError
from consumer.owner import Owner
from consumer.partitions import PartitionTask
from consumer.records import Header, Headers, Logged
from consumer.working_set import WorkingSet
from model.world import World

Bug = Callable[[pytest.MonkeyPatch], object]


def redis_before_kafka(patch: pytest.MonkeyPatch) -> None:
    """The store is told first, with the changelog offset that the commit is going to have."""

    async def commit(self: Owner, task: PartitionTask) -> None:
        partition, work = task.partition, self.work(task.partition)
        changes = work.take()
        users = list(changes.users.values())
        logs = self._committer._changelog._world.log._logs  # type: ignore[attr-defined]
        foretold = Logged(changes.position, logs[partition].end + len(users))
        work.header_under_way = Header.of(foretold, work.header.generation)
        try:
            await self._committer.follow(partition, work.header, work.header_under_way, users)
            await self._committer.publish(partition, users, changes.position, changes.messages)
        except LostPartitionError as doubt:
            if task.work is work:
                self.doubt(doubt, [partition])
            return
        work.settled(work.header_under_way)
        task.doubts = 0

    patch.setattr(Owner, "_commit", commit)


def no_header_check(patch: pytest.MonkeyPatch) -> None:
    """Loads and steps take the view wherever it stands."""

    def confirm(self: MemoryStore, at: Headers) -> None:
        return

    patch.setattr(MemoryStore, "_confirm", confirm)


def resume_from_the_group(patch: pytest.MonkeyPatch) -> None:
    """A claim reads on from the offsets that the consumer group has committed."""
    claim = Claimer.claim

    async def from_the_group(self: Claimer, partition: int) -> Claimed:
        found = await claim(self, partition)
        world: World = self._source._world  # type: ignore[attr-defined]
        return replace(found, position=replace(found.position, next_offset=world.group[partition]))

    patch.setattr(Claimer, "claim", from_the_group)


def stale_cache(patch: pytest.MonkeyPatch) -> None:
    """Users in memory outlive a doubt, and count for more than what the claim has found."""
    doubted, claimed = PartitionTask.doubted, PartitionTask.claimed
    kept: dict[int, WorkingSet | None] = {}

    def keep(self: PartitionTask) -> None:
        kept[id(self)] = self.work
        doubted(self)

    def bring_back(self: PartitionTask, found: Claimed) -> None:
        claimed(self, found)
        old = kept.pop(id(self), None)
        if old is not None and self.work is not None:
            self.work.gathering.users = old.changed()

    patch.setattr(PartitionTask, "doubted", keep)
    patch.setattr(PartitionTask, "claimed", bring_back)


def commit_again(patch: pytest.MonkeyPatch) -> None:
    """A transaction of unknown outcome is run once more, by a new producer."""
    publish = Committer.publish

    async def twice(self: Committer, partition: int, *what: object) -> Logged:
        try:
            return await publish(self, partition, *what)  # type: ignore[arg-type]
        except LostPartitionError as doubt:
            if doubt.reason != "unknown":
                raise
            await self._changelog.fence(partition)
            return await publish(self, partition, *what)  # type: ignore[arg-type]

    patch.setattr(Committer, "publish", twice)


def no_counts(patch: pytest.MonkeyPatch) -> None:
    """A view is intact if it has a header, however many users and timers are there."""
    patch.setattr(_Generation, "is_counted_by", lambda self, header: True)


BUGS: dict[str, Bug] = {
    "Redis is written before Kafka": redis_before_kafka,
    "no header check": no_header_check,
    "resume from the group's offsets": resume_from_the_group,
    "memory kept over a claim": stale_cache,
    "a transaction of unknown outcome retried": commit_again,
    "counts are not checked": no_counts,
}
