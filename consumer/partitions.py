"""The life of a partition task, as one transition table."""

from dataclasses import dataclass
from enum import Enum, auto
from itertools import count

from consumer.ports import Position


class Phase(Enum):
    """Where a partition task stands."""

    CLAIMING = auto()  # assigned; its position is being read, no records are taken
    LIVE = auto()  # records and timers are processed
    RELEASED = auto()  # no longer ours


class Happening(Enum):
    """What can happen to it."""

    CLAIMED = auto()
    DOUBTED = auto()
    REVOKED = auto()


TRANSITIONS = {
    (Phase.CLAIMING, Happening.CLAIMED): Phase.LIVE,
    (Phase.CLAIMING, Happening.REVOKED): Phase.RELEASED,
    (Phase.LIVE, Happening.DOUBTED): Phase.CLAIMING,
    (Phase.LIVE, Happening.REVOKED): Phase.RELEASED,
}


_claims = count(1)


@dataclass
class PartitionTask:
    """One input partition that this process owns."""

    partition: int
    phase: Phase = Phase.CLAIMING
    stored: Position | None = None  # the position last written; None before the first step
    claim: int = 0  # which claim it works under; never the same twice in a process

    def on(self, happening: Happening) -> None:
        """Move on; an impossible move is a bug and raises `KeyError`."""
        self.phase = TRANSITIONS[self.phase, happening]

    def claimed(self, stored: Position | None) -> None:
        """Its position is known and the source reads from there."""
        self.stored, self.claim = stored, next(_claims)
        self.on(Happening.CLAIMED)

    @property
    def is_live(self) -> bool:
        """Whether its records may be processed."""
        return self.phase is Phase.LIVE
