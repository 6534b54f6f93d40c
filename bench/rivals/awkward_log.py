"""A small log with all that is awkward, for checks that a rival does the same job."""

import json
import random
from collections.abc import Iterator

from bench.workload import Workload
from consumer.core.calendar import DAY_MS

Record = tuple[bytes, bytes]  # key, value


def awkward_log(seed: int) -> list[Record]:
    """Some thousand records."""
    chance = random.Random(seed)
    log: list[Record] = []
    for key, value in _busy_log(seed):
        log.append((key, value))
        if chance.random() < 0.02:
            log.append(chance.choice(log[-40:]))  # a duplicate
        if chance.random() < 0.05:
            log.append(_late(key, value, len(log), chance))
        if chance.random() < 0.05:
            log.append(_telling(key, value, len(log), chance))
    log.insert(100, (b"customer-broken", b'{"event_id": "x", "user_id"'))
    log.insert(200, (b"customer-broken", b"[]"))
    return log


def _busy_log(seed: int) -> Iterator[Record]:
    """The busy, those who have come on 70 days, and those who come seldom, who are alerted most."""
    yield from Workload(events=2500, users=150, days=40, seed=seed).records()
    for name, of_some in (
        ("old", Workload(events=1200, users=25, days=40, seed=seed, history_days=70)),
        ("rare", Workload(events=3000, users=300, days=300, seed=seed, history_days=1)),
    ):
        for _, value in of_some.records():
            event = json.loads(value)
            user = f"{name}-{event['user_id']}"
            named = event | {"user_id": user, "event_id": f"{name}-{event['event_id']}"}
            yield user.encode(), json.dumps(named, separators=(",", ":")).encode()


def _changed(record: bytes, number: int, **changes: object) -> bytes:
    return json.dumps(json.loads(record) | {"event_id": f"more-{number}"} | changes).encode()


def _late(key: bytes, value: bytes, number: int, chance: random.Random) -> Record:
    by_ms = chance.choice((DAY_MS // 24, DAY_MS // 2, DAY_MS - 1, 2 * DAY_MS))
    return key, _changed(value, number, occurred_at=json.loads(value)["occurred_at"] - by_ms)


def _telling(key: bytes, value: bytes, number: int, chance: random.Random) -> Record:
    changes = chance.choice(
        (
            {"event_type": "refund", "value": 12.34},
            {"event_type": "review", "sentiment": -0.7, "text": 'so \\ "so" ☂'},
            {"event_type": "review", "rating": 1.5, "sentiment": None},
            {"event_type": "purchase", "value": 0.1, "discount": 3.3, "coupon": "SPRING"},
            {"event_type": "unsubscribe", "extra": {"nested": [1, {"deep": None}]}},
            {"event_type": "campaign_received"},
            {"event_type": "email_click"},
            {"event_type": "remove_from_cart"},
        )
    )
    return key, _changed(value, number, **changes)
