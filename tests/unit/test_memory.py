"""What the in-memory twins promise beyond the contract tests: a replay's order, fencing, bounded memory."""

import pytest

from consumer.adapters import memory
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.errors import LostPartitionError
from consumer.records import Logged, Message, Position, Record, UserState

WRITTEN = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]  # partition and offset, in the order in which they were written
GENESIS = "genesis"


def source() -> MemorySource:
    return MemorySource([(partition, Record(offset, 0, b"a", b"{}")) for partition, offset in WRITTEN], partitions=2)


async def polled(source: MemorySource, most: int = 10) -> dict[int, list[int]]:
    """Offsets by partition."""
    return {partition: [each.offset for each in records] for partition, records in (await source.poll(most, 0)).items()}


def another_process(changelog: MemoryChangelog) -> MemoryChangelog:
    """The same log, written by somebody else."""
    twin = MemoryChangelog(changelog._deliver)
    twin._logs = changelog._logs
    return twin


async def committed(changelog: MemoryChangelog, number: int, *messages: Message) -> int:
    """One user's state, and the position's offset."""
    return await changelog.commit(
        0, [UserState("a", str(number).encode(), None)], Position(GENESIS, number, 0), messages
    )


async def test_records_come_in_the_order_in_which_they_were_written() -> None:
    """A poll takes the next records of the whole log, until there are no more."""
    log = source()
    assert [await polled(log, 2), await polled(log, 2)] == [{0: [0], 1: [0]}, {0: [1], 1: [1]}]
    assert not log.is_exhausted
    assert [await polled(log, 2), await polled(log, 2)] == [{0: [2]}, {}]
    assert log.is_exhausted


async def test_a_held_partition_keeps_its_place() -> None:
    """The others go on meanwhile, the log is not at its end, and what was skipped comes once it is sought."""
    log = source()
    assert await polled(log, 1) == {0: [0]}
    log.hold(0)
    assert [await polled(log), await polled(log)] == [{1: [0, 1]}, {}]
    assert not log.is_exhausted
    await log.seek(0, 1)
    assert [await polled(log), await polled(log)] == [{0: [1, 2]}, {}]
    assert log.is_exhausted


async def test_a_partition_can_be_read_again() -> None:
    """A seek back repeats that partition's records, and no others."""
    log = source()
    await polled(log)
    await log.seek(1, 1)
    assert await polled(log) == {1: [1]}


async def test_a_log_knows_its_partitions_and_their_ends() -> None:
    """All of it is retained from its beginning on, where processing starts; what waits is counted."""
    log = source()
    assert await log.partitions() == 2
    assert [await log.retained(each) for each in (0, 1)] == [(0, 3), (0, 2)]
    assert await log.configured_start(1) == 0
    assert (log.lag(0, 1), log.lag(1, 2)) == (2, 0)


async def test_a_writer_that_was_fenced_commits_nothing_more() -> None:
    """The process that fenced last writes; the other one's commit and its messages do not exist, until it fences."""
    delivered: list[Message] = []
    first = MemoryChangelog(delivered.append)
    second = another_process(first)
    await first.fence(0)
    await second.fence(0)
    with pytest.raises(LostPartitionError) as refusal:
        await committed(first, 1, Message("alerts", b"a", b"{}"))
    assert (refusal.value.reason, refusal.value.partitions, delivered) == ("fenced", {0}, [])
    offset = await committed(second, 2)
    with pytest.raises(LostPartitionError):
        await first.barrier(0)
    await first.fence(0)
    assert await first.last(0, await first.barrier(0)) == Logged(Position(GENESIS, 2, 0), offset)


async def test_superseded_records_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the log, memory holds the latest states, at the offsets at which they were committed."""
    monkeypatch.setattr(memory, "_COMPACT_RECORDS", 10)
    changelog = MemoryChangelog(lambda message: None)
    await changelog.fence(0)
    await changelog.commit(0, [UserState("b", b"0", None)], Position(GENESIS, 0, 0), [])
    for number in range(1, 100):
        offset = await committed(changelog, number)
        assert len(changelog._logs[0].records) <= 2 * 3 + 10
    assert await changelog.last(0, offset) == Logged(Position(GENESIS, 99, 0), offset)
    users = {each.user_id: each.value async for chunk in changelog.read(0, -1, offset) for each in chunk.users}
    assert users == {"a": b"99", "b": b"0"}
