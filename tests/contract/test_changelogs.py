"""Both changelogs keep the same promises: the in-memory one and Kafka."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.memory import MemoryChangelog
from consumer.core.state import BINS, MAX_DAYS, empty_states, pack
from consumer.embedded import KafkaServer, RedisServer
from consumer.ports import Changelog, Message, Position, Step, UserState
from support import Shop, shop_settings

FIRST, SECOND, THIRD = Position(10, 1_000), Position(20, -1), Position(30, 4_000_000_000_000)


@dataclass(frozen=True)
class Log:
    """A changelog, two outgoing topics, and what has arrived there."""

    changelog: Changelog
    alerts: str
    dead_letters: str
    arrived: Callable[[str], Awaitable[list[Message]]]


@pytest.fixture(params=["memory", "kafka"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    """A changelog of two partitions in which nothing is written."""
    if request.param == "memory":
        delivered: list[Message] = []

        async def arrived(topic: str) -> list[Message]:
            return [message for message in delivered if message.topic == topic]

        yield Log(MemoryChangelog(delivered.append), "alerts", "dead-letters", arrived)
        return
    servers: tuple[KafkaServer, RedisServer] = tuple(map(request.getfixturevalue, ("kafka", "valkey")))
    settings = shop_settings(*servers, partitions=2)
    shop = Shop(settings)
    await shop.create_topics()

    async def read(topic: str) -> list[Message]:
        records = await shop.read(topic)
        return [Message(topic, each.key, each.value, tuple(each.headers)) for each in records]

    kafka_log = KafkaChangelog(settings)
    yield Log(kafka_log, settings.alerts_topic, settings.dead_letters_topic, read)
    await kafka_log.close()


def user(name: str, due_ms: int = -1, days: int = 1, salt: float = 0.0) -> UserState:
    """A state that is readable, as its timer is read out of it."""
    states = empty_states(1)
    states.header["events"], states.header["days"] = 1, days
    states.header["due_ms"], states.header["log_hazards"] = due_ms, [[salt] * BINS]
    return UserState(name, pack(states)[0], None if due_ms < 0 else due_ms)


def erased(name: str) -> UserState:
    return UserState(name, b"", None)


async def replayed(changelog: Changelog, partition: int = 0) -> tuple[dict[str, UserState], Position | None]:
    """The latest state of every user, and the last position."""
    users: dict[str, UserState] = {}
    position = None
    async for chunk, reached in changelog.read(partition):
        users |= {each.user_id: each for each in chunk}
        position = reached or position
    return users, position


def by_name(users: Sequence[UserState]) -> dict[str, UserState]:
    return {each.user_id: each for each in users}


async def test_an_empty_changelog_holds_nothing(log: Log) -> None:
    """Where nothing was published, there is neither user nor position."""
    assert await replayed(log.changelog) == ({}, None)


async def test_what_is_published_is_read_back(log: Log) -> None:
    """States come back byte for byte with the timer that is in them, and the position last."""
    users = [user("anna", due_ms=4_000_000_000_123), user("Zoë 客户 🛒", days=MAX_DAYS), user("nul\0 ")]
    await log.changelog.publish([Step(0, None, FIRST, users)])
    assert await replayed(log.changelog) == (by_name(users), FIRST)


async def test_the_latest_value_wins(log: Log) -> None:
    """Of several states of a user and several positions the last published one counts."""
    await log.changelog.publish([Step(0, None, FIRST, [user("anna", salt=1), user("ben", salt=1)])])
    await log.changelog.publish([Step(0, FIRST, SECOND, [user("anna", due_ms=7, salt=2)])])
    await log.changelog.publish([Step(0, SECOND, THIRD)])
    users = [user("anna", due_ms=7, salt=2), user("ben", salt=1)]
    assert await replayed(log.changelog) == (by_name(users), THIRD)


async def test_an_erased_user_comes_back_empty(log: Log) -> None:
    """What a restore must forget is told as an empty state, until the user is heard of again."""
    await log.changelog.publish([Step(0, None, FIRST, [user("anna", due_ms=5), user("ben"), erased("nobody")])])
    await log.changelog.publish([Step(0, FIRST, SECOND, [erased("anna"), erased("ben")])])
    await log.changelog.publish([Step(0, SECOND, THIRD, [user("ben", salt=3)])])
    users = [erased("anna"), user("ben", salt=3), erased("nobody")]
    assert await replayed(log.changelog) == (by_name(users), THIRD)


async def test_partitions_do_not_mix(log: Log) -> None:
    """Steps of one call go to their own partitions."""
    steps = [Step(0, None, FIRST, [user("anna", salt=1)]), Step(1, None, SECOND, [user("anna", salt=2)])]
    await log.changelog.publish(steps)
    assert await replayed(log.changelog, 0) == (by_name(steps[0].users), FIRST)
    assert await replayed(log.changelog, 1) == (by_name(steps[1].users), SECOND)


async def test_more_states_than_fit_into_a_batch(log: Log) -> None:
    """A step of many megabytes, full histories among them, is one step all the same."""
    users = [user(f"user-{number}", due_ms=number, days=MAX_DAYS, salt=number) for number in range(2_000)]
    await log.changelog.publish([Step(0, None, FIRST, users)])
    assert sum(len(each.value) for each in users) > 15_000_000
    assert await replayed(log.changelog) == (by_name(users), FIRST)


async def test_more_users_than_fit_into_a_chunk(log: Log) -> None:
    """A changelog that is read in several parts ends with the position."""
    users = [user(f"user-{number}", salt=number) for number in range(12_000)]
    await log.changelog.publish([Step(0, None, FIRST, users[:7_000]), Step(1, None, FIRST)])
    await log.changelog.publish([Step(0, FIRST, SECOND, users[7_000:])])
    assert await replayed(log.changelog) == (by_name(users), SECOND)


async def test_messages_reach_their_topics_with_keys_and_headers(log: Log) -> None:
    """What a step says to others arrives as it is, those of one key in order, with the states or without."""
    alerts = [Message(log.alerts, b"anna", b"1", (("alert_id", b"1"),)), Message(log.alerts, b"anna", b"2")]
    letters = [Message(log.dead_letters, None, b"{}", (("code", b"x"), ("reason", "größer".encode())))]
    await log.changelog.publish([Step(0, None, FIRST, [user("anna")], alerts), Step(1, None, FIRST, (), letters)])
    assert await log.arrived(log.alerts) == alerts
    assert await log.arrived(log.dead_letters) == letters


async def test_it_goes_on_after_being_closed(kafka: KafkaServer, valkey: RedisServer) -> None:
    """A changelog that was closed, or whose producer was given up, connects again when it is needed."""
    settings = shop_settings(kafka, valkey)
    await Shop(settings).create_topics()
    changelog = KafkaChangelog(settings)
    await changelog.close()
    await changelog.publish([Step(0, None, FIRST)])
    await changelog.close()
    await changelog.publish([Step(0, FIRST, SECOND)])
    await changelog.close()
    assert await replayed(changelog) == ({}, SECOND)
