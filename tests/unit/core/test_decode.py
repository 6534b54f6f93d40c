"""Bytes to events: what is accepted, what is rejected, under which code and with which words."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.decode import Decoded, Limits, Record, decode, id_hash
from consumer.core.events import ERASE, KINDS
from schemas.dead_letter import RejectCode
from schemas.event import EventType

NOW_MS = 1_760_000_000_000
LIMITS = Limits()
GOOD: dict[str, Any] = {"event_id": "e", "user_id": "u", "event_type": "view_item", "occurred_at": NOW_MS - 1}


def value(**changes: object) -> bytes:
    """A good record's value with some fields changed."""
    return json.dumps(GOOD | changes).encode()


def raw(field: str, text: str) -> bytes:
    """A good record's value with one field written as it stands."""
    return value(**{field: "@@"}).replace(b'"@@"', text.encode())


def without(field: str) -> bytes:
    return json.dumps({name: each for name, each in GOOD.items() if name != field}).encode()


def nested(depth: int) -> bytes:
    return raw("extra", "[" * depth + "]" * depth)


def of_size(size: int) -> bytes:
    return value(extra="x" * (size - len(value(extra=""))))


def one(content: bytes | None, key: bytes | None = b"u") -> Decoded:
    return decode([(key, content)], NOW_MS)


