"""Scores for other teams on a real Kafka: who is told what, once each, and what a reader by key comes to."""

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from inprocess import serving
from logs import DISORDER_S, HOUR_MS, JUNE_MS, random_log

from consumer.core.calendar import DAY_MS
from consumer.embedded import KafkaServer, RedisServer
from support import Shop, event, shop_settings, unique

CALM, UPSET = 0.195930, 0.970446  # exp(-1.63) and exp(-0.03): see `KnownCurve`


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop whose scores are told."""
    shop = Shop(shop_settings(kafka, valkey, scores_topic=f"{unique('shop')}.scores", watermark_delay_s=DISORDER_S))
    await shop.create_topics()
    return shop


async def told(shop: Shop) -> dict[str, list[dict[str, Any] | None]]:
    """By key, every record of the scores topic in order; None is a null value."""
    assert shop.settings.scores_topic
    found: dict[str, list[dict[str, Any] | None]] = defaultdict(list)
    for record in await shop.read(shop.settings.scores_topic):
        found[record.key.decode()].append(record.value and json.loads(record.value))
    return found


def risks(records: list[dict[str, Any] | None]) -> list[float | None]:
    """What the scores say."""
    return [each and each["churn_probability"] for each in records]


async def test_a_score_is_told_when_it_has_changed(shop: Shop) -> None:
    """First, after a refund, and at the alerts of silence; an event that changes nothing adds no record."""
    async with serving(shop):
        await shop.produce(
            [
                event("anna", "purchase", JUNE_MS),
                event("anna", "view_item", JUNE_MS + HOUR_MS),
                event("anna", "refund", JUNE_MS + 2 * HOUR_MS),
                event("anna", "view_item", JUNE_MS + 3 * HOUR_MS),
                event("ben", "purchase", JUNE_MS),
                event("ben", "view_item", JUNE_MS + HOUR_MS),
                event("ben", "search", JUNE_MS + 9 * DAY_MS),
            ]
        )
        await shop.settled()
        found = await told(shop)
    assert risks(found["anna"]) == pytest.approx([CALM, UPSET], abs=1e-5)
    assert risks(found["ben"]) == pytest.approx([CALM, 0.5, 0.7, CALM], abs=1e-5)
    assert all(each["user_id"] == user for user, records in found.items() for each in records if each)
    curve = {point["silence_days"]: point["churn_probability"] for point in (found["ben"][0] or {})["risk_curve"]}
    assert curve[7.0] == pytest.approx(0.740818, abs=1e-5)  # exp(-(1.63 - 0.19 * 7))


async def test_who_is_erased_is_erased_for_others_too(shop: Shop) -> None:
    """A tombstone of a user becomes a tombstone of the score, by which compaction forgets them."""
    async with serving(shop):
        await shop.produce([event("anna", "purchase", JUNE_MS), event("ben", "purchase", JUNE_MS), (b"anna", None)])
        await shop.settled()
        found = await told(shop)
    assert risks(found["anna"]) in ([pytest.approx(CALM, abs=1e-5), None], [None])
    assert risks(found["ben"]) == pytest.approx([CALM], abs=1e-5)


async def test_who_comes_back_has_a_score_again(shop: Shop) -> None:
    """Erased and back within one micro-batch or two: the last record is the score of the new history."""
    before, after = event("anna", "refund", JUNE_MS), event("anna", "purchase", JUNE_MS + HOUR_MS)
    async with serving(shop):
        await shop.produce([before, (b"anna", None), after])
        await shop.settled()
        [records] = (await told(shop)).values()
    assert None in records
    assert risks(records)[-1] == pytest.approx(CALM, abs=1e-5)


async def test_scores_read_twice_come_to_the_same(shop: Shop) -> None:
    """A service that reads all input again, as after its state was wiped, tells every customer what was told before.

    Whoever keeps the latest record by key ends up with the same, and neither run told a score that had not changed.
    """
    records = random_log(seed=3, users=20, days=40)
    async with serving(shop):
        await shop.produce(records)
        await shop.settled()
        once = await told(shop)
    again = Shop(
        shop.settings.model_copy(
            update={
                "group_id": unique("again"),
                "state_topic": f"{unique('again')}.state",
                "auto_offset_reset": "earliest",
            }
        )
    )
    await again.create_topics()
    async with serving(again):
        await again.settled()
        twice = await told(again)
    assert len(once) == 20
    assert sum(map(len, once.values())) > 100
    for user, first in once.items():
        assert twice[user] == first + first
        steps = [abs(b["churn_probability"] - a["churn_probability"]) for a, b in pairwise(first) if a and b]
        assert all(step > 0.05 for step in steps)
