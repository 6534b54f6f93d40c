"""The pipeline between a real Kafka and a real Valkey: what goes in decides exactly what comes out."""

import json
import time
from base64 import b64decode

import numpy as np
import pytest
from inprocess import engine_of, outcome_of, serving
from logs import DISORDER_S, HOUR_MS, JUNE_MS, random_log

from consumer.adapters.kafka import partition_of
from consumer.core.calendar import DAY_MS
from consumer.core.risk import churn_probability
from consumer.embedded import KafkaServer, RedisServer
from support import Keyed, KnownCurve, Shop, by_id, event, shop_settings, until


@pytest.fixture
async def shop(kafka: KafkaServer, valkey: RedisServer) -> Shop:
    """A shop of our own, with its topics."""
    shop = Shop(shop_settings(kafka, valkey))
    await shop.create_topics()
    return shop


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def neighbour(user: str, partitions: int = 2) -> str:
    """Another user of the same partition."""
    wanted = partition_of(user.encode(), partitions)
    return next(name for name in map("neighbour-{}".format, range(100)) if partition_of(name.encode(), 2) == wanted)


async def test_a_known_customer_is_alerted_as_computed_by_hand(shop: Shop) -> None:
    """Risk exp(-(1.63 - 0.19 s)) reaches 50 % after 4.93 and 70 % after 6.70 days of silence, and not before."""
    async with serving(shop) as service:
        other = neighbour("anna")
        await shop.produce(
            [event("anna", "purchase", JUNE_MS + HOUR_MS), event(other, "view_item", JUNE_MS + 9 * DAY_MS)]
        )
        await until(lambda: service.sample("ebbtide_alerts_total", tier="critical", cause="silence") == 1, "the alert")
        alerts = await shop.alerts()
        assert [(alert["user_id"], alert["tier"], alert["cause"]) for alert in alerts] == [
            ("anna", "at_risk", "silence"),
            ("anna", "critical", "silence"),
        ]
        expected_days = [(1.63 + np.log(threshold)) / 0.19 for threshold in (0.5, 0.7)]
        assert [alert["silence_days"] for alert in alerts] == pytest.approx(expected_days, abs=1e-3)
        assert [alert["churn_probability"] for alert in alerts] == pytest.approx([0.5, 0.7], abs=1e-5)


async def test_a_log_comes_to_what_the_pure_core_makes_of_it(shop: Shop) -> None:
    """Alerts, states and timers of hundreds of events in many batches equal one fold in one go."""
    shop = Shop(shop.settings.model_copy(update={"watermark_delay_s": DISORDER_S}))
    async with serving(shop):
        records = random_log(seed=1, users=40, days=60)
        half = len(records) // 2
        await shop.produce(records[:half])
        await until(shop.processed, "a first batch")
        await shop.produce(records[half:])
        await shop.settled()
        expected = outcome_of(shop.settings, engine_of(shop.settings, KnownCurve()), records)
        assert len(expected.alerts) > 50
        alerts = await shop.alerts()
        assert by_id(alerts) == expected.alerts
        assert len(alerts) == len(expected.alerts)
        assert {alert["cause"] for alert in alerts} == {"event", "silence"}
        assert await shop.states() == expected.states


async def test_alerts_are_keyed_and_marked(shop: Shop) -> None:
    """An alert's record has the user as key and the alert id as a header, and says which event raised it."""
    async with serving(shop):
        records = [event("anna", "purchase", JUNE_MS), event("anna", "refund", JUNE_MS + HOUR_MS)]
        await shop.produce(records)
        await shop.settled()
        raised = await shop.read(shop.settings.alerts_topic)
        assert len(raised) == 1
        alert = json.loads(raised[0].value)
        assert (raised[0].key, raised[0].headers) == (b"anna", (("alert_id", alert["alert_id"].encode()),))
        assert (alert["tier"], alert["cause"]) == ("critical", "event")
        place = {"topic": shop.settings.events_topic, "partition": partition_of(b"anna", 2), "offset": 1}
        assert alert["source"] == place


async def test_a_trigger_is_published_with_its_alert(shop: Shop) -> None:
    """The topic of the alert's action, and no other, holds one trigger, with what the user likes."""
    async with serving(shop):
        key, bought = event("anna", "purchase", JUNE_MS)
        assert bought is not None
        liked = {"item_id": "lamp", "category": "light", "locale": "de-DE"}
        records = [(key, json.dumps(json.loads(bought) | liked).encode()), event("anna", "refund", JUNE_MS + HOUR_MS)]
        await shop.produce(records)
        await shop.settled()
        [alert] = await shop.alerts()
        found = {topic.rpartition(".")[2]: await shop.read(topic) for topic in shop.settings.trigger_topics}
        [record] = found.pop("customer_service_callback")
        trigger = json.loads(record.value)
        assert not any(found.values())
        assert (record.key, record.headers) == (b"anna", (("trigger_id", trigger["trigger_id"].encode()),))
        assert (trigger["alert_id"], trigger["language"]) == (alert["alert_id"], "de")
        assert (trigger["favourite_items"], trigger["favourite_categories"]) == (["lamp"], ["light"])


