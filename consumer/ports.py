"""What the pipeline needs of the world. Adapters implement these; in-memory twins stand beside the real ones."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from schemas.outcome import OutcomeRecord

NOT_BEGUN_MS = -1  # watermark of a partition in which nothing was folded yet


class Record(NamedTuple):
    """One record read from the input topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Note(Protocol):
    """What operators are told of a message once it is permanent, and not before: until then it may be taken back."""

    def tell(self, telemetry: "Telemetry", now_ms: int) -> None:
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


class Source(Protocol):
    """The input topic."""

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """Records by partition; empty after `timeout_ms` without any. Never cancelled.

        Raises `LostPartitionError` for partitions that cannot be read from where they stand.
        """

    def hold(self, partition: int) -> None:
        """Fetch nothing of `partition` until the next `seek`."""

    async def seek(self, partition: int, offset: int) -> None:
        """Read `partition` from `offset` on, and let it flow."""

    async def partitions(self) -> int:
        """How many partitions the topic has."""

    async def retained(self, partition: int) -> tuple[int, int]:
        """The first offset that can still be read, and the one after the last."""

    async def configured_start(self, partition: int) -> int:
        """Where a partition that was never processed starts."""

    async def tell(self, offsets: Mapping[int, int]) -> None:
        """Commit the group's offsets, by partition: for lag tools, nobody reads on from them.

        Raises `UnavailableError`, during a rebalance as well.
        """

    def lag(self, partition: int, next_offset: int) -> int | None:
        """Records known to wait from `next_offset` on; None before the end of the log is known."""


class Changelog(Protocol):
    """The outgoing topics and the log of every user's state: the truth, of which the store is a view.

    A partition is written by the last process that fenced it. Raises `LostPartitionError` once another one has, or if
    it is not known what became of a commit; then only `fence` may follow.
    """

    async def fence(self, partition: int) -> None:
        """Become the only writer: whoever wrote before can commit no more, and what they left open is aborted."""

    async def barrier(self, partition: int) -> int:
        """Commit a record that says nothing; its offset. All that was committed before is readable up to there."""

    async def commit(
        self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]
    ) -> int:
        """Commit states, position and messages, all or nothing; the position's offset."""

    async def last(self, partition: int, barrier: int) -> Logged | None:
        """The last position committed up to `barrier`."""

    async def newest(self, partition: int) -> Logged | None:
        """The last position that can be read now, whoever writes the partition."""

    def read(self, partition: int, after: int, through: int) -> AsyncGenerator[Chunk, None]:
        """What was committed at the offsets (after, through], oldest first, in chunks of bounded size."""

    async def release(self, partition: int) -> None:
        """Write no more."""


class StateStore(Protocol):
    """The view of all user states that the pipeline works on. Every call is atomic for each partition.

    A call that does not find a partition as it must be changes nothing there and raises `LostPartitionError`: `intact`
    means that there is a header, and as many users and timers as it says.
    """

    async def view(self, partition: int) -> View:
        """Where a partition stands."""

    async def load(self, users: Mapping[int, Sequence[str]], at: Headers) -> dict[int, list[bytes | None]]:
        """Packed states by partition, in the order asked for, of partitions that are intact `at` one of the headers."""

    async def due(self, until_ms: Mapping[int, int], at: Headers, limit: int) -> dict[int, list[str]]:
        """By partition, at most `limit` users whose timer fires at or before its `until_ms`, the earliest first."""

    async def step(self, partition: int, before: Header, after: Header, users: Sequence[UserState]) -> None:
        """From `before`, intact, to `after`."""

    async def catch_up(self, partition: int, before: Header, chunk: Chunk, last: Logged | None) -> Header:
        """Take in a chunk of the changelog from `before`, intact, on; where it stands then.

        After the `last` one users and timers must be as many as its position says; otherwise the view is given up.
        """

    async def discard(self, partition: int, before: Header) -> None:
        """From `before`, intact or not, to nowhere: the next claim restores the partition."""

    async def fill(self, partition: int, generation: str, part: int, users: Sequence[UserState]) -> None:
        """Write part `part` (from 0, in order) of a new generation of keys that counts once it is switched to."""

    async def switch(self, partition: int, seen: Header | None, parts: int, header: Header) -> None:
        """Make the generation of `header`, filled with so many parts, the one that counts.

        The partition must stand where it was `seen`, or nowhere.
        """


@dataclass(frozen=True)
class MemoryShape:
    """What a model remembers of a day: (layers, width) numbers."""

    layers: int
    width: int
    dtype: np.dtype


class Scorer(Protocol):
    """The model."""

    version: str
    memory: MemoryShape  # of what it remembers of each day

    def prefill(self, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (B, L, F) and lengths (B,) to log-hazards of the target event, float32 (B, bins), and the memory of
        all days (B, layers, L, width)."""

    def step(self, token: np.ndarray, past: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (B, F) of one more day each, after past days' memory (B, layers, P, width) of which the first
        lengths (B,) count, to log-hazards, and the memory of the new day (B, layers, width). Bits as from `prefill`."""


class Clock(Protocol):
    """Wall-clock time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""


class PrefixCounts(Protocol):
    """What is told of the prefix cache; counts since the start."""

    hits: int
    prefills: int
    evictions: int

    @property
    def bytes(self) -> int:
        """How much is held."""


class Telemetry(Protocol):
    """What operators watch."""

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Time one stage of a micro-batch."""

    def batch(self, records: int) -> None:
        """A micro-batch was taken up."""

    def remembered(self, cache: PrefixCounts) -> None:
        """What the prefix cache has come to."""

    def records(self, result: str, count: int) -> None:
        """What became of records: folded, duplicate, too_late, erased or rejected; told again if read again."""

    def reject(self, code: str) -> None:
        """A dead letter is permanent."""

    def alert(self, tier: str, cause: str, delay_s: float | None) -> None:
        """An alert is permanent, `delay_s` after its event was produced (None: raised by silence)."""

    def outcome(self, record: OutcomeRecord) -> None:
        """What became of a prediction is known, and permanent."""

    def trigger(self, action: str) -> None:
        """A trigger is permanent."""

    def timers(self, count: int) -> None:
        """Silence timers fired."""

    def timers_due(self, users: int) -> None:
        """How many users' timers the last look found due; 0 when none is left."""

    def caught_up(self, is_caught_up: bool) -> None:
        """Whether no record and no timer waits, and all that came of them is committed."""

    def partition(self, partition: int, lag: int, watermark_delay_s: float) -> None:
        """Where a partition stands."""

    def released(self, partition: int) -> None:
        """A partition is no longer ours to report on."""

    def partitions_live(self, count: int) -> None:
        """How many partitions are being processed."""

    def claimed(self, outcome: str) -> None:
        """A partition was claimed, and in what state it was found."""

    def input_lost(self, partition: int, is_lost: bool) -> None:
        """Whether a partition stands where the input cannot be read any more."""

    def doubted(self, reason: str) -> None:
        """A partition has to be claimed again."""

    def rebuilding(self, partition: int, share: float | None) -> None:
        """How much of a restore or catch-up is done; None when it has ended."""

    def committed(self, users: int, messages: int) -> None:
        """A commit was made permanent."""

    def dependency(self, name: str, up: bool) -> None:
        """A server went away or came back."""
