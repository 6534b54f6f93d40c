"""Restarts and lost state: what the service comes to does not depend on them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from inprocess import Outcome, Running, engine_of, outcome_of, serving
from logs import DISORDER_S, last_word, random_log
from redis.asyncio import Redis

from consumer.embedded import KafkaServer, RedisServer
from consumer.ports import Position
from support import Keyed, KnownCurve, Shop, by_id, shop_settings, until

USERS, DAYS = 30, 50
LOG = random_log(seed=2, users=USERS, days=DAYS)
HALF = len(LOG) // 2
EVERYTHING = ("users", "due", "restoring", "position")


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop of our own, with its topics; batches are small, so that there are many."""
    shop = Shop(shop_settings(kafka, valkey, max_batch_records=50, watermark_delay_s=DISORDER_S))
    await shop.create_topics()
    return shop


def expected(shop: Shop, records: list[Keyed]) -> Outcome:
    return outcome_of(shop.settings, engine_of(shop.settings, KnownCurve()), records)


async def assert_came_to(shop: Shop, records: list[Keyed], *, without_repeats: bool = True) -> None:
    """The log is processed, and left what it leaves when nothing happens in between."""
    await shop.settled()
    outcome, alerts = expected(shop, records), await shop.alerts()
    assert by_id(alerts) == outcome.alerts
    assert await shop.states() == outcome.states
    if without_repeats:
        assert len(alerts) == len(outcome.alerts)


def keys(shop: Shop, *names: str) -> list[str]:
    """Redis keys of both partitions."""
    return [f"{{{shop.settings.group_id}:{partition}}}:{name}" for partition in range(2) for name in names]


def lose(shop: Shop, *names: str) -> Callable[[Redis], Awaitable[object]]:
    return lambda redis: redis.delete(*keys(shop, *names))


async def test_a_restart_in_the_middle_changes_nothing(shop: Shop) -> None:
    """Two services one after the other come to the same as one, and raise no alert twice."""
    await shop.produce(LOG)
    async with serving(shop):
        await until(shop.processed, "a first batch")
    assert 0 < await shop.processed() < len(LOG)
    async with serving(shop):
        await assert_came_to(shop, LOG)


async def test_a_stop_commits_what_was_processed(shop: Shop) -> None:
    """After a stop the group's offsets are where the states stand."""
    await shop.produce(LOG)
    async with serving(shop):
        await until(shop.processed, "a first batch")
    positions = await shop.positions()
    assert await shop.committed() == {
        partition: position and position.next_offset for partition, position in positions.items()
    }


LOSSES = {"everything": EVERYTHING, "the positions": ("position",)}


@pytest.mark.parametrize("lost", LOSSES.values(), ids=LOSSES)
async def test_states_lost_while_stopped_are_restored(shop: Shop, lost: tuple[str, ...]) -> None:
    """What Redis lost between two runs comes back from the changelog: states, timers and position."""
    await shop.produce(LOG[:HALF])
    async with serving(shop):
        await shop.settled()
    before = await shop.states(), await shop.timers(), await shop.positions()
    await shop.redis(lose(shop, *lost))
    async with serving(shop) as service:
        await until(lambda: service.sample("ebbtide_restores_total") == 2, "two partitions restored")
        assert (await shop.states(), await shop.timers(), await shop.positions()) == before
        await shop.produce(LOG[HALF:])
        await assert_came_to(shop, LOG)


async def test_an_erased_user_stays_erased_after_a_restore(shop: Shop) -> None:
    """The changelog does not bring back who was forgotten."""
    await shop.produce([*LOG[:HALF], *((f"user-{number}".encode(), None) for number in range(0, USERS, 2))])
    async with serving(shop):
        await shop.settled()
    before = await shop.states()
    assert 0 < len(before) <= USERS / 2
    await shop.redis(lose(shop, *EVERYTHING))
    async with serving(shop) as service:
        await until(lambda: service.sample("ebbtide_restores_total") == 2, "two partitions restored")
    assert await shop.states() == before


async def test_states_lost_while_events_flow_are_restored(shop: Shop) -> None:
    """A loss under load is noticed before anything is computed from it: no state and no alert is wrong."""
    feed = asyncio.create_task(shop.produce(LOG))
    async with serving(shop) as service:
        for share in (0.2, 0.4, 0.6):
            await until(lambda share=share: folded(service) > share * len(LOG), "some more events")
            await shop.redis(lose(shop, *EVERYTHING))
        await feed
        await assert_came_to(shop, LOG, without_repeats=False)
        assert service.sample("ebbtide_restores_total") > 0


def folded(service: Running) -> float:
    return service.sample("ebbtide_records_total", result="folded")


async def test_states_lost_between_two_events_do_not_start_afresh(shop: Shop) -> None:
    """The first event after a loss is folded into the restored state, in Redis and in the changelog."""
    more = last_word(USERS, DAYS)
    await shop.produce(LOG)
    async with serving(shop):
        await shop.settled()
        await shop.redis(lose(shop, *EVERYTHING))
        await shop.produce(more)
        await until(lambda: reached(shop, len(LOG) + len(more)), "all processed")
        await assert_came_to(shop, LOG + more)
    logged = {record.key: record.value for record in await shop.read(shop.settings.state_topic) if record.key}
    assert {name.decode(): value for name, value in logged.items()} == await shop.states()


async def reached(shop: Shop, offsets: int) -> bool:
    return await shop.processed() == offsets


async def test_a_loss_is_noticed_without_any_event(shop: Shop) -> None:
    """An idle service restores what Redis lost, so that its timers go on."""
    await shop.produce(LOG)
    async with serving(shop) as service:
        await shop.settled()
        before = await shop.states(), await shop.timers(), await shop.positions()
        await shop.redis(lose(shop, *EVERYTHING))
        await until(lambda: service.sample("ebbtide_restores_total") == 2, "two partitions restored")
        assert (await shop.states(), await shop.timers(), await shop.positions()) == before


async def test_a_position_moved_by_somebody_else_is_not_written_over(shop: Shop) -> None:
    """An owner that finds its partition elsewhere claims it again and goes on from there."""
    await shop.produce(LOG[:HALF])
    async with serving(shop):
        await shop.settled()
        positions = await shop.positions()
        [moved, *_] = [each for each in positions.values() if each]
        [partition, *_] = [number for number, each in positions.items() if each == moved]
        elsewhere = Position(moved.next_offset, moved.watermark_ms + 1)
        key = f"{{{shop.settings.group_id}:{partition}}}:position"
        await shop.redis(lambda redis: redis.set(key, str(elsewhere)))
        await shop.produce(LOG[HALF:])
        await assert_came_to(shop, LOG)
