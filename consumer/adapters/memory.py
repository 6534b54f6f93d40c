"""In-memory twins of the Kafka adapters, under the same contract tests: what `ebbtide replay` runs on."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from consumer.errors import LostPartitionError
from consumer.records import Chunk, Logged, Message, Position, Record, UserState

_CHUNK_RECORDS = 5_000
_COMPACT_RECORDS = 100_000


class MemorySource:
    """Records of a log, already assigned to partitions, in the order in which they were written.

    A poll of a partition reads from where the last one ended, or from where `seek` put it.
    """

    def __init__(self, records: Iterable[tuple[int, Record]], partitions: int) -> None:
        self._log = list(records)
        self._ends = Counter(partition for partition, _ in self._log)
        self._next = dict.fromkeys(range(partitions), 0)
        self._held: set[int] = set()
        self._read = 0
        self.is_exhausted = False

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """The next records; empty at once when there are no more."""
        batch: dict[int, list[Record]] = {}
        for partition, record in self._log[self._read : self._read + max_records]:
            if record.offset == self._next[partition] and partition not in self._held:
                batch.setdefault(partition, []).append(record)
                self._next[partition] = record.offset + 1
        self._read = min(self._read + max_records, len(self._log))
        self.is_exhausted = self._read == len(self._log) and not batch and not self._held
        return batch

    def hold(self, partition: int) -> None:
        """See `Source.hold`."""
        self._held.add(partition)

    async def seek(self, partition: int, offset: int) -> None:
        """See `Source.seek`."""
        self._next[partition] = offset
        self._held.discard(partition)
        self._read = 0

    async def partitions(self) -> int:
        """See `Source.partitions`."""
        return len(self._next)

    async def retained(self, partition: int) -> tuple[int, int]:
        """See `Source.retained`: all of it."""
        return 0, self._ends[partition]

    async def configured_start(self, partition: int) -> int:
        """See `Source.configured_start`: the beginning."""
        return 0

    async def tell(self, offsets: Mapping[int, int]) -> None:
        """See `Source.tell`: nobody looks."""

    def lag(self, partition: int, next_offset: int) -> int | None:
        """See `Source.lag`."""
        return self._ends[partition] - next_offset

    def stuck(self, partition: int) -> int:
        """See `Source.stuck`: there are no transactions."""
        return 0


@dataclass
class _Log:
    """A partition of the changelog, compacted now and then, so that it grows with the users and not with the events."""

    records: list[tuple[int, UserState | Position]] = field(default_factory=list)  # with their offsets
    end: int = 0
    live: int = 0  # records after the last compaction
    epoch: int = 0  # of the last writer

    def append(self, records: Sequence[UserState | Position]) -> int:
        """One transaction; the offset of its last record."""
        self.records += enumerate(records, self.end)
        self.end += len(records) + 1  # its marker takes an offset as well
        if len(self.records) > 2 * self.live + _COMPACT_RECORDS:
            self.compact()
        return self.end - 2

    def compact(self) -> None:
        """Drop what later records supersede; offsets stay."""
        latest = {_key(record): (offset, record) for offset, record in self.records}
        self.records = sorted(latest.values(), key=itemgetter(0))
        self.live = len(self.records)

    def between(self, after: int, through: int) -> list[tuple[int, UserState | Position]]:
        """Records at the offsets (after, through]."""
        first = bisect_right(self.records, after, key=itemgetter(0))
        last = bisect_right(self.records, through, key=itemgetter(0))
        return self.records[first:last]


def _key(record: UserState | Position) -> str:
    return record.user_id if isinstance(record, UserState) else ""


class MemoryChangelog:
    """Hands messages on, and keeps states and positions. Each fence of a partition ends the writers before it."""

    def __init__(self, deliver: Callable[[Message], object]) -> None:
        self._deliver = deliver
        self._logs: defaultdict[int, _Log] = defaultdict(_Log)
        self._epochs: dict[int, int] = {}  # by partition, as which writer

    async def fence(self, partition: int) -> None:
        """See `Changelog.fence`."""
        log = self._logs[partition]
        log.epoch += 1
        self._epochs[partition] = log.epoch

    async def release(self, partition: int) -> None:
        """See `Changelog.release`."""
        self._epochs.pop(partition, None)

    async def barrier(self, partition: int) -> int:
        """See `Changelog.barrier`."""
        log = self._writable(partition)
        log.end += 2
        return log.end - 2

    async def commit(
        self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]
    ) -> int:
        """See `Changelog.commit`."""
        log = self._writable(partition)
        for message in messages:
            self._deliver(message)
        return log.append([*users, position])

    async def last(self, partition: int, barrier: int) -> Logged | None:
        """See `Changelog.last`."""
        found = self._logs[partition].between(-1, barrier)
        return next((Logged(each, offset) for offset, each in reversed(found) if isinstance(each, Position)), None)

    async def newest(self, partition: int) -> Logged | None:
        """See `Changelog.newest`."""
        return await self.last(partition, self._logs[partition].end)

    async def read(self, partition: int, after: int, through: int) -> AsyncGenerator[Chunk, None]:
        """See `Changelog.read`."""
        found = self._logs[partition].between(after, through)
        for start in range(0, len(found), _CHUNK_RECORDS):
            part = found[start : start + _CHUNK_RECORDS]
            users = {each.user_id: each for _, each in part if isinstance(each, UserState)}
            positions = [Logged(each, offset) for offset, each in part if isinstance(each, Position)]
            yield Chunk([*users.values()], part[-1][0], positions[-1] if positions else None)

    def _writable(self, partition: int) -> _Log:
        log = self._logs[partition]
        if partition not in self._epochs:
            raise LostPartitionError(f"partition {partition} has no writer: it must be fenced", [partition], "unknown")
        if self._epochs[partition] != log.epoch:
            del self._epochs[partition]
            raise LostPartitionError(f"partition {partition} has another writer now", [partition], "fenced")
        return log
