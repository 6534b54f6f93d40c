"""Both changelogs keep the same promises: the in-memory one and Kafka, the latter with either kind of delivery."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import ProducerClosed

from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_writer import Writer
from consumer.adapters.memory import MemoryChangelog
from consumer.core.packing import pack
from consumer.core.state import BINS, COUNTS, MAX_DAYS, SUMS, empty_states
from consumer.embedded import KafkaServer, RedisServer
from consumer.errors import ConfigurationError, LostPartitionError, UnavailableError
from consumer.ports import Changelog
from consumer.records import Chunk, Logged, Message, Position, UserState
from support import Shop, shop_settings

FIRST = Position("genesis", 10, 1_000, users=1, timers=2, partitions=3)
SECOND, THIRD = Position("genesis", 20, -1), Position("genesis", 30, 4_000_000_000_000)


@dataclass(frozen=True)
class Log:
    """A changelog, the same one as another process has it, two outgoing topics, and what has arrived there.

    The in-memory one lives in one process: there it is its own rival, and never fenced by another.
    """

    changelog: Changelog
    rival: Changelog
    alerts: str
    dead_letters: str
    arrived: Callable[[str], Awaitable[list[Message]]]


@pytest.fixture(params=["memory", "exactly_once", "at_least_once"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    """A changelog of two partitions, both fenced, in which nothing is written."""
    if request.param == "memory":
        delivered: list[Message] = []

        async def arrived(topic: str) -> list[Message]:
            return [message for message in delivered if message.topic == topic]

        memory = MemoryChangelog(delivered.append)
        yield await fenced(Log(memory, memory, "alerts", "dead-letters", arrived))
        return
    servers: tuple[KafkaServer, RedisServer] = tuple(map(request.getfixturevalue, ("kafka", "valkey")))
    settings = shop_settings(*servers, partitions=2, delivery=request.param)
    shop = Shop(settings)
    await shop.create_topics()

    async def read(topic: str) -> list[Message]:
        records = await shop.read(topic)
        return [Message(topic, each.key, each.value, tuple(each.headers)) for each in records]

    kafka_logs = KafkaChangelog(settings), KafkaChangelog(settings)
    yield await fenced(Log(*kafka_logs, settings.alerts_topic, settings.dead_letters_topic, read))
    for each in kafka_logs:
        await each.close()


async def fenced(log: Log) -> Log:
    for partition in (0, 1):
        await log.changelog.fence(partition)
    return log


between_processes = pytest.mark.parametrize("log", ["exactly_once"], indirect=True)


def user(name: str, due_ms: int = -1, days: int = 1, salt: float = 0.0) -> UserState:
    """A state that is readable, as its timer is read out of it."""
    states = empty_states(1)
    states.header["events"], states.header["days"] = 1, days
    states.header["due_ms"], states.header["log_hazards"] = due_ms, [[salt] * BINS]
    return UserState(name, pack(states)[0], None if due_ms < 0 else due_ms)


def full_user(number: int) -> UserState:
    """A state that cannot be packed any smaller than it is in memory."""
    states = empty_states(1)
    states.header["events"], states.header["days"], states.header["due_ms"] = 1, MAX_DAYS, number
    rng = np.random.default_rng(number)
    states.days["day"] = np.arange(MAX_DAYS)
    for name in COUNTS:
        states.days[name] = rng.integers(0, 2**32, (1, MAX_DAYS))
    for name in SUMS:
        states.days[name] = rng.random((1, MAX_DAYS))
    return UserState(f"user-{number}", pack(states)[0], number)


def erased(name: str) -> UserState:
    return UserState(name, b"", None)


async def chunks(changelog: Changelog, after: int, through: int, partition: int = 0) -> list[Chunk]:
    async with aclosing(changelog.read(partition, after, through)) as found:
        return [chunk async for chunk in found]


async def latest(changelog: Changelog, after: int, through: int, partition: int = 0) -> dict[str, UserState]:
    """The latest state of every user in a range."""
    found = await chunks(changelog, after, through, partition)
    return {each.user_id: each for chunk in found for each in chunk.users}


async def last(changelog: Changelog, partition: int = 0) -> Logged | None:
    return await changelog.last(partition, await changelog.barrier(partition))


def by_name(users: Sequence[UserState]) -> dict[str, UserState]:
    return {each.user_id: each for each in users}


async def test_an_empty_changelog_holds_nothing(log: Log) -> None:
    """Where nothing was committed, there is neither user nor position, however many barriers."""
    assert await last(log.changelog) is None
    barrier = await log.changelog.barrier(0)
    assert await log.changelog.last(0, barrier) is None
    assert await latest(log.changelog, -1, barrier) == {}


async def test_what_is_committed_is_read_back(log: Log) -> None:
    """States come back byte for byte with the timer that is in them, and the position where it was committed."""
    users = [user("anna", due_ms=4_000_000_000_123), user("Zoë 客户 🛒", days=MAX_DAYS), user("nul\0 ")]
    offset = await log.changelog.commit(0, users, FIRST, [])
    assert await last(log.changelog) == Logged(FIRST, offset)
    [chunk] = await chunks(log.changelog, -1, offset)
    assert by_name(chunk.users) == by_name(users)
    assert (chunk.last_offset, chunk.logged) == (offset, Logged(FIRST, offset))


async def test_offsets_grow(log: Log) -> None:
    """Every commit and every barrier comes after those before it."""
    offsets = [
        await log.changelog.barrier(0),
        await log.changelog.commit(0, [], FIRST, []),
        await log.changelog.barrier(0),
        await log.changelog.commit(0, [user("anna"), user("ben")], SECOND, []),
    ]
    assert offsets == sorted(set(offsets))


async def test_the_latest_value_wins(log: Log) -> None:
    """Of several states of a user and several positions the last committed one counts."""
    await log.changelog.commit(0, [user("anna", salt=1), user("ben", salt=1)], FIRST, [])
    await log.changelog.commit(0, [user("anna", due_ms=7, salt=2)], SECOND, [])
    offset = await log.changelog.commit(0, [], THIRD, [])
    users = [user("anna", due_ms=7, salt=2), user("ben", salt=1)]
    assert await latest(log.changelog, -1, offset) == by_name(users)
    assert await last(log.changelog) == Logged(THIRD, offset)


async def test_a_range_is_read_without_its_beginning_and_with_its_end(log: Log) -> None:
    """What was committed after one position and up to another one: neither more nor less."""
    first = await log.changelog.commit(0, [user("anna", salt=1), user("ben", salt=1)], FIRST, [])
    second = await log.changelog.commit(0, [user("anna", salt=2)], SECOND, [])
    await log.changelog.barrier(0)
    third = await log.changelog.commit(0, [user("ben", salt=3), user("cleo")], THIRD, [])
    assert await latest(log.changelog, -1, first) == by_name([user("anna", salt=1), user("ben", salt=1)])
    assert await latest(log.changelog, first, second) == by_name([user("anna", salt=2)])
    assert await latest(log.changelog, second, third) == by_name([user("ben", salt=3), user("cleo")])
    assert await latest(log.changelog, first, third) == by_name(
        [user("anna", salt=2), user("ben", salt=3), user("cleo")]
    )
    assert (await chunks(log.changelog, first, third))[-1].logged == Logged(THIRD, third)
    assert await chunks(log.changelog, third, third) == []


async def test_the_newest_position_is_anybodys(log: Log) -> None:
    """Who does not write a partition finds what its writer committed last, without disturbing it."""
    assert await log.rival.newest(0) is None
    await log.changelog.commit(0, [user("anna")], FIRST, [])
    second = await log.changelog.commit(0, [user("anna", salt=1)], SECOND, [])
    await log.changelog.barrier(0)
    assert await log.rival.newest(0) == Logged(SECOND, second)
    assert await log.rival.newest(1) is None
    await log.changelog.commit(0, [], SECOND, [])


async def test_the_last_position_is_found_behind_many_barriers(log: Log) -> None:
    """However often a partition is claimed without a commit, and whatever was committed later."""
    offset = await log.changelog.commit(0, [user("anna")], FIRST, [])
    barriers = [await log.changelog.barrier(0) for _ in range(100)]
    await log.changelog.commit(0, [], SECOND, [])
    for barrier in (barriers[0], barriers[-1]):
        assert await log.changelog.last(0, barrier) == Logged(FIRST, offset)


async def test_an_erased_user_comes_back_empty(log: Log) -> None:
    """What a restore must forget is told as an empty state, until the user is heard of again."""
    await log.changelog.commit(0, [user("anna", due_ms=5), user("ben"), erased("nobody")], FIRST, [])
    await log.changelog.commit(0, [erased("anna"), erased("ben")], SECOND, [])
    offset = await log.changelog.commit(0, [user("ben", salt=3)], THIRD, [])
    assert await latest(log.changelog, -1, offset) == by_name([erased("anna"), user("ben", salt=3), erased("nobody")])


async def test_partitions_do_not_mix(log: Log) -> None:
    """Each has its own users, its own positions and its own offsets."""
    first = await log.changelog.commit(0, [user("anna", salt=1)], FIRST, [])
    second = await log.changelog.commit(1, [user("anna", salt=2)], SECOND, [])
    for partition, offset, position, salt in ((0, first, FIRST, 1), (1, second, SECOND, 2)):
        assert await latest(log.changelog, -1, offset, partition) == by_name([user("anna", salt=salt)])
        assert await last(log.changelog, partition) == Logged(position, offset)


async def test_more_states_than_fit_into_a_batch(log: Log) -> None:
    """A commit of many megabytes, full histories among them, is one commit all the same."""
    users = [full_user(number) for number in range(2_000)]
    offset = await log.changelog.commit(0, users, FIRST, [])
    assert sum(len(each.value) for each in users) > 12_000_000
    assert await latest(log.changelog, -1, offset) == by_name(users)
    assert await last(log.changelog) == Logged(FIRST, offset)


async def test_more_users_than_fit_into_a_chunk(log: Log) -> None:
    """A changelog that is read in several parts ends with the position."""
    users = [user(f"user-{number}", salt=number) for number in range(12_000)]
    await log.changelog.commit(0, users[:7_000], FIRST, [])
    offset = await log.changelog.commit(0, users[7_000:], SECOND, [])
    found = await chunks(log.changelog, -1, offset)
    assert len(found) > 1
    assert all(len(chunk.users) <= 5_000 for chunk in found)
    assert [chunk.last_offset for chunk in found] == sorted({chunk.last_offset for chunk in found})
    assert {each.user_id: each for chunk in found for each in chunk.users} == by_name(users)
    assert found[-1].logged == Logged(SECOND, offset)


async def test_a_reading_may_be_left(log: Log) -> None:
    """Whoever stops in the middle leaves nothing behind that the next one would stumble over."""
    users = [user(f"user-{number}") for number in range(6_000)]
    offset = await log.changelog.commit(0, users, FIRST, [])
    async with aclosing(log.changelog.read(0, -1, offset)) as found:
        assert (await anext(found)).users
    assert await latest(log.changelog, -1, offset) == by_name(users)


async def test_partitions_are_read_at_once(log: Log) -> None:
    """Claims of many partitions do not wait for each other, nor do they see each other's."""
    offsets = [await log.changelog.commit(part, [user("anna", salt=part)], FIRST, []) for part in (0, 1)]
    found = await asyncio.gather(*(latest(log.changelog, -1, offsets[part], part) for part in (0, 1, 0, 1)))
    assert found == [by_name([user("anna", salt=part)]) for part in (0, 1, 0, 1)]


