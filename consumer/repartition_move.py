"""The steps of `ebbtide repartition`, over any two changelogs."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import Protocol

from consumer.adapters.kafka import partition_of
from consumer.errors import EbbtideError
from consumer.ports import Changelog
from consumer.records import Logged, Message, UserState
from consumer.repartition_plan import Drafts, Plan, Shares, Split

_ORDER = (
    "The order that keeps every record: stop the producers, let the service read everything (lag 0), stop it, add the "
    "partitions, run `ebbtide repartition`, start the service and the producers"
)
_GATHERED_USERS = 20_000  # before they are written: transactions of a few users each would take most of the time
_REQUEUE_RECORDS = 1_000  # per transaction
Written = tuple[int, Message]  # when a record was written, ms, and how it would be published again


class Unread(Protocol):
    """The input."""

    def read(self, partition: int, offsets: range) -> AsyncGenerator[list[Written], None]:
        """Committed records, oldest first."""


@dataclass(frozen=True)
class NewPartition:
    """What a partition of the new state topic holds, and where the service goes on."""

    partition: int
    users: int
    timers: int
    next_offset: int


async def last_positions(changelog: Changelog, partitions: int) -> dict[int, Logged]:
    """By partition, the last position of all: no writer can commit another one in its place any more."""
    found = {}
    for partition in range(partitions):
        await changelog.fence(partition)
        if logged := await changelog.last(partition, await changelog.barrier(partition)):
            found[partition] = logged
    return found


@dataclass(frozen=True)
class Waiting:
    """Unread records of an old partition, and how many of them belong to users who live elsewhere now."""

    offsets: range
    moving: int


async def waiting(unread: Unread, plan: Plan) -> dict[int, Waiting]:
    """By old partition, where records of users wait who live elsewhere now: the service would fold them amiss."""
    found = {}
    for partition, offsets in plan.unread().items():
        moving = 0
        async with aclosing(unread.read(partition, offsets)) as batches:
            async for records in batches:
                keys = [message.key for _, message in records if message.key]
                moving += sum(partition_of(key, plan.partitions) != partition for key in keys)
        if moving:
            found[partition] = Waiting(offsets, moving)
    return found


def refuse(found: Mapping[int, Waiting]) -> None:
    """Raises `EbbtideError` if any record waits."""
    if not found:
        return
    rows = [f"  partition {each}: {one.moving:,} of {len(one.offsets):,} offsets" for each, one in found.items()]
    raise EbbtideError(
        "\n".join([
            "unread records wait in partitions where their users do not live any more:", *rows,
            f"{_ORDER}.",
            "If the partitions were added before: once all producers know them (metadata.max.age.ms, 5 minutes by "
            "default), run this with --requeue-unread, which publishes what waits there anew, after what waits already "
            "in the users' new partitions",
        ])
    )  # fmt: skip


@dataclass
class Move:
    """Fills the new changelog from the old one."""

    old: Changelog
    new: Changelog
    drafts: Drafts
    split: Split
    _next_offsets: dict[int, int] = field(default_factory=dict)  # where they differ from the plan's

    async def begin(self) -> None:
        """Become the only writer, and hold every place before a service may take it for a fresh one."""
        for partition in range(self.drafts.plan.partitions):
            await self.new.fence(partition)
            await self.new.commit(partition, [], self.drafts.unfinished(partition), [])

    async def copy(self, tell: Callable[[float, int], None]) -> None:
        """All users; `tell` gets the share that is done and how many records were read, now and then."""
        logged = self.drafts.plan.logged
        total, done, records = sum(each.offset + 1 for each in logged.values()), 0, 0
        gathered, shares = 0, defaultdict[int, list[UserState]](list)
        for partition, last in logged.items():
            async with aclosing(self.old.read(partition, -1, last.offset)) as chunks:
                async for chunk in chunks:
                    for home, users in self.split.shares(partition, chunk.users).items():
                        shares[home] += users
                    gathered += len(chunk.users)
                    if gathered >= _GATHERED_USERS:
                        await self._write(shares)
                        records, gathered = records + gathered, 0
                        shares.clear()
                        tell((done + chunk.last_offset + 1) / total, records)
            done += last.offset + 1
        await self._write(shares)

    async def take_early(self, drop: bool) -> int:
        """Users whose records came to their new partition too early; how many of their states are dropped."""
        shares, older = self.split.early()
        if older and not drop:
            raise EbbtideError(
                f"{len(older):,} users, such as {older[0]!r}, have two states: records of theirs were read in a new "
                f"partition before the service was stopped. {_ORDER}. As it is, --drop-early keeps the state of their "
                "old partition, with their whole history, and drops what came after"
            )
        await self._write(shares)
        return len(older)

    async def requeue(self, unread: Unread, found: Mapping[int, Waiting]) -> int:
        """Publish what waits in these partitions anew, and have the service pass over the originals; how many."""
        self._next_offsets |= {partition: one.offsets.stop for partition, one in found.items()}
        records, gathered = 0, list[Message]()
        async with aclosing(_by_time(unread, found)) as messages:
            async for message in messages:
                gathered.append(message)
                records += 1
                if len(gathered) == _REQUEUE_RECORDS:
                    await self._publish(gathered)
                    gathered = []
        if gathered:
            await self._publish(gathered)
        return records

    async def _publish(self, messages: list[Message]) -> None:
        await self.new.commit(0, [], self.drafts.unfinished(0), messages)  # any partition's producer would do

    async def end(self) -> list[NewPartition]:
        """Commit the positions by which a service goes on."""
        made = []
        for partition in range(self.drafts.plan.partitions):
            position = self.drafts.final(partition, self.split, self._next_offsets.get(partition))
            await self.new.commit(partition, [], position, [])
            made.append(NewPartition(partition, position.users, position.timers, position.next_offset))
        return made

    async def _write(self, shares: Shares) -> None:
        """Each partition has a producer of its own: all at once."""
        commits = [
            self.new.commit(partition, users, self.drafts.unfinished(partition), [])
            for partition, users in shares.items()
        ]
        for result in await asyncio.gather(*commits, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


async def _by_time(unread: Unread, found: Mapping[int, Waiting]) -> AsyncGenerator[Message, None]:
    """What waits, older records first, as otherwise users would count as silent before theirs come."""
    async with AsyncExitStack() as stack:
        heads = []
        for partition, one in found.items():
            records = await stack.enter_async_context(aclosing(_each(unread.read(partition, one.offsets))))
            if head := await anext(records, None):
                heads.append((head[0], partition, head[1], records))
        heapify(heads)
        while heads:
            _, partition, message, records = heads[0]
            yield message
            if following := await anext(records, None):
                heapreplace(heads, (following[0], partition, following[1], records))
            else:
                heappop(heads)


async def _each(batches: AsyncGenerator[list[Written], None]) -> AsyncGenerator[Written, None]:
    async with aclosing(batches):
        async for records in batches:
            for record in records:
                yield record
