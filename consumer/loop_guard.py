"""A thread that notices that the event loop is blocked: then no endpoint answers, and no task can say so."""

import asyncio
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from enum import Enum, auto

import structlog

from consumer.companions import SOFTWARE_ERROR

log = structlog.get_logger()
BEAT_S, PAUSE_S = 1.0, 0.5
LAST_WORDS_S = 5.0  # for the log: whoever blocks the loop may block that, too


class Verdict(Enum):
    """What the thread has to do."""

    NOTHING = auto()
    WARN = auto()
    RELIEVED = auto()  # it runs again after a warning
    EXIT = auto()


class Pulse:
    """Judges by a number that the event loop counts up. No I/O, no clock."""

    def __init__(self, warn_s: float, exit_s: float, now_s: float) -> None:
        self._warn_s, self._exit_s = warn_s, exit_s
        self._beats, self._looked_s, self._warned = 0, now_s, False
        self.still_s = 0.0

    def look(self, beats: int, now_s: float) -> Verdict:
        """Call it every `PAUSE_S`: time in which the thread itself could not run, as when frozen, hardly counts."""
        passed_s, self._looked_s = min(now_s - self._looked_s, 2 * PAUSE_S), now_s
        if beats != self._beats:
            was_warned, self._beats, self._warned, self.still_s = self._warned, beats, False, 0.0
            return Verdict.RELIEVED if was_warned else Verdict.NOTHING
        self.still_s += passed_s
        if self.still_s >= self._exit_s:
            return Verdict.EXIT
        if self.still_s < self._warn_s or self._warned:
            return Verdict.NOTHING
        self._warned = True
        return Verdict.WARN


class LoopGuard:
    """Ends the process when the event loop in whose thread it was started is blocked for too long; warns before."""

    def __init__(self, warn_s: float, exit_s: float, on_block: Callable[[], None]) -> None:
        self._warn_s, self._exit_s, self._on_block = warn_s, exit_s, on_block
        self._beats = 0
        self._stopping = threading.Event()
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="loop-guard", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._beat()
        self._thread.start()

    def _beat(self) -> None:
        self._beats += 1
        self._next_beat = self._loop.call_later(BEAT_S, self._beat)

    def stop(self) -> None:
        """The event loop may end."""
        self._next_beat.cancel()
        self._stopping.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        pulse = Pulse(self._warn_s, self._exit_s, time.monotonic())
        while not self._stopping.wait(PAUSE_S):
            # If even this thread cannot run, as somebody keeps the interpreter's lock, this ends the process.
            faulthandler.dump_traceback_later(self._exit_s + LAST_WORDS_S, exit=True, file=sys.__stderr__ or 2)
            verdict = pulse.look(self._beats, time.monotonic())
            if verdict is Verdict.WARN:
                self._on_block()
                log.warning("the event loop is blocked", since_s=round(pulse.still_s, 1), stack=self._stack())
            elif verdict is Verdict.RELIEVED:
                log.info("the event loop runs again")
            elif verdict is Verdict.EXIT:
                self._end(pulse.still_s)

    def _end(self, still_s: float) -> None:
        def say() -> None:
            log.error("the event loop stays blocked: leaving", since_s=round(still_s, 1), stack=self._stack())

        speaker = threading.Thread(target=say, daemon=True)
        speaker.start()
        speaker.join(LAST_WORDS_S)
        os._exit(SOFTWARE_ERROR)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)) if frame else "unknown"
