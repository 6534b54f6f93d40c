"""The outgoing topics and the state topic as a `Changelog`.

A state topic's partition holds three kinds of records: states (key: user id), positions (the last record of every
commit) and barriers, which say nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from consumer.adapters.kafka import COMMIT_ERRORS, commit_error, translated
from consumer.adapters.kafka_reader import Reader, Readers
from consumer.adapters.kafka_writer import KeyValue, Writer
from consumer.core.packing import due_ms_of
from consumer.core.state import UnreadableStateError
from consumer.errors import ConfigurationError, LostPartitionError
from consumer.records import Chunk, Logged, Message, Position, UserState
from consumer.settings import Settings

POSITION_KEY = b""  # user ids are never empty
BARRIER_KEY = b"\xff"  # no UTF-8, so no user id either
_FIRST_WINDOW = 64


class KafkaChangelog:
    """One writer per partition, and readers shared by all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.state_topic
        self._readers = Readers(settings)
        self._writers: dict[int, Writer] = {}
        self._abandoning: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.gather(*(self.release(partition) for partition in [*self._writers]))
        await self._readers.close()
        if self._abandoning:
            await asyncio.wait(self._abandoning)  # each takes no longer than a client may

    async def fence(self, partition: int) -> None:
        """See `Changelog.fence`."""
        if before := self._writers.get(partition):
            self._abandon(partition, before)
        writer = Writer(self._settings, partition)
        await writer.start()
        if other := self._writers.get(partition):  # of two claims at once the later one counts
            self._abandon(partition, other)
        self._writers[partition] = writer

    async def release(self, partition: int) -> None:
        """See `Changelog.release`."""
        if writer := self._writers.pop(partition, None):
            await writer.stop()

    async def barrier(self, partition: int) -> int:
        """See `Changelog.barrier`."""
        return await self._commit(partition, [(BARRIER_KEY, b"")], [])

    async def commit(
        self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]
    ) -> int:
        """See `Changelog.commit`."""
        states: list[KeyValue] = [(user.user_id.encode(), user.value or None) for user in users]
        states.append((POSITION_KEY, position.to_json()))
        return await self._commit(partition, states, messages)

    async def _commit(self, partition: int, states: Sequence[KeyValue], messages: Sequence[Message]) -> int:
        writer = self._writers.get(partition)
        if writer is None:
            raise LostPartitionError(f"partition {partition} has no writer: it must be fenced", [partition], "unknown")
        try:
            return await writer.commit(states, messages)
        except BaseException as error:
            died_of = writer.died_of()
            self._abandon(partition, writer)
            if isinstance(error, COMMIT_ERRORS):
                raise commit_error(error, died_of, partition) from error
            raise

    def _abandon(self, partition: int, writer: Writer) -> None:
        """Give a writer up at once, unless another one has its place already; it disconnects in the background."""
        if self._writers.get(partition) is writer:
            del self._writers[partition]
            task = asyncio.ensure_future(writer.abandon())
            self._abandoning.add(task)
            task.add_done_callback(self._abandoning.discard)

    async def last(self, partition: int, barrier: int) -> Logged | None:
        """See `Changelog.last`; raises `UnavailableError` when the barrier does not become readable."""
        with translated():
            async with self._readers.reading(self._topic, partition) as reader:
                return await _last_position(reader, barrier)

    async def newest(self, partition: int) -> Logged | None:
        """See `Changelog.newest`."""
        with translated():
            async with self._readers.reading(self._topic, partition) as reader:
                return await _last_position(reader, await reader.end_offset() - 1)

    async def read(self, partition: int, after: int, through: int) -> AsyncGenerator[Chunk]:
        """See `Changelog.read`; raises `ConfigurationError` for what this version cannot read."""
        with translated():
            async with self._readers.reading(self._topic, partition) as reader:
                first = max(after + 1, await reader.first_offset())
                async with aclosing(reader.records(first, through)) as batches:
                    async for records in batches:
                        yield _chunk(records)


async def _last_position(reader: Reader, through: int) -> Logged | None:
    """Looks back in windows that grow."""
    first, window = await reader.first_offset(), _FIRST_WINDOW
    while through >= first:
        after = max(through - window, first - 1)
        if found := await _last_position_between(reader, after + 1, through):
            return found
        through, window = after, window * 16
    return None


async def _last_position_between(reader: Reader, first: int, last: int) -> Logged | None:
    found = None
    async with aclosing(reader.records(first, last)) as batches:
        async for records in batches:
            found = next((record for record in reversed(records) if record.key == POSITION_KEY), found)
    return found and _logged(found)


def _chunk(records: list[Any]) -> Chunk:
    latest = {record.key: record for record in records}
    latest.pop(BARRIER_KEY, None)
    position = latest.pop(POSITION_KEY, None)
    values = [record.value or b"" for record in latest.values()]
    try:
        names = [key.decode() for key in latest]
        users = [*map(UserState, names, values, due_ms_of(values))]
    except (UnreadableStateError, UnicodeDecodeError, AttributeError) as error:
        raise _unreadable(error) from error
    return Chunk(users, records[-1].offset, position and _logged(position))


def _logged(record: Any) -> Logged:
    try:
        return Logged(Position.from_json(record.value), record.offset)
    except (ValueError, TypeError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the state topic holds what this version cannot read: {error}")
