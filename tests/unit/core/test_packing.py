"""A user's state on its way into one stored value and back."""

import numpy as np
import pytest

from consumer.core.packing import due_ms_of, pack, unpack
from consumer.core.state import LAYOUT_VERSION, MAX_DAYS, RECENT_IDS, States, UnreadableStateError, empty_states
from histories import Happened, day, folded, random_states
from schemas.event import EventType

THREE_DAYS = [Happened(EventType.PURCHASE, day(number), value=number + 1.0) for number in range(3)]


def assert_equal(found: States, expected: States) -> None:
    """The same bits in headers and in all days that count."""
    assert found.header.tobytes() == expected.header.tobytes()
    counts = np.arange(MAX_DAYS) < expected.header["days"].astype(np.int64)[:, None]
    assert found.days[counts].tobytes() == expected.days[counts].tobytes()


def test_an_unknown_user_is_stored_as_nothing() -> None:
    """A user of whom nothing is known packs to an empty value, which stands for deletion."""
    assert pack(empty_states(1)) == [b""]


@pytest.mark.parametrize("absent", [None, b""])
def test_nothing_stored_is_an_unknown_user(absent: bytes | None) -> None:
    """A missing and an empty value both read as an empty state."""
    states = unpack([absent])
    assert states.header.tobytes() == empty_states(1).header.tobytes()
    assert states.days.tobytes() == empty_states(1).days.tobytes()


def test_no_users_pack_to_no_values() -> None:
    """Empty batches stay empty."""
    assert pack(empty_states(0)) == []
    assert len(unpack([])) == 0
    assert due_ms_of([]) == []


def test_users_of_different_lengths_come_back_in_place() -> None:
    """Unpacking a mixed batch restores every user's state, in order."""
    values = [pack(folded(THREE_DAYS[:count]))[0] for count in (3, 1, 2, 1)]
    states = unpack([values[0], None, *values[1:]])
    assert states.header["days"].tolist() == [3, 0, 1, 2, 1]
    assert pack(states) == [values[0], b"", *values[1:]]


def test_batches_beyond_one_block_come_back_whole() -> None:
    """Hundreds of users with all kinds of histories are the same bits after packing and unpacking."""
    states = random_states(users=120, events=6_000)
    states = states.take(np.tile(np.arange(len(states)), 20))
    assert states.header["days"].sum() > 20_000
    assert_equal(unpack(pack(states)), states)


def test_an_ordinary_day_takes_a_few_bytes() -> None:
    """Another day like the ones before adds no more than its amount and a few bits."""
    value, longer = (
        pack(folded([Happened(EventType.PURCHASE, day(number), value=19.99) for number in range(count)]))[0]
        for count in (20, 40)
    )
    assert len(longer) - len(value) <= 20 * 4 + 2


def test_amounts_in_hundredths_are_small() -> None:
    """0.1 + 0.2 takes the room of 0.3: sums are rounded, so that errors in the last bits never reach the store."""
    added = [Happened(EventType.PURCHASE, day(0) + hour, value=value) for hour, value in enumerate((0.1, 0.2))]
    once = [Happened(EventType.PURCHASE, day(0) + hour, value=value) for hour, value in enumerate((0.3, 0.0))]
    assert pack(folded(added)) == pack(folded(once))


def test_only_used_ids_are_stored() -> None:
    """A user's second event costs no more than its id and a few bytes; once the ring is full, ids cost nothing more."""
    sizes = [
        len(pack(folded([Happened(EventType.SEARCH, day(0), event_id=2**60 + each) for each in range(count)]))[0])
        for count in (1, 2, RECENT_IDS, RECENT_IDS + 1)
    ]
    assert sizes[1] - sizes[0] <= 10
    assert sizes[3] - sizes[2] <= 2


def test_due_times_are_read_without_unpacking() -> None:
    """The timer of every value; None where there is no timer and no state."""
    waiting = folded(THREE_DAYS)
    waiting.header["due_ms"] = day(80)
    assert due_ms_of([b"", *pack(waiting), *pack(folded(THREE_DAYS))]) == [None, day(80), None]


def test_what_is_not_known_of_a_user_takes_no_room() -> None:
    """A favourite costs its name, its weight and a byte; what is absent costs nothing."""
    states = folded(THREE_DAYS)
    [plain] = pack(states)
    states.header["affinity_day"] = 19_737
    states.header["items"][0, 0] = (b"SKU-1", 1.5)
    [with_item] = pack(states)
    assert len(with_item) - len(plain) == len("SKU-1") + 4 + 1 + 5  # and 5 for the day
    states.header["triggered_day"][0, 2] = 19_737
    states.header["last_alert_ms"] = day(3)
    assert len(pack(states)[0]) - len(with_item) == 5 + 7


def test_favourites_come_back_in_place() -> None:
    """Names of 1 and of 32 bytes, in every slot, with their weights, and nothing where there is none."""
    states = folded(THREE_DAYS)
    header = states.header
    header["categories"][0] = [(b"shoes", 3.25), (b"", 0), (bytes(range(1, 33)), 1e-9), ("Stühle".encode(), 2)]
    header["items"][0, 5] = (b"x", 0.1)
    assert_equal(unpack(pack(states)), states)


@pytest.mark.parametrize("read", [unpack, due_ms_of], ids=["unpack", "due_ms_of"])
@pytest.mark.parametrize("version", [0, LAYOUT_VERSION - 1, LAYOUT_VERSION + 1, 255])
def test_a_state_of_another_layout_is_refused(read: object, version: int) -> None:
    """An unknown version is named in the error, together with the known one."""
    assert callable(read)
    [value] = pack(folded(THREE_DAYS))
    with pytest.raises(UnreadableStateError, match=f"layout {version}; this version reads {LAYOUT_VERSION}"):
        read([value, bytes([version]) + value[1:]])


@pytest.mark.parametrize(
    "garble",
    [
        lambda value: value[:1],
        lambda value: value[:60],
        lambda value: value[:-1],
        lambda value: value + b"\0",
        lambda value: value[:1] + bytes([MAX_DAYS + 1]) + value[2:],
        lambda value: value[:1] + bytes([2]) + value[2:],
    ],
    ids=["one byte", "60 bytes", "a byte short", "a byte long", "too many days", "wrong count"],
)
def test_a_garbled_state_is_refused(garble: object) -> None:
    """A value whose length does not fit what it says of itself is an error, not a state."""
    assert callable(garble)
    [value] = pack(folded(THREE_DAYS))
    with pytest.raises(UnreadableStateError, match="cut short or garbled"):
        unpack([value, garble(value)])


@pytest.mark.parametrize("size", [1, 2, 9, 60])
def test_a_due_time_is_not_read_from_too_short_a_value(size: int) -> None:
    """What is too short to be a state has no due time."""
    [value] = pack(folded(THREE_DAYS))
    with pytest.raises(UnreadableStateError, match=f"of {size} bytes is cut short or garbled"):
        due_ms_of([value, value[:size]])