async def test_messages_reach_their_topics_with_keys_and_headers(log: Log) -> None:
    """What a commit says to others arrives as it is, those of one key in order, with states or without."""
    alerts = [Message(log.alerts, b"anna", b"1", (("alert_id", b"1"),)), Message(log.alerts, b"anna", b"2")]
    letters = [Message(log.dead_letters, None, b"{}", (("code", b"x"), ("reason", "größer".encode())))]
    await log.changelog.commit(0, [user("anna")], FIRST, alerts)
    await log.changelog.commit(1, [], FIRST, letters)
    assert await log.arrived(log.alerts) == alerts
    assert await log.arrived(log.dead_letters) == letters


@between_processes
async def test_a_fenced_writer_commits_nothing_more(log: Log) -> None:
    """Once another process has fenced the partition, no state, position, barrier or message of this one is seen."""
    await log.changelog.commit(0, [user("anna", salt=1)], FIRST, [])
    await log.rival.fence(0)
    with pytest.raises(LostPartitionError) as doubt:
        await log.changelog.commit(0, [user("anna", salt=2)], SECOND, [Message(log.alerts, b"anna", b"{}")])
    assert (doubt.value.partitions, doubt.value.reason) == ({0}, "fenced")
    with pytest.raises(LostPartitionError):
        await log.changelog.barrier(0)
    barrier = await log.rival.barrier(0)
    logged = await log.rival.last(0, barrier)
    assert logged is not None
    assert logged.position == FIRST
    assert await latest(log.rival, -1, barrier) == by_name([user("anna", salt=1)])
    assert await log.arrived(log.alerts) == []


