"""Layout of users' states."""

import numpy as np
import pytest

from consumer.core.state import NO_DAY, NO_TIME, RECENT_IDS, empty_states, reset
from histories import Happened, day, folded
from schemas.event import EventType

THREE_DAYS = [Happened(EventType.PURCHASE, day(number), value=number + 1.0) for number in range(3)]


def test_of_an_unknown_user_nothing_is_set() -> None:
    """An empty state has no days, no times and no timer."""
    header = empty_states(2).header
    assert header["days"].tolist() == [0, 0]
    for name in ("first_ms", "last_ms", "last_target_ms", "episode_ms", "due_ms", "last_alert_ms", "sample_ms"):
        assert header[name].tolist() == [NO_TIME, NO_TIME]
    assert header["evicted_day"].tolist() == header["affinity_day"].tolist() == [NO_DAY, NO_DAY]
    assert (header["triggered_day"] == NO_DAY).all()
    assert not any(favourite["name"].any() for favourite in (header["categories"], header["items"]))


def test_the_last_day_is_the_newest_kept() -> None:
    """`last_day` is the newest active day, and NO_DAY for a user without any."""
    states = folded(THREE_DAYS, users=2)
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
    """After a reset the header is that of a user of whom nothing is known."""
    states = folded(THREE_DAYS)
    states.header["items"][0, 0], states.header["triggered_day"] = (b"SKU-1", 1.0), 19_737
    states.header["sample_ms"], states.header["sample_risk"], states.header["published_risk"] = day(2), 0.5, 0.5
    reset(states.header, np.array([0]))
    assert states.header.tobytes() == empty_states(1).header.tobytes()
