"""Where a partition resumes, how a step becomes permanent, and what happens while a server is away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.clock import ManualClock
from consumer.adapters.memory import MemoryChangelog, MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.commit import Claim, Committer, Retrier, resolve
from consumer.errors import LostPartitionError, UnavailableError
from consumer.health import Health
from consumer.ports import Message, Position, Step, UserState

AT_5, AT_9 = Position(5, 1_000), Position(9, 2_000)


@pytest.mark.parametrize(
    ("stored", "logged", "claim"),
    [
        (None, None, Claim.FRESH),
        (None, AT_5, Claim.RESTORE),
        (AT_5, None, Claim.LIVE),
        (AT_5, AT_5, Claim.LIVE),
        (AT_5, AT_9, Claim.LIVE),
        (AT_9, AT_5, Claim.LIVE),
    ],
)
def test_the_store_decides_and_the_changelog_rebuilds_it(
    stored: Position | None, logged: Position | None, claim: Claim
) -> None:
    """What the store holds is where it goes on; only a store that holds nothing is rebuilt, if anything was logged."""
    assert resolve(stored, logged) is claim


class Bench:
    """A retrier that never really waits, and what it reports to."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.health = Health(ManualClock(0), self.metrics, 60.0)
        self.giving_up = asyncio.Event()
        self.retry = Retrier(self.health, 0.0, self.giving_up)


@pytest.fixture
def bench() -> Bench:
    """A retrier and its surroundings."""
    return Bench()


def failing(times: int, error: Exception, then: Callable[[], None] = lambda: None) -> Callable[[], Awaitable[str]]:
    """A call that fails so many times, then answers."""
    left = [error] * times

    async def call() -> str:
        if left:
            then()
            raise left.pop()
        return "answer"

    return call


async def test_a_call_that_works_is_made_once(bench: Bench) -> None:
    """Its result is handed on, and the server counts as up."""
    assert await bench.retry("redis", failing(0, RuntimeError())) == "answer"
    assert bench.health.why_not_ready() == ["kafka: not connected yet"]


async def test_a_server_that_is_away_is_waited_for(bench: Bench) -> None:
    """The call is repeated until it works."""
    assert await bench.retry("redis", failing(20, UnavailableError("redis", "refused"))) == "answer"


async def test_while_waiting_the_service_is_not_ready(bench: Bench) -> None:
    """Each failure is told to health under the server's name, with the reason; success takes it back."""
    seen: list[list[str]] = []
    bench.health.up("kafka")
    failure = UnavailableError("redis", "refused")
    await bench.retry("redis", failing(2, failure, lambda: seen.append(bench.health.why_not_ready())))
    assert seen == [["redis: not connected yet"], ["redis: refused"]]
    assert bench.health.why_not_ready() == []


@pytest.mark.parametrize("error", [LostPartitionError("moved"), ValueError("a bug"), OSError("untranslated")])
async def test_other_errors_are_not_repeated(bench: Bench, error: Exception) -> None:
    """Only a server that is away is worth another attempt; anything else comes through at once, as it is."""
    with pytest.raises(type(error)) as raised:
        await bench.retry("redis", failing(1, error))
    assert raised.value is error


async def test_told_to_give_up_it_does(bench: Bench) -> None:
    """When giving up, the wait ends with the partition lost, not with the call's own error."""

    def give_up() -> None:
        bench.giving_up.set()

    with pytest.raises(LostPartitionError, match="given up while a server was away"):
        await bench.retry("redis", failing(1_000, UnavailableError("redis", "refused"), give_up))


async def test_having_given_up_nothing_is_called(bench: Bench) -> None:
    """A call that begins after giving up is not even tried."""
    bench.giving_up.set()
    called: list[None] = []
    with pytest.raises(LostPartitionError):
        await bench.retry("redis", failing(1, UnavailableError("redis", ""), lambda: called.append(None)))
    assert called == []


class Shop:
    """A committer over the in-memory store and changelog."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.delivered: list[Message] = []
        self.store = MemoryStore()
        self.changelog = MemoryChangelog(self.delivered.append)
        self.committer = self._committer()

    def _committer(self) -> Committer:
        return Committer(self.store, self.changelog, self.bench.retry, self.bench.metrics)

    def lose_the_store(self) -> None:
        """The store comes back empty."""
        self.store = MemoryStore()
        self.committer = self._committer()


@pytest.fixture
def shop(bench: Bench) -> Shop:
    """Nothing committed yet."""
    return Shop(bench)


ALERT = Message("alerts", b"a", b"{}")
STEPS = [
    Step(0, None, AT_5, [UserState("a", b"1", 70), UserState("b", b"1", None)], [ALERT]),
    Step(0, AT_5, AT_9, [UserState("a", b"2", 90), UserState("b", b"", None)]),
]


async def test_a_partition_that_was_never_processed_is_fresh(shop: Shop) -> None:
    """It resumes nowhere: the source begins at the configured start."""
    assert await shop.committer.claim(0) is None


async def test_a_committed_step_is_published_and_stored(shop: Shop) -> None:
    """Messages go out, states are there to load, timers to fire, and the position is where to resume."""
    await shop.committer.commit(STEPS[:1])
    assert shop.delivered == [ALERT]
    assert await shop.store.load({0: ["a", "b"]}, {0: AT_5}) == {0: [b"1", b"1"]}
    assert await shop.store.due({0: 70}, {0: AT_5}, 10) == {0: ["a"]}
    assert await shop.committer.claim(0) == AT_5


async def test_a_lost_store_is_rebuilt_from_the_changelog(shop: Shop) -> None:
    """The latest states and timers are back, erased users are not, and the partition resumes where it was."""
    for step in STEPS:
        await shop.committer.commit([step])
    shop.lose_the_store()
    assert await shop.committer.claim(0) == AT_9
    assert await shop.store.load({0: ["a", "b"]}, {0: AT_9}) == {0: [b"2", None]}
    assert await shop.store.due({0: 90}, {0: AT_9}, 10) == {0: ["a"]}
    assert await shop.store.position(0) == AT_9
    assert shop.bench.registry.get_sample_value("ebbtide_restores_total") == 1.0


async def test_only_a_lost_store_is_rebuilt(shop: Shop) -> None:
    """A claim of a partition that is in place restores nothing."""
    await shop.committer.commit(STEPS[:1])
    await shop.committer.claim(0)
    assert shop.bench.registry.get_sample_value("ebbtide_restores_total") == 0.0


async def test_a_step_that_follows_on_something_else_is_refused(shop: Shop) -> None:
    """If the store is not where this owner left it, the partition is lost to it."""
    await shop.committer.commit(STEPS[:1])
    with pytest.raises(LostPartitionError):
        await shop.committer.commit([Step(0, Position(4, 0), AT_9)])
    assert await shop.store.position(0) == AT_5


async def test_a_repeated_step_is_the_same_as_once(shop: Shop) -> None:
    """After an unknown outcome the step may be written again: states and position end up alike."""
    await shop.committer.commit(STEPS[:1])
    await shop.committer.commit(STEPS[:1])
    assert await shop.store.load({0: ["a"]}, {0: AT_5}) == {0: [b"1"]}
    assert await shop.store.position(0) == AT_5
