"""Ways to servers on which every client process has a weather of its own: slow, silent, or cut.

Which process a connection belongs to is asked of the kernel (/proc), so that one service alone can be partitioned.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
_CHUNK = 65_536
_CHUNKS_ON_THE_WAY = 64


@dataclass
class Weather:
    """What one process meets on one wire."""

    delay_s: float = 0.0
    is_cut: bool = False
    flows: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.flows.set()


class Wire:
    """Passes bytes on to `target`."""

    def __init__(self, name: str, port: int, target: int, pids: Callable[[], Iterable[int]]) -> None:
        self.name, self.port, self._target, self._pids = name, port, target, pids
        self._weather: dict[int, Weather] = {}
        self._connections: dict[asyncio.Task[None], int] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        if self._server is not None:
            self._server.close()
        await self._end([*self._connections])

    def delay(self, pid: int, seconds: float) -> None:
        """Bytes take so long, each way."""
        self._of(pid).delay_s = seconds

    def silence(self, pid: int) -> None:
        """Connections stay, and new ones are accepted, but nothing passes."""
        self._of(pid).flows.clear()

    async def cut(self, pid: int) -> None:
        """End connections and accept no new ones."""
        self._of(pid).is_cut = True
        await self._end([task for task, owner in self._connections.items() if owner == pid])

    def heal(self, pid: int | None = None) -> None:
        """Fair weather; what was held back on the way passes now."""
        for each in self._weather.values() if pid is None else [self._of(pid)]:
            each.delay_s, each.is_cut = 0.0, False
            each.flows.set()

    def _of(self, pid: int) -> Weather:
        return self._weather.setdefault(pid, Weather())

    async def _end(self, tasks: list["asyncio.Task[None]"]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        pid = owner_of(writer.get_extra_info("peername")[1], self.port, self._pids())
        self._connections[task] = pid
        try:
            with suppress(OSError, asyncio.CancelledError):
                if not self._of(pid).is_cut:
                    await self._connect(reader, writer, self._of(pid))
        finally:
            writer.close()
            del self._connections[task]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, weather: Weather) -> None:
        there_reader, there_writer = await asyncio.open_connection(HOST, self._target)
        ways = [
            asyncio.create_task(_pass_on(*way, weather)) for way in ((reader, there_writer), (there_reader, writer))
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            there_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, weather: Weather) -> None:
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_ON_THE_WAY)

    async def arrive() -> None:
        while True:
            due, data = await on_the_way.get()
            if (early_s := due - time.monotonic()) > 0:
                await asyncio.sleep(early_s)
            await weather.flows.wait()
            writer.write(data)
            await writer.drain()
            on_the_way.task_done()

    arriving = asyncio.create_task(arrive())
    try:
        while data := await reader.read(_CHUNK):
            await on_the_way.put((time.monotonic() + weather.delay_s, data))
        await on_the_way.join()
    finally:
        arriving.cancel()
        await asyncio.wait([arriving])


def owner_of(client_port: int, server_port: int, pids: Iterable[int]) -> int:
    """Which of some processes has the connection between two local ports; 0 if none."""
    there, here = f"0100007F:{client_port:04X}", f"0100007F:{server_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == there and words[2] == here:
            socket = f"socket:[{words[9]}]"
            return next((pid for pid in pids if _has_open(pid, socket)), 0)
    return 0


def _has_open(pid: int, name: str) -> bool:
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.readlink(each) == name:  # noqa: PTH115 - no path: a name of the kernel
                    return True
    return False


@asynccontextmanager
async def opened(wires: list[Wire]) -> AsyncIterator[None]:
    """Wires that are open until the block ends."""
    try:
        for each in wires:
            await each.open()
        yield
    finally:
        for each in wires:
            await each.close()
