"""Both state stores keep the same promises: the in-memory one and Redis (a real Valkey)."""

from collections.abc import AsyncIterator, Sequence

import pytest

from consumer.adapters.memory import MemoryStore
from consumer.adapters.redis_store import RedisStore
from consumer.embedded import RedisServer
from consumer.errors import LostPartitionError
from consumer.ports import Position, StateStore, Step, UserState
from support import unique

FIRST, SECOND, THIRD = Position(10, 1_000), Position(20, 2_000), Position(30, 3_000)
ODD_NAMES = ("Zoë Ünïcode 客户 🛒", "with space\tand\nlines", "nul\0inside", "{0}:users", "*", "x" * 100_000, "-inf")


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


async def write_first(store: StateStore, users: Sequence[UserState], partition: int = 0) -> None:
    await store.write([Step(partition, None, FIRST, users)])


async def values(store: StateStore, *names: str, partition: int = 0) -> list[bytes | None]:
    return (await store.load({partition: list(names)}, {}))[partition]


async def due(store: StateStore, until_ms: int, limit: int = 100, partition: int = 0) -> list[str]:
    return (await store.due({partition: until_ms}, {}, limit))[partition]


async def test_an_empty_store_knows_nothing(store: StateStore) -> None:
    """Without a write there is no position, no state and no timer."""
    assert await store.position(0) is None
    assert await values(store, "anna", "ben") == [None, None]
    assert await due(store, 2**53) == []


async def test_what_is_written_is_loaded_in_the_order_asked_for(store: StateStore) -> None:
    """States come back byte for byte, None for the unknown, in the order of the question."""
    every_byte = bytes(range(256))
    await write_first(store, [user("anna", every_byte), user("ben", b"\0")])
    assert await values(store, "ben", "nobody", "anna", "ben") == [b"\0", None, every_byte, b"\0"]
    assert await store.position(0) == FIRST


async def test_partitions_do_not_mix(store: StateStore) -> None:
    """The same user id in two partitions is two users, each with a timer and under a position of its own."""
    steps = [
        Step(0, None, FIRST, [user("anna", b"zero", 5)]),
        Step(1, None, SECOND, [user("anna", b"one", 9)]),
        Step(2, None, THIRD),
    ]
    await store.write(steps)
    assert await store.load({1: ["anna"], 2: ["anna"], 0: ["anna"], 3: []}, {}) == {
        0: [b"zero"], 1: [b"one"], 2: [None], 3: [],
    }  # fmt: skip
    assert await store.due({0: 5, 1: 5, 2: 5}, {}, 10) == {0: ["anna"], 1: [], 2: []}
    assert [await store.position(each) for each in range(4)] == [FIRST, SECOND, THIRD, None]


async def test_nothing_asked_is_nothing_answered(store: StateStore) -> None:
    """Empty questions are allowed and empty steps move the position."""
    assert await store.load({}, {}) == {}
    assert await store.due({}, {}, 10) == {}
    await store.write([])
    await store.write([Step(0, None, FIRST)])
    assert await store.position(0) == FIRST


@pytest.mark.parametrize("previous", [None, SECOND, Position(10, 999)])
async def test_a_step_on_a_wrong_position_writes_nothing(store: StateStore, previous: Position | None) -> None:
    """A step whose previous position is not the stored one is refused as a whole."""
    await write_first(store, [user("anna", b"old", 5)])
    step = Step(0, previous, THIRD, [user("anna", b"new", None), user("ben", b"new", 7)])
    with pytest.raises(LostPartitionError, match="10:1000"):
        await store.write([step])
    assert await values(store, "anna", "ben") == [b"old", None]
    assert await due(store, 100) == ["anna"]
    assert await store.position(0) == FIRST


async def test_a_step_on_an_emptied_store_writes_nothing(store: StateStore) -> None:
    """A step that follows on another one is refused where nothing is stored."""
    with pytest.raises(LostPartitionError):
        await store.write([Step(0, FIRST, SECOND, [user("anna")])])
    assert await values(store, "anna") == [None]
    assert await store.position(0) is None


async def test_a_refused_step_does_not_hold_up_other_partitions(store: StateStore) -> None:
    """Of the steps of one write, those in place are applied even if another one is refused."""
    await write_first(store, [])
    with pytest.raises(LostPartitionError):
        await store.write([Step(0, None, SECOND, [user("anna")]), Step(1, None, FIRST, [user("ben")])])
    assert await values(store, "anna") == [None]
    assert await values(store, "ben", partition=1) == [b"state"]


async def test_the_same_step_twice_is_the_same_as_once(store: StateStore) -> None:
    """A write may be repeated when its answer was lost."""
    await write_first(store, [user("anna", b"old", 5)])
    step = Step(0, FIRST, SECOND, [user("anna", b"new", 6), user("ben", b"", None)])
    await store.write([step])
    await store.write([step])
    assert await values(store, "anna", "ben") == [b"new", None]
    assert await due(store, 100) == ["anna"]
    assert await store.position(0) == SECOND


