"""Moving all users to where they live once the input has got another number of partitions."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from consumer.adapters.kafka import partition_of
from consumer.adapters.memory import MemoryChangelog
from consumer.errors import ConfigurationError, EbbtideError, LostPartitionError
from consumer.records import NOT_BEGUN_MS, Logged, Message, Position, UserState
from consumer.repartition_move import Move, Waiting, Written, last_positions, refuse, waiting
from consumer.repartition_plan import Drafts, InputNow, Plan, Split, kept_for

OLD, NEW = 2, 5
NAMES = [f"user-{number}" for number in range(60)]
RETAINED = [(0, 100), (10, 80), (0, 7), (0, 0), (3, 5)]


def old_home(name: str) -> int:
    return partition_of(name.encode(), OLD)


def new_home(name: str) -> int:
    return partition_of(name.encode(), NEW)


def one_of(old: int, new: int) -> str:
    """Somebody who lived in one partition and lives in another now."""
    return next(name for name in NAMES if (old_home(name), new_home(name)) == (old, new))


def user(name: str, due_ms: int | None = None, value: bytes = b"state") -> UserState:
    return UserState(name, value, due_ms)


def erased(name: str) -> UserState:
    return UserState(name, b"", None)


def at(next_offset: int, watermark_ms: int = 1_000, partitions: int = OLD) -> Logged:
    return Logged(Position("old", next_offset, watermark_ms, 3, 2, partitions), 50)


def plan_of(*logged: Logged | None, retained: Sequence[tuple[int, int]] = RETAINED, from_end: bool = False) -> Plan:
    """From so many old partitions; None was never begun."""
    begun = {partition: each for partition, each in enumerate(logged) if each}
    return Plan(begun, len(logged), InputNow(retained, from_end))


# What the old positions say.


@pytest.mark.parametrize(
    ("counts", "states_in", "expected"),
    [
        ([OLD, OLD], OLD, OLD),
        ([OLD, OLD, NEW], NEW, OLD),  # the state topic was enlarged as well, and the service begun on it
        ([NEW, NEW], NEW, NEW),
        ([NEW], OLD, NEW),
        ([], OLD, OLD),
        ([], NEW, NEW),
    ],
)
def test_positions_say_for_how_many_partitions_states_were_kept(
    counts: list[int], states_in: int, expected: int
) -> None:
    """Not how many partitions the state topic has, unless nothing was ever begun."""
    assert kept_for([at(0, partitions=each) for each in counts], states_in, NEW) == expected


@pytest.mark.parametrize(("counts", "told"), [([0, NEW], "unfinished"), ([2, 3], r"\[2, 3\]")])
def test_a_state_topic_that_cannot_be_moved_from_is_named(counts: list[int], told: str) -> None:
    """One that was left unfinished, or that was kept for two different counts."""
    with pytest.raises(ConfigurationError, match=told):
        kept_for([at(0, partitions=each) for each in counts], 2, NEW)


def test_the_service_goes_on_where_it_stood() -> None:
    """Old partitions at their position, or at the configured start; new ones at their first record, whatever is set."""
    plan = plan_of(at(70), None, from_end=True)
    assert [plan.next_offset(partition) for partition in range(NEW)] == [70, 80, 0, 0, 3]


def test_an_input_with_fewer_partitions_is_another_one() -> None:
    """Kafka takes no partitions away: offsets of the topic that was there before mean nothing."""
    plan = plan_of(at(70), at(70), at(70), retained=[(0, 9), (2, 9)])
    assert [plan.next_offset(partition) for partition in range(2)] == [0, 2]


def test_what_waits_in_old_partitions_is_looked_at() -> None:
    """From the position, or from the first record that is left, to the end; not what new partitions hold."""
    assert plan_of(at(70), at(5)).unread() == {0: range(70, 100), 1: range(10, 80)}
    assert plan_of(at(100), None).unread() == {1: range(10, 80)}


def test_the_least_watermark_counts() -> None:
    """Nobody has been silent for longer than their old partition had seen; one that has not begun says nothing."""
    assert plan_of(at(0, 5_000), at(0, 2_000), at(0, NOT_BEGUN_MS)).watermark_ms() == 2_000
    assert plan_of(None, None).watermark_ms() == NOT_BEGUN_MS


# Who goes where.


def test_every_user_goes_home() -> None:
    """Each share holds the users of one new partition; users and timers are counted there."""
    split = Split(OLD, NEW)
    for partition in range(OLD):
        here = [user(name, due_ms=7) for name in NAMES if old_home(name) == partition]
        for home, share in split.shares(partition, here).items():
            assert share == [each for each in here if new_home(each.user_id) == home]
    counts = [split.counts(home) for home in range(NEW)]
    assert counts == [(n, n) for n in ([*map(new_home, NAMES)].count(home) for home in range(NEW))]


def test_the_later_state_of_a_user_counts() -> None:
    """One user in several chunks is one user, with the timer of the last state."""
    split, name = Split(OLD, NEW), one_of(0, 2)
    split.shares(0, [user(name, due_ms=7)])
    assert split.shares(0, [user(name, value=b"later")]) == {2: [user(name, value=b"later")]}
    assert split.counts(2) == (1, 0)


def test_an_erased_user_stays_erased() -> None:
    """The erasure is written if a state was; otherwise there is nothing to erase."""
    split, name = Split(OLD, NEW), one_of(0, 2)
    assert split.shares(0, [erased(name)]) == {}
    split.shares(0, [user(name)])
    assert split.shares(0, [erased(name)]) == {2: [erased(name)]}
    assert split.counts(2) == (0, 0)


def test_an_early_user_without_an_older_state_is_taken() -> None:
    """Somebody new came while the service read the first new records: their state is in the right place already."""
    split, name = Split(OLD, NEW), one_of(0, 1)
    assert split.shares(1, [user(name)]) == {}
    assert split.early() == ({1: [user(name)]}, [])
    assert split.counts(1) == (1, 0)


def test_an_early_state_does_not_replace_a_longer_history() -> None:
    """Of two states the one of the partition where the user lived stays, in whatever order they are read."""
    split, name = Split(OLD, NEW), one_of(1, 0)
    split.shares(0, [user(name, value=b"early")])
    split.shares(1, [user(name, value=b"long")])
    assert split.early() == ({}, [name])


def test_an_early_erasure_erases() -> None:
    """Who asked to be forgotten in a new partition is forgotten in the old one."""
    split, name = Split(OLD, NEW), one_of(0, 1)
    split.shares(0, [user(name)])
    split.shares(1, [erased(name)])
    assert split.early() == ({1: [erased(name)]}, [])
    assert split.counts(1) == (0, 0)


def test_users_placed_by_another_hash_are_refused() -> None:
    """A user in a partition where the key's hash never put them: nobody knows where they live now."""
    with pytest.raises(EbbtideError, match="murmur2"):
        Split(OLD, NEW).shares(0, [user(one_of(1, 3))])


