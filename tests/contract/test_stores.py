"""Both state stores keep the same promises: the in-memory one and Redis (a real Valkey)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.redis_store import RedisStore
from consumer.embedded import RedisServer
from consumer.errors import LostPartitionError
from consumer.ports import StateStore
from consumer.records import Chunk, Header, Logged, Position, UserState, View
from support import unique

ODD_NAMES = ("Zoë Ünïcode 客户 🛒", "with space\tand\nlines", "nul\0inside", "{0}:users", "*", "x" * 100_000, "-inf")
FAR_MS = 2**53
NOTHING = View(None, is_intact=False)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StateStore]:
    """A store in which nothing is stored."""
    if request.param == "memory":
        yield MemoryStore()
        return
    valkey: RedisServer = request.getfixturevalue("valkey")
    redis = RedisStore(valkey.url, unique("store"), 10.0)
    yield redis
    await redis.close()


def user(name: str, value: bytes = b"state", due_ms: int | None = None) -> UserState:
    return UserState(name, value, due_ms)


def many(count: int) -> list[UserState]:
    return [user(f"user-{number:06d}", number.to_bytes(4, "big") * 200, number) for number in range(count)]


def position(next_offset: int, users: int, timers: int, genesis: str = "genesis") -> Position:
    return Position(genesis, next_offset, next_offset * 100, users, timers, 4)


def header(offset: int, users: int, timers: int, generation: str = "g1") -> Header:
    """Where a view stands that has taken in the commit at `offset` of the changelog."""
    return Header.of(Logged(position(offset * 10, users, timers), offset), generation)


EMPTY = header(1, 0, 0)
ANNA, BEN = user("anna", b"A", 5), user("ben", b"B")
BOTH = header(2, 2, 1)


async def place(store: StateStore, at: Header, users: Sequence[UserState] = (), partition: int = 0) -> Header:
    """Fill a view that is empty so far."""
    await store.fill(partition, at.generation, 0, users)
    await store.switch(partition, None, 1, at)
    return at


async def both(store: StateStore, partition: int = 0) -> Header:
    """A view of Anna, who has a timer, and Ben, who has none."""
    return await place(store, BOTH, [ANNA, BEN], partition)


async def values(store: StateStore, at: Header, *names: str, partition: int = 0) -> list[bytes | None]:
    return (await store.load({partition: names}, {partition: [at]}))[partition]


async def due(store: StateStore, at: Header, until_ms: int = FAR_MS, limit: int = 100, partition: int = 0) -> list[str]:
    return (await store.due({partition: until_ms}, {partition: [at]}, limit))[partition]


async def assert_both_unchanged(store: StateStore) -> None:
    assert await store.view(0) == View(BOTH, is_intact=True)
    assert await values(store, BOTH, "anna", "ben", "cleo") == [b"A", b"B", None]
    assert await due(store, BOTH) == ["anna"]


async def refused(call: Awaitable[object], *partitions: int) -> None:
    """Assert that a call is refused for those partitions, the first by default."""
    with pytest.raises(LostPartitionError) as refusal:
        await call
    assert refusal.value.partitions == set(partitions or (0,))
    assert refusal.value.reason == "moved"


WRONG = {
    "genesis": replace(BOTH, genesis="other"),
    "generation": replace(BOTH, generation="other"),
    "offset": replace(BOTH, offset=BOTH.offset - 1),
    "count of users": replace(BOTH, users=1),
    "count of timers": replace(BOTH, timers=2),
    "input offset": replace(BOTH, next_offset=0),
}
wrong = pytest.mark.parametrize("at", WRONG.values(), ids=WRONG)


# Nothing, and what is asked.


async def test_an_empty_store_knows_nothing(store: StateStore) -> None:
    """Without a header there is nothing intact, and nobody is told anything."""
    assert await store.view(0) == NOTHING
    await refused(values(store, EMPTY, "anna"))
    await refused(due(store, EMPTY))


async def test_nothing_asked_is_nothing_answered(store: StateStore) -> None:
    """Questions about no partition, or no user, are allowed."""
    at = await both(store)
    assert await store.load({}, {}) == {}
    assert await store.due({}, {}, 10) == {}
    assert await store.load({0: []}, {0: [at]}) == {0: []}


async def test_what_is_written_is_loaded_in_the_order_asked_for(store: StateStore) -> None:
    """States come back byte for byte, None for the unknown, in the order of the question."""
    every_byte = bytes(range(256))
    at = await place(store, header(1, 2, 0), [user("anna", every_byte), user("ben", b"\0")])
    assert await values(store, at, "ben", "nobody", "anna", "ben") == [b"\0", None, every_byte, b"\0"]


async def test_partitions_do_not_mix(store: StateStore) -> None:
    """The same user id in two partitions is two users, each with a timer and under a header of its own."""
    zero = await place(store, header(1, 1, 1), [user("anna", b"zero", 5)], partition=0)
    one = await place(store, header(7, 1, 1, "h"), [user("anna", b"one", 9)], partition=1)
    two = await place(store, EMPTY, partition=2)
    at = {0: [zero], 1: [one], 2: [two]}
    asked = {1: ["anna"], 2: ["anna"], 0: ["anna"]}
    assert await store.load(asked, at) == {0: [b"zero"], 1: [b"one"], 2: [None]}
    assert await store.due({0: 5, 1: 5, 2: 5}, at, 10) == {0: ["anna"], 1: [], 2: []}
    views = [await store.view(each) for each in range(4)]
    assert views == [*(View(each, is_intact=True) for each in (zero, one, two)), NOTHING]


async def test_either_header_will_do(store: StateStore) -> None:
    """While a step is under way its owner accepts the view before and after it."""
    after = replace(BOTH, offset=3)
    await both(store)
    assert await store.load({0: ["anna"]}, {0: [BOTH, after]}) == {0: [b"A"]}
    assert await store.load({0: ["anna"]}, {0: [after, BOTH]}) == {0: [b"A"]}
    await store.step(0, BOTH, after, [])
    assert await store.load({0: ["anna"]}, {0: [BOTH, after]}) == {0: [b"A"]}
    assert await store.due({0: FAR_MS}, {0: [BOTH, after]}, 10) == {0: ["anna"]}


@wrong
async def test_what_is_elsewhere_is_not_handed_out(store: StateStore, at: Header) -> None:
    """A header that differs in anything is refused, by load and by due."""
    await both(store)
    await refused(values(store, at, "anna"))
    await refused(due(store, at))


async def test_no_header_accepted_is_nothing_handed_out(store: StateStore) -> None:
    """Who accepts no header gets nothing."""
    await both(store)
    await refused(store.load({0: ["anna"]}, {0: []}))
    await refused(store.due({0: FAR_MS}, {0: []}, 10))


async def test_every_refused_partition_is_named(store: StateStore) -> None:
    """A call about several partitions names all those that are elsewhere, and none that is in place."""
    for partition in range(3):
        await both(store, partition)
    at = {0: [EMPTY], 1: [BOTH], 2: [EMPTY], 3: [EMPTY]}
    await refused(store.load({each: ["anna"] for each in at}, at), 0, 2, 3)
    await refused(store.due(dict.fromkeys(at, FAR_MS), at, 10), 0, 2, 3)


# Steps.


async def test_a_step_changes_states_timers_and_header(store: StateStore) -> None:
    """A step writes new users and changed ones, and where the partition stands."""
    after = header(3, 3, 2)
    await both(store)
    await store.step(0, BOTH, after, [user("anna", b"A2"), user("ben", b"B2", 9), user("cleo", b"C", 7)])
    assert await store.view(0) == View(after, is_intact=True)
    assert await values(store, after, "anna", "ben", "cleo") == [b"A2", b"B2", b"C"]
    assert await due(store, after) == ["cleo", "ben"]


async def test_a_step_may_change_no_user(store: StateStore) -> None:
    """A commit that only moves the position is followed too."""
    await both(store)
    await store.step(0, BOTH, replace(BOTH, offset=9, next_offset=99), [])
    assert await values(store, replace(BOTH, offset=9, next_offset=99), "anna") == [b"A"]


@wrong
async def test_a_step_from_elsewhere_writes_nothing(store: StateStore, at: Header) -> None:
    """A step whose header before is not the stored one is refused as a whole."""
    await both(store)
    await refused(store.step(0, at, header(3, 2, 1, at.generation), [user("anna", b"new"), user("cleo")]))
    await assert_both_unchanged(store)


async def test_a_step_on_an_empty_store_writes_nothing(store: StateStore) -> None:
    """A step is refused where there is no header."""
    await refused(store.step(0, BOTH, header(3, 3, 1), [user("cleo")]))
    assert await store.view(0) == NOTHING


async def test_a_step_is_not_taken_twice(store: StateStore) -> None:
    """A step that has been taken is refused the second time: its author must look where the view stands."""
    after = header(3, 3, 1)
    await both(store)
    await store.step(0, BOTH, after, [user("cleo")])
    await refused(store.step(0, BOTH, after, [user("cleo")]))
    assert await store.view(0) == View(after, is_intact=True)


@pytest.mark.parametrize("after", [header(3, 2, 1), header(3, 3, 2), header(3, 4, 1)])
async def test_a_step_that_miscounts_leaves_nothing_that_is_believed(store: StateStore, after: Header) -> None:
    """A step after which there are other counts than it says is refused, and where it said it would be is nothing."""
    await both(store)
    await refused(store.step(0, BOTH, after, [user("cleo")]))
    assert not (await store.view(0)).is_intact or await store.view(0) == View(BOTH, is_intact=True)
    await refused(values(store, after, "cleo"))


async def test_an_erased_user_is_gone(store: StateStore) -> None:
    """An empty state removes state and timer, also of somebody unknown."""
    after = header(3, 1, 0)
    await both(store)
    await store.step(0, BOTH, after, [user("anna", b""), user("nobody", b"")])
    assert await values(store, after, "anna", "ben", "nobody") == [None, b"B", None]
    assert await due(store, after) == []


async def test_the_last_user_may_be_erased(store: StateStore) -> None:
    """A view of nobody is intact, and takes steps again."""
    nobody, again = header(3, 0, 0), header(4, 1, 1)
    await both(store)
    await store.step(0, BOTH, nobody, [user("anna", b""), user("ben", b"")])
    assert await store.view(0) == View(nobody, is_intact=True)
    assert await values(store, nobody, "anna") == [None]
    await store.step(0, nobody, again, [ANNA])
    assert await values(store, again, "anna") == [b"A"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
async def test_user_ids_may_hold_anything(store: StateStore, name: str) -> None:
    """Whatever a user is called, state and timer are kept, found and removed."""
    before, after = header(1, 2, 1), header(2, 1, 0)
    await place(store, before, [user(name, b"odd", 5), user("anna", b"plain")])
    assert await values(store, before, name, "anna") == [b"odd", b"plain"]
    assert await due(store, before, 5) == [name]
    await store.step(0, before, after, [user(name, b"")])
    assert await values(store, after, name, "anna") == [None, b"plain"]
    assert await due(store, after) == []


async def test_thousands_of_users_in_one_step(store: StateStore) -> None:
    """A step may change, and a question ask for, more users than any micro-batch holds."""
    users = many(20_000)
    after = header(2, len(users), len(users))
    await place(store, EMPTY)
    await store.step(0, EMPTY, after, users)
    names = [each.user_id for each in reversed(users)]
    assert await values(store, after, *names) == [each.value for each in reversed(users)]
    assert await due(store, after, limit=len(users)) == [each.user_id for each in users]
    erased = header(3, 1, 1)
    await store.step(0, after, erased, [user(each.user_id, b"") for each in users[1:]])
    assert await due(store, erased) == [users[0].user_id]


# Timers.


async def test_timers_move_and_go(store: StateStore) -> None:
    """A user has one timer: the last one written, or none."""
    first, second, third = header(1, 2, 2), header(2, 2, 1), header(3, 2, 1)
    await place(store, first, [user("anna", due_ms=5), user("ben", due_ms=6)])
    await store.step(0, first, second, [user("anna", due_ms=50), user("ben", due_ms=None)])
    assert await due(store, second, 49) == []
    assert await due(store, second, 50) == ["anna"]
    await store.step(0, second, third, [user("anna", due_ms=4)])
    assert await due(store, third, 4) == ["anna"]


async def test_timers_come_earliest_first_and_limited(store: StateStore) -> None:
    """Due are those at or before the instant, the earliest first, at most as many as asked for."""
    times_ms = {"d": 4_000_000_000_001, "a": 4_000_000_000_000, "c": 3, "b": 3, "early": -7, "never": None}
    at = await place(store, header(1, 6, 5), [user(name, due_ms=at_ms) for name, at_ms in times_ms.items()])
    assert await due(store, at, -8) == []
    assert await due(store, at, 2) == ["early"]
    assert await due(store, at, 4_000_000_000_000) == ["early", "b", "c", "a"]
    assert await due(store, at, limit=2) == ["early", "b"]
    assert await due(store, at, limit=5) == ["early", "b", "c", "a", "d"]


# Catching up.


async def test_a_catch_up_takes_in_chunk_after_chunk(store: StateStore) -> None:
    """Counts are those that are there; where the chunk holds a position, the view is at its input offset."""
    last = Logged(position(60, 2, 1), 60)
    await both(store)
    first = await store.catch_up(0, BOTH, Chunk([user("cleo", b"C", 7), user("anna", b"")], 40, None), last)
    assert first == Header("genesis", 40, "g1", 2, 1, BOTH.next_offset, BOTH.watermark_ms)
    assert await store.view(0) == View(first, is_intact=True)
    middle = Logged(position(50, 3, 2), 50)
    second = await store.catch_up(0, first, Chunk([user("dora", b"D", 8)], 55, middle), last)
    assert second == Header("genesis", 55, "g1", 3, 2, 50, 5_000)
    third = await store.catch_up(0, second, Chunk([user("dora", b"")], 60, last), last)
    assert third == Header.of(last, "g1")
    assert await store.view(0) == View(third, is_intact=True)
    assert await values(store, third, "anna", "ben", "cleo", "dora") == [None, b"B", b"C", None]
    assert await due(store, third) == ["cleo"]


async def test_a_catch_up_without_an_end_checks_no_counts(store: StateStore) -> None:
    """Without a last position, whatever is there after a chunk is what the header says."""
    await both(store)
    middle = Logged(position(50, 99, 99), 50)
    assert await store.catch_up(0, BOTH, Chunk([], 50, middle), None) == Header("genesis", 50, "g1", 2, 1, 50, 5_000)


@wrong
async def test_a_catch_up_from_elsewhere_writes_nothing(store: StateStore, at: Header) -> None:
    """A chunk is refused as a whole where the view is not where it starts."""
    await both(store)
    await refused(store.catch_up(0, at, Chunk([user("anna", b"new"), user("cleo")], 40, None), None))
    await assert_both_unchanged(store)


async def test_a_catch_up_on_an_empty_store_writes_nothing(store: StateStore) -> None:
    """A chunk is refused where there is no header."""
    await refused(store.catch_up(0, BOTH, Chunk([ANNA], 40, None), None))
    assert await store.view(0) == NOTHING


@pytest.mark.parametrize(("users", "timers"), [(2, 2), (3, 1), (0, 0)])
async def test_a_view_with_other_counts_than_the_changelog_is_given_up(
    store: StateStore, users: int, timers: int
) -> None:
    """Where users or timers are more or fewer at the end than the last position says, the view is gone."""
    last = Logged(position(60, users, timers), 60)
    await both(store)
    await refused(store.catch_up(0, BOTH, Chunk([user("cleo", b"")], 60, last), last))
    assert await store.view(0) == NOTHING
    await refused(values(store, BOTH, "anna"))


@pytest.mark.parametrize("wrong", [{"genesis": "another"}, {"next_offset": 59}, {"watermark_ms": 1}])
async def test_a_view_that_ends_elsewhere_than_the_changelog_is_given_up(
    store: StateStore, wrong: dict[str, Any]
) -> None:
    """Counts that fit are not enough: the history, the input's offset and the watermark are the last position's."""
    reached = Logged(position(60, 2, 1), 60)
    last = replace(reached, position=replace(reached.position, **wrong))
    await both(store)
    await refused(store.catch_up(0, BOTH, Chunk([], 60, reached), last))
    assert await store.view(0) == NOTHING
    await both_again(store)


async def test_a_catch_up_of_thousands_of_users(store: StateStore) -> None:
    """A chunk may hold more users than a command takes."""
    users = many(5_000)
    last = Logged(position(60, 5_002, 5_001), 60)
    await both(store)
    at = await store.catch_up(0, BOTH, Chunk(users, 60, last), last)
    assert await values(store, at, *(each.user_id for each in users)) == [each.value for each in users]


# Giving up.


async def both_again(store: StateStore) -> None:
    """A view that was given up can be restored, with nothing left of the old one."""
    again = header(9, 1, 1, "g2")
    await place(store, again, [user("dora", b"D", 3)])
    assert await values(store, again, "anna", "dora") == [None, b"D"]
    assert await due(store, again) == ["dora"]


async def test_a_discarded_view_is_gone(store: StateStore) -> None:
    """After a discard there is nothing, until the partition is restored."""
    await both(store)
    await store.discard(0, BOTH)
    assert await store.view(0) == NOTHING
    await refused(values(store, BOTH, "anna"))
    await refused(store.step(0, BOTH, replace(BOTH, offset=3), []))
    await both_again(store)


@wrong
async def test_a_view_that_is_elsewhere_is_not_discarded(store: StateStore, at: Header) -> None:
    """Who does not know where a view stands cannot discard it."""
    await both(store)
    await refused(store.discard(0, at))
    await assert_both_unchanged(store)


# Restoring.


async def test_what_is_filled_counts_once_it_is_switched_to(store: StateStore) -> None:
    """Until the switch the old view stays as it is; after it, later parts have won and nothing of the old is left."""
    await both(store)
    await store.fill(0, "g2", 0, [user("anna", b"1", 5), user("dora", b"1", 6), user("emil", b"1", 7)])
    await store.fill(0, "g2", 1, [user("anna", b"2", 8), user("dora", b"")])
    await store.fill(0, "g2", 2, [])
    await assert_both_unchanged(store)
    after = header(5, 2, 2, "g2")
    await store.switch(0, BOTH, 3, after)
    assert await store.view(0) == View(after, is_intact=True)
    assert await values(store, after, "anna", "ben", "dora", "emil") == [b"2", None, None, b"1"]
    assert await due(store, after) == ["emil", "anna"]


async def test_an_old_view_takes_steps_while_a_new_one_is_filled(store: StateStore) -> None:
    """A partition in use is not touched by a fill; a switch that saw it before those steps comes too late."""
    await both(store)
    await store.fill(0, "g2", 0, [user("dora")])
    after = header(3, 3, 1)
    await store.step(0, BOTH, after, [user("cleo", b"C")])
    assert await values(store, after, "cleo", "dora") == [b"C", None]
    await refused(store.switch(0, BOTH, 1, header(3, 1, 0, "g2")))
    assert await store.view(0) == View(after, is_intact=True)


async def test_a_view_of_nobody_may_be_switched_to(store: StateStore) -> None:
    """A changelog without users makes an empty view, with parts or without."""
    await store.switch(0, None, 0, EMPTY)
    assert await store.view(0) == View(EMPTY, is_intact=True)
    with_part = header(2, 0, 0, "g2")
    await store.fill(0, "g2", 0, [])
    await store.switch(0, EMPTY, 1, with_part)
    assert await store.view(0) == View(with_part, is_intact=True)


async def test_a_large_fill(store: StateStore) -> None:
    """More users than go into one script call are all written."""
    users = many(2_500)
    at = await place(store, header(1, len(users), len(users)), users)
    assert await values(store, at, *(each.user_id for each in users)) == [each.value for each in users]
    assert await due(store, at, limit=10_000) == [each.user_id for each in users]


@pytest.mark.parametrize("part", [0, 1, 3])
async def test_a_part_out_of_order_is_refused(store: StateStore, part: int) -> None:
    """Parts are written once each, in order; then the generation can still be finished."""
    await store.fill(0, "g1", 0, [user("anna", b"0")])
    await store.fill(0, "g1", 1, [user("ben", b"1")])
    await refused(store.fill(0, "g1", part, [user("anna", b"wrong", 9), user("cleo", b"wrong")]))
    at = header(1, 2, 0)
    await store.switch(0, None, 2, at)
    assert await values(store, at, "anna", "ben", "cleo") == [b"0", b"1", None]


async def test_a_first_part_comes_first(store: StateStore) -> None:
    """A generation that was never begun, or has expired, cannot be gone on with."""
    await refused(store.fill(0, "g1", 1, [ANNA]))
    await refused(store.switch(0, None, 1, header(1, 1, 1)))


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_view_in_use_is_not_filled(store: StateStore, part: int) -> None:
    """What a zombie still has to say about a generation that has been switched to is refused."""
    await both(store)
    await refused(store.fill(0, "g1", part, [user("anna", b"wrong", 9), user("cleo", b"wrong")]))
    await assert_both_unchanged(store)


SWITCHES: dict[str, Callable[[Header], tuple[Header | None, int, Header]]] = {
    "seen nothing": lambda new: (None, 2, new),
    "seen elsewhere": lambda new: (replace(BOTH, offset=1), 2, new),
    "seen in another generation": lambda new: (replace(BOTH, generation="other"), 2, new),
    "too few parts": lambda new: (BOTH, 1, new),
    "too many parts": lambda new: (BOTH, 3, new),
    "no parts": lambda new: (BOTH, 0, new),
    "too few users": lambda new: (BOTH, 2, replace(new, users=1)),
    "too many users": lambda new: (BOTH, 2, replace(new, users=3)),
    "too few timers": lambda new: (BOTH, 2, replace(new, timers=0)),
    "too many timers": lambda new: (BOTH, 2, replace(new, timers=2)),
    "a generation that was not filled": lambda new: (BOTH, 2, replace(new, generation="g3")),
}


@pytest.mark.parametrize("arguments", SWITCHES.values(), ids=SWITCHES)
async def test_a_switch_that_does_not_fit_changes_nothing(
    store: StateStore, arguments: Callable[[Header], tuple[Header | None, int, Header]]
) -> None:
    """A switch is refused unless view, parts, users and timers are as it says; the right one still works after it."""
    new = header(5, 2, 1, "g2")
    await both(store)
    await store.fill(0, "g2", 0, [user("dora", b"D", 5)])
    await store.fill(0, "g2", 1, [user("emil", b"E")])
    await refused(store.switch(0, *arguments(new)))
    await assert_both_unchanged(store)
    await store.switch(0, BOTH, 2, new)
    assert await values(store, new, "dora", "emil", "anna") == [b"D", b"E", None]


async def test_a_switch_may_find_nothing_where_it_saw_something(store: StateStore) -> None:
    """A view that was given up since it was seen does not hold up its restore."""
    await both(store)
    await store.fill(0, "g2", 0, [user("dora", b"D")])
    await store.discard(0, BOTH)
    new = header(5, 1, 0, "g2")
    await store.switch(0, BOTH, 1, new)
    assert await values(store, new, "dora", "anna") == [b"D", None]


async def test_of_two_restores_the_first_to_switch_wins(store: StateStore) -> None:
    """Two processes may fill at once, each its own generation; the one overtaken may go on filling, but not switch."""
    await both(store)
    await store.fill(0, "zombie", 0, [user("zoe", b"Z")])
    await store.fill(0, "g2", 0, [user("dora", b"D")])
    new = header(5, 1, 0, "g2")
    await store.switch(0, BOTH, 1, new)
    await store.fill(0, "zombie", 1, [user("zack", b"Z")])
    await refused(store.switch(0, BOTH, 2, header(4, 2, 0, "zombie")))
    await refused(store.switch(0, None, 2, header(4, 2, 0, "zombie")))
    assert await store.view(0) == View(new, is_intact=True)
    assert await values(store, new, "dora", "zoe", "zack") == [b"D", None, None]


async def test_a_switch_is_not_made_twice(store: StateStore) -> None:
    """A switch that was made is refused the second time, and the view stays in use."""
    await both(store)
    await refused(store.switch(0, None, 1, BOTH))
    await refused(store.switch(0, BOTH, 1, BOTH))
    await assert_both_unchanged(store)


async def test_a_zombie_stays_out_after_a_restore(store: StateStore) -> None:
    """Who last saw the old generation can neither read, step, catch up nor discard the new one."""
    await both(store)
    await store.fill(0, "g2", 0, [ANNA, BEN])
    new = replace(BOTH, generation="g2")
    await store.switch(0, BOTH, 1, new)
    await refused(values(store, BOTH, "anna"))
    await refused(due(store, BOTH))
    await refused(store.step(0, BOTH, replace(BOTH, offset=3), []))
    await refused(store.catch_up(0, BOTH, Chunk([], 40, None), None))
    await refused(store.discard(0, BOTH))
    assert await store.view(0) == View(new, is_intact=True)
    assert await values(store, new, "anna", "ben") == [b"A", b"B"]
