"""In-memory twins of the Kafka and Redis adapters, under the same contract tests: what `ebbtide replay` runs on."""

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from secrets import token_hex

from consumer.errors import LostPartitionError
from consumer.ports import Message, Position, Positions, Record, Step, UserState


class MemorySource:
    """Records of a log, already assigned to partitions, in the order in which they were written.

    A poll of a partition reads from where the last one ended, or from where `seek` put it.
    """

    def __init__(self, records: Iterable[tuple[int, Record]], partitions: int) -> None:
        self._log = list(records)
        self._ends = Counter(partition for partition, _ in self._log)
        self._next = dict.fromkeys(range(partitions), 0)
        self._read = 0
        self.is_exhausted = False

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """The next records; empty at once when there are no more."""
        batch: dict[int, list[Record]] = {}
        for partition, record in self._log[self._read : self._read + max_records]:
            if record.offset >= self._next[partition]:
                batch.setdefault(partition, []).append(record)
                self._next[partition] = record.offset + 1
        self._read = min(self._read + max_records, len(self._log))
        self.is_exhausted = self._read == len(self._log) and not batch
        return batch

    async def seek(self, partition: int, offset: int | None) -> None:
        """See `Source.seek`."""
        self._next[partition] = offset or 0
        self._read = 0

    def lag(self, partition: int, next_offset: int) -> int | None:
        """See `Source.lag`."""
        return self._ends[partition] - next_offset

    async def commit_offsets(self, offsets: dict[int, int]) -> None:
        """Nobody asks."""


class MemoryChangelog:
    """Hands messages on and keeps the latest states by partition."""

    def __init__(self, deliver: Callable[[Message], object]) -> None:
        self._deliver = deliver
        self._states: defaultdict[int, dict[str, UserState]] = defaultdict(dict)
        self._positions: dict[int, Position] = {}

    async def publish(self, steps: Sequence[Step]) -> None:
        """See `Changelog.publish`."""
        for step in steps:
            for message in step.messages:
                self._deliver(message)
            self._states[step.partition] |= {user.user_id: user for user in step.users}
            self._positions[step.partition] = step.position

    async def read(self, partition: int) -> AsyncIterator[tuple[list[UserState], Position | None]]:
        """See `Changelog.read`."""
        if partition in self._positions:
            yield list(self._states[partition].values()), self._positions[partition]


class MemoryStore:
    """User states and timers in dictionaries and sorted lists."""

    def __init__(self) -> None:
        self._values: defaultdict[int, dict[str, bytes]] = defaultdict(dict)
        self._due: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        self._due_of: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self._positions: dict[int, Position] = {}
        self._restoring: dict[int, str] = {}

    async def position(self, partition: int) -> Position | None:
        """See `StateStore.position`."""
        return self._positions.get(partition)

    async def load(self, users: dict[int, list[str]], at: Positions) -> dict[int, list[bytes | None]]:
        """See `StateStore.load`."""
        self._confirm(at)
        return {partition: [self._values[partition].get(name) for name in names] for partition, names in users.items()}

    async def due(self, until_ms: dict[int, int], at: Positions, limit: int) -> dict[int, list[str]]:
        """See `StateStore.due`."""
        self._confirm(at)
        return {
            partition: [name for due, name in self._due[partition][:limit] if due <= until]
            for partition, until in until_ms.items()
        }

    async def write(self, steps: Sequence[Step]) -> None:
        """See `StateStore.write`."""
        refused = {}
        for step in steps:
            if self._positions.get(step.partition) in (step.previous, step.position):
                self._apply(step.partition, step.users)
                self._positions[step.partition] = step.position
            else:
                refused[step.partition] = step.previous
        self._confirm(refused)

    async def begin_restore(self, partition: int) -> str:
        """See `StateStore.begin_restore`."""
        for part in (self._values, self._due, self._due_of, self._positions):
            part.pop(partition, None)
        self._restoring[partition] = token = token_hex(8)
        return token

    async def fill(self, partition: int, token: str, users: Sequence[UserState]) -> None:
        """See `StateStore.fill`."""
        self._check(partition, token)
        self._apply(partition, users)

    async def end_restore(self, partition: int, token: str, position: Position) -> None:
        """See `StateStore.end_restore`."""
        self._check(partition, token)
        del self._restoring[partition]
        self._positions[partition] = position

    def _check(self, partition: int, token: str) -> None:
        if self._restoring.get(partition) != token:
            raise LostPartitionError(f"the restore of partition {partition} was overtaken")

    def _apply(self, partition: int, users: Sequence[UserState]) -> None:
        for user in users:
            self._schedule(partition, user.user_id, user.due_ms)
            if user.value:
                self._values[partition][user.user_id] = user.value
            else:
                self._values[partition].pop(user.user_id, None)

    def _confirm(self, at: Positions) -> None:
        for partition, expected in at.items():
            if (stored := self._positions.get(partition)) != expected:
                raise LostPartitionError(f"partition {partition} is at {stored}, not at {expected}")

    def _schedule(self, partition: int, user_id: str, due_ms: int | None) -> None:
        timers, due_of = self._due[partition], self._due_of[partition]
        if user_id in due_of:
            del timers[bisect_right(timers, (due_of.pop(user_id), user_id)) - 1]
        if due_ms is not None:
            due_of[user_id] = due_ms
            insort(timers, (due_ms, user_id))
