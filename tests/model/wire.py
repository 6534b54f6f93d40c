"""A process's ports: each call waits until the machine has decided what becomes of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from consumer.errors import LostPartitionError, UnavailableError
from model.loop import SteppedLoop


class Kind(Enum):
    """What can become of a call."""

    LOCAL = auto()  # never fails
    READ = auto()  # fails without effect
    WRITE = auto()  # may have had an effect, or may have one later


@dataclass
class Call:
    """Something that a process waits for."""

    what: str
    kind: Kind
    effect: Callable[[], object]
    failure: Exception
    future: "asyncio.Future[Any]"
    is_done: bool = False
    result: object = None
    error: Exception | None = None

    def perform(self) -> None:
        """It has its effect; the process does not know yet."""
        if self.is_done:
            return
        self.is_done = True
        try:
            self.result = self.effect()
        except (LostPartitionError, UnavailableError) as error:
            self.error = error

    def answer(self) -> None:
        """The process learns of it."""
        if self.future.cancelled():
            return
        if self.error:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Wire:
    """All calls of one process that are under way."""

    def __init__(self) -> None:
        self.loop = SteppedLoop(self._compute)
        self.calls: list[Call] = []
        self.is_cut = False
        self.has_nothing_to_decode = False

    async def send(self, what: str, kind: Kind, effect: Callable[[], Any], failure: Exception) -> Any:
        """The result of `effect` whenever the machine lets it happen."""
        if self.is_cut:
            raise asyncio.CancelledError
        return await self._sent(what, kind, effect, failure).future

    def _sent(self, what: str, kind: Kind, effect: Callable[[], Any], failure: Exception) -> Call:
        call = Call(what, kind, effect, failure, self.loop.create_future())
        self.calls.append(call)
        return call

    def _compute(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """What a worker thread does takes time as well, if it is anything."""
        call = self._sent("compute", Kind.LOCAL, work, UnavailableError("", ""))
        if self.has_nothing_to_decode:
            self.has_nothing_to_decode = False
            self.calls.remove(call)
            call.perform()
            call.answer()
        return call.future

    def given_up(self) -> list[Call]:
        """Calls that nobody waits for any more; those that may still have an effect are returned."""
        gone = [call for call in self.calls if call.future.cancelled()]
        if not gone:
            return []
        self.calls = [call for call in self.calls if not call.future.cancelled()]
        return [call for call in gone if call.kind is Kind.WRITE and not call.is_done]
