"""What the pipeline needs of the world. Adapters implement these; in-memory twins stand beside the real ones."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from consumer.records import Chunk, Header, Headers, Logged, Message, Position, Record, UserState, View


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