BAD: list[tuple[str, bytes | None, bytes | None, RejectCode, str]] = [
    # what, key, value, code, words of the reason
    ("text", b"u", b"hello", RejectCode.INVALID_JSON, "invalid JSON: expected value at line 1 column 1"),
    ("nothing", b"u", b"", RejectCode.INVALID_JSON, "invalid JSON: EOF"),
    ("cut short", b"u", value()[:-5], RejectCode.INVALID_JSON, "invalid JSON: EOF"),
    ("two objects", b"u", value() * 2, RejectCode.INVALID_JSON, "invalid JSON: trailing characters"),
    ("byte order mark", b"u", b"\xef\xbb\xbf" + value(), RejectCode.INVALID_JSON, "line 1 column 1"),
    ("deeply nested", b"u", nested(10_000), RejectCode.INVALID_JSON, "recursion limit"),
    ("only brackets", b"u", b"[" * 60_000, RejectCode.INVALID_JSON, "recursion limit"),
    ("lone surrogate in the user", b"u", raw("user_id", r'"\ud800"'), RejectCode.INVALID_JSON, "hex escape"),
    ("lone surrogate in a text", b"u", raw("text", r'"\udc00"'), RejectCode.INVALID_JSON, "surrogate"),
    ("lone surrogate in a foreign field", b"u", raw("extra", r'"\ud800x"'), RejectCode.INVALID_JSON, "hex escape"),
    ("5,000 digits", b"u", raw("value", "9" * 5_000), RejectCode.INVALID_JSON, "number out of range"),
    ("5,000 digits in a foreign field", b"u", raw("extra", "9" * 5_000), RejectCode.INVALID_JSON, "out of range"),
    ("array", b"u", b"[1]", RejectCode.NOT_AN_OBJECT, "should be an object"),
    ("number", b"u", b"1", RejectCode.NOT_AN_OBJECT, "should be an object"),
    ("null", b"u", b"null", RejectCode.NOT_AN_OBJECT, "should be an object"),
    ("bad UTF-8", b"u", value(text="@").replace(b"@", b"\xff"), RejectCode.INVALID_UTF8, "byte 100 of the value"),
    ("CESU surrogate", b"u", value(text="@").replace(b"@", b"\xed\xa0\x80"), RejectCode.INVALID_UTF8, "UTF-8"),
    ("UTF-16", b"u", json.dumps(GOOD).encode("utf-16"), RejectCode.INVALID_UTF8, "byte 0 of the value"),
    ("bad UTF-8 in the key", b"\xff", value(), RejectCode.INVALID_UTF8, "the key is not valid UTF-8"),
    ("bad UTF-8 in a tombstone's key", b"\xff", None, RejectCode.INVALID_UTF8, "the key is not valid UTF-8"),
    ("no key", None, value(), RejectCode.NULL_KEY, "has no key; the key must be the user id"),
    ("neither", None, None, RejectCode.NULL_KEY, "has no key"),
    ("another key", b"v", value(), RejectCode.KEY_MISMATCH, "the record's key is 'v' but user_id is 'u'"),
    ("empty key", b"", value(), RejectCode.KEY_MISMATCH, "the record's key is '' but user_id is 'u'"),
    ("second user wins", b"u", value()[:-1] + b',"user_id":"w"}', RejectCode.KEY_MISMATCH, "user_id is 'w'"),
    ("too large", b"u", of_size(65_537), RejectCode.RECORD_TOO_LARGE, "65,537 bytes; at most 65,536"),
    ("no event id", b"u", without("event_id"), RejectCode.MISSING_FIELD, "event_id: field required"),
    ("no user", b"u", without("user_id"), RejectCode.MISSING_FIELD, "user_id: field required"),
    ("no type", b"u", without("event_type"), RejectCode.MISSING_FIELD, "event_type: field required"),
    ("no time", b"u", without("occurred_at"), RejectCode.MISSING_FIELD, "occurred_at: field required"),
    ("empty object", b"u", b"{}", RejectCode.MISSING_FIELD, "event_id: field required"),
    ("bool for a number", b"u", value(value=True), RejectCode.ILL_TYPED_FIELD, "value: input should be a valid number"),
    ("string for a number", b"u", value(value="12"), RejectCode.ILL_TYPED_FIELD, "value: input should be a valid num"),
    ("list for a number", b"u", value(value=[1]), RejectCode.ILL_TYPED_FIELD, "value: input should be a valid number"),
    ("number for a string", b"u", value(user_id=5), RejectCode.ILL_TYPED_FIELD, "user_id: input should be a valid str"),
    ("number for a text", b"u", value(text=5), RejectCode.ILL_TYPED_FIELD, "text: input should be a valid string"),
    ("null for a user", b"u", value(user_id=None), RejectCode.ILL_TYPED_FIELD, "user_id: input should be a valid str"),
    ("bool for a time", b"u", value(occurred_at=True), RejectCode.ILL_TYPED_FIELD, "occurred_at: input should be"),
    ("null for a time", b"u", value(occurred_at=None), RejectCode.ILL_TYPED_FIELD, "occurred_at: input should be"),
    ("fraction for a time", b"u", value(occurred_at=1.5), RejectCode.ILL_TYPED_FIELD, "occurred_at: input should be"),
    ("word for a time", b"u", value(occurred_at="now"), RejectCode.ILL_TYPED_FIELD, "occurred_at: input should be a v"),
    ("no such day", b"u", value(occurred_at="2025-02-30T00:00Z"), RejectCode.ILL_TYPED_FIELD, "day value is outside"),
    ("date for a time", b"u", value(occurred_at="2025-02-03"), RejectCode.ILL_TYPED_FIELD, "expected `T`"),
    ("unknown type", b"u", value(event_type="bought"), RejectCode.UNKNOWN_EVENT_TYPE, "event_type: input should be 'v"),
    ("other case", b"u", value(event_type="PURCHASE"), RejectCode.UNKNOWN_EVENT_TYPE, "'purchase'"),
    ("number for a type", b"u", value(event_type=5), RejectCode.UNKNOWN_EVENT_TYPE, "event_type: input should be 'v"),
    ("NaN", b"u", raw("value", "NaN"), RejectCode.NOT_FINITE, "value: input should be a finite number"),
    ("Infinity", b"u", raw("value", "Infinity"), RejectCode.NOT_FINITE, "value: input should be a finite number"),
    ("-Infinity", b"u", raw("discount", "-Infinity"), RejectCode.NOT_FINITE, "discount: input should be a finite"),
    ("1e400", b"u", raw("value", "1e400"), RejectCode.NOT_FINITE, "value: input should be a finite number"),
    ("400 digits", b"u", raw("value", "9" * 400), RejectCode.NOT_FINITE, "value: input should be a finite number"),
    ("minus one", b"u", value(value=-1), RejectCode.NEGATIVE_VALUE, "value: input should be greater than or equal to"),
    ("negative discount", b"u", value(discount=-0.5), RejectCode.NEGATIVE_VALUE, "discount: input should be greater"),
    ("negative dwell", b"u", value(dwell_ms=-1), RejectCode.NEGATIVE_VALUE, "dwell_ms: input should be greater"),
    ("negative quantity", b"u", value(quantity=-1), RejectCode.NEGATIVE_VALUE, "quantity: input should be greater"),
    ("too much", b"u", value(value=1e13), RejectCode.OUT_OF_RANGE, "value: input should be less than or equal to"),
    ("huge integer", b"u", value(value=10**30), RejectCode.OUT_OF_RANGE, "value: input should be less than or equal"),
    ("six stars", b"u", value(rating=6), RejectCode.OUT_OF_RANGE, "rating: input should be less than or equal to 5"),
    ("no sentiment", b"u", value(sentiment=-2), RejectCode.OUT_OF_RANGE, "sentiment: input should be greater than"),
    ("nobody", b"", value(user_id=""), RejectCode.OUT_OF_RANGE, "user_id: string should have at least 1 character"),
    ("negative time", b"u", value(occurred_at=-5), RejectCode.OUT_OF_RANGE, "occurred_at: input should be greater"),
    ("huge time", b"u", value(occurred_at=10**30), RejectCode.OUT_OF_RANGE, "occurred_at: input should be less than"),
    ("before 1970", b"u", value(occurred_at="1969-12-31T23:59:59Z"), RejectCode.OUT_OF_RANGE, "is before 1970"),
    ("the year 1", b"u", value(occurred_at="0001-01-01T00:00:00+14:00"), RejectCode.OUT_OF_RANGE, "is before 1970"),
    ("long id", b"u", value(event_id="x" * 257), RejectCode.TOO_LONG, "event_id: string should have at most 256"),
    ("long user", b"u" * 257, value(user_id="u" * 257), RejectCode.TOO_LONG, "user_id: string should have at most 256"),
    ("long text", b"u", value(text="x" * 16_385), RejectCode.TOO_LONG, "text: string should have at most 16384"),
    ("no zone", b"u", value(occurred_at="2025-10-01T10:00:00"), RejectCode.NAIVE_TIMESTAMP, "should have timezone"),
    ("ahead", b"u", value(occurred_at=NOW_MS + 301_000), RejectCode.IN_THE_FUTURE, "301 s ahead of the clock; at most"),
    ("the last year", b"u", value(occurred_at="9999-12-31T23:59:59-14:00"), RejectCode.IN_THE_FUTURE, "ahead of the"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "content", "code", "words"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_a_bad_record_is_rejected_with_a_reason(
    key: bytes | None, content: bytes | None, code: RejectCode, words: str
) -> None:
    """Every kind of bad record gets its code and a sentence that says what is wrong with what."""
    decoded = one(content, key)
    [rejection] = decoded.rejected
    assert rejection.code is code
    assert words in rejection.reason
    assert (decoded.users, len(decoded.events)) == ([], 0)


def test_every_code_of_the_decoder_is_tested() -> None:
    """The list above knows every code but the one that only the fold can give."""
    assert {each[3] for each in BAD} == set(RejectCode) - {RejectCode.TOO_LATE}


def test_good_records_around_bad_ones_are_kept() -> None:
    """All bad records of the list, each between two good ones, leave every good one and its place."""
    records: list[Record] = [(b"u", value(event_id="first"))]
    for position, (_, key, content, _, _) in enumerate(BAD):
        records += [(key, content), (b"u", value(event_id=str(position), value=position))]
    decoded = decode(records, NOW_MS)
    assert decoded.index.tolist() == list(range(0, len(records), 2))
    assert [each.index for each in decoded.rejected] == list(range(1, len(records), 2))
    assert decoded.events.value.tolist() == [0.0, *map(float, range(len(BAD)))]


def test_reasons_are_short() -> None:
    """No reason carries the bad input along: a dead letter has the original bytes already."""
    huge = "x" * 60_000
    for content in (value(event_type=huge), value(user_id=huge), value(occurred_at=huge), value(text=huge)):
        [rejection] = one(content, b"y" * 60_000).rejected
        assert len(rejection.reason) < 500


@pytest.mark.parametrize(
    "content",
    [
        of_size(65_536),
        value(occurred_at=NOW_MS + 300_000),
        value(extra={"any": ["thing"]}, other=None),
        value(value=0, quantity=1e12, rating=0, sentiment=-1),
        value(value=None, text=None),
        nested(150),
        raw("value", "-0.0"),
        b"  " + value() + b"\n",
        value(occurred_at=0),
    ],
    ids=["64 KiB", "5 min ahead", "foreign", "bounds", "nulls", "nested", "minus zero", "white space", "1970"],
)
def test_at_the_limits_a_record_is_fine(content: bytes) -> None:
    """What is exactly at a limit, or merely unusual, is accepted."""
    decoded = one(content)
    assert decoded.rejected == []
    assert len(decoded.events) == 1


def test_limits_are_settings() -> None:
    """A smaller size and a nearer future reject what the defaults accept."""
    strict = Limits(max_record_bytes=200, max_future_ms=0)
    records: list[Record] = [(b"u", of_size(201)), (b"u", value(occurred_at=NOW_MS + 1)), (b"u", of_size(200))]
    codes = [each.code for each in decode(records, NOW_MS, strict).rejected]
    assert codes == [RejectCode.RECORD_TOO_LARGE, RejectCode.IN_THE_FUTURE]


@pytest.mark.parametrize(
    ("given_time", "time_ms"),
    [
        (1_759_312_800_123, 1_759_312_800_123),
        ("2025-10-01T10:00:00.123Z", 1_759_312_800_123),
        ("2025-10-01T10:00:00.123999+00:00", 1_759_312_800_123),
        ("2025-10-01T15:45:00.123+05:45", 1_759_312_800_123),
        ("2025-10-01 10:00:00.123Z", 1_759_312_800_123),
        ("1759312800123", 1_759_312_800_123),
        ("5000", 5_000),
    ],
)
def test_times_are_milliseconds(given_time: object, time_ms: int) -> None:
    """ISO 8601 with any zone and epoch milliseconds, quoted or not, mean the same instant; digits are never seconds."""
    assert one(value(occurred_at=given_time)).events.time_ms.tolist() == [time_ms]


def test_the_last_of_repeated_fields_counts() -> None:
    """Of a field that occurs twice the last one is taken, as most JSON readers do."""
    decoded = one(value(value=1)[:-1] + b',"value":2}')
    assert decoded.events.value.tolist() == [2.0]


def test_a_record_becomes_columns() -> None:
    """Every field that counts arrives in its column and unit."""
    content = value(
        event_type="purchase", value=12.5, discount=2, dwell_ms=1_500, sentiment=-0.25, coupon="X", event_id="abc"
    )
    events = one(content).events
    assert (KINDS[events.kind[0]], events.row.tolist()) == (EventType.PURCHASE, [0])
    assert (events.value[0], events.discount[0], events.dwell_s[0], events.sentiment[0]) == (12.5, 2.0, 1.5, -0.25)
    assert events.coupon.tolist() == [True]
    assert events.id_hash.tolist() == [id_hash("abc")]


def test_absent_amounts_are_zero_and_absent_opinions_are_none() -> None:
    """Amounts default to 0, sentiment to NaN, a coupon to none."""
    events = one(value()).events
    assert (events.value[0], events.discount[0], events.dwell_s[0], bool(events.coupon[0])) == (0.0, 0.0, 0.0, False)
    assert math.isnan(events.sentiment[0])


@pytest.mark.parametrize(("stars", "sentiment"), [(0, -1.0), (1, -1.0), (2.5, -0.25), (3, 0.0), (5, 1.0)])
def test_stars_are_an_opinion(stars: float, sentiment: float) -> None:
    """One to five stars map to -1 to 1; no stars at all is as bad as one."""
    assert one(value(rating=stars)).events.sentiment.tolist() == [sentiment]


def test_a_given_sentiment_outranks_the_stars() -> None:
    """Where a sentiment is given, the rating is not looked at."""
    assert one(value(rating=5, sentiment=-0.5)).events.sentiment.tolist() == [-0.5]


def test_a_null_value_erases_the_user() -> None:
    """A tombstone is an event of its own kind, of the user whose id is the key."""
    decoded = one(None, "Zoë".encode())
    assert (decoded.users, decoded.events.kind.tolist(), decoded.rejected) == (["Zoë"], [ERASE], [])


def test_users_are_numbered_as_they_appear() -> None:
    """Rows point into the list of users, which has each of them once."""
    keys = ["b", "a", "b", "客户", "a"]
    decoded = decode([(key.encode(), value(user_id=key)) for key in keys], NOW_MS)
    assert decoded.users == ["b", "a", "客户"]
    assert decoded.events.row.tolist() == [0, 1, 0, 2, 1]


def test_no_records_are_no_events() -> None:
    """An empty batch decodes to empty columns of the right types."""
    decoded = decode([], NOW_MS)
    assert (decoded.users, decoded.rejected, decoded.index.tolist()) == ([], [], [])
    assert decoded.events.id_hash.dtype == np.uint64


def test_the_hash_of_an_id_never_changes() -> None:
    """Ids are hashed alike in every process and version: stored rings rely on it."""
    assert id_hash("e") == int.from_bytes(bytes.fromhex("10d8a524b02f1d4f"), "little")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["event_id", "user_id", "event_type", "occurred_at", "value", "rating", "sentiment", "text", "coupon", "dwell_ms"]
)


def assert_sound(decoded: Decoded, records: list[Record]) -> None:
    """Each record is either an event within all limits or rejected in words."""
    assert sorted([*decoded.index.tolist(), *(each.index for each in decoded.rejected)]) == list(range(len(records)))
    assert all(each.reason for each in decoded.rejected)
    events = decoded.events
    assert ((events.time_ms >= 0) & (events.time_ms <= NOW_MS + LIMITS.max_future_ms)).all()
    for column in (events.value, events.discount, events.dwell_s):
        assert (np.isfinite(column) & (column >= 0)).all()
    assert not (np.abs(events.sentiment) > 1).any()
    for position, row in zip(decoded.index.tolist(), events.row.tolist(), strict=True):
        assert records[position][0] == decoded.users[row].encode()


@given(st.lists(st.tuples(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=200)), max_size=5))
@settings(max_examples=300)
def test_no_bytes_make_decode_fail(records: list[Record]) -> None:
    """Whatever the key and the value are, decoding gives an event or a rejection."""
    assert_sound(decode(records, NOW_MS), records)


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=4), min_size=1, max_size=4))
@settings(max_examples=300)
def test_no_json_makes_decode_fail(changes: list[dict[str, object]]) -> None:
    """Whatever JSON the fields hold, decoding gives an event within all limits or a rejection."""
    records: list[Record] = [(b"u", value(**each)) for each in changes]
    assert_sound(decode(records, NOW_MS), records)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=3))