@between_processes
async def test_a_barrier_tells_whether_one_is_fenced(log: Log) -> None:
    """An owner can ask before it does what cannot be undone."""
    await log.changelog.barrier(0)
    await log.rival.fence(0)
    with pytest.raises(LostPartitionError) as doubt:
        await log.changelog.barrier(0)
    assert (doubt.value.partitions, doubt.value.reason) == ({0}, "fenced")


@between_processes
async def test_who_fences_last_writes(log: Log) -> None:
    """A partition can be taken back, and others are not touched by it."""
    await log.rival.fence(0)
    await log.changelog.commit(1, [user("ben")], SECOND, [])
    await log.changelog.fence(0)
    offset = await log.changelog.commit(0, [user("anna")], FIRST, [])
    assert await last(log.changelog) == Logged(FIRST, offset)
    with pytest.raises(LostPartitionError):
        await log.rival.commit(0, [user("anna", salt=9)], THIRD, [])
    assert await latest(log.changelog, -1, offset) == by_name([user("anna")])


async def test_without_a_fence_nothing_is_written(log: Log) -> None:
    """Who has released a partition cannot write there; fencing it again makes it possible again."""
    await log.changelog.release(0)
    await log.changelog.release(0)
    with pytest.raises(LostPartitionError):
        await log.changelog.commit(0, [], FIRST, [])
    with pytest.raises(LostPartitionError):
        await log.changelog.barrier(0)
    await log.changelog.fence(0)
    offset = await log.changelog.commit(0, [], SECOND, [])
    assert await last(log.changelog) == Logged(SECOND, offset)


