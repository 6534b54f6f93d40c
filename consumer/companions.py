"""Tasks beside the main loop: if one fails, nobody notices, unless the service ends with its error."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import structlog

from consumer.tasks import ended

log = structlog.get_logger()
P = ParamSpec("P")
R = TypeVar("R")
SOFTWARE_ERROR = 70  # exit code of a process that could not even end in order
PATIENCE_S = 30.0  # beyond the time that a stop may take


def end_within(drain_timeout_s: float, why: str) -> None:
    """Leave at once should the process still be there when it must long have ended in order."""
    patience_s = drain_timeout_s + PATIENCE_S
    asyncio.get_running_loop().call_later(patience_s, _end_now, patience_s, why)


def _end_now(after_s: float, why: str) -> None:
    log.error("it does not come to an end: leaving at once", after_s=after_s, why=why)
    os._exit(SOFTWARE_ERROR)


class Companions:
    """Runs them; the first error of any sets `stop`, and is raised once the main loop has ended."""

    def __init__(self, stop: asyncio.Event, drain_timeout_s: float) -> None:
        self._stop, self._drain_timeout_s = stop, drain_timeout_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it beside the rest."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def watched(self, call: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        """The same call for somebody who swallows errors, as aiokafka does with its listener's."""

        async def watching(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return await call(*args, **kwargs)
            except Exception as error:
                self.fail(error)
                raise

        return watching

    def fail(self, error: BaseException) -> None:
        """End the service with this error: in order, or, if that takes too long, at once."""
        if self._failure is None:
            log.error("stopping", why=str(error) or repr(error))
            self._failure = error
            self._stop.set()
            end_within(self._drain_timeout_s, str(error) or repr(error))

    async def __aenter__(self) -> "Companions":
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """End them all; raises the first error, unless another one is on its way."""
        await ended(*self._tasks)
        if error is None and self._failure is not None:
            raise self._failure

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)
