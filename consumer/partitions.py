"""The life of a partition task, as one transition table."""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count

from consumer.commit import Claimed
from consumer.watch_facts import Standing
from consumer.working_set import WorkingSet


class Phase(Enum):
    """Where a partition task stands."""

    CLAIMING = auto()  # assigned; it is being claimed, no records are taken
    LIVE = auto()  # records and timers are processed
    SUSPENDED = auto()  # a rebalance is under way: all is committed, and kept in case the partition stays
    RELEASED = auto()  # no longer ours


class Happening(Enum):
    """What can happen to it."""

    CLAIMED = auto()
    DOUBTED = auto()
    REVOKED = auto()
    KEPT = auto()
    GONE = auto()


TRANSITIONS = {
    (Phase.CLAIMING, Happening.CLAIMED): Phase.LIVE,
    (Phase.CLAIMING, Happening.GONE): Phase.RELEASED,
    (Phase.LIVE, Happening.DOUBTED): Phase.CLAIMING,
    (Phase.LIVE, Happening.REVOKED): Phase.SUSPENDED,
    (Phase.LIVE, Happening.GONE): Phase.RELEASED,
    (Phase.SUSPENDED, Happening.KEPT): Phase.LIVE,
    (Phase.SUSPENDED, Happening.GONE): Phase.RELEASED,
}


_reads = count(1)


@dataclass
class PartitionTask:
    """One input partition that this process owns."""

    partition: int
    phase: Phase = Phase.CLAIMING
    work: WorkingSet | None = None  # while live or suspended
    read: int = 0  # under which seek its records are read; never the same twice in a process
    needs_seek: bool = False
    claiming: "asyncio.Task[Claimed] | None" = None
    committing: "asyncio.Task[None] | None" = None
    abandoned: "asyncio.Task[None] | None" = None  # a commit that came into doubt, and may not have ended yet
    doubts: int = 0  # since the last commit

    def on(self, happening: Happening) -> None:
        """Move on; an impossible move is a bug and raises `KeyError`."""
        self.phase = TRANSITIONS[self.phase, happening]

    def claimed(self, found: Claimed) -> None:
        """It is ours; the source has to be told where to read."""
        self.work, self.claiming, self.needs_seek = WorkingSet.at(found.position, found.header), None, True
        self.on(Happening.CLAIMED)

    def kept(self) -> None:
        """The rebalance has left it with us; the source has forgotten where it read."""
        self.needs_seek = True
        self.on(Happening.KEPT)

    def doubted(self) -> None:
        """Nothing that is in memory counts any more."""
        self.work = None
        self.doubts += 1
        self.on(Happening.DOUBTED)

    def sought(self) -> None:
        """The source reads from its position on: records that it gave before are not what comes next."""
        self.read, self.needs_seek = next(_reads), False

    @property
    def is_live(self) -> bool:
        """Whether its records may be processed."""
        return self.phase is Phase.LIVE

    @property
    def standing(self) -> Standing:
        """For the watchdog."""
        if self.work is None:
            return Standing(self.is_live, self.phase is Phase.CLAIMING)
        return Standing(self.is_live, False, self.work.position.next_offset, self.work.changed_since_ms)

    @property
    def is_suspended(self) -> bool:
        """Whether a rebalance decides about it."""
        return self.phase is Phase.SUSPENDED
