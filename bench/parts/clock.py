"""Processor time by stage, taken from outside: functions are wrapped for as long as something is measured."""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from threading import local
from typing import Any

Place = tuple[Any, str]  # a class or module, and the name of a function in it


class StageClock:
    """Seconds that threads have worked in each stage, less what they worked in stages within it."""

    def __init__(self) -> None:
        self._of_thread = local()
        self._seconds: list[dict[str, float]] = []  # one for each thread: adding is no atomic step

    def seconds(self) -> dict[str, float]:
        """By stage, of all threads, so far."""
        total: dict[str, float] = defaultdict(float)
        for seconds in self._seconds:
            for stage, each in seconds.copy().items():
                total[stage] += each
        return dict(total)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What this thread does within is of this stage."""
        mine = self._of_thread
        if not hasattr(mine, "stack"):
            mine.stack, mine.since, mine.seconds = [], 0.0, defaultdict(float)
            self._seconds.append(mine.seconds)
        self._charge(mine)
        mine.stack.append(name)
        try:
            yield
        finally:
            self._charge(mine)
            mine.stack.pop()

    @staticmethod
    def _charge(mine: Any) -> None:
        now = time.thread_time()
        if mine.stack:
            mine.seconds[mine.stack[-1]] += now - mine.since
        mine.since = now

    @contextmanager
    def attached(self, stages: Sequence[tuple[str, Sequence[Place]]]) -> Iterator[None]:
        """Have every call of these functions counted."""
        places = [(stage, *place) for stage, of_stage in stages for place in of_stage]
        originals = [getattr(owner, name) for _, owner, name in places]
        for (stage, owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, self._timed(original, stage))
        try:
            yield
        finally:
            for (_, owner, name), original in zip(places, originals, strict=True):
                setattr(owner, name, original)

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                return await _Driven(function(*args, **kwargs), self, stage)

            return awaited

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return function(*args, **kwargs)

        return called


class _Driven:
    """A coroutine that is timed while it runs, and not while it waits."""

    def __init__(self, coroutine: Any, clock: StageClock, stage: str) -> None:
        self._coroutine, self._clock, self._stage = coroutine, clock, stage

    def __await__(self) -> Generator[Any, Any, Any]:
        resume = _sending(self._coroutine, None)
        while True:
            try:
                with self._clock.stage(self._stage):
                    awaited = resume()
            except StopIteration as end:
                return end.value
            try:
                sent = yield awaited
            except BaseException as error:
                resume = _throwing(self._coroutine, error)
            else:
                resume = _sending(self._coroutine, sent)


def _throwing(coroutine: Any, error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)


def _sending(coroutine: Any, value: Any) -> Callable[[], Any]:
    return lambda: coroutine.send(value)