async def test_a_new_process_reads_what_another_one_wrote(log: Log) -> None:
    """That is what a changelog is for."""
    offset = await log.changelog.commit(0, [user("anna", due_ms=9)], FIRST, [])
    await log.changelog.release(0)
    await log.rival.fence(0)
    assert await last(log.rival) == Logged(FIRST, offset)
    assert await latest(log.rival, -1, offset) == by_name([user("anna", due_ms=9)])


# Of Kafka alone.


@dataclass(frozen=True)
class KafkaLog:
    """The topics, and two processes' changelogs."""

    shop: Shop
    changelog: KafkaChangelog
    rival: KafkaChangelog


@pytest.fixture
async def kafka_log(kafka: KafkaServer, valkey: RedisServer) -> AsyncIterator[KafkaLog]:
    """A changelog in which nothing is written, whose partition 0 is fenced."""
    settings = shop_settings(kafka, valkey, partitions=2)
    log = KafkaLog(Shop(settings), KafkaChangelog(settings), KafkaChangelog(settings))
    await log.shop.create_topics()
    await log.changelog.fence(0)
    yield log
    await log.changelog.close()
    await log.rival.close()


class LateWriter(Writer):
    """Fails, but only once it is told to."""

    may_fail = asyncio.Event()

    async def commit(self, *args: Any) -> int:
        """See `Writer.commit`."""
        await self.may_fail.wait()
        raise ProducerClosed


async def test_a_commit_that_fails_late_does_no_harm_to_the_next_claim(
    kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a partition that was let go and claimed again: the writer that is there by then goes on."""
    changelog = kafka_log.changelog
    with monkeypatch.context() as patched:
        patched.setattr("consumer.adapters.kafka_changelog.Writer", LateWriter)
        await changelog.fence(0)
    late = asyncio.create_task(changelog.commit(0, [], FIRST, []))
    await asyncio.sleep(0)
    await changelog.release(0)
    await changelog.fence(0)
    LateWriter.may_fail.set()
    with pytest.raises(LostPartitionError):
        await late
    await changelog.commit(0, [user("anna")], FIRST, [])


async def test_what_was_written_but_not_committed_is_never_seen(kafka_log: KafkaLog) -> None:
    """A transaction that was left open after all its records is aborted by the next fence, its messages with it."""
    offset = await kafka_log.changelog.commit(0, [user("anna", salt=1)], FIRST, [])
    writer = kafka_log.changelog._writers[0]
    await writer._producer.begin_transaction()
    alert = Message(kafka_log.shop.settings.alerts_topic, b"anna", b"{}")
    await writer._written([(b"anna", user("anna", salt=2).value)], [alert])
    await kafka_log.rival.fence(0)
    assert await last(kafka_log.rival) == Logged(FIRST, offset)
    barrier = await kafka_log.rival.barrier(0)
    assert await latest(kafka_log.rival, -1, barrier) == by_name([user("anna", salt=1)])
    assert await kafka_log.shop.alerts() == []


async def test_a_barrier_that_does_not_become_readable_is_waited_for_but_not_for_ever(
    kafka: KafkaServer, valkey: RedisServer
) -> None:
    """An offset that nobody has written yet counts as Kafka being away."""
    settings = shop_settings(kafka, valkey, kafka_transaction_timeout_ms=1_000)
    await Shop(settings).create_topics()
    changelog = KafkaChangelog(settings)
    await changelog.fence(0)
    barrier = await changelog.barrier(0)
    with pytest.raises(UnavailableError, match="cannot be read"):
        await changelog.last(0, barrier + 10)
    await changelog.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"anna", b"no state"), (b"\xfe", b""), (b"", b"10:1000"), (b"", b'{"genesis": 1}'), (b"", b"")],
    ids=["state", "user id", "old position", "half a position", "no position"],
)
async def test_what_cannot_be_read_is_for_a_person(kafka_log: KafkaLog, key: bytes, value: bytes) -> None:
    """Records that somebody else wrote, or another version, are not guessed at."""
    offset = await kafka_log.changelog._writers[0].commit([(key, value)], [])
    with pytest.raises(ConfigurationError, match="cannot read"):
        await chunks(kafka_log.changelog, -1, offset)
