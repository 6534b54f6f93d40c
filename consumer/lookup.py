"""`ebbtide features USER`: what is known of one user, read from the store."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from consumer.adapters.kafka import partition_of
from consumer.adapters.redis_store import RedisStore
from consumer.adapters.topics import partition_count
from consumer.core.alerts import instant
from consumer.core.calendar import Calendar
from consumer.core.features import rolling
from consumer.core.packing import unpack
from consumer.core.state import NO_TIME, States
from consumer.core.triggers import names_of
from consumer.errors import EbbtideError, LostPartitionError
from consumer.records import Header
from consumer.settings import Settings
from schemas.alert import Tier


async def user_features(settings: Settings, user_id: str, as_of: datetime | None) -> dict[str, object]:
    """Named features as of the end of a day; by default of the day that the user's partition has reached.

    Raises `EbbtideError` if nothing is known of the user, or a server is away.
    """
    partition = partition_of(user_id.encode(), await partition_count(settings, settings.events_topic))
    store = RedisStore(settings.redis_url.get_secret_value(), settings.group_id, settings.redis_timeout_s)
    try:
        value, header = await _stored(store, partition, user_id)
    finally:
        await store.close()
    if value is None or header is None:
        raise EbbtideError(f"nothing is known of user {user_id!r} (partition {partition} of {settings.events_topic})")
    states = unpack([value])
    calendar = Calendar(settings.timezone)
    if as_of is None:
        as_of_ms = max(header.watermark_ms, int(states.header["last_ms"][0]))  # the watermark lags behind events
    else:
        as_of_ms = int(as_of.replace(tzinfo=as_of.tzinfo or ZoneInfo(settings.timezone)).timestamp() * 1000)
    return describe(states, user_id, calendar.day_of(np.array([as_of_ms])))


async def _stored(store: RedisStore, partition: int, user_id: str) -> tuple[bytes | None, Header | None]:
    """A user's packed state, and where the partition stood when it was read."""
    while (view := await store.view(partition)).header is not None and view.is_intact:
        try:
            [value] = (await store.load({partition: [user_id]}, {partition: [view.header]}))[partition]
        except LostPartitionError:  # a commit came in between
            continue
        return value, view.header
    return None, None


def describe(states: States, user_id: str, as_of_day: np.ndarray) -> dict[str, object]:
    """One user's state in words and numbers; undefined features are None."""
    header = states.header[0]
    tier = int(header["alerted_tier"])
    values = {name: float(value[0]) for name, value in rolling(states, as_of_day).items()}
    return {
        "user_id": user_id,
        "as_of": str(np.datetime64(int(as_of_day[0]), "D")),
        "first_event_at": _iso(header["first_ms"]),
        "last_event_at": _iso(header["last_ms"]),
        "alerted_tier": tuple(Tier)[tier - 1].value if tier else None,
        "next_alert_due_at": _iso(header["due_ms"]) if header["due_tier"] else None,
        "next_outcome_known_at": None if header["due_tier"] else _iso(header["due_ms"]),
        "favourite_categories": names_of(header["categories"]),
        "favourite_items": names_of(header["items"]),
        "features": {name: None if np.isnan(value) else value for name, value in values.items()},
    }


def _iso(time_ms: int) -> str | None:
    return None if time_ms == NO_TIME else instant(int(time_ms)).isoformat()
