"""What the embedded Kafka and Valkey have in common: start all or none, take one away, end them all."""

import contextlib
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from consumer.embedded_process import EmbeddedServerError, PortTakenError, ServerProcess

HOST = "127.0.0.1"
_STARTS = 3  # how often to choose other ports if somebody takes ours first
_PORTS = range(20_000, 32_000)


class Embedded:
    """Starts servers on entry, all or none, and ends them on exit."""

    def __init__(self, config: Mapping[str, str] | None) -> None:
        self._config = dict(config or {})
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for _ in range(_STARTS - 1):
            with contextlib.suppress(PortTakenError):
                return self._started()
        return self._started()

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _started(self) -> Self:
        with contextlib.ExitStack() as starting:
            self._start(starting)
            self._running = starting.pop_all()
        return self

    def _start(self, starting: contextlib.ExitStack) -> None:
        raise NotImplementedError


def new_process(name: str, starting: contextlib.ExitStack) -> ServerProcess:
    """A process whose end is arranged before its start, so that Ctrl-C can never come in between."""
    process = ServerProcess(name)
    starting.callback(process.stop)
    return process


class Node:
    """A server to take away and give back: same ports, same data, same configuration.

    All calls block until done; from async code use `asyncio.to_thread`. One thread at a time per server. All
    raise EmbeddedServerError if the server has ended by itself.
    """

    port: int
    process: ServerProcess
    _ready_line: str
    _start_deadline_s: float

    @property
    def name(self) -> str:
        """For messages, such as `kafka-1`."""
        return self.process.name

    @property
    def log(self) -> Path:
        """What the server says, over all its starts; gone with the server at the end."""
        return self.process.log

    @property
    def is_running(self) -> bool:
        """Whether it has a process, be it paused."""
        return self.process.is_running

    def kill(self) -> None:
        """`kill -9`; returns when it is gone."""
        self.process.kill()

    def stop(self) -> None:
        """Clean end by SIGTERM; returns when it is gone. A paused server is resumed for that."""
        self.process.terminate()

    def start(self) -> None:
        """Give back a server that was killed or stopped; returns when it is ready."""
        self.process.start_again()
        self.wait_ready()

    def pause(self) -> None:
        """SIGSTOP: the system still accepts connections, but nobody answers."""
        self.process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()

    def wait_ready(self) -> None:
        """Return once it is up. Raises EmbeddedServerError if that fails or takes too long."""
        self.process.wait_ready(self._ready_line, self._start_deadline_s)


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody has now: all bound at once, so that they differ.

    Chosen by us: those that the system would choose it also gives to outgoing connections, which could take the
    port of a server that is down. A client that tries to reach it could even be connected to itself.
    """
    found: list[int] = []
    with contextlib.ExitStack() as bound:
        for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)):
            if len(found) == count:
                break
            with contextlib.suppress(OSError):
                bound.enter_context(socket.socket()).bind((HOST, port))
                found.append(port)
    if len(found) < count:
        raise EmbeddedServerError(f"No {count} free ports from {_PORTS.start} to {_PORTS.stop - 1}.")
    return tuple(found)
