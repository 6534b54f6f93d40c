"""Claims and commits over the in-memory changelog and store."""

from dataclasses import replace
from itertools import count

import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.commit import Claimed, Claimer, ClaimRules, Committer, Ledger
from consumer.errors import ConfigurationError, LostPartitionError, PartitionHeldError
from consumer.records import Header, Message, Position, Record, UserState

PARTITIONS = 2
INPUT = [(0, Record(offset, 0, b"a", b"{}")) for offset in range(10)]
ALERT = Message("alerts", b"a", b"{}")
USERS = [UserState("a", b"1", 70), UserState("b", b"1", None)]


class Shop:
    """A claimer and a committer, whose places can be lost or replaced."""

    def __init__(self) -> None:
        self.delivered: list[Message] = []
        self.source = MemorySource(INPUT, PARTITIONS)
        self.changelog = MemoryChangelog(self.delivered.append)
        self.store = MemoryStore()
        self.rules = ClaimRules()
        self.registry = CollectorRegistry()
        self._metrics = Metrics(self.registry)
        self._names = (f"id-{number}" for number in count())

    async def claim(self, partition: int = 0) -> Claimed:
        """By a process that owns nothing else."""
        ledger = Ledger(self.source, self.changelog, self.store)
        return await Claimer(ledger, self.rules, self._metrics, lambda: next(self._names)).claim(partition)

    async def commit(self, at: Claimed, users: list[UserState], position: Position) -> Claimed:
        """Both halves; where the partition then stands."""
        committer = Committer(self.changelog, self.store, self._metrics)
        logged = await committer.publish(0, users, position, [ALERT])
        header = Header.of(logged, at.header.generation)
        await committer.follow(0, at.header, header, users)
        return Claimed(position, header)

    async def committed(self) -> Claimed:
        """A partition with two users and a timer."""
        begun = await self.claim()
        return await self.commit(begun, USERS, replace(begun.position, next_offset=5, users=2, timers=1))

    def claims(self, outcome: str) -> float:
        """How many claims ended so."""
        return self.registry.get_sample_value("ebbtide_claims_total", {"outcome": outcome}) or 0.0


@pytest.fixture
def shop() -> Shop:
    """Nothing is known of any partition."""
    return Shop()


async def test_a_partition_that_was_never_processed_begins_at_the_configured_start(shop: Shop) -> None:
    """Its first commit names its history, and how many partitions the input has."""
    found = await shop.claim()
    assert found.position == Position(found.position.genesis, 0, -1, 0, 0, PARTITIONS)
    assert await shop.claim() == found
    assert (shop.claims("fresh"), shop.claims("live")) == (1, 1)


async def test_a_committed_change_is_published_and_stored(shop: Shop) -> None:
    """Messages go out, states are there to load, timers to fire, and a claim finds the partition there."""
    at = await shop.committed()
    assert shop.delivered == [ALERT]
    assert await shop.store.load({0: ["a", "b", "c"]}, {0: [at.header]}) == {0: [b"1", b"1", None]}
    assert await shop.store.due({0: 70}, {0: [at.header]}, 10) == {0: ["a"]}
    assert await shop.claim() == at


async def test_a_lost_store_is_rebuilt_from_the_changelog(shop: Shop) -> None:
    """The latest states and timers are back, erased users are not, and the partition resumes where it was."""
    at = await shop.committed()
    at = await shop.commit(
        at, [UserState("a", b"2", 90), UserState("b", b"", None)], replace(at.position, next_offset=9, users=1)
    )
    shop.store = MemoryStore()
    found = await shop.claim()
    assert (found.position, found.header.offset) == (at.position, at.header.offset)
    assert found.header.generation != at.header.generation
    assert await shop.store.load({0: ["a", "b"]}, {0: [found.header]}) == {0: [b"2", None]}
    assert await shop.store.due({0: 90}, {0: [found.header]}, 10) == {0: ["a"]}


