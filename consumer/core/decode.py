"""Bytes to event columns; what cannot be used becomes a rejection with a reason, never an exception."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from pydantic import ValidationError

from consumer.core.events import ERASE, KIND_OF, Events
from consumer.core.state import NAME_BYTES
from schemas.dead_letter import RejectCode
from schemas.event import MAX_ID_CHARS, ShopEvent
from schemas.event_reader import ReadEvent, as_read, read_events

Record = tuple[bytes | None, bytes | None]  # key, value
_validate = ShopEvent.__pydantic_validator__.validate_json
_KINDS = {"": ERASE, **{str(event_type): code for event_type, code in KIND_OF.items()}}


@dataclass(frozen=True)
class Limits:
    """What is accepted of a record."""

    max_record_bytes: int = 64 * 1024
    max_future_ms: int = 5 * 60 * 1000


@dataclass(frozen=True)
class Rejection:
    """Record `index` of the batch cannot be used."""

    index: int
    code: RejectCode
    reason: str


@dataclass(frozen=True)
class Decoded:
    """A batch of records: its users in order of appearance, its events, and what was rejected."""

    users: list[str]
    events: Events
    index: np.ndarray  # (N,) int64: which record each event came from
    rejected: list[Rejection]


def decode(records: Sequence[Record], now_ms: int, limits: Limits = Limits()) -> Decoded:
    """Validate every record; `now_ms` is the clock that "too far in the future" is measured by."""
    fits = [value if value is None or len(value) <= limits.max_record_bytes else None for _, value in records]
    read = read_events(fits)
    is_usual = [
        event is not None and event.user_id.encode() == key for event, (key, _) in zip(read, records, strict=True)
    ]
    events: list[Any] = []  # ReadEvent, or None for a tombstone
    users: list[str] = []
    index: list[int] = []
    rejected: list[Rejection] = []
    if all(is_usual):
        events, users, index = read, [event.user_id for event in read], [*range(len(read))]
    else:
        for position, (key, value) in enumerate(records):
            event = read[position] if is_usual[position] else _decode_one(key, value, limits)
            if isinstance(event, tuple):
                rejected.append(Rejection(position, *event))
            else:
                is_event = not isinstance(event, str)
                events.append(event if is_event else None)
                users.append(event.user_id if is_event else event)
                index.append(position)
    kept, beyond = _in_time(events, now_ms, limits)
    if beyond:
        rejected = sorted([*rejected, *(Rejection(index[at], *why) for at, why in beyond)], key=lambda each: each.index)
        events, users, index = [events[at] for at in kept], [users[at] for at in kept], [index[at] for at in kept]
    row_of: dict[str, int] = {}
    rows = [row_of.setdefault(user, len(row_of)) for user in users]
    return Decoded(list(row_of), _columns(events, rows), np.array(index, np.int64), rejected)


def _in_time(
    events: list[Any], now_ms: int, limits: Limits
) -> tuple[list[int], list[tuple[int, tuple[RejectCode, str]]]]:
    """Which events are of a time that can be, and why the others are not."""
    latest_ms = now_ms + limits.max_future_ms
    beyond = {at for at, each in enumerate(events) if each is not None and not 0 <= each.occurred_at <= latest_ms}
    kept = [at for at in range(len(events)) if at not in beyond] if beyond else []
    return kept, [(at, _not_in_time(events[at].occurred_at, now_ms, limits)) for at in sorted(beyond)]


def _not_in_time(time_ms: int, now_ms: int, limits: Limits) -> tuple[RejectCode, str]:
    if time_ms < 0:
        return RejectCode.OUT_OF_RANGE, "occurred_at: is before 1970"
    ahead_s, most_s = (time_ms - now_ms) / 1000, limits.max_future_ms / 1000
    reason = f"occurred_at is {ahead_s:,.0f} s ahead of the clock; at most {most_s:,.0f} s"
    return RejectCode.IN_THE_FUTURE, reason


def _decode_one(key: bytes | None, value: bytes | None, limits: Limits) -> Any:
    """Of a record that is not as usual: a ReadEvent, the user of a tombstone, or why it cannot be used."""
    if key is None:
        return RejectCode.NULL_KEY, "the record has no key; the key must be the user id"
    try:
        user_id = key.decode()
    except UnicodeDecodeError:
        return RejectCode.INVALID_UTF8, "the key is not valid UTF-8"
    if value is None:
        return _tombstone(user_id)
    if len(value) > limits.max_record_bytes:
        return (
            RejectCode.RECORD_TOO_LARGE,
            f"the record has {len(value):,} bytes; at most {limits.max_record_bytes:,} are accepted",
        )
    try:
        event = _validate(value)
    except ValidationError as error:
        return _explain(value, error)
    if event.user_id != user_id:
        return RejectCode.KEY_MISMATCH, f"the record's key is {user_id[:64]!r} but user_id is {event.user_id!r}"
    return as_read(event)


def _tombstone(user_id: str) -> str | tuple[RejectCode, str]:
    if not user_id:
        return RejectCode.NULL_KEY, "the record's key is empty; the key must be the user id"
    if len(user_id) > MAX_ID_CHARS:
        return RejectCode.TOO_LONG, f"the record's key should have at most {MAX_ID_CHARS} characters"
    return user_id


_CODES = {
    "json_invalid": RejectCode.INVALID_JSON,
    "model_type": RejectCode.NOT_AN_OBJECT,
    "missing": RejectCode.MISSING_FIELD,
    "string_too_long": RejectCode.TOO_LONG,
    "string_too_short": RejectCode.OUT_OF_RANGE,
    "finite_number": RejectCode.NOT_FINITE,
    "less_than_equal": RejectCode.OUT_OF_RANGE,
    "timezone_aware": RejectCode.NAIVE_TIMESTAMP,
    "enum": RejectCode.UNKNOWN_EVENT_TYPE,
}
_MAY_BE_NEGATIVE = ("sentiment", "rating", "occurred_at")


def _explain(value: bytes, error: ValidationError) -> tuple[RejectCode, str]:
    """The most telling of the validator's complaints, as a code and a sentence."""
    try:
        value.decode()
    except UnicodeDecodeError as invalid:
        return RejectCode.INVALID_UTF8, f"byte {invalid.start} of the value is not valid UTF-8"
    details = error.errors(include_url=False, include_input=False, include_context=False)
    field = details[0]["loc"][0] if details[0]["loc"] else None
    of_field = [each for each in reversed(details) if not field or each["loc"][0] == field]
    # occurred_at has two forms: what is wrong with the one that was meant says more than that it is not the other
    detail = min(of_field, key=lambda each: each["type"].endswith("_type"))
    code = _CODES.get(detail["type"], RejectCode.ILL_TYPED_FIELD)
    if detail["type"] == "greater_than_equal":
        code = RejectCode.OUT_OF_RANGE if field in _MAY_BE_NEGATIVE else RejectCode.NEGATIVE_VALUE
    where = f"{field}: " if field else ""
    return code, where + detail["msg"][0].lower() + detail["msg"][1:]


