"""Restarts and lost state: what the service comes to does not depend on them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from inprocess import Outcome, Running, engine_of, outcome_of, serving
from logs import DISORDER_S, last_word, random_log

from consumer.embedded import KafkaServer, RedisServer
from support import Keyed, KnownCurve, Shop, by_id, shop_settings, until

USERS, DAYS = 30, 50
LOG = random_log(seed=2, users=USERS, days=DAYS)
HALF = len(LOG) // 2
EVERYTHING = ("users", "due", "header")


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop of our own, with its topics; batches are small, so that there are many."""
    shop = Shop(shop_settings(kafka, valkey, max_batch_records=50, watermark_delay_s=DISORDER_S))
    await shop.create_topics()
    return shop


def expected(shop: Shop, records: list[Keyed]) -> Outcome:
    return outcome_of(shop.settings, engine_of(shop.settings, KnownCurve()), records)


async def assert_came_to(shop: Shop, records: list[Keyed]) -> None:
    """The log is processed, and left what it leaves when nothing happens in between: each alert once."""
    await shop.settled()
    outcome, alerts = expected(shop, records), await shop.alerts()
    assert by_id(alerts) == outcome.alerts
    assert await shop.states() == outcome.states
    assert len(alerts) == len(outcome.alerts)


async def lose(shop: Shop, *names: str) -> None:
    """Delete these keys of both partitions."""
    keys = []
    for partition, header in (await shop.headers()).items():
        generation = header.generation if header else ""
        keys += [shop.key(partition, name if name == "header" else f"{name}:{generation}") for name in names]
    await shop.redis(lambda redis: redis.delete(*keys))


def restored(service: Running) -> float:
    return sum(
        service.sample("ebbtide_claims_total", outcome=outcome) for outcome in ("restore_lost", "restore_damaged")
    )


async def stored(shop: Shop) -> tuple[dict[str, bytes], dict[str, int], dict[int, int]]:
    """States, timers and positions in Redis."""
    headers = await shop.headers()
    return await shop.states(), await shop.timers(), {p: each.next_offset for p, each in headers.items() if each}


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
    assert await shop.committed() == {
        each: header and header.next_offset for each, header in (await shop.headers()).items()
    }


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_lag_tools_see_how_far_it_is(shop: Shop, delivery: str) -> None:
    """While it runs, the group's offsets follow what is committed, up to the end once nothing comes any more."""
    shop = Shop(shop.settings.model_copy(update={"delivery": delivery}))
    await shop.produce(LOG)
    async with serving(shop):
        await shop.settled()
        ends = await shop.ends()
        await until(lambda: _is_told(shop, ends), "the group's offsets at the end")


async def _is_told(shop: Shop, ends: dict[int, int]) -> bool:
    return await shop.committed() == ends


LOSSES = {"everything": EVERYTHING, "the headers": ("header",), "the states": ("users",), "the timers": ("due",)}


@pytest.mark.parametrize("lost", LOSSES.values(), ids=LOSSES)
async def test_states_lost_while_stopped_are_restored(shop: Shop, lost: tuple[str, ...]) -> None:
    """What Redis lost between two runs comes back from the changelog: states, timers and position."""
    await shop.produce(LOG[:HALF])
    async with serving(shop):
        await shop.settled()
    before = await stored(shop)
    await lose(shop, *lost)
    async with serving(shop) as service:
        await until(lambda: restored(service) == 2, "two partitions restored")
        assert await stored(shop) == before
        await shop.produce(LOG[HALF:])
        await assert_came_to(shop, LOG)


async def test_an_erased_user_stays_erased_after_a_restore(shop: Shop) -> None:
    """The changelog does not bring back who was forgotten."""
    await shop.produce([*LOG[:HALF], *((f"user-{number}".encode(), None) for number in range(0, USERS, 2))])
    async with serving(shop):
        await shop.settled()
    before = await shop.states()
    assert 0 < len(before) <= USERS / 2
    await lose(shop, *EVERYTHING)
    async with serving(shop) as service:
        await until(lambda: restored(service) == 2, "two partitions restored")
    assert await shop.states() == before


async def test_states_lost_while_events_flow_are_restored(shop: Shop) -> None:
    """A loss under load is noticed before anything is computed from it: no state and no alert is wrong."""
    feed = asyncio.create_task(shop.produce(LOG))
    async with serving(shop) as service:
        for share in (0.2, 0.4, 0.6):
            await until(lambda share=share: folded(service) > share * len(LOG), "some more events")
            await lose(shop, *EVERYTHING)
        await feed
        await assert_came_to(shop, LOG)
        assert restored(service) > 0


