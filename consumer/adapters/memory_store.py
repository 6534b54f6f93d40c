"""The in-memory twin of the Redis adapter, under the same contract tests."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

from consumer.errors import LostPartitionError
from consumer.records import Chunk, Header, Headers, Logged, UserState, View

_FEW = 1_000


@dataclass
class _Timers:
    """Users by when their timer fires. Outdated entries stay in the heap until they are met, or are too many."""

    due_of: dict[str, int] = field(default_factory=dict)
    heap: list[tuple[int, str]] = field(default_factory=list)

    def set(self, user_id: str, due_ms: int | None) -> None:
        if due_ms is None:
            self.due_of.pop(user_id, None)
        elif self.due_of.get(user_id) != due_ms:
            self.due_of[user_id] = due_ms
            heappush(self.heap, (due_ms, user_id))
            if len(self.heap) > 2 * len(self.due_of) + _FEW:
                self.heap = [(due, user) for user, due in self.due_of.items()]
                heapify(self.heap)

    def due(self, until_ms: int, limit: int) -> list[str]:
        found: dict[str, int] = {}
        while self.heap and self.heap[0][0] <= until_ms and len(found) < limit:
            due_ms, user_id = heappop(self.heap)
            if self.due_of.get(user_id) == due_ms:
                found[user_id] = due_ms
        for user_id, due_ms in found.items():
            heappush(self.heap, (due_ms, user_id))
        return list(found)


@dataclass
class _Generation:
    """States and timers of one generation of keys; `parts` while it is being filled."""

    parts: int = 0
    values: dict[str, bytes] = field(default_factory=dict)
    timers: _Timers = field(default_factory=_Timers)

    def apply(self, users: Sequence[UserState]) -> None:
        for user in users:
            self.timers.set(user.user_id, user.due_ms)
            if user.value:
                self.values[user.user_id] = user.value
            else:
                self.values.pop(user.user_id, None)

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.values), len(self.timers.due_of)

    def is_counted_by(self, header: Header) -> bool:
        return self.counts == (header.users, header.timers)


@dataclass
class _Partition:
    header: Header | None = None
    generations: defaultdict[str, _Generation] = field(default_factory=lambda: defaultdict(_Generation))

    @property
    def live(self) -> _Generation:
        return self.generations[self.header.generation if self.header else ""]

    @property
    def is_intact(self) -> bool:
        return self.header is not None and self.live.is_counted_by(self.header)

    def give_up(self) -> None:
        if self.header is not None:
            self.generations.pop(self.header.generation, None)
        self.header = None


class MemoryStore:
    """User states and timers in dictionaries and sorted lists."""

    def __init__(self) -> None:
        self._partitions: defaultdict[int, _Partition] = defaultdict(_Partition)

    async def view(self, partition: int) -> View:
        """See `StateStore.view`."""
        found = self._partitions[partition]
        return View(found.header, found.is_intact)

    async def load(self, users: Mapping[int, Sequence[str]], at: Headers) -> dict[int, list[bytes | None]]:
        """See `StateStore.load`."""
        self._confirm({partition: at[partition] for partition in users})
        return {
            partition: [self._partitions[partition].live.values.get(name) for name in names]
            for partition, names in users.items()
        }

    async def due(self, until_ms: Mapping[int, int], at: Headers, limit: int) -> dict[int, list[str]]:
        """See `StateStore.due`."""
        self._confirm({partition: at[partition] for partition in until_ms})
        return {
            partition: self._partitions[partition].live.timers.due(until, limit)
            for partition, until in until_ms.items()
        }

    async def step(self, partition: int, before: Header, after: Header, users: Sequence[UserState]) -> None:
        """See `StateStore.step`."""
        self._confirm({partition: [before]})
        found = self._partitions[partition]
        found.live.apply(users)
        if not found.live.is_counted_by(after):
            raise _damage(partition, found)
        found.header = after

    async def catch_up(self, partition: int, before: Header, chunk: Chunk, last: Logged | None) -> Header:
        """See `StateStore.catch_up`."""
        self._confirm({partition: [before]})
        found = self._partitions[partition]
        found.live.apply(chunk.users)
        at = chunk.logged.position if chunk.logged else before
        users, timers = found.live.counts
        reached = replace(
            before,
            offset=chunk.last_offset,
            users=users,
            timers=timers,
            next_offset=at.next_offset,
            watermark_ms=at.watermark_ms,
        )
        is_last = last is not None and chunk.last_offset >= last.offset
        if last and is_last and reached != Header.of(last, before.generation):
            raise _damage(partition, found)
        found.header = reached
        return reached

    async def discard(self, partition: int, before: Header) -> None:
        """See `StateStore.discard`."""
        found = self._partitions[partition]
        if found.header != before:
            raise _refusal([partition])
        found.give_up()

    async def fill(self, partition: int, generation: str, part: int, users: Sequence[UserState]) -> None:
        """See `StateStore.fill`."""
        found = self._partitions[partition]
        is_live = found.header is not None and found.header.generation == generation
        if is_live or found.generations[generation].parts != part:
            raise _refusal([partition])
        found.generations[generation].apply(users)
        found.generations[generation].parts += 1

    async def switch(self, partition: int, seen: Header | None, parts: int, header: Header) -> None:
        """See `StateStore.switch`."""
        found = self._partitions[partition]
        filled = found.generations[header.generation]
        if found.header not in (None, seen) or filled.parts != parts or not filled.is_counted_by(header):
            raise _refusal([partition])
        filled.parts = 0
        if seen is not None and seen.generation != header.generation:
            found.generations.pop(seen.generation, None)
        found.header = header

    def _confirm(self, at: Headers) -> None:
        partitions = {each: self._partitions[each] for each in at}
        refused = [each for each, found in partitions.items() if found.header not in at[each] or not found.is_intact]
        if refused:
            raise _refusal(refused)


def _damage(partition: int, found: _Partition) -> LostPartitionError:
    found.give_up()
    return _refusal([partition])


def _refusal(partitions: Sequence[int]) -> LostPartitionError:
    return LostPartitionError(f"partitions {[*partitions]} do not stand where they were left", partitions)