def id_hash(event_id: str) -> int:
    """64 bits of an event id; the same in every process."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "little")


def _sentiment(event: Any) -> float:
    """The given sentiment, else the stars mapped to [-1, 1], else NaN."""
    if event.sentiment is not None:
        return float(event.sentiment)
    return float("nan") if event.rating is None else max(-1.0, (event.rating - 3.0) / 2.0)


@lru_cache(maxsize=65_536)
def _name(label: str | None) -> bytes:
    """An item or category as a state can keep it; a longer one is not kept, since cut short it would be another."""
    if not label:
        return b""
    name = label.encode()
    return name if len(name) <= NAME_BYTES and name[-1] else b""  # numpy takes a trailing NUL for padding


@lru_cache(maxsize=1024)
def _language(locale: str | None) -> bytes:
    """The language of a locale such as de-DE, zh_Hans_CN or en."""
    code = (locale or "").replace("_", "-").partition("-")[0].lower()
    return code.encode() if len(code) in (2, 3) and code.isascii() and code.isalpha() else b""


_TOMBSTONE: Any = ReadEvent(event_id="", user_id="", event_type="", occurred_at=0)
_NAME = f"S{NAME_BYTES}"


def _columns(events: list[Any], rows: list[int]) -> Events:
    is_event = [each is not None for each in events]
    read = events if all(is_event) else [_TOMBSTONE if each is None else each for each in events]
    nan = float("nan")

    def column(values: list[Any], dtype: str) -> np.ndarray:
        return np.array(values, dtype)

    return Events(
        row=column(rows, "i8"),
        time_ms=column([each.occurred_at for each in read], "i8"),
        kind=column([_KINDS[each.event_type] for each in read], "i1"),
        id_hash=column([id_hash(each.event_id) if each.event_id else 0 for each in read], "u8"),
        value=column([each.value or 0.0 for each in read], "f8"),
        discount=column([each.discount or 0.0 for each in read], "f8"),
        dwell_s=column([each.dwell_ms or 0.0 for each in read], "f8") / 1000.0,
        sentiment=column(
            [nan if each.sentiment is None and each.rating is None else _sentiment(each) for each in read], "f8"
        ),
        coupon=column([each.coupon is not None for each in read], "?"),
        item=column([_name(each.item_id) for each in read], _NAME),
        category=column([_name(each.category) for each in read], _NAME),
        language=column([_language(each.locale) for each in read], "S4"),
    )
