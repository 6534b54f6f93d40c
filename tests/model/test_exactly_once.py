"""Exactly once, whatever fails when: thousands of schedules of two processes over one Kafka and one Redis."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model.bugs import BUGS
from model.explorer import TAPE_BYTES, Explorer, explore
from model.process import Silent
from model.truth import CRASHED, BrokenPromiseError

EXAMPLES = 2_000  # derandomised by the profile in tests/conftest.py: the same ones in every run
BUG_EXAMPLES = 1_000
# What two processes and their faults can bring about; the other claims are in tests/unit/test_commit.py.
EVERY_WAY = {
    *("claim: fresh", "claim: live", "claim: catch_up", "claim: restore_lost"),
    *("doubt: fenced", "doubt: moved", "doubt: unknown", "doubt: given_up", "doubt: damaged"),
}


def play_many(play: Callable[[bytes], None], examples: int) -> None:
    """Tapes of Hypothesis' choice, up to the first that fails."""

    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
    @given(tape=st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES))
    def played(tape: bytes) -> None:
        play(tape)

    played()


def test_a_day_without_faults_ends_with_everything_in_place() -> None:
    """A tape of zeros: all events are folded, silence is noticed, and Redis stands with Kafka."""
    Explorer(bytes(TAPE_BYTES)).play()


def test_every_event_counts_once_whatever_fails() -> None:
    """No schedule of crashes, zombies, lost answers and lost data breaks a promise; `EVERY_WAY` is taken."""
    Silent.outcomes.clear()
    play_many(explore, EXAMPLES)
    assert Silent.outcomes.keys() >= EVERY_WAY


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small change that breaks the protocol breaks a promise of it within far fewer schedules."""
    BUGS[name](monkeypatch)
    with pytest.raises(BrokenPromiseError) as found:
        play_many(lambda tape: Explorer(tape).play(), BUG_EXAMPLES)
    assert CRASHED not in str(found.value)
