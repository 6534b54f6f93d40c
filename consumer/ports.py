"""What the pipeline needs of the world. Adapters implement these; in-memory twins stand beside the real ones."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Record:
    """One record read from the input topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Message:
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Position:
    """How far a partition has been processed: the next input offset, and the event time reached."""

    next_offset: int
    watermark_ms: int

    def __str__(self) -> str:
        """How it is stored."""
        return f"{self.next_offset}:{self.watermark_ms}"

    @classmethod
    def parse(cls, stored: bytes) -> "Position":
        """The inverse of `str`."""
        next_offset, watermark_ms = stored.decode().split(":")
        return cls(int(next_offset), int(watermark_ms))


Positions = Mapping[int, Position | None]  # where partitions are expected to stand


@dataclass(frozen=True)
class UserState:
    """A user's packed state (b"": forget the user) and when their silence timer fires."""

    user_id: str
    value: bytes
    due_ms: int | None


@dataclass(frozen=True)
class Step:
    """All that one partition's share of a micro-batch changes: committed as one."""

    partition: int
    previous: Position | None
    position: Position
    users: Sequence[UserState] = ()
    messages: Sequence[Message] = field(default=())


class Source(Protocol):
    """The input topic."""

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """Records by partition; empty after `timeout_ms` without any. Never cancelled."""

    async def seek(self, partition: int, offset: int | None) -> None:
        """Read `partition` from `offset` on (None: from the configured start), and let it flow."""

    def lag(self, partition: int, next_offset: int) -> int | None:
        """Records known to wait from `next_offset` on; None before the end of the log is known."""

    async def commit_offsets(self, offsets: dict[int, int]) -> None:
        """Tell the group how far it is; for lag tools only, the truth is in the position."""


class Changelog(Protocol):
    """The outgoing topics, and the log of every user's state that Redis can be rebuilt from."""

    async def publish(self, steps: Sequence[Step]) -> None:
        """Write messages, user states and positions; returns when all are acknowledged."""

    def read(self, partition: int) -> AsyncIterator[tuple[list[UserState], Position | None]]:
        """Everything written for `partition`, oldest first, in chunks; a position covers the chunks before it."""


class StateStore(Protocol):
    """The view of all user states that the pipeline works on.

    `load` and `due` raise `LostPartitionError` where a partition does not stand `at` the position where its owner left
    it: what is not there may just be lost, and must not be taken for a user of whom nothing is known.
    """

    async def position(self, partition: int) -> Position | None:
        """Where the stored states stand; None if nothing is stored."""

    async def load(self, users: dict[int, list[str]], at: Positions) -> dict[int, list[bytes | None]]:
        """Packed states by partition, in the order asked for; one round trip for all."""

    async def due(self, until_ms: dict[int, int], at: Positions, limit: int) -> dict[int, list[str]]:
        """By partition, at most `limit` users whose timer fires at or before its `until_ms`, the earliest first."""

    async def write(self, steps: Sequence[Step]) -> None:
        """Apply each step atomically if its `previous` position is the stored one; one round trip for all.

        Raises `LostPartitionError` if it is not. Writing the same step twice is the same as once.
        """

    async def begin_restore(self, partition: int) -> str:
        """Forget all of a partition, which has no position, and get ready to fill it; returns the restore's token."""

    async def fill(self, partition: int, token: str, users: Sequence[UserState]) -> None:
        """Write states that count once the restore ends.

        Raises `LostPartitionError` if another restore has begun, or the store has lost the partition since.
        """

    async def end_restore(self, partition: int, token: str, position: Position) -> None:
        """Set the position, by which all that was filled counts; raises as `fill` does."""


class Scorer(Protocol):
    """The model."""

    version: str

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Tokens (B, L, F) and lengths (B,) to log-hazards of the target event, float32 (B, bins)."""


class Clock(Protocol):
    """Wall-clock time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""


class Telemetry(Protocol):
    """What operators watch."""

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Time one stage of a micro-batch."""

    def batch(self, records: int) -> None:
        """A micro-batch was taken up."""

    def records(self, result: str, count: int) -> None:
        """What became of records: folded, duplicate, too_late, erased or rejected."""

    def reject(self, code: str) -> None:
        """A record went to the dead letters."""

    def alert(self, tier: str, cause: str, delay_s: float | None) -> None:
        """An alert was published, `delay_s` after its event was produced (None: raised by silence)."""

    def timers(self, count: int) -> None:
        """Silence timers fired."""

    def timers_due(self, users: int) -> None:
        """How many users' timers the last look found due; 0 when none is left."""

    def partition(self, partition: int, lag: int, watermark_delay_s: float) -> None:
        """Where a partition stands."""

    def released(self, partition: int) -> None:
        """A partition is no longer ours to report on."""

    def partitions_live(self, count: int) -> None:
        """How many partitions are being processed."""

    def restored(self) -> None:
        """A partition's states were rebuilt from the changelog."""

    def dependency(self, name: str, up: bool) -> None:
        """A server went away or came back."""
