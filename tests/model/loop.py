"""An event loop that runs when it is told to: no threads, no sockets, and time that moves by hand."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from heapq import heappop, heappush
from typing import Any

_MOST_CALLBACKS = 2_000  # between two port calls; more is a loop that never waits
Thread = Callable[[Callable[[], Any]], "asyncio.Future[Any]"]


class SteppedLoop(asyncio.AbstractEventLoop):
    """What `in_thread` returns stands for a worker thread's answer."""

    def __init__(self, in_thread: Thread) -> None:
        self._in_thread = in_thread
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._now_s = 0.0
        self.errors: list[dict[str, Any]] = []  # that nobody handled

    def settle(self) -> None:
        """Run until everything waits for something."""
        asyncio._set_running_loop(self)
        try:
            for _ in range(_MOST_CALLBACKS):
                if not self._ready:
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)
        raise AssertionError("a loop that never waits")

    def pass_time(self, seconds: float) -> None:
        """Let what is due by then run next."""
        self._now_s += seconds
        while self._timers and self._timers[0].when() <= self._now_s:
            self._ready.append(heappop(self._timers))

    def next_timer_s(self) -> float | None:
        """How long until the next one; None if there is none."""
        while self._timers and self._timers[0].cancelled():
            heappop(self._timers)
        return max(self._timers[0].when() - self._now_s, 0.0) if self._timers else None

    # What tasks and futures ask of their loop.

    def time(self) -> float:
        """See `asyncio.AbstractEventLoop`."""
        return self._now_s

    def get_debug(self) -> bool:
        """See `asyncio.AbstractEventLoop`."""
        return False

    def is_running(self) -> bool:
        """See `asyncio.AbstractEventLoop`."""
        return True

    def is_closed(self) -> bool:
        """See `asyncio.AbstractEventLoop`."""
        return False

    def create_future(self) -> "asyncio.Future[Any]":
        """See `asyncio.AbstractEventLoop`."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> "asyncio.Task[Any]":  # type: ignore[override]
        """See `asyncio.AbstractEventLoop`."""
        return asyncio.Task(coro, loop=self, **options)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """See `asyncio.AbstractEventLoop`."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.AbstractEventLoop`."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.AbstractEventLoop`."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, timer)
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """See `asyncio.AbstractEventLoop`."""
        return self._in_thread(partial(func, *args))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """See `asyncio.AbstractEventLoop`."""
        self.errors.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when its time comes."""
