"""More partitions for the input: states move to where their users live, and nothing else changes."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from inprocess import engine_of, outcome_of, serving
from kafka_members import member
from logs import DISORDER_S, last_word, random_log
from service_process import ebbtide

from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.topics import partition_count, topic_problems
from consumer.embedded import KafkaServer, RedisServer
from consumer.errors import EbbtideError
from consumer.repartition import Choices, Moved, repartition
from support import DEADLINE_S, Keyed, KnownCurve, Shop, by_id, shop_settings, until

USERS, DAYS, NEW = 30, 50, 5
LOG = random_log(seed=4, users=USERS, days=DAYS)
HALF = len(LOG) // 2
FORGOTTEN: list[Keyed] = [(f"user-{number}".encode(), None) for number in range(0, USERS, 5)]
FIRST, SECOND, LAST = [*LOG[:HALF], *FORGOTTEN], LOG[HALF:], last_word(USERS, DAYS)


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop with two partitions that has processed half of a log, and whose service is stopped."""
    shop = Shop(shop_settings(kafka, valkey, max_batch_records=50, watermark_delay_s=DISORDER_S))
    await shop.create_topics()
    await shop.produce(FIRST)
    async with serving(shop):
        await shop.settled()
    return shop


async def enlarge(shop: Shop, *topics: str) -> None:
    """Give topics more partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(NEW) for topic in topics})
    finally:
        await admin.close()
    for topic in topics:
        await until(lambda topic=topic: _has(shop, topic), "the new partitions are known")


async def _has(shop: Shop, topic: str) -> bool:
    return await partition_count(shop.settings, topic) == NEW


def moved_to(shop: Shop, moved: Moved | None) -> Shop:
    """The shop as it is configured afterwards."""
    assert moved is not None
    return Shop(shop.settings.model_copy(update={"state_topic": moved.state_topic, "partitions": NEW}))


async def assert_goes_on(shop: Shop, *more: Keyed) -> None:
    """With further records the whole log comes to what it comes to when nothing moves; each alert once."""
    await shop.produce([*more, *LAST])
    async with serving(shop):
        await shop.settled()
    outcome = outcome_of(shop.settings, engine_of(shop.settings, KnownCurve()), [*FIRST, *SECOND, *LAST])
    alerts = await shop.alerts()
    assert by_id(alerts) == outcome.alerts
    assert len(alerts) == len(outcome.alerts) > 0
    assert await shop.states() == await shop.logged() == outcome.states


async def refusal(shop: Shop, into: str | None = None) -> str:
    """What the command says when it does nothing."""
    with pytest.raises(EbbtideError) as refused:
        await repartition(shop.settings, into, Choices())
    return str(refused.value)


async def refused_claim(shop: Shop) -> str:
    """What ends a service that is given the partitions."""
    with pytest.raises(ExceptionGroup) as ended:
        async with serving(shop), asyncio.timeout(DEADLINE_S):
            await asyncio.Event().wait()
    [error] = ended.value.exceptions
    return str(error)


@pytest.mark.parametrize("state_topic_too", [False, True])
async def test_a_service_goes_on_with_more_partitions(shop: Shop, state_topic_too: bool) -> None:
    """It refuses, also if somebody enlarged the state topic as well; after the command it goes on as if never split."""
    before = await shop.states()
    await enlarge(shop, shop.settings.events_topic, *([shop.settings.state_topic] if state_topic_too else []))
    assert "ebbtide repartition" in await refused_claim(shop)
    assert state_topic_too or "ebbtide repartition" in (await topic_problems(shop.settings))[0]
    moved = await repartition(shop.settings, None, Choices())
    assert await shop.states() == before
    assert moved is not None
    assert moved.state_topic == f"{shop.settings.state_topic}-{NEW}"
    assert sum(each.users for each in moved.partitions) == len(before)
    assert sum(each.timers for each in moved.partitions) == len(await shop.timers())
    assert f"EBBTIDE_STATE_TOPIC={moved.state_topic}" in moved.what_to_do()
    await assert_goes_on(moved_to(shop, moved), *SECOND)


async def test_nothing_is_done_where_nothing_moves(shop: Shop) -> None:
    """As many partitions as ever: no topic is made, and a service that runs goes on."""
    async with serving(shop):
        assert await repartition(shop.settings, None, Choices()) is None
        await shop.produce(SECOND)
        await shop.settled()


async def test_unread_records_of_users_who_move_are_refused(shop: Shop) -> None:
    """They would be folded where their users do not live; published anew they come to the same as ever."""
    await shop.produce(SECOND)
    await enlarge(shop, shop.settings.events_topic)
    told = await refusal(shop)
    assert "partition 0:" in told
    assert "partition 1:" in told
    assert "lag 0" in told
    moved = await repartition(shop.settings, None, Choices(requeue_unread=True))
    assert moved is not None
    assert moved.requeued_records == len(SECOND)
    await assert_goes_on(moved_to(shop, moved))


async def test_unread_records_of_users_who_stay_may_wait(shop: Shop) -> None:
    """New partitions are read from their first record, whoever wrote it before the command was run."""
    await enlarge(shop, shop.settings.events_topic)
    await shop.produce(SECOND)  # its producer knows the new partitions
    moved = await repartition(shop.settings, None, Choices())
    await assert_goes_on(moved_to(shop, moved))


async def test_it_is_refused_while_the_service_runs(shop: Shop) -> None:
    """A member of the group may be writing."""
    await enlarge(shop, shop.settings.events_topic)
    async with member(shop.settings):
        assert f"group {shop.settings.group_id} has 1 members" in await refusal(shop)
    assert await repartition(shop.settings, None, Choices()) is not None


async def test_a_topic_that_holds_something_is_refused(shop: Shop) -> None:
    """What an interrupted run has left is not mixed with; another topic is made, by the command as people call it."""
    await enlarge(shop, shop.settings.events_topic)
    left = Shop(shop.settings.model_copy(update={"state_topic": f"{shop.settings.state_topic}-{NEW}"}))
    await left.create_topics()
    async with AIOKafkaProducer(bootstrap_servers=shop.settings.kafka_bootstrap_servers) as producer:
        await producer.send_and_wait(left.settings.state_topic, b"state", b"user")
    assert "holds records" in await refusal(shop)
    for name in (shop.settings.state_topic, shop.settings.alerts_topic):
        assert "is in use" in await refusal(shop, name)
    into = f"{shop.settings.state_topic}-again"
    command = await ebbtide("repartition", "--into", into, "--json", settings=shop.settings)
    assert (command.code, command.err) == (0, "")
    assert json.loads(command.out)["state_topic"] == into
    assert await partition_count(shop.settings, into) == NEW


async def test_a_service_that_starts_in_between_ends_the_command(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once somebody else claims a partition of the new topic, no position of it says that it can be worked on."""
    await enlarge(shop, shop.settings.events_topic)
    into = f"{shop.settings.state_topic}-{NEW}"
    rival = KafkaChangelog(shop.settings.model_copy(update={"state_topic": into}))
    read = KafkaChangelog.read

    async def reading(self: KafkaChangelog, *arguments: int):  # type: ignore[no-untyped-def]
        await rival.fence(NEW - 1)
        async for chunk in read(self, *arguments):
            yield chunk

    monkeypatch.setattr(KafkaChangelog, "read", reading)
    assert "delete" in await refusal(shop)
    await rival.close()
    left = moved_to(shop, Moved(into, [], 0, 0))
    assert "ebbtide repartition" in await refused_claim(left)


async def test_partitions_added_under_a_running_service_end_it(shop: Shop) -> None:
    """A service that keeps its partitions through the rebalance notices as well, and says what to run."""

    async def enlarged_while_serving() -> None:
        async with serving(shop), asyncio.timeout(DEADLINE_S):
            await shop.settled()
            await enlarge(shop, shop.settings.events_topic, shop.settings.state_topic)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as ended:
        await enlarged_while_serving()
    assert "ebbtide repartition" in str(ended.value.exceptions[0])
