"""What happens while a server is away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.metrics import Metrics
from consumer.errors import LostPartitionError, UnavailableError
from consumer.health import Health
from consumer.retry import Retrier


class Bench:
    """A retrier that never really waits, and what it reports to."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.health = Health(self.metrics)
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
