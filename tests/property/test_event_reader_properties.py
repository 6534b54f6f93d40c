"""The fast reader reads as ShopEvent does, or leaves it to ShopEvent."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.event import EventType, ShopEvent
from schemas.event_reader import ReadEvent, as_read, read_event, read_events

GOOD: dict[str, Any] = {"event_id": "e", "user_id": "u", "event_type": "purchase", "occurred_at": 1_700_000_000_000}
USUAL = json.dumps(GOOD).encode()
PIECES = st.sampled_from(
    [b"", b'"', b"\\", b"\\u", b"\\ud800", b"\\u0000", b"{", b"}", b"[", b"]", b",", b":", b"0", b"01", b"-", b"1e5",
     b".", b"1e400", b"NaN", b"Infinity", b"null", b"true", b'"a":1,', b"\x00", b"\n",
     b"\xff", b"\xc3\xa9", b"\xed\xa0\x80",
     b"\xef\xbb\xbf", b" ", b'"z":{"y":[1,{"x":"\xff"}]},', b"9" * 30, b"9" * 400]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TIMES = st.one_of(
    st.integers(-10, 10**15),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?", fullmatch=True),
)
FIELDS = st.dictionaries(
    st.sampled_from([*ShopEvent.model_fields, "foreign"]),
    st.one_of(ANYTHING, st.sampled_from([*EventType]), st.floats(0, 10), st.text(max_size=300)),
    max_size=4,
)


def agrees(value: bytes) -> bool:
    """Whether the fast reader took it; then ShopEvent must have read the same."""
    read = read_event(value)
    assert read_events([value]) == [read]
    assert read_events([USUAL, value, USUAL]) == [read_event(USUAL), read, read_event(USUAL)]
    if read is None:
        return False
    event = ShopEvent.model_validate_json(value)  # a ValidationError fails the test
    assert read == as_read(event)
    assert type(read.occurred_at) is int
    return True


@given(FIELDS, TIMES)
@settings(max_examples=600)
def test_whatever_the_fields_hold(fields: dict[str, Any], at: object) -> None:
    """JSON of any types, limits and times."""
    agrees(json.dumps(GOOD | {"occurred_at": at} | fields).encode())
    agrees(json.dumps(GOOD | {"occurred_at": at} | fields, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(st.integers(0, 110), st.integers(0, 6), PIECES)
@settings(max_examples=1_000)
@example(109, 0, b',"z":"\xff"')
def test_whatever_the_damage(at: int, cut: int, piece: bytes) -> None:
    """Bytes cut out and put in anywhere, foreign fields included."""
    value = json.dumps(GOOD | {"foreign": {"a": [1, "x"]}}).encode()
    agrees(value[:at] + piece + value[at + cut :])


def test_usual_records_are_read_fast() -> None:
    """All fields filled, in ASCII or not, with either form of time."""
    whole = GOOD | {
        "item_id": "i", "category": "Gemüse", "value": 3, "currency": "EUR", "quantity": 1, "discount": 0.5,
        "rating": 4, "dwell_ms": 900.0, "text": "好", "sentiment": -0.5, "coupon": "c", "campaign_id": "d",
        "channel": "web", "locale": "zh-CN", "foreign": [{}],
    }  # fmt: skip
    for at in (1_700_000_000_000, "2024-02-29T10:00:00Z", "2024-02-29T10:00:00.123+05:30"):
        assert agrees(json.dumps(whole | {"occurred_at": at}).encode())
        assert agrees(json.dumps(whole | {"occurred_at": at}, ensure_ascii=False).encode())


def test_the_reader_knows_every_field() -> None:
    """Those of ShopEvent, in its order."""
    assert ReadEvent.__struct_fields__ == tuple(ShopEvent.model_fields)


def test_what_shop_event_refuses_is_left_to_it() -> None:
    """One record of each kind that only it can say the reason of."""
    for wrong in (
        {"value": -1},
        {"event_id": "x" * 257},
        {"event_type": "bought"},
        {"occurred_at": 10**30},
        {"user_id": 1},
    ):
        value = json.dumps(GOOD | wrong).encode()
        assert read_event(value) is None
        try:
            ShopEvent.model_validate_json(value)
        except ValidationError:
            continue
        raise AssertionError(wrong)


def test_what_breaks_over_two_records_is_not_put_together() -> None:
    """A record that ends within a string, and one that begins there, are no events, whatever stands between."""
    broken = json.dumps(GOOD | {"foreign": "x"}).encode()
    cut = broken.index(b'x"')
    assert read_events([broken[:cut], broken[cut:]]) == [None, None]
    assert read_events([USUAL + b"\n" + USUAL, b""]) == [None, None]
    assert read_events([b"", USUAL, None, USUAL]) == [None, read_event(USUAL), None, read_event(USUAL)]
    assert read_events([]) == []