def bad_records() -> dict[str, Keyed]:
    """One record of every kind that cannot be used, by the code that it must get."""
    future_ms = now_ms() + HOUR_MS

    key, good = event("anna", "purchase", JUNE_MS)
    assert good is not None

    def broken(**fields: object) -> Keyed:
        return key, json.dumps(json.loads(good) | fields).encode()

    content = json.loads(good)
    del content["event_id"]
    return {
        "null_key": (None, good),
        "key_mismatch": (b"ben", good),
        "record_too_large": broken(padding="x" * 100_000),
        "invalid_utf8": (key, good.replace(b"anna", b"ann\xff")),
        "invalid_json": (key, good[:-1]),
        "not_an_object": (key, b"[1, 2]"),
        "missing_field": (key, json.dumps(content).encode()),
        "ill_typed_field": broken(value="much"),
        "unknown_event_type": broken(event_type="teleport"),
        "not_finite": (key, good.replace(b"}", b', "value": NaN}')),
        "negative_value": broken(value=-1),
        "out_of_range": broken(rating=9),
        "too_long": broken(item_id="x" * 300),
        "naive_timestamp": broken(occurred_at="2025-06-01T00:00:00"),
        "in_the_future": broken(occurred_at=future_ms),
        "too_late": broken(occurred_at=JUNE_MS - 30 * DAY_MS, event_id="late"),
    }


async def test_bad_records_become_dead_letters_and_the_partition_goes_on(shop: Shop) -> None:
    """Every kind of bad record arrives with its code and its original bytes, and counts as processed."""
    async with serving(shop) as service:
        bad = bad_records()
        before, after = event("anna", "purchase", JUNE_MS), event("anna", "purchase", JUNE_MS + HOUR_MS)
        await shop.produce([before, *bad.values(), after])
        await shop.settled()
        letters = await shop.read(shop.settings.dead_letters_topic)
        found = {json.loads(record.value)["code"]: (record, json.loads(record.value)) for record in letters}
        assert len(letters) == len(bad)
        assert found.keys() == bad.keys()
        for code, (key, value) in bad.items():
            record, letter = found[code]
            assert record.key == key
            assert dict(record.headers)["ebbtide.error.code"] == code.encode()
            assert [letter[name] and b64decode(letter[name]) for name in ("original_key", "original_value")] == [
                key,
                value,
            ]
            assert letter["reason"]
        expected = outcome_of(shop.settings, engine_of(shop.settings, KnownCurve()), [before, after])
        assert await shop.states() == expected.states
        assert (
            service.sample("ebbtide_records_total", result="rejected") == len(bad) - 1
        )  # one was folded, then too late


async def test_a_dead_letter_names_the_original_record(shop: Shop) -> None:
    """Topic, partition and offset of the letter lead to the record."""
    async with serving(shop):
        await shop.produce([event("anna", "purchase", JUNE_MS), (b"anna", b"{")])
        await shop.settled()
        [record] = await shop.read(shop.settings.dead_letters_topic)
        letter = json.loads(record.value)
        sources = [
            (shop.settings.events_topic, each.partition, each.offset)
            for each in await shop.read(shop.settings.events_topic)
            if each.value == b"{"
        ]
        assert [(letter["source_topic"], letter["source_partition"], letter["source_offset"])] == sources


async def test_odd_tombstones_do_no_harm(shop: Shop) -> None:
    """Tombstones of unknown users pass, those whose key is no user id are rejected; the changelog stays readable."""
    async with serving(shop):
        keys = (b"nobody", b"\xff\xfe", b"", b"x" * 2_000_000)
        await shop.produce([event("anna", "purchase", JUNE_MS), *((key, None) for key in keys)])
        await shop.settled()
        assert (await shop.states()).keys() == {"anna"}
        codes = {json.loads(record.value)["code"] for record in await shop.read(shop.settings.dead_letters_topic)}
        assert codes == {"invalid_utf8", "null_key", "too_long"}
        await until(shop.is_committed, "the changelog says where Redis stands")
        assert await shop.logged() == await shop.states()


async def test_a_record_as_large_as_the_broker_takes_does_not_stop_the_service(shop: Shop) -> None:
    """Whatever size a bad record has, the service goes on behind it."""
    async with serving(shop):
        await shop.produce(
            [event("anna", "view_item", JUNE_MS), (b"anna", b"x" * 4_000_000), event("anna", "search", JUNE_MS)]
        )
        await shop.settled()
        [letter] = await shop.read(shop.settings.dead_letters_topic)
        content = json.loads(letter.value)
        assert content["code"] == "record_too_large"
        assert "first 1,048,576 bytes" in content["reason"]