async def test_a_commit_that_the_store_has_not_seen_is_caught_up(shop: Shop) -> None:
    """A crash between the two halves: the next claim takes the change from the changelog, and its alert is out once."""
    at = await shop.committed()
    position = replace(at.position, next_offset=7, users=3)
    offset = await shop.changelog.commit(0, [UserState("c", b"3", None)], position, [ALERT])
    found = await shop.claim()
    assert (found.position, found.header) == (position, replace(at.header, offset=offset, next_offset=7, users=3))
    assert await shop.store.load({0: ["c"]}, {0: [found.header]}) == {0: [b"3"]}
    assert len(shop.delivered) == 2
    assert shop.claims("catch_up") == 1


async def test_who_claims_last_is_the_owner(shop: Shop) -> None:
    """After a newer claim the store takes nothing that follows on an older position."""
    at = await shop.committed()
    await shop.commit(at, [], replace(at.position, next_offset=6))
    with pytest.raises(LostPartitionError):
        await shop.commit(at, [], replace(at.position, next_offset=7))


async def test_states_of_which_the_changelog_knows_nothing_are_not_overwritten(shop: Shop) -> None:
    """Redis of one shop with the state topic of another: the partition is held, and the setting named that wipes."""
    await shop.committed()
    shop.changelog = MemoryChangelog(shop.delivered.append)
    with pytest.raises(PartitionHeldError, match="WIPE_FOREIGN_STATE"):
        await shop.claim()
    shop.rules = ClaimRules(wipe_foreign_state=True)
    found = await shop.claim()
    assert (found.position.next_offset, found.position.users) == (0, 0)
    assert await shop.store.load({0: ["a"]}, {0: [found.header]}) == {0: [None]}


async def test_another_number_of_partitions_is_refused(shop: Shop) -> None:
    """Users live in other partitions then: the message says how many there are, were, and what to run."""
    await shop.committed()
    shop.source = MemorySource(INPUT, PARTITIONS + 1)
    with pytest.raises(ConfigurationError, match=r"3 partitions.*for 2.*ebbtide repartition"):
        await shop.claim()


async def test_records_deleted_before_they_were_read_hold_the_partition(shop: Shop) -> None:
    """A position that the input does not hold is never skipped in silence; a setting lets it go on."""
    at = await shop.committed()
    await shop.commit(at, [], replace(at.position, next_offset=50))
    with pytest.raises(PartitionHeldError, match="stands at offset 50, but the input holds 0 to 10"):
        await shop.claim()
    assert shop.registry.get_sample_value("ebbtide_position_outside_retention", {"partition": "0"}) == 1
    shop.rules = ClaimRules(skip_lost_input=True)
    assert (await shop.claim()).position.next_offset == 0


async def test_a_partition_that_was_added_is_not_begun(shop: Shop) -> None:
    """Not even by a process that owns no older one, and so does not see that its users' states are elsewhere."""
    await shop.claim()
    shop.source = MemorySource(INPUT, PARTITIONS + 1)
    with pytest.raises(ConfigurationError, match="has 3 partitions, but its states were kept for 2"):
        await shop.claim(PARTITIONS)
    assert await shop.changelog.newest(PARTITIONS) is None


async def test_without_fencing_a_wrong_position_is_counted_anew(shop: Shop) -> None:
    """At least once, a paused process may add an older position: the partition is restored with what is there."""
    at = await shop.committed()
    stale = replace(at.position, next_offset=3, users=9, timers=9)
    await shop.changelog.commit(0, [UserState("b", b"", None), UserState("nobody", b"", None)], stale, [])
    with pytest.raises(LostPartitionError):
        await shop.claim()
    with pytest.raises(LostPartitionError):
        await shop.claim()
    shop.rules = ClaimRules(recounts=True)
    found = await shop.claim()
    assert found.position == replace(stale, users=1, timers=1)
    assert await shop.store.load({0: ["a", "b"]}, {0: [found.header]}) == {0: [b"1", None]}
    assert await shop.claim() == found