# Records that wait.


class Records:
    """An input whose unread records are in memory: by partition, when each was written and whose it is."""

    def __init__(self, **keys: Sequence[tuple[int, bytes | None]]) -> None:
        self._records = {
            int(name.removeprefix("p")): [(at_ms, Message("events", key, b"{}")) for at_ms, key in rows]
            for name, rows in keys.items()
        }

    async def read(self, partition: int, offsets: range) -> AsyncGenerator[list[Written]]:
        """Two batches."""
        yield self._records[partition][:2]
        yield self._records[partition][2:]


async def test_records_of_users_who_live_elsewhere_are_counted() -> None:
    """Those of users who stay, and those without a user, may wait."""
    rows = [(1, key) for key in (one_of(0, 0).encode(), one_of(0, 2).encode(), None, b"", one_of(0, 3).encode())]
    assert await waiting(Records(p0=rows), plan_of(at(95), at(80))) == {0: Waiting(range(95, 100), 2)}
    assert await waiting(Records(p0=rows[:1]), plan_of(at(95), at(80))) == {}


def test_records_that_wait_are_refused_with_what_to_do() -> None:
    """Per partition how many, and the way out."""
    refuse({})
    with pytest.raises(EbbtideError, match=r"(?s)partition 0: 2 of 5 .*lag 0.*--requeue-unread"):
        refuse({0: Waiting(range(95, 100), 2)})


# The move, in memory.


async def old_changelog(*commits: tuple[int, list[UserState], Position]) -> MemoryChangelog:
    """What a service has left."""
    changelog = MemoryChangelog(lambda message: None)
    for partition in range(OLD):
        await changelog.fence(partition)
    for partition, users, position in commits:
        await changelog.commit(partition, users, position, [])
    return changelog


async def begun(old: MemoryChangelog, delivered: list[Message]) -> Move:
    """Everything read, and every place held."""
    logged = await last_positions(old, OLD)
    plan = Plan(logged, kept_for(logged.values(), OLD, NEW), InputNow(RETAINED))
    names = [f"genesis-{partition}" for partition in range(NEW)]
    move = Move(old, MemoryChangelog(delivered.append), Drafts(plan, names), Split(plan.kept_for, NEW))
    await move.begin()
    return move


async def found(move: Move, partition: int) -> tuple[Logged | None, dict[str, bytes]]:
    """The last position, and the states up to it."""
    logged = await move.new.last(partition, await move.new.barrier(partition))
    states: dict[str, bytes] = {}
    async with aclosing(move.new.read(partition, -1, logged.offset if logged else -1)) as chunks:
        async for chunk in chunks:
            states |= {each.user_id: each.value for each in chunk.users}
    return logged, {name: value for name, value in states.items() if value}


def nothing_told(share: float, records: int) -> None:
    """Progress is told once many users are written."""


