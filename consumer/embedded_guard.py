"""The process between an embedded server and its parent: does what the parent asks, and cleans up after both.

`ServerProcess` runs this file as a script, with a socket to the parent as stdin. The socket's end, which the
kernel sees to however the parent ends, means the same as END: kill the server, even a paused one, and remove its
folder. So the guard stays while its server is down. It has a session of its own: a terminal's Ctrl-C reaches the
parent only. (PR_SET_PDEATHSIG alone would kill the server when the *thread* that started it ends; macOS has none.)
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from enum import Enum

_PARENT = 0  # stdin
_PR_SET_PDEATHSIG = 1
_LOOK_FOR_PARENT_S = 0.5


class Request(Enum):
    """What the parent may ask for, a byte each; the same byte is the reply, sent once it is done."""

    START = b"s"  # again, after KILL or STOP
    KILL = b"k"  # SIGKILL
    STOP = b"t"  # SIGTERM, done when the server has ended
    PAUSE = b"p"  # SIGSTOP
    RESUME = b"c"  # SIGCONT
    END = b"."  # the reply is that the guard ends


class _Guard:
    """Keeps one server for as long as the parent wants it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._parent = os.getppid()
        self._child_ended = _pipe_of_child_ends()
        self._end_is_wanted = False
        self._stop_is_owed = False
        self._server = self._started()

    def run(self) -> int:
        """0 if the parent wanted the end, else the server ended by itself."""
        while (request := self._next()) is not Request.END:
            if self._server.poll() is not None and not self._end_is_wanted:
                return self._server.returncode or 1  # the parent explains it, and needs the log for that
            if request is not None:
                self._do(request)
            if self._stop_is_owed and self._server.poll() is not None:
                self._stop_is_owed = False
                _reply(Request.STOP)
        self._kill()
        return 0

    def _next(self) -> Request | None:
        """What the parent asks for; None if there is another reason to look around."""
        readable, _, _ = select.select([_PARENT, self._child_ended], [], [], _LOOK_FOR_PARENT_S)
        if self._child_ended in readable:
            os.read(self._child_ended, 512)
        if os.getppid() != self._parent:
            return Request.END
        if _PARENT not in readable:
            return None
        with contextlib.suppress(OSError):
            return Request(os.read(_PARENT, 1) or Request.END)
        return Request.END

    def _do(self, request: Request) -> None:
        match request:
            case Request.START:
                self._end_is_wanted = False
                self._server = self._started()
            case Request.KILL:
                self._end_is_wanted = True
                self._kill()
            case Request.STOP:
                self._end_is_wanted = self._stop_is_owed = True
                self._server.terminate()
                self._signal(signal.SIGCONT)  # a paused one could not end
                return
            case Request.PAUSE:
                self._signal(signal.SIGSTOP)
            case Request.RESUME:
                self._signal(signal.SIGCONT)
        _reply(request)

    def _started(self) -> subprocess.Popen[bytes]:
        prepare = _die_with_guard if sys.platform == "linux" else None
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, preexec_fn=prepare, process_group=0)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._server.wait()

    def _signal(self, number: signal.Signals) -> None:
        """To the server and its children, such as that of a Valkey which writes a snapshot."""
        if self._server.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it ends at this moment
                os.killpg(self._server.pid, number)


def _pipe_of_child_ends() -> int:
    """A file that becomes readable when a child ends."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return read_end


def _reply(request: Request) -> None:
    with contextlib.suppress(OSError):  # the parent is gone, which the next look finds out
        os.write(_PARENT, request.value)


def _die_with_guard() -> None:
    """Run in the server's process just before it becomes the server: `kill -9` of the guard ends it too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _main(folder: str, command: Sequence[str]) -> int:
    code = _Guard(command).run()
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2:]))
