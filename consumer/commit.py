"""How a step becomes permanent, and where a partition resumes. The seam for delivery guarantees.

At least once: (1) messages, states and position to Kafka, acknowledged; (2) states, timers and position to Redis, in
one atomic script that runs only if Redis stands where this owner left it. A crash between the two repeats the step
from the same states, so its alerts come again with the same ids. Nothing fences the changelog yet: a process that was
paused for longer than its session may write to it before Redis refuses the same step, and if Redis is lost after that,
what it wrote is what gets restored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from consumer.errors import LostPartitionError, UnavailableError
from consumer.health import Health
from consumer.ports import Changelog, Position, StateStore, Step, Telemetry

log = structlog.get_logger()
T = TypeVar("T")
_GIVEN_UP = "given up while a server was away"


class Claim(Enum):
    """What a newly assigned partition needs before its records may be processed."""

    FRESH = auto()  # nothing is known anywhere: start at the configured offset
    LIVE = auto()  # the store holds states and position: resume there
    RESTORE = auto()  # the store has lost the partition: rebuild it from the changelog


def resolve(stored: Position | None, logged: Position | None) -> Claim:
    """From the positions in the store and in the changelog to what has to be done."""
    if stored is not None:
        return Claim.LIVE
    return Claim.FRESH if logged is None else Claim.RESTORE


class Retrier:
    """Repeats a call while a server is away, with back-off, until told to give up."""

    def __init__(self, health: Health, max_pause_s: float, giving_up: asyncio.Event) -> None:
        self._health, self._max_pause_s, self._giving_up = health, max_pause_s, giving_up

    async def __call__(self, dependency: str, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result; raises `LostPartitionError` when given up, be it in the middle of a call."""
        if self._giving_up.is_set():
            raise LostPartitionError(_GIVEN_UP)
        repeating = asyncio.create_task(self._repeat(call))
        giving_up = asyncio.create_task(self._giving_up.wait())
        try:
            await asyncio.wait((repeating, giving_up), return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving_up.cancel()
            is_done = repeating.done() or not repeating.cancel()
            await asyncio.wait((repeating, giving_up))
        if not is_done:
            raise LostPartitionError(_GIVEN_UP)
        result = repeating.result()
        self._health.up(dependency)
        return result

    async def _repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        async def attempt() -> T:
            return await call()

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_random_exponential(multiplier=0.1, max=self._max_pause_s),
            before_sleep=self._report,
        )
        return await retrying(attempt)

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnavailableError):
            self._health.down(error.dependency, str(error))


class Committer:
    """Commits steps and claims partitions, over any store and changelog."""

    def __init__(self, store: StateStore, changelog: Changelog, retry: Retrier, telemetry: Telemetry) -> None:
        self._store, self._changelog, self._retry, self._telemetry = store, changelog, retry, telemetry

    async def commit(self, steps: Sequence[Step]) -> None:
        """Make steps of different partitions permanent; raises `LostPartitionError` if the store is not in place."""
        with self._telemetry.stage("publish"):
            await self._retry("kafka", lambda: self._changelog.publish(steps))
        with self._telemetry.stage("write"):
            await self._retry("redis", lambda: self._store.write(steps))

    async def claim(self, partition: int) -> Position | None:
        """Bring the store in place for `partition`; where to resume, None at the configured start."""
        stored = await self._retry("redis", lambda: self._store.position(partition))
        logged = None if stored else await self._retry("kafka", lambda: self._last_position(partition))
        claim = resolve(stored, logged)
        resumes = stored or logged
        log.info("claimed", partition=partition, claim=claim.name.lower(), offset=resumes and resumes.next_offset)
        if claim is Claim.RESTORE and logged:
            await self._retry("redis", lambda: self._restore(partition, logged))
            self._telemetry.restored()
            return logged
        return stored

    async def _last_position(self, partition: int) -> Position | None:
        last = None
        async for _, position in self._changelog.read(partition):
            last = position or last
        return last

    async def _restore(self, partition: int, position: Position) -> None:
        users = 0
        token = await self._store.begin_restore(partition)
        async for chunk, _ in self._changelog.read(partition):
            await self._store.fill(partition, token, chunk)
            users += len(chunk)
        await self._store.end_restore(partition, token, position)
        log.info("restored from the changelog", partition=partition, records=users)
