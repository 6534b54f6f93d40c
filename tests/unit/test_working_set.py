"""What a partition has changed since its last commit."""

from consumer.records import Header, Message, Position, Step, UserState
from consumer.working_set import WorkingSet, due_users

START = Position("g", 0, -1)
FIRST, SECOND = Position("g", 5, 1_000, users=1), Position("g", 9, 2_000, users=2)
AT_START, AT_FIRST = Header("g", 3, "keys", 0, 0, 0, -1), Header("g", 8, "keys", 1, 0, 5, 1_000)
ALERT = Message("alerts", b"a", b"{}")


def user(name: str, value: bytes = b"1", due_ms: int | None = None) -> UserState:
    return UserState(name, value, due_ms)


def worked(*steps: Step) -> WorkingSet:
    work = WorkingSet.at(START, AT_START)
    for now_ms, step in enumerate(steps):
        work.gathering.add(step, now_ms)
    return work


def test_steps_gather_into_one_commit() -> None:
    """The latest state of a user and the latest position count, every message is kept in order, the first is oldest."""
    work = worked(
        Step(0, FIRST, [user("a")], [ALERT]), Step(0, SECOND, [user("a", b"2"), user("b")], [ALERT], is_urgent=True)
    )
    changes = work.take()
    assert changes.users == {"a": user("a", b"2"), "b": user("b")}
    assert (changes.position, changes.messages, changes.since_ms) == (SECOND, [ALERT, ALERT], 0)
    assert changes.is_urgent


def test_what_is_under_way_is_still_newer_than_the_store() -> None:
    """Until the store has answered, states come from memory, the gathering ones before those under way."""
    work = worked(Step(0, FIRST, [user("a"), user("b")]))
    work.take()
    work.gathering.add(Step(0, SECOND, [user("b", b"2")]), 1)
    assert work.changed() == {"a": user("a"), "b": user("b", b"2")}
    assert work.position == SECOND
    work.settled(AT_FIRST)
    assert work.changed() == {"b": user("b", b"2")}


def test_memory_is_counted_until_the_store_has_answered() -> None:
    """Users and bytes of messages, those that gather and those under way: a flood of dead letters has no users."""
    work = worked(Step(0, FIRST, [user("a")], [ALERT]))
    work.take()
    work.gathering.add(Step(0, SECOND, [user("b")], [ALERT, ALERT]), 1)
    size = 3 * len(b"a{}")
    assert work.is_within(2, size)
    assert not work.is_within(1, size)
    assert not work.is_within(2, size - 1)
    work.settled(AT_FIRST)
    assert work.is_within(1, size * 2 // 3)


def test_the_store_may_stand_before_or_after_a_call_under_way() -> None:
    """While a call to the store is not answered, both headers are right; then only the new one."""
    work = worked(Step(0, FIRST))
    work.take()
    assert work.headers() == [AT_START]
    work.header_under_way = AT_FIRST
    assert work.headers() == [AT_START, AT_FIRST]
    work.settled(AT_FIRST)
    assert work.headers() == [AT_FIRST]
    assert not work.has_changes


def test_a_step_without_users_is_a_change() -> None:
    """Records that change nobody move the position, which has to be committed as well."""
    assert worked(Step(0, FIRST)).has_changes
    assert not worked().has_changes


def test_timers_in_memory_replace_those_of_the_store() -> None:
    """Who has changed since the store was written is due by what memory says: earlier, later, or never."""
    changed = {each.user_id: each for each in (user("sooner", due_ms=5), user("later", due_ms=50), user("never"))}
    assert due_users(["later", "never", "other"], changed, 10, 9) == ["other", "sooner"]
    assert due_users(["other"], changed, 10, 1) == ["other"]
