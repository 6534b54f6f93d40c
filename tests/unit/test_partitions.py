"""The life of a partition task is its transition table, and nothing else."""

from itertools import product

import pytest

from consumer.commit import Claimed
from consumer.partitions import TRANSITIONS, Happening, PartitionTask, Phase
from consumer.records import Header, Position
from consumer.working_set import WorkingSet

FOUND = Claimed(Position("g", 7, 1_000), Header("g", 3, "k", 0, 0, 7, 1_000))
IMPOSSIBLE = [pair for pair in product(Phase, Happening) if pair not in TRANSITIONS]


def test_a_task_begins_by_claiming() -> None:
    """A newly assigned partition takes no records yet."""
    task = PartitionTask(3)
    assert (task.phase, task.is_live, task.work) == (Phase.CLAIMING, False, None)


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


def test_every_phase_can_be_left_for_good() -> None:
    """Whatever an owned task is doing, its partition can be taken away."""
    assert {phase for phase, happening in TRANSITIONS if happening is Happening.GONE} == set(Phase) - {Phase.RELEASED}


def test_a_claim_makes_it_live_where_it_was_found() -> None:
    """After a claim the task is live at the position found, with nothing changed, and the source has to seek."""
    task = PartitionTask(0)
    task.claimed(FOUND)
    assert task.is_live
    assert task.needs_seek
    assert task.work == WorkingSet.at(FOUND.position, FOUND.header)


def test_no_two_seeks_are_the_same() -> None:
    """What was read before a seek is told from what is read after it, of any partition."""
    tasks = [PartitionTask(0), PartitionTask(1)]
    reads = []
    for _ in range(3):
        for task in tasks:
            task.claimed(FOUND)
            task.sought()
            reads.append(task.read)
            task.doubted()
    assert sorted(set(reads)) == reads


def test_a_task_in_doubt_forgets_everything() -> None:
    """In doubt nothing is processed until the partition is claimed again, and nothing in memory counts."""
    task = PartitionTask(0)
    task.claimed(FOUND)
    task.doubted()
    assert (task.is_live, task.work, task.doubts) == (False, None, 1)


def test_a_partition_that_stays_keeps_its_changes() -> None:
    """Through a rebalance that leaves it here, what is in memory stays; only the source has to seek again."""
    task = PartitionTask(0)
    task.claimed(FOUND)
    task.sought()
    work = task.work
    task.on(Happening.REVOKED)
    assert (task.is_live, task.is_suspended) == (False, True)
    task.kept()
    assert (task.is_live, task.needs_seek) == (True, True)
    assert task.work is work