async def test_a_tombstone_erases_the_user_everywhere(shop: Shop) -> None:
    """After a null record there is no state, no timer, and a null in the changelog; nobody else is touched."""
    async with serving(shop) as service:
        await shop.produce([event("anna", "purchase", JUNE_MS), event("ben", "purchase", JUNE_MS)])
        await until(lambda: service.sample("ebbtide_records_total", result="folded") == 2, "two events folded")
        await shop.settled()
        assert (await shop.timers()).keys() == (await shop.states()).keys() == {"anna", "ben"}
        await shop.produce([(b"anna", None)])
        await shop.settled()
        assert (await shop.timers()).keys() == (await shop.states()).keys() == {"ben"}
        logged = [record.value for record in await shop.read(shop.settings.state_topic) if record.key == b"anna"]
        assert logged[0] is not None
        assert logged[-1] is None
        assert service.sample("ebbtide_records_total", result="erased") == 1


async def test_events_written_in_transactions_are_read_to_the_end(shop: Shop) -> None:
    """A transaction's marker at the end of the input is no record that waits: the lag goes to 0."""
    async with serving(shop) as service:
        await shop.produce([event("anna", "purchase", JUNE_MS)], transactional_id=shop.settings.group_id)
        await until(lambda: service.sample("ebbtide_records_total", result="folded") == 1, "the event folded")
        partition = str(partition_of(b"anna", 2))
        await until(lambda: service.sample("ebbtide_lag_records", partition=partition) == 0, "no lag", 10)


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_silence_alone_raises_an_alert(kafka: KafkaServer, valkey: RedisServer, in_transaction: bool) -> None:
    """By the wall clock, a customer whose curve crosses a threshold now is alerted without any further event."""
    shop = Shop(shop_settings(kafka, valkey, clock="wall", watermark_delay_s=0.0))
    await shop.create_topics()
    today_ms = now_ms() // DAY_MS * DAY_MS
    crossing_ms = now_ms() + 3_000
    silence_days = np.array([(crossing_ms - today_ms) / DAY_MS + 5])
    hazards = np.log([[0.2] * 5 + [0.01] * 11]).astype(np.float32)
    threshold = float(churn_probability(hazards, silence_days, 30.0)[0])
    engine = engine_of(shop.settings, KnownCurve(), (threshold, 0.99))
    async with serving(shop, engine) as service:
        transaction = shop.settings.group_id if in_transaction else None
        await shop.produce([event("anna", "purchase", today_ms - 6 * DAY_MS)], transaction)
        await until(lambda: service.sample("ebbtide_alerts_total", tier="at_risk", cause="silence"), "the alert", 20)
    [alert] = await shop.alerts()
    assert alert["source"]["offset"] is None
    assert alert["silence_days"] == pytest.approx(silence_days[0], abs=1e-3)
    assert await shop.timers() == {"anna": pytest.approx(crossing_ms + 30 * DAY_MS, abs=1_000)}  # for its outcome


async def test_silence_that_fell_due_while_nobody_ran_is_told_once_in_order_and_as_late(
    kafka: KafkaServer, valkey: RedisServer
) -> None:
    """A customer crosses both thresholds while the service is down; the next one tells it, each once."""
    shop = Shop(shop_settings(kafka, valkey, clock="wall", watermark_delay_s=0.0, late_after_s=0.0))
    await shop.create_topics()
    today_ms = now_ms() // DAY_MS * DAY_MS
    crossings_ms = np.array([now_ms() + 12_000, now_ms() + 13_000])
    silence_days = (crossings_ms - today_ms) / DAY_MS + 5
    hazards = np.log([[0.2] * 5 + [0.01] * 11] * 2).astype(np.float32)
    engine = engine_of(shop.settings, KnownCurve(), tuple(churn_probability(hazards, silence_days, 30.0).tolist()))
    async with serving(shop, engine):
        await shop.produce([event("anna", "purchase", today_ms - 6 * DAY_MS)])
        await until(shop.timers, "the timer is stored", 11)
    await until(lambda: now_ms() > crossings_ms[-1], "both thresholds are crossed", 20)
    assert await shop.alerts() == []
    async with serving(shop, engine) as service:
        await until(lambda: service.sample("ebbtide_alerts_total", tier="critical", cause="silence"), "the alerts", 20)
        await until(lambda: service.sample("ebbtide_timers_due") == 0, "nothing is left due", 10)
    assert [(alert["tier"], alert["late"]) for alert in await shop.alerts()] == [("at_risk", True), ("critical", True)]
    assert await shop.timers() == {"anna": pytest.approx(crossings_ms[0] + 30 * DAY_MS, abs=1_000)}  # for the outcome
