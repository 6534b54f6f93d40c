"""Waiting for a server that is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from consumer.errors import LostPartitionError, UnavailableError
from consumer.health import Health
from consumer.tasks import run_until

T = TypeVar("T")
FIRST_PAUSE_S = 0.1
_GIVEN_UP = "given up while a server was away"


class Retrier:
    """Repeats a call while a server is away, with back-off, until told to give up."""

    def __init__(self, health: Health, max_pause_s: float, giving_up: asyncio.Event) -> None:
        self._health, self._max_pause_s, self._giving_up = health, max_pause_s, giving_up

    async def __call__(self, dependency: str, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result; raises `LostPartitionError` when given up, be it in the middle of a call."""
        if self._giving_up.is_set():
            raise LostPartitionError(_GIVEN_UP, reason="given_up")
        repeated = await run_until(self._giving_up, self._repeat(call))
        if repeated is None:
            raise LostPartitionError(_GIVEN_UP, reason="given_up")
        result = repeated.result()
        self._health.up(dependency)
        return result

    async def _repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        async def attempt() -> T:
            return await call()

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_S, max=self._max_pause_s),
            before_sleep=self._report,
        )
        return await retrying(attempt)

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnavailableError):
            self._health.down(error.dependency, str(error))
