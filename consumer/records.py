"""What is read, kept and published: the values that pass between the pipeline and the world."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import NamedTuple, Protocol

from consumer.telemetry import Telemetry

NOT_BEGUN_MS = -1  # watermark of a partition in which nothing was folded yet


class Record(NamedTuple):
    """One record read from the input topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Note(Protocol):
    """What operators are told of a message once it is permanent, and not before: until then it may be taken back."""

    def tell(self, telemetry: Telemetry, now_ms: int) -> None:
        """It was committed at `now_ms`."""


@dataclass(frozen=True)
class Message:
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    note: Note | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Position:
    """What a commit says of its partition: where it stands, and what must be found there."""

    genesis: str  # names this history of the partition; another one means another changelog
    next_offset: int  # of the input: everything before it is folded
    watermark_ms: int  # event time reached
    users: int = 0
    timers: int = 0
    partitions: int = 0  # of the input topic: with another number, users live elsewhere
    budget: str = ""  # what its alert budget remembers, see consumer.core.budget

    def to_json(self) -> bytes:
        """How the changelog holds it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, value: bytes) -> "Position":
        """The inverse of `to_json`."""
        return cls(**json.loads(value))


@dataclass(frozen=True)
class Logged:
    """A position, and the changelog offset at which it was committed."""

    position: Position
    offset: int


@dataclass(frozen=True)
class Header:
    """Where the view of a partition stands: which commit it has taken in, and in which generation of keys."""

    genesis: str
    offset: int  # changelog offset of the last position taken in
    generation: str
    users: int
    timers: int
    next_offset: int
    watermark_ms: int

    def __str__(self) -> str:
        """How it is stored: scripts compare it as a whole."""
        return " ".join(map(str, astuple(self)))

    @classmethod
    def parse(cls, stored: bytes) -> "Header":
        """The inverse of `str`."""
        genesis, offset, generation, *numbers = stored.decode().split()
        return cls(genesis, int(offset), generation, *map(int, numbers))

    @classmethod
    def of(cls, logged: Logged, generation: str) -> "Header":
        """A view that has taken in a commit."""
        at = logged.position
        return cls(at.genesis, logged.offset, generation, at.users, at.timers, at.next_offset, at.watermark_ms)


@dataclass(frozen=True)
class View:
    """What the store says of a partition: its header, and whether as many users and timers are there as it says."""

    header: Header | None
    is_intact: bool


Headers = Mapping[int, Sequence[Header]]  # by partition, where it may stand


@dataclass(frozen=True)
class UserState:
    """A user's packed state (b"": forget the user) and when their silence timer fires."""

    user_id: str
    value: bytes
    due_ms: int | None


@dataclass(frozen=True)
class Step:
    """All that one partition's share of a micro-batch changes."""

    partition: int
    position: Position
    users: Sequence[UserState] = ()
    messages: Sequence[Message] = ()
    is_urgent: bool = False  # somebody waits for what it says: commit without delay


@dataclass(frozen=True)
class Chunk:
    """Consecutive committed records of a changelog: the latest state of every user in them."""

    users: Sequence[UserState]
    last_offset: int  # of the last record
    logged: Logged | None  # the last position in them
