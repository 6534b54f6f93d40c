"""Simulated events as ShopEvents: names, texts, JSON. What is simulated says so in every id."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Any, Final, NamedTuple

import numpy as np

from consumer.core.day_sums import NEGATIVE_SENTIMENT
from consumer.core.events import KINDS
from model_export.simulate_events import EventColumns
from schemas.event import EventType

_LABEL: Final = "sim"
_CATEGORIES: Final = (
    "books", "music", "kitchen", "garden", "toys", "shoes", "outdoor", "beauty", "stationery", "tea", "tools", "pets",
)  # fmt: skip
_ITEMS_PER_CATEGORY: Final = 60
_ABOUT_ITEMS: Final = frozenset(
    (EventType.VIEW_ITEM, EventType.ADD_TO_CART, EventType.REMOVE_FROM_CART, EventType.PURCHASE, EventType.REFUND,
     EventType.REVIEW)
)  # fmt: skip
_BAD_TEXTS: Final = (
    "Arrived two weeks late and the box was damaged.",
    "Poor quality, it broke after three days. I want my money back.",
    "Wrong size again, and nobody answers my emails.",
    "Not as described. Very disappointed.",
    "The worst service I have had from any shop.",
)
_FAIR_TEXTS: Final = ("It does what it should.", "Okay for the price.", "Delivery was slow, the item is fine.")
_GOOD_TEXTS: Final = (
    "Exactly what I wanted, and it came quickly.",
    "Great quality, I will order again.",
    "Lovely, even better than in the picture.",
    "Friendly service and fast delivery.",
)
_GOOD: Final = 0.3
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Naming:
    """What the ids and amounts of one simulated log are called."""

    seed: int
    currency: str = "USD"


def user_id(number: int) -> str:
    """Of a simulated customer."""
    return f"{_LABEL}-{number:06d}"


def json_values(columns: EventColumns, naming: Naming) -> Iterator[tuple[bytes, bytes]]:
    """Events as a Kafka record's (key, value)."""
    for row in event_rows(columns, naming):
        yield row["user_id"].encode(), _encode(row).encode()


class _Event(NamedTuple):
    """One event's columns, and its time as text."""

    occurred_at: str
    number: int
    user: int
    day: int
    rank: int
    kind: int
    value: float
    discount: float
    dwell_ms: float
    sentiment: float
    coupon: bool
    campaign: int


def event_rows(columns: EventColumns, naming: Naming) -> Iterator[dict[str, Any]]:
    """Events as ShopEvents, one dictionary each; absent fields are left out."""
    times = np.datetime_as_string(columns.time_ms.astype("datetime64[ms]"), timezone="UTC").tolist()
    others = (getattr(columns, name).tolist() for name in _Event._fields[1:])
    for values in zip(times, *others, strict=True):
        yield _row(_Event(*values), naming)


def _row(event: _Event, naming: Naming) -> dict[str, Any]:
    event_type = KINDS[event.kind]
    row: dict[str, Any] = {
        "event_id": f"{_LABEL}-{naming.seed}-{event.number:09d}",
        "user_id": user_id(event.user),
        "event_type": event_type.value,
        "occurred_at": event.occurred_at,
    }
    if event_type in _ABOUT_ITEMS:
        row |= _item(event.user, event.day, event.rank)
    if not isnan(event.value):
        row |= {"value": event.value, "currency": naming.currency}
    for name, amount in (("discount", event.discount), ("dwell_ms", event.dwell_ms)):
        if not isnan(amount):
            row[name] = amount
    if event.coupon:
        row["coupon"] = f"SAVE{5 * (1 + (event.user + event.day) % 4)}"
    if event.campaign >= 0:
        row |= {"campaign_id": f"{_LABEL}-campaign-{event.campaign + 1}", "channel": "email"}
    if event_type is EventType.REVIEW:
        row |= _review(event.sentiment, event.user + event.day + event.rank)
    return row


def _item(user: int, day: int, rank: int) -> dict[str, str]:
    """What the customer's n-th view, cart add or purchase of a day is about: the same thing, mostly a favourite."""
    mixed = (user * 2_654_435_761 + day * 40_503 + rank * 97) & 0xFFFFFFFF
    category = (user * 7 if mixed % 10 < 7 else mixed >> 8) % len(_CATEGORIES)
    return {
        "item_id": f"item-{category * _ITEMS_PER_CATEGORY + (mixed >> 4) % _ITEMS_PER_CATEGORY:04d}",
        "category": _CATEGORIES[category],
    }


def _review(sentiment: float, choice: int) -> dict[str, Any]:
    texts = _BAD_TEXTS if sentiment < NEGATIVE_SENTIMENT else _FAIR_TEXTS if sentiment < _GOOD else _GOOD_TEXTS
    return {"sentiment": sentiment, "rating": float(round(3 + 2 * sentiment)), "text": texts[choice % len(texts)]}