async def test_the_new_changelog_holds_every_user_where_they_live() -> None:
    """States, counts, watermark and offsets: all that a claim asks for, and a genesis that no view knows."""
    stays, goes, gone, quiet = one_of(0, 0), one_of(0, 3), one_of(1, 4), one_of(1, 1)
    old = await old_changelog(
        (0, [user(stays, due_ms=7), user(goes, value=b"first")], Position("a", 60, 4_000, 2, 1, OLD)),
        (0, [user(goes, due_ms=9, value=b"second")], Position("a", 70, 5_000, 2, 2, OLD)),
        (1, [user(gone), user(quiet)], Position("b", 50, 2_000, 2, 0, OLD)),
        (1, [erased(gone)], Position("b", 80, 3_000, 1, 0, OLD)),
    )
    move = await begun(old, [])
    await move.copy(nothing_told)
    assert await move.take_early(drop=False) == 0
    made = await move.end()
    assert [(each.users, each.timers, each.next_offset) for each in made] == [
        (1, 1, 70), (1, 0, 80), (0, 0, 0), (1, 1, 0), (0, 0, 3)
    ]  # fmt: skip
    states = [await found(move, partition) for partition in range(NEW)]
    assert [each for _, each in states] == [{stays: b"state"}, {quiet: b"state"}, {}, {goes: b"second"}, {}]
    for partition, (logged, _) in enumerate(states):
        row = made[partition]
        assert logged is not None
        assert logged.position == Position(
            f"genesis-{partition}", row.next_offset, 3_000, row.users, row.timers, partitions=NEW
        )


async def test_progress_is_told_as_users_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of the old changelog that is done, over all partitions, and how many states were read."""
    monkeypatch.setattr("consumer.repartition_move._GATHERED_USERS", 1)
    old = await old_changelog(
        (0, [user(one_of(0, 0)), user(one_of(0, 3))], Position("a", 70, 5_000, 2, 0, OLD)),
        (1, [user(one_of(1, 1))], Position("b", 80, 5_000, 1, 0, OLD)),
    )
    move = await begun(old, [])
    told: list[tuple[float, int]] = []
    await move.copy(lambda share, records: told.append((share, records)))
    assert told == [(3 / 5, 2), (1.0, 3)]
    await move.end()
    assert [len((await found(move, partition))[1]) for partition in range(NEW)] == [1, 1, 0, 1, 0]


async def test_an_interrupted_move_is_no_place_to_work_on() -> None:
    """Until the end every position says that it is for no input: a service refuses it, and so does another move."""
    old = await old_changelog((0, [user(one_of(0, 0))], Position("a", 70, 5_000, 1, 0, OLD)))
    move = await begun(old, [])
    await move.copy(nothing_told)
    logged = [(await found(move, partition))[0] for partition in range(NEW)]
    assert [each and each.position.partitions for each in logged] == [0] * NEW
    with pytest.raises(ConfigurationError, match="unfinished"):
        kept_for([each for each in logged if each], NEW, NEW)


async def test_a_lost_partition_ends_the_move() -> None:
    """A new partition that is not ours any more is not written: somebody else may have claimed it."""
    old = await old_changelog((0, [user(one_of(0, 3))], Position("a", 70, 5_000, 1, 0, OLD)))
    move = await begun(old, [])
    await move.new.release(3)
    with pytest.raises(LostPartitionError):
        await move.copy(nothing_told)


async def test_two_states_of_one_user_need_a_decision() -> None:
    """The state of the old partition is kept once somebody has said so."""
    name = one_of(0, 1)
    old = await old_changelog(
        (0, [user(name, value=b"long")], Position("a", 70, 5_000, 1, 0, OLD)),
        (1, [user(name, value=b"early")], Position("b", 80, 5_000, 1, 0, OLD)),
    )
    move = await begun(old, [])
    await move.copy(nothing_told)
    with pytest.raises(EbbtideError, match="--drop-early"):
        await move.take_early(drop=False)
    assert await move.take_early(drop=True) == 1
    await move.end()
    assert (await found(move, 1))[1] == {name: b"long"}


async def test_what_waits_is_published_anew() -> None:
    """All unread records of the partitions, each in its order, the older first; the originals are passed over."""
    old = await old_changelog((0, [], Position("a", 95, 5_000, 0, 0, OLD)))
    delivered: list[Message] = []
    move = await begun(old, delivered)
    rows = Records(p0=[(10, b"a"), (40, b"b"), (20, None)], p1=[(30, b"c"), (50, b"d")])
    assert await move.requeue(rows, {0: Waiting(range(95, 100), 1), 1: Waiting(range(10, 80), 1)}) == 5
    assert [message.key for message in delivered] == [b"a", b"c", b"b", None, b"d"]
    assert [each.next_offset for each in await move.end()] == [100, 80, 0, 0, 3]


def test_a_place_is_held_where_the_end_will_be() -> None:
    """The unfinished position differs from the final one by what it says is there, and for whom."""
    drafts, split = Drafts(plan_of(at(70), at(80)), ["g"] * NEW), Split(OLD, NEW)
    split.shares(0, [user(one_of(0, 0), due_ms=7)])
    assert drafts.final(0, split) == replace(drafts.unfinished(0), users=1, timers=1, partitions=NEW)
