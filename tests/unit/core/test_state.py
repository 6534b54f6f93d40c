"""Layout of a user's state, and its way into one stored value and back."""

import numpy as np
import pytest

from consumer.core.state import (
    HEADER,
    LAYOUT_VERSION,
    MAX_DAYS,
    NO_DAY,
    NO_TIME,
    RECENT_IDS,
    USER_DAY,
    UnreadableStateError,
    empty_states,
    pack,
    reset,
    unpack,
)
from histories import Happened, day, folded
from schemas.event import EventType

THREE_DAYS = [Happened(EventType.PURCHASE, day(number), value=number + 1.0) for number in range(3)]


def test_of_an_unknown_user_nothing_is_set() -> None:
    """An empty state has no days, no times and no timer."""
    header = empty_states(2).header
    assert header["days"].tolist() == [0, 0]
    for name in ("first_ms", "last_ms", "last_target_ms", "episode_ms", "due_ms"):
        assert header[name].tolist() == [NO_TIME, NO_TIME]
    assert header["evicted_day"].tolist() == [NO_DAY, NO_DAY]


def test_an_unknown_user_is_stored_as_nothing() -> None:
    """A user of whom nothing is known packs to an empty value, which stands for deletion."""
    assert pack(empty_states(1)) == [b""]


@pytest.mark.parametrize("absent", [None, b""])
def test_nothing_stored_is_an_unknown_user(absent: bytes | None) -> None:
    """A missing and an empty value both read as an empty state."""
    states = unpack([absent])
    assert states.header.tobytes() == empty_states(1).header.tobytes()
    assert states.days.tobytes() == empty_states(1).days.tobytes()


def test_users_pay_for_the_days_they_have() -> None:
    """The stored size is the header and one record per active day."""
    [value] = pack(folded(THREE_DAYS))
    assert len(value) == HEADER.itemsize + 3 * USER_DAY.itemsize


def test_users_of_different_lengths_come_back_in_place() -> None:
    """Unpacking a mixed batch restores every user's state, in order."""
    values = [pack(folded(THREE_DAYS[:count]))[0] for count in (3, 1, 2, 1)]
    states = unpack([values[0], None, *values[1:]])
    assert states.header["days"].tolist() == [3, 0, 1, 2, 1]
    assert pack(states) == [values[0], b"", *values[1:]]


def test_a_state_of_another_layout_is_refused() -> None:
    """An unknown version is named in the error, together with the known one."""
    [value] = pack(folded(THREE_DAYS))
    with pytest.raises(UnreadableStateError, match=f"layout {LAYOUT_VERSION + 1}; this version reads {LAYOUT_VERSION}"):
        unpack([bytes([LAYOUT_VERSION + 1]) + value[1:]])


@pytest.mark.parametrize(
    "garble",
    [
        lambda value: value[:1],
        lambda value: value[:-1],
        lambda value: value + b"\0",
        lambda value: value[:1] + bytes([MAX_DAYS + 1]) + value[2:],
        lambda value: value[:1] + bytes([2]) + value[2:],
    ],
    ids=["one byte", "a byte short", "a byte long", "too many days", "wrong count"],
)
def test_a_garbled_state_is_refused(garble: object) -> None:
    """A value whose length does not fit its day count is an error, not a state."""
    assert callable(garble)
    [value] = pack(folded(THREE_DAYS))
    with pytest.raises(UnreadableStateError, match="cut short or garbled"):
        unpack([value, garble(value)])


def test_the_last_day_is_the_newest_kept() -> None:
    """`last_day` is the newest active day, and NO_DAY for a user without any."""
    states = unpack([pack(folded(THREE_DAYS))[0], None])
    assert states.last_day(np.array([0, 1])).tolist() == [day(2) // 86_400_000, NO_DAY]


@pytest.mark.parametrize("count", [1, RECENT_IDS - 1, RECENT_IDS, RECENT_IDS + 1])
def test_the_last_id_is_that_of_the_last_event(count: int) -> None:
    """`last_id` follows the ring of recent ids around."""
    states = folded([Happened(EventType.SEARCH, day(0), event_id=50 + each) for each in range(count)])
    assert states.last_id(np.array([0])).tolist() == [50 + count - 1]


def test_taken_rows_are_copies() -> None:
    """Changing what `take` returned leaves the original alone."""
    states = folded(THREE_DAYS)
    copy = states.take(np.array([0]))
    copy.header["events"] = 99
    copy.days["spend"] = 99
    assert states.header["events"].tolist() == [3]
    assert states.days["spend"][0, :3].tolist() == [1.0, 2.0, 3.0]


def test_a_reset_user_is_unknown() -> None:
    """After a reset nothing of the user would be stored."""
    states = folded(THREE_DAYS)
    reset(states.header, np.array([0]))
    assert pack(states) == [b""]
