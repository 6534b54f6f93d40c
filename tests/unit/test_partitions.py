"""The life of a partition task is its transition table, and nothing else."""

from itertools import product

import pytest

from consumer.partitions import TRANSITIONS, Happening, PartitionTask, Phase
from consumer.ports import Position

IMPOSSIBLE = [pair for pair in product(Phase, Happening) if pair not in TRANSITIONS]


def test_a_task_begins_by_claiming() -> None:
    """A newly assigned partition takes no records yet."""
    task = PartitionTask(3)
    assert (task.phase, task.is_live, task.stored) == (Phase.CLAIMING, False, None)


@pytest.mark.parametrize(("phase", "happening"), TRANSITIONS)
def test_what_is_in_the_table_happens(phase: Phase, happening: Happening) -> None:
    """Every listed move leads where the table says."""
    task = PartitionTask(0, phase)
    task.on(happening)
    assert task.phase is TRANSITIONS[phase, happening]


@pytest.mark.parametrize(("phase", "happening"), IMPOSSIBLE)
def test_what_is_not_in_the_table_is_a_bug(phase: Phase, happening: Happening) -> None:
    """An unlisted move raises, and the task stays where it is."""
    task = PartitionTask(0, phase)
    with pytest.raises(KeyError):
        task.on(happening)
    assert task.phase is phase


def test_the_end_is_final() -> None:
    """A released task never comes back: a new assignment is a new task."""
    assert all((Phase.RELEASED, happening) in IMPOSSIBLE for happening in Happening)


def test_every_phase_can_be_left_by_revocation() -> None:
    """Whatever an owned task is doing, its partition can be taken away."""
    assert {phase for phase, happening in TRANSITIONS if happening is Happening.REVOKED} == set(Phase) - {
        Phase.RELEASED
    }


def test_a_claim_makes_it_live_where_it_was_stored() -> None:
    """After a claim the task is live at the position found."""
    task = PartitionTask(0)
    task.claimed(Position(7, 1_000))
    assert (task.is_live, task.stored) == (True, Position(7, 1_000))


def test_no_two_claims_are_the_same() -> None:
    """What was read under an earlier claim is told from what is read under the next, of any partition."""
    tasks = [PartitionTask(0), PartitionTask(1)]
    claims = []
    for _ in range(3):
        for task in tasks:
            task.claimed(None)
            claims.append(task.claim)
            task.on(Happening.DOUBTED)
    assert sorted(set(claims)) == claims


def test_a_task_in_doubt_is_not_live() -> None:
    """In doubt nothing is processed until the partition is claimed again."""
    task = PartitionTask(0)
    task.claimed(None)
    task.on(Happening.DOUBTED)
    assert not task.is_live


@pytest.mark.parametrize("position", [Position(0, -1), Position(2**53, 1_759_312_800_123)])
def test_a_position_survives_being_stored(position: Position) -> None:
    """What `str` writes, `parse` reads."""
    assert Position.parse(str(position).encode()) == position
