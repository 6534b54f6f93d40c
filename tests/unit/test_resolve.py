"""From what the changelog and the store say to what a claim does."""

from dataclasses import replace

import pytest

from consumer.records import Header, Logged, Position, View
from consumer.resolve import RESOLUTIONS, Outcome, resolve

POSITION = Position("g", 100, 5_000, users=3, timers=2, partitions=4)
K = Logged(POSITION, 50)
AT_K = Header.of(K, "keys")
NOTHING = View(None, is_intact=False)


def intact(header: Header) -> View:
    return View(header, is_intact=True)


@pytest.mark.parametrize(
    ("logged", "view", "outcome"),
    [
        (None, NOTHING, Outcome.FRESH),
        (None, intact(AT_K), Outcome.FOREIGN),
        (None, View(AT_K, is_intact=False), Outcome.FOREIGN),
        (K, NOTHING, Outcome.RESTORE_LOST),
        (K, View(AT_K, is_intact=False), Outcome.RESTORE_LOST),
        (K, View(replace(AT_K, offset=40), is_intact=False), Outcome.RESTORE_LOST),
        (K, intact(replace(AT_K, genesis="other")), Outcome.RESTORE_OTHER_GENESIS),
        (K, intact(replace(AT_K, genesis="other", offset=40)), Outcome.RESTORE_OTHER_GENESIS),
        (K, intact(replace(AT_K, offset=51)), Outcome.RESTORE_AHEAD),
        (K, intact(replace(AT_K, offset=49, users=1)), Outcome.CATCH_UP),
        (K, intact(replace(AT_K, users=4)), Outcome.RESTORE_DAMAGED),
        (K, intact(replace(AT_K, timers=1)), Outcome.RESTORE_DAMAGED),
        (K, intact(AT_K), Outcome.LIVE),
    ],
)
def test_the_first_row_that_holds_decides(logged: Logged | None, view: View, outcome: Outcome) -> None:
    """Each combination of position and view leads to the outcome that the table names."""
    assert resolve(logged, view) is outcome


def test_every_outcome_is_one_row() -> None:
    """The table names each outcome once, and the last row always holds."""
    assert [row.outcome for row in RESOLUTIONS] == list(Outcome)


def test_generations_of_keys_do_not_matter() -> None:
    """Which keys hold the states is the store's own business."""
    assert resolve(K, intact(Header.of(K, "other keys"))) is Outcome.LIVE