async def test_a_load_says_when_the_partition_is_elsewhere(store: StateStore) -> None:
    """States of a partition that does not stand where its owner left it are not handed out."""
    await write_first(store, [user("anna", b"state", 5)])
    assert await store.load({0: ["anna"]}, {0: FIRST, 1: None}) == {0: [b"state"]}
    assert await store.due({0: 5}, {0: FIRST, 1: None}, 10) == {0: ["anna"]}
    for expected in ({0: SECOND}, {0: None}, {1: FIRST}):
        with pytest.raises(LostPartitionError):
            await store.load({0: ["anna"]}, expected)
        with pytest.raises(LostPartitionError):
            await store.due({0: 5}, expected, 10)


async def test_an_erased_user_is_gone(store: StateStore) -> None:
    """An empty state removes state and timer, also of somebody unknown."""
    await write_first(store, [user("anna", b"state", 5)])
    await store.write([Step(0, FIRST, SECOND, [user("anna", b""), user("nobody", b"")])])
    assert await values(store, "anna", "nobody") == [None, None]
    assert await due(store, 100) == []


async def test_timers_move_and_go(store: StateStore) -> None:
    """A user has one timer: the last one written, or none."""
    await write_first(store, [user("anna", due_ms=5), user("ben", due_ms=6)])
    await store.write([Step(0, FIRST, SECOND, [user("anna", due_ms=50), user("ben", due_ms=None)])])
    assert await due(store, 49) == []
    assert await due(store, 50) == ["anna"]
    await store.write([Step(0, SECOND, THIRD, [user("anna", due_ms=4)])])
    assert await due(store, 4) == ["anna"]


async def test_timers_come_earliest_first_and_limited(store: StateStore) -> None:
    """Due are those at or before the instant, the earliest first, at most as many as asked for."""
    times_ms = {"d": 4_000_000_000_001, "a": 4_000_000_000_000, "c": 3, "b": 3, "never": None}
    await write_first(store, [user(name, due_ms=at_ms) for name, at_ms in times_ms.items()])
    assert await due(store, 2) == []
    assert await due(store, 4_000_000_000_000) == ["b", "c", "a"]
    assert await due(store, 2**53, limit=2) == ["b", "c"]
    assert await due(store, 2**53, limit=4) == ["b", "c", "a", "d"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
async def test_user_ids_may_hold_anything(store: StateStore, name: str) -> None:
    """Whatever a user is called, state and timer are kept, found and removed."""
    await write_first(store, [user(name, b"odd", 5), user("anna", b"plain")])
    assert await values(store, name, "anna") == [b"odd", b"plain"]
    assert await due(store, 5) == [name]
    await store.write([Step(0, FIRST, SECOND, [user(name, b"")])])
    assert await values(store, name, "anna") == [None, b"plain"]
    assert await due(store, 5) == []


async def test_thousands_of_users_in_one_write(store: StateStore) -> None:
    """A step may change more users than any micro-batch holds, at once."""
    users = [user(f"user-{number}", number.to_bytes(4, "big") * 200, number) for number in range(20_000)]
    await write_first(store, users)
    names = [each.user_id for each in reversed(users)]
    assert await values(store, *names) == [each.value for each in reversed(users)]
    assert await due(store, 2**53, limit=20_000) == [each.user_id for each in users]


async def test_a_restore_counts_once_it_ends(store: StateStore) -> None:
    """What is filled has no position until the end; later fills win, empty ones erase, older leftovers are gone."""
    await store.write([Step(0, None, FIRST, [user("leftover", b"old", 1)])])
    token = await store.begin_restore(0)
    await store.fill(0, token, [user("anna", b"first", 5), user("ben", b"first", 6), user("cleo", b"first", 7)])
    await store.fill(0, token, [user("anna", b"second", 8), user("ben", b"")])
    await store.fill(0, token, [])
    assert await store.position(0) is None
    await store.end_restore(0, token, SECOND)
    assert await store.position(0) == SECOND
    assert await values(store, "anna", "ben", "cleo", "leftover") == [b"second", None, b"first", None]
    assert await due(store, 100) == ["cleo", "anna"]


async def test_only_the_latest_restore_goes_on(store: StateStore) -> None:
    """A restore that another one has overtaken, or that has ended, can neither fill nor end."""
    overtaken, latest = await store.begin_restore(0), await store.begin_restore(0)
    with pytest.raises(LostPartitionError):
        await store.fill(0, overtaken, [user("anna", b"wrong", 5)])
    with pytest.raises(LostPartitionError):
        await store.end_restore(0, overtaken, FIRST)
    assert await store.position(0) is None
    await store.end_restore(0, latest, FIRST)
    with pytest.raises(LostPartitionError):
        await store.fill(0, latest, [user("anna", b"wrong", 5)])
    assert await values(store, "anna") == [None]


async def test_a_fill_may_be_large(store: StateStore) -> None:
    """More users than go into one script call are all written."""
    users = [user(f"user-{number}", b"state", number) for number in range(2_500)]
    token = await store.begin_restore(0)
    await store.fill(0, token, users)
    await store.end_restore(0, token, FIRST)
    assert await values(store, *(each.user_id for each in users)) == [b"state"] * len(users)
    assert len(await due(store, 2**53, limit=10_000)) == len(users)