@settings(max_examples=300)
def test_no_damage_makes_decode_fail(at: int, damage: bytes) -> None:
    """A good record with some bytes overwritten decodes to an event or a rejection."""
    content = bytearray(value(value=1.5, text="Grüße", rating=4))
    at %= len(content)
    content[at : at + len(damage)] = damage
    records: list[Record] = [(b"u", bytes(content)), (b"u", value())]
    decoded = decode(records, NOW_MS)
    assert_sound(decoded, records)
    assert 1 in decoded.index.tolist()


@given(st.datetimes(datetime(1970, 1, 2), datetime(2025, 10, 1), timezones=st.timezones()))
@settings(max_examples=100)
def test_iso_times_are_the_instant_they_name(moment: datetime) -> None:
    """Any zone-aware time that Python can write is read as the same millisecond."""
    offset = moment.utcoffset()
    assert offset is not None
    if offset.total_seconds() % 60 == 0:  # others cannot be written in ISO 8601
        expected = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000 // 1)
        [time_ms] = one(value(occurred_at=moment.isoformat(timespec="milliseconds"))).events.time_ms.tolist()
        assert abs(time_ms - expected) <= 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [("SKU-1", b"SKU-1"), ("é" * 16, "é".encode() * 16), ("é" * 17, b""), ("x" * 33, b""), ("", b""), ("a\0", b"")],
)
def test_names_that_a_state_cannot_keep_are_left_out(given: str, kept: bytes) -> None:
    """An item or category of up to 32 bytes is kept whole, a longer one not at all."""
    events = one(value(item_id=given, category=given)).events
    assert events.item.tolist() == events.category.tolist() == [kept]


@pytest.mark.parametrize(
    ("locale", "language"),
    [("de-DE", b"de"), ("zh_Hans_CN", b"zh"), ("EN", b"en"), ("fil-PH", b"fil"), ("x", b""), ("日本", b""), ("", b"")],
)
def test_the_language_is_the_locale_s(locale: str, language: bytes) -> None:
    """A locale's first part in lower case, if it can be the code of a language."""
    assert one(value(locale=locale)).events.language.tolist() == [language]
