"""Event logs for the running service to chew on."""

import random

from consumer.core.calendar import DAY_MS
from support import Keyed, event

JUNE_MS = 1_748_736_000_000  # 2025-06-01, 00:00 UTC
HOUR_MS = 3_600_000
_KINDS = (
    "view_item", "view_item", "search", "add_to_cart", "purchase", "purchase", "refund", "review", "unsubscribe",
)  # fmt: skip


DISORDER_S = 2 * 86_400.0  # more than any two events of `random_log` are out of order; what silence must wait for


def random_log(seed: int, users: int, days: int) -> list[Keyed]:
    """Buyers, browsers and the dissatisfied; late and repeated events among them."""
    chance = random.Random(seed)
    records: list[Keyed] = []
    for hour in range(days * 24):
        for _ in range(chance.randrange(4)):
            user, kind = f"user-{chance.randrange(users)}", chance.choice(_KINDS)
            at_ms = JUNE_MS + hour * HOUR_MS - chance.choice((0, 0, 0, HOUR_MS, 20 * HOUR_MS))
            rating, value = chance.choice((None, 1, 5)), chance.choice((None, 5.0, 49.9))
            records.append(event(user, kind, at_ms, value=value, rating=rating))
            if chance.random() < 0.05:
                records.append(chance.choice(records[-20:]))
    return records


def last_word(users: int, days: int) -> list[Keyed]:
    """One more event of every user, some days after `days`: until then all have been silent."""
    return [event(f"user-{number}", "search", JUNE_MS + (days + 20) * DAY_MS) for number in range(users)]
