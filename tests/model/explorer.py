"""One schedule of two processes, as a tape of bytes tells it; a tape of zeros is a day on which nothing fails.

Nine bytes say how the world begins and which faults there are; then two bytes a step say what happens next and where.
At the end of the tape faults stop, and within a bounded number of steps everything has to be in place.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from consumer.adapters.memory_store import MemoryStore
from model.faults import FAULTS
from model.process import Process
from model.shop import SCRIPTS
from model.truth import BrokenPromiseError
from model.wire import Call, Kind
from model.world import World

STEPS = 110
_START_BYTES = 9
TAPE_BYTES = _START_BYTES + 2 * STEPS
_CALM_STEPS, _CALM_FENCES = 1_500, 20  # more is a livelock
_RATES = (8, 16, 32, 64)  # faults among 256 steps
_ANSWER_LATER = 40  # of 256 calls have their effect some time before the answer comes


class Move(NamedTuple):
    """Something that can happen without any fault."""

    number: int  # of the process
    what: str
    happens: Callable[[], object]
    changes: bool  # anything outside the process


class Explorer:
    """Plays a tape; raises `BrokenPromiseError` with the trace."""

    def __init__(self, tape: bytes, store: type[MemoryStore] = MemoryStore) -> None:
        self._tape = tape
        self._trace: list[str] = []
        script = SCRIPTS[tape[0] % len(SCRIPTS)]
        self.world = World(script, [tape[1] >> partition & 1 for partition in range(len(script))], store)
        self.paused = [0, 0]
        self.doomed: tuple[tuple[str, ...], int] | None = None  # the next call of these names fails, and how
        self.processes: list[Process | None] = [None, None]
        self._turn = 0
        mask = int.from_bytes(tape[2:5], "big")  # few kinds at a time go deeper than all at once
        mask &= int.from_bytes(tape[5:8], "big") if tape[1] & 32 else -1
        self._faults = [name for bit, name in enumerate(FAULTS) if mask >> bit & 1]
        self._rate = _RATES[tape[8] % len(_RATES)]

    def play(self) -> None:
        """Until everything is in place after the last fault."""
        random.seed(0)  # of pauses between two attempts: a tape tells all (Hypothesis puts it back)
        try:
            if self._tape[1] & 12 != 0:  # else it is a first start
                self.world.warm_up(2)
            self._start()
            for at in range(_START_BYTES, len(self._tape), 2):
                self._step(*self._tape[at : at + 2])
            self._calm_down()
        except AssertionError as violation:  # of the model, or of the code under test
            raise BrokenPromiseError(f"{violation}\n" + "\n".join(self._trace)) from violation
        finally:
            for process in self.running():
                process.crash(0)

    def running(self) -> list[Process]:
        """Those that are alive, paused or not."""
        return [process for process in self.processes if process is not None]

    def note(self, what: str) -> None:
        """For the trace."""
        self._trace.append(what)

    def _start(self) -> None:
        for number in (0, 1):
            self.processes[number] = Process(number, self.world)

    def _step(self, choice: int, number: int) -> None:
        if self._faults and choice >= 256 - self._rate:
            name = self._faults[choice % len(self._faults)]
            self.note(f"{name} ({number})")
            FAULTS[name](self, number)
            self._check()
        else:
            self._move(number, may_wait=_ANSWER_LATER > choice > 0)

    def _move(self, number: int, may_wait: bool) -> None:
        """Something goes on, the processes taking turns if nothing else is said."""
        self._turn += 1
        moves: list[Move] = []
        for each in (self._turn % 2, 1 - self._turn % 2):
            if self.paused[each]:
                self.paused[each] -= 1
            else:
                moves += self._moves(each, may_wait, is_idle_allowed=number >= 128)
        if moves:
            move = moves[number % len(moves)]
            self.note(f"{move.number}: {move.what}")
            move.happens()
            if move.changes:
                self._check()

    def _moves(self, number: int, may_wait: bool, is_idle_allowed: bool) -> list[Move]:
        process = self.processes[number]
        if process is None or process.is_gone:
            return [Move(number, "starts", partial(self._restart, number), True)]
        process.source.most = 1 + self._turn % 3
        moves = [Move(number, "rebalances", process.rebalance, False)] if process.may_rebalance else []
        for call in process.waiting(is_idle_allowed):
            is_write = call.kind is Kind.WRITE
            if not may_wait:
                moves.append(Move(number, call.what, partial(self._answer, process, call), is_write))
            elif not call.is_done:
                moves.append(Move(number, f"{call.what} is done", call.perform, is_write))
        return moves or [Move(number, "waits", process.pass_time, False)]

    def _answer(self, process: Process, call: Call) -> None:
        if self.doomed and not call.is_done and call.what.startswith(self.doomed[0]):
            how, self.doomed = self.doomed[1], None
            self.note(f"   which is not answered ({how % 3})")
            process.fail(call, how)
        else:
            process.answer(call)

    def _restart(self, number: int) -> None:
        if process := self.processes[number]:
            process.crash(0)
        self.processes[number] = Process(number, self.world)
        self.world.generation += 1

    def _check(self) -> None:
        self.world.truth.check_changelog(self.world.log)
        self.world.truth.check_store(self.world.store)

    def _calm_down(self) -> None:
        """No more faults: what is in flight arrives or never will, and then all comes to rest."""
        self.note("no more faults")
        self.paused, self.doomed = [0, 0], None
        while self.world.in_flight and self._tape[1] & 16:
            self.world.arrive(0)
        fences = self.world.fences
        for _ in range(_CALM_STEPS):
            self._move(0, may_wait=False)
            if self.world.fences - fences > _CALM_FENCES:
                raise BrokenPromiseError("claims without end")
            if self.world.truth.unsettled(self.world.store) is None and self._are_in_charge():
                self.world.truth.check_end()
                return
        raise BrokenPromiseError(f"no end: {self.world.truth.unsettled(self.world.store)}")

    def _are_in_charge(self) -> bool:
        """Whether each partition is live where the group has it."""
        for partition, owner in enumerate(self.world.owner):
            process = self.processes[owner]
            standing = process.pipeline.standings().get(partition) if process else None
            if standing is None or not standing.is_live or standing.changed_since_ms is not None:
                return False
        return True


def explore(tape: bytes) -> None:
    """Play a tape; a violation is told with as little else as possible."""
    try:
        Explorer(tape).play()
    except BrokenPromiseError:
        Explorer(_reduced(tape)).play()
        raise


def _reduced(tape: bytes) -> bytes:
    """The same with every step ordinary that need not be otherwise; Hypothesis, which knows no steps, takes minutes."""
    for at in range(len(tape) - 2, _START_BYTES - 1, -2):
        simpler = tape[:at] + bytes(2) + tape[at + 2 :]
        try:
            Explorer(simpler).play()
        except BrokenPromiseError:
            tape = simpler
    return tape
