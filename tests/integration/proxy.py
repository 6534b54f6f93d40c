"""A way to a server that can be slowed, blocked, cut and opened again, while the server itself goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

from consumer.embedded import EmbeddedKafka, free_ports

_HOST = "127.0.0.1"
_CHUNK_BYTES = 65_536
_CHUNKS_UNDER_WAY = 64  # a sender that is further ahead has to wait

_UnderWay = asyncio.Queue[tuple[float, bytes]]  # when to deliver (loop time, seconds), what; no bytes: the end


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]


class Proxy:
    """Passes bytes on to `target`; closed at first. For one event loop."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self._to_server_s = self._to_client_s = 0.0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    async def open(self) -> None:
        """Let connections through, also those that were blocked; delays stay as they are."""
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, _HOST, self.port)

    def delay(self, *, to_server_s: float = 0.0, to_client_s: float = 0.0) -> None:
        """How long bytes that come from now on are under way; throughput stays as it is."""
        self._to_server_s, self._to_client_s = to_server_s, to_client_s

    def block(self) -> None:
        """A black hole: accept connections and keep them, but pass nothing on, not even that a side has closed."""
        self._flows.clear()

    async def cut(self) -> None:
        """End all connections, lose what is under way, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError), _closing(writer):
                if self._server is not None:  # else cut in between
                    await self._connect(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self._connections.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        there_reader, there_writer = await asyncio.open_connection(_HOST, self.target)
        with _closing(there_writer):
            await _first_ended(
                self._pass_on(reader, there_writer, lambda: self._to_server_s),
                self._pass_on(there_reader, writer, lambda: self._to_client_s),
            )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: Callable[[], float]
    ) -> None:
        under_way = _UnderWay(_CHUNKS_UNDER_WAY)
        receiving = asyncio.create_task(_receive(reader, under_way, delay_s))
        try:
            await self._deliver(under_way, writer)
        finally:
            receiving.cancel()

    async def _deliver(self, under_way: _UnderWay, writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await self._flows.wait()
            if not data:
                return
            writer.write(data)
            await writer.drain()


async def _receive(reader: asyncio.StreamReader, under_way: _UnderWay, delay_s: Callable[[], float]) -> None:
    data = None
    while data != b"":
        try:
            data = await reader.read(_CHUNK_BYTES)
        except OSError:
            data = b""  # a reset, which arrives as late as anything else
        await under_way.put((asyncio.get_running_loop().time() + delay_s(), data))


async def _first_ended(*ways: Coroutine[None, None, None]) -> None:
    """Run all until one ends."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Close with what is still to be written, or without it after an exception such as a cut."""
    try:
        yield
    except BaseException:
        writer.transport.abort()
        raise
    writer.close()


@asynccontextmanager
async def proxy(port: int, target: int) -> AsyncIterator[Proxy]:
    """A proxy that is closed at first, and at the end."""
    way = Proxy(port, target)
    try:
        yield way
    finally:
        await way.cut()


@asynccontextmanager
async def proxies_to(kafka: EmbeddedKafka) -> AsyncIterator[list[Proxy]]:
    """An open proxy to each node of a cluster with `advertised_ports`, in the nodes' order."""
    async with AsyncExitStack() as ways:
        opened = [await ways.enter_async_context(proxy(node.advertised_port, node.port)) for node in kafka.nodes]
        for way in opened:
            await way.open()
        yield opened