def folded(service: Running) -> float:
    return service.sample("ebbtide_records_total", result="folded")


async def test_states_lost_between_two_events_do_not_start_afresh(shop: Shop) -> None:
    """The first event after a loss is folded into the restored state, in Redis and in the changelog."""
    more = last_word(USERS, DAYS)
    await shop.produce(LOG)
    async with serving(shop):
        await shop.settled()
        await lose(shop, *EVERYTHING)
        await shop.produce(more)
        await until(lambda: reached(shop, len(LOG) + len(more)), "all processed")
        await assert_came_to(shop, LOG + more)
    assert await shop.logged() == await shop.states()


async def reached(shop: Shop, offsets: int) -> bool:
    return await shop.processed() == offsets


async def test_a_loss_is_noticed_without_any_event(shop: Shop) -> None:
    """An idle service restores what Redis lost, so that its timers go on."""
    await shop.produce(LOG)
    async with serving(shop) as service:
        await shop.settled()
        before = await stored(shop)
        await lose(shop, *EVERYTHING)
        await until(lambda: restored(service) == 2, "two partitions restored")
        assert await stored(shop) == before


async def test_a_view_moved_by_somebody_else_is_not_written_over(shop: Shop) -> None:
    """An owner that finds its partition elsewhere claims it again and goes on from what the changelog says."""
    await shop.produce(LOG[:HALF])
    async with serving(shop) as service:
        await shop.settled()
        [partition, header] = next((each, header) for each, header in (await shop.headers()).items() if header)
        elsewhere = replace(header, offset=header.offset + 1_000_000)
        await shop.redis(lambda redis: redis.set(shop.key(partition, "header"), str(elsewhere)))
        await shop.produce(LOG[HALF:])
        await assert_came_to(shop, LOG)
        assert service.sample("ebbtide_claims_total", outcome="restore_ahead") == 1


async def test_a_view_put_back_in_time_catches_up(shop: Shop) -> None:
    """Redis as it was a while ago, all of it, is brought up from the changelog: nothing is folded twice."""
    await shop.produce(LOG[:HALF])
    async with serving(shop):
        await shop.settled()
    keys = [key async for key in _keys(shop)]
    dumps = {key: await shop.redis(lambda redis, key=key: redis.dump(key)) for key in keys}
    await shop.produce(LOG[HALF:])
    async with serving(shop):
        await shop.settled()
    for key, dump in dumps.items():
        await shop.redis(lambda redis, key=key, dump=dump: redis.restore(key, 0, dump, replace=True))
    async with serving(shop) as service:
        await until(lambda: service.sample("ebbtide_claims_total", outcome="catch_up") == 2, "both caught up")
        await assert_came_to(shop, LOG)


async def _keys(shop: Shop) -> AsyncIterator[bytes]:
    for partition in range(shop.settings.partitions):
        for key in await shop.redis(lambda redis, partition=partition: redis.keys(shop.key(partition, "*"))):
            yield key


async def test_committed_offsets_are_for_others(shop: Shop) -> None:
    """Group offsets that somebody has moved change nothing: the changelog says where a partition stands."""
    await shop.produce(LOG[:HALF])
    async with serving(shop):
        await shop.settled()
    async with AIOKafkaConsumer(
        bootstrap_servers=shop.settings.kafka_bootstrap_servers, group_id=shop.settings.group_id
    ) as consumer:
        parts = [TopicPartition(shop.settings.events_topic, each) for each in range(2)]
        consumer.assign(parts)
        await consumer.commit(dict.fromkeys(parts, 0))
    await shop.produce(LOG[HALF:])
    async with serving(shop):
        await assert_came_to(shop, LOG)


async def test_records_deleted_before_they_were_read_hold_the_partition(shop: Shop) -> None:
    """What is gone is never passed over in silence: the partition waits, says why, and stays where it was."""
    await shop.produce(LOG[:HALF])
    async with serving(shop):
        await shop.settled()
    await shop.produce(LOG[HALF:])
    ends = await shop.ends()
    await shop.delete_input_before(ends)
    async with serving(shop) as service:
        await until(lambda: len(service.health.held()) == 2, "both partitions held")
        assert service.sample("ebbtide_position_outside_retention", partition="0") == 1
    assert all(header.next_offset < ends[each] for each, header in (await shop.headers()).items() if header)
