"""When changes are committed, when processing waits for that, and what becomes of commits that are abandoned."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.clock import ManualClock
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.commit import Claimer, ClaimRules, Committer, Ledger
from consumer.errors import LostPartitionError, UnavailableError
from consumer.health import Health
from consumer.messages import AlertNote
from consumer.owner import CommitPace, Owner, Surroundings
from consumer.records import Message, Position, Record, Step, UserState

INPUT = [(0, Record(offset, 0, b"a", b"{}")) for offset in range(10)]
PACE = CommitPace(interval_ms=100, max_users=3, max_message_bytes=100)


class SlowChangelog(MemoryChangelog):
    """Commits only while `answers` is set."""

    def __init__(self) -> None:
        self.delivered: list[Message] = []
        super().__init__(self.delivered.append)
        self.answers = asyncio.Event()
        self.answers.set()
        self.commits = 0
        self.loses = False  # the next commit

    async def commit(
        self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]
    ) -> int:
        """See `Changelog.commit`."""
        await self.answers.wait()
        if self.loses:
            self.loses = False
            raise LostPartitionError("the broker does not answer", [partition], "unknown")
        self.commits += 1
        return await super().commit(partition, users, position, messages)


class Told(MemorySource):
    """Keeps what the group was told; None where Kafka could not be reached."""

    def __init__(self) -> None:
        super().__init__(INPUT, 1)
        self.offsets: list[dict[int, int] | None] = []
        self.is_away = self.hangs = False

    async def tell(self, offsets: Mapping[int, int]) -> None:
        """See `Source.tell`."""
        if self.hangs:
            await asyncio.Event().wait()
        self.offsets.append(None if self.is_away else {**offsets})
        if self.is_away:
            raise UnavailableError("kafka", "no broker answers")


class Bench:
    """An owner of one partition."""

    def __init__(self) -> None:
        self.users: set[str] = set()
        self.changelog, self.clock, self.giving_up = SlowChangelog(), ManualClock(1_000), asyncio.Event()
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.source, store = Told(), MemoryStore()
        names = iter(map(str, range(100)))
        claimer = Claimer(Ledger(self.source, self.changelog, store), ClaimRules(), metrics, lambda: next(names))
        around = Surroundings(self.source, self.clock, metrics, Health(metrics))
        self.owner = Owner(around, claimer, Committer(self.changelog, store, metrics), PACE, retry_max_s=0.01)

    async def live(self) -> "Bench":
        """Once the partition is claimed, and its first commit forgotten."""
        await self.owner.assigned([0])
        await self.settled()
        self.changelog.commits = 0
        return self

    async def settled(self) -> None:
        """Once the partition is claimed."""
        while not self.owner.is_live(0):
            await asyncio.sleep(0)
            await self.owner.settle()

    def alerts(self) -> float:
        """How many have been counted."""
        return self.registry.get_sample_value("ebbtide_alerts_total", {"tier": "critical", "cause": "event"}) or 0.0

    def delay_s(self) -> float:
        """Of all alerts together, as counted."""
        return self.registry.get_sample_value("ebbtide_event_to_alert_seconds_sum") or 0.0

    async def take_in(self, *users: str, messages: Sequence[Message] = (), is_urgent: bool = False) -> None:
        """A step that changes some users."""
        before = self.owner.work(0).position
        self.users |= {*users}
        position = replace(before, next_offset=before.next_offset + 1, users=len(self.users))
        states = [UserState(name, b"1", None) for name in users]
        await self.owner.take_in(Step(0, position, states, messages, is_urgent), self.giving_up)

    async def pass_ms(self, milliseconds: int) -> int:
        """Time passes, and what is due is committed; how many commits there were since the partition was claimed."""
        self.clock.move_to(self.clock.now_ms() + milliseconds)
        self.owner.start_commits()
        self.owner.start_telling()
        for _ in range(10):
            await asyncio.sleep(0)
        return self.changelog.commits


@pytest.fixture
async def bench() -> Bench:
    """A live partition."""
    return await Bench().live()


async def test_changes_gather_for_the_interval(bench: Bench) -> None:
    """They are committed together when the oldest is 100 ms old, and not before."""
    await bench.take_in("a")
    assert bench.owner.next_commit_s() == 0.1
    assert await bench.pass_ms(60) == 0
    await bench.take_in("b", "c")
    assert await bench.pass_ms(39) == 0
    assert await bench.pass_ms(1) == 1
    assert bench.owner.next_commit_s() is None


async def test_an_alert_does_not_wait(bench: Bench) -> None:
    """It is committed at once, with what has gathered; the next one once that commit has ended."""
    await bench.take_in("a")
    await bench.take_in("b", is_urgent=True)
    bench.changelog.answers.clear()
    assert await bench.pass_ms(0) == 0
    await bench.take_in("a", is_urgent=True)
    assert await bench.pass_ms(99) == 0
    bench.changelog.answers.set()
    assert await bench.pass_ms(0) == 1
    assert await bench.pass_ms(0) == 2


async def test_lag_tools_are_told_now_and_then(bench: Bench) -> None:
    """Once a second at the most, where that has changed; what was not heard is said again."""
    assert await bench.pass_ms(1_000) == 0
    assert bench.source.offsets == [{0: 0}]
    await bench.take_in("a", is_urgent=True)
    assert await bench.pass_ms(500) == 1
    assert await bench.pass_ms(499) == 1
    assert bench.source.offsets == [{0: 0}]
    bench.source.is_away = True
    await bench.pass_ms(1)
    bench.source.is_away = False
    await bench.pass_ms(1_000)
    await bench.pass_ms(1_000)
    assert bench.source.offsets == [{0: 0}, None, {0: 1}]


async def test_lag_tools_are_told_of_the_end(bench: Bench) -> None:
    """What is committed last, before the partition is let go or the service ends, is told without delay."""
    await bench.take_in("a")
    await bench.owner.suspend([0], bench.giving_up)
    assert bench.source.offsets == [{0: 1}]


async def test_nobody_waits_for_lag_tools(bench: Bench) -> None:
    """A coordinator that does not answer holds neither a rebalance nor the end beyond their deadline."""
    bench.source.hangs = True
    bench.owner.start_telling()
    await bench.take_in("a")
    ending = asyncio.create_task(bench.owner.suspend([0], bench.giving_up))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not ending.done()
    bench.giving_up.set()
    await ending
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_clock_that_is_put_back_delays_nothing(bench: Bench) -> None:
    """By ten minutes, just after changes have come: they are committed, and lag tools are told."""
    await bench.pass_ms(1_000)
    await bench.take_in("a")
    bench.clock = bench.owner._clock = bench.owner._group._clock = ManualClock(bench.clock.now_ms() - 600_000)
    assert await bench.pass_ms(0) == 1
    await bench.take_in("a", is_urgent=True)
    assert await bench.pass_ms(0) == 2
    await bench.pass_ms(1_000)
    assert bench.source.offsets[-1] == {0: 2}


async def test_an_alert_is_counted_when_it_is_permanent(bench: Bench) -> None:
    """Not when it is decided: one whose commit is lost is decided again, and counted once, late as it then is."""
    alert = Message("alerts", b"a", b"{}", note=AlertNote("critical", "event", event_ms=bench.clock.now_ms()))
    bench.changelog.loses = True
    await bench.take_in("a", messages=[alert], is_urgent=True)
    await bench.pass_ms(0)
    assert not bench.owner.is_live(0)
    assert bench.alerts() == 0
    bench.users.clear()
    await bench.settled()
    bench.clock.move_to(bench.clock.now_ms() + 2_000)
    await bench.take_in("a", messages=[alert], is_urgent=True)
    assert bench.alerts() == 0
    await bench.pass_ms(0)
    assert (bench.alerts(), bench.delay_s()) == (1, 2.0)
    assert bench.changelog.delivered == [alert]


@pytest.mark.parametrize("flood", ["users", "messages"])
async def test_processing_waits_when_too_much_is_held(bench: Bench, flood: str) -> None:
    """While Kafka does not answer: for users, and for bytes of messages, such as dead letters, which have none."""
    bench.changelog.answers.clear()
    await bench.take_in("a", "b", "c", is_urgent=True)
    await bench.pass_ms(0)
    letter = Message("dead", None, b"x" * 101)
    step = bench.take_in("d") if flood == "users" else bench.take_in(messages=[letter])
    waiting = asyncio.create_task(step)
    await bench.pass_ms(200)
    assert not waiting.done()
    bench.changelog.answers.set()
    await asyncio.wait_for(waiting, 5)
    assert not bench.owner.work(0).has_changes


async def test_a_commit_that_is_given_up_ends_with_its_partition(bench: Bench) -> None:
    """A revocation whose deadline passes cancels it: nothing is written once the partition is let go."""
    bench.changelog.answers.clear()
    await bench.take_in("a")
    bench.giving_up.set()
    await bench.owner.suspend([0], bench.giving_up)
    assert bench.owner.tasks == {}
    bench.changelog.answers.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert bench.changelog.commits == 0
