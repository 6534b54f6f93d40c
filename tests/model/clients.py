"""The ports of one process: each call goes over its wire to the shared Kafka and Redis."""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from consumer.errors import LostPartitionError, UnavailableError
from consumer.records import Chunk, Logged, Message, Position, Record, UserState
from model.wire import Kind, Wire
from model.world import World, Writer, now


class StoreClient:
    """The `StateStore` of one process."""

    def __init__(self, wire: Wire, world: World) -> None:
        self._wire, self._world = wire, world

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kind = Kind.READ if name in ("view", "load", "due") else Kind.WRITE

        async def call(*arguments: Any, **options: Any) -> Any:
            method = getattr(self._world.store, name)
            failure = UnavailableError("redis", "no answer")
            return await self._wire.send(name, kind, lambda: now(method(*arguments, **options)), failure)

        return call


class ChangelogClient:
    """The `Changelog` of one process: a commit that fails, however, costs it its writer."""

    def __init__(self, wire: Wire, world: World) -> None:
        self._wire, self._world = wire, world
        self._writers: dict[int, Writer] = {}

    async def fence(self, partition: int) -> None:
        """See `Changelog.fence`."""
        self._writers.pop(partition, None)
        writer = Writer(self._world)

        def effect() -> None:
            self._world.fences += 1
            now(writer.fence(partition))

        await self._wire.send(f"fence {partition}", Kind.WRITE, effect, UnavailableError("kafka", "no answer"))
        self._writers[partition] = writer

    async def release(self, partition: int) -> None:
        """See `Changelog.release`."""
        self._writers.pop(partition, None)

    async def barrier(self, partition: int) -> int:
        """See `Changelog.barrier`."""
        return await self._commit(f"barrier {partition}", partition, lambda writer: writer.barrier(partition))

    async def commit(
        self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]
    ) -> int:
        """See `Changelog.commit`."""
        what = f"commit {partition} to {position.next_offset}"
        return await self._commit(what, partition, lambda writer: writer.commit(partition, users, position, messages))

    async def _commit(self, what: str, partition: int, write: Callable[[Writer], Any]) -> int:
        writer = self._writers.get(partition)
        if writer is None:
            raise LostPartitionError("no writer", [partition], "unknown")
        try:
            failure = LostPartitionError("unknown outcome", [partition], "unknown")
            offset: int = await self._wire.send(what, Kind.WRITE, lambda: now(write(writer)), failure)
        except BaseException:
            if self._writers.get(partition) is writer:
                del self._writers[partition]
            raise
        return offset

    async def last(self, partition: int, barrier: int) -> Logged | None:
        """See `Changelog.last`."""
        effect = lambda: now(self._world.log.last(partition, barrier))  # noqa: E731
        found: Logged | None = await self._wire.send("last", Kind.READ, effect, UnavailableError("kafka", "no answer"))
        return found

    async def newest(self, partition: int) -> Logged | None:
        """See `Changelog.newest`."""
        effect = lambda: now(self._world.log.newest(partition))  # noqa: E731
        found: Logged | None = await self._wire.send(
            "newest", Kind.READ, effect, UnavailableError("kafka", "no answer")
        )
        return found

    async def read(self, partition: int, after: int, through: int) -> AsyncGenerator[Chunk, None]:
        """See `Changelog.read`: chunks of two records, each read when it is asked for."""
        while True:
            failure = UnavailableError("kafka", "no answer")
            effect = partial(self._chunk, partition, after, through)
            chunk = await self._wire.send("read", Kind.READ, effect, failure)
            if chunk is None:
                return
            yield chunk
            after = chunk.last_offset

    def _chunk(self, partition: int, after: int, through: int) -> Chunk | None:
        found = self._world.log._logs[partition].between(after, through)[:2]
        users = {each.user_id: each for _, each in found if isinstance(each, UserState)}
        positions = [Logged(each, offset) for offset, each in found if isinstance(each, Position)]
        return Chunk([*users.values()], found[-1][0], positions[-1] if positions else None) if found else None


class SourceClient:
    """The `Source` of one process, which its group has given some partitions."""

    def __init__(self, wire: Wire, world: World) -> None:
        self._wire, self._world = wire, world
        self._next: dict[int, int] = {}  # of those that flow
        self.assignment: set[int] = set()
        self.most = 1

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """See `Source.poll`."""
        batch = await self._wire.send("poll", Kind.READ, self._fetched, UnavailableError("kafka", "no answer"))
        if not batch:
            self._wire.has_nothing_to_decode = True
            self._wire.loop.pass_time(timeout_ms / 1000)
        found: dict[int, list[Record]] = batch
        return found

    def _fetched(self) -> dict[int, list[Record]]:
        batch: dict[int, list[Record]] = {}
        for partition, offset in self._next.items():
            found = self._world.input[partition][offset : offset + self.most]
            if found and partition in self.assignment:
                batch[partition], self._next[partition] = found, offset + len(found)
        return batch

    @property
    def has_records(self) -> bool:
        """Whether a poll finds any."""
        return any(offset < len(self._world.input[partition]) for partition, offset in self._next.items())

    def assign(self, partitions: Collection[int]) -> None:
        """What the group has decided; nothing flows yet."""
        self.assignment = set(partitions)
        self._next.clear()

    def hold(self, partition: int) -> None:
        """See `Source.hold`."""
        self._next.pop(partition, None)

    async def seek(self, partition: int, offset: int) -> None:
        """See `Source.seek`."""
        if partition not in self.assignment:
            raise UnavailableError("kafka", "not ours now")
        self._next[partition] = offset

    async def partitions(self) -> int:
        """See `Source.partitions`."""
        return len(self._world.input)

    async def retained(self, partition: int) -> tuple[int, int]:
        """See `Source.retained`."""
        effect = lambda: (0, len(self._world.input[partition]))  # noqa: E731
        found: tuple[int, int]
        found = await self._wire.send("retained", Kind.READ, effect, UnavailableError("kafka", "no answer"))
        return found

    async def configured_start(self, partition: int) -> int:
        """See `Source.configured_start`."""
        return 0

    async def tell(self, offsets: Mapping[int, int]) -> None:
        """See `Source.tell`."""

        def effect() -> None:
            for partition, offset in offsets.items():
                self._world.group[partition] = offset

        await self._wire.send("tell", Kind.WRITE, effect, UnavailableError("kafka", "no answer"))

    def lag(self, partition: int, next_offset: int) -> int | None:
        """See `Source.lag`."""
        return len(self._world.input[partition]) - next_offset if partition in self.assignment else None
