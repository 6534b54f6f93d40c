"""Bytes to event columns; what cannot be used becomes a rejection with a reason, never an exception."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from pydantic import ValidationError

from consumer.core.events import ERASE, KIND_OF, Events
from consumer.core.state import NAME_BYTES
from schemas.dead_letter import RejectCode
from schemas.event import MAX_ID_CHARS, ShopEvent

Record = tuple[bytes | None, bytes | None]  # key, value
_validate = ShopEvent.__pydantic_validator__.validate_json


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


@dataclass(frozen=True)
class _Tombstone:
    user_id: str


def decode(records: Sequence[Record], now_ms: int, limits: Limits = Limits()) -> Decoded:
    """Validate every record; `now_ms` is the clock that "too far in the future" is measured by."""
    parsed: list[ShopEvent | _Tombstone] = []
    index: list[int] = []
    rejected: list[Rejection] = []
    for position, (key, value) in enumerate(records):
        result = _decode_one(key, value, now_ms, limits)
        if isinstance(result, tuple):
            rejected.append(Rejection(position, *result))
        else:
            parsed.append(result)
            index.append(position)
    row_of: dict[str, int] = {}
    rows = [row_of.setdefault(event.user_id, len(row_of)) for event in parsed]
    return Decoded(list(row_of), _columns(parsed, rows), np.array(index, np.int64), rejected)


def _decode_one(
    key: bytes | None, value: bytes | None, now_ms: int, limits: Limits
) -> ShopEvent | _Tombstone | tuple[RejectCode, str]:
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
    if event.time_ms < 0:
        return RejectCode.OUT_OF_RANGE, "occurred_at: is before 1970"
    if event.time_ms > now_ms + limits.max_future_ms:
        ahead_s = (event.time_ms - now_ms) / 1000
        return (
            RejectCode.IN_THE_FUTURE,
            f"occurred_at is {ahead_s:,.0f} s ahead of the clock; at most {limits.max_future_ms / 1000:,.0f} s",
        )
    return event


def _tombstone(user_id: str) -> _Tombstone | tuple[RejectCode, str]:
    if not user_id:
        return RejectCode.NULL_KEY, "the record's key is empty; the key must be the user id"
    if len(user_id) > MAX_ID_CHARS:
        return RejectCode.TOO_LONG, f"the record's key should have at most {MAX_ID_CHARS} characters"
    return _Tombstone(user_id)


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


def _sentiment(event: ShopEvent) -> float:
    """The given sentiment, else the stars mapped to [-1, 1], else NaN."""
    if event.sentiment is not None:
        return event.sentiment
    return float("nan") if event.rating is None else max(-1.0, (event.rating - 3.0) / 2.0)


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


_NOTHING = (0, ERASE, 0, 0.0, 0.0, 0.0, float("nan"), False, b"", b"", b"")
_NAME = f"S{NAME_BYTES}"
_DTYPES = tuple(np.dtype(each) for each in ("i8", "i1", "u8", "f8", "f8", "f8", "f8", "?", _NAME, _NAME, "S4"))


def _columns(parsed: list[ShopEvent | _Tombstone], rows: list[int]) -> Events:
    values = [
        (
            event.time_ms,
            KIND_OF[event.event_type],
            id_hash(event.event_id),
            event.value or 0.0,
            event.discount or 0.0,
            (event.dwell_ms or 0.0) / 1000.0,
            _sentiment(event),
            event.coupon is not None,
            _name(event.item_id),
            _name(event.category),
            _language(event.locale),
        )
        if isinstance(event, ShopEvent)
        else _NOTHING
        for event in parsed
    ]
    columns = list(zip(*values, strict=True)) if values else [()] * len(_NOTHING)
    arrays = [np.array(column, dtype) for column, dtype in zip(columns, _DTYPES, strict=True)]
    return Events(np.array(rows, np.int64), *arrays)
