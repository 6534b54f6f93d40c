"""The proxy of the fault tests: what passes, what does not, and that all is well again afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from proxy import Proxy, free_port, proxy
from waiting import DEADLINE_S

DELAY_S = 0.3
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EchoServer:
    """Sends back each line; knows how many connections it ever got."""

    def __init__(self) -> None:
        self.port = free_port()
        self.accepted = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.accepted += 1
        while line := await reader.readline():
            writer.write(line)
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[EchoServer]:
    """A server that answers."""
    echo = EchoServer()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", echo.port):
        yield echo


@pytest.fixture
async def way(server: EchoServer) -> AsyncIterator[Proxy]:
    """An open proxy to it."""
    async with proxy(free_port(), server.port) as way:
        await way.open()
        yield way


@asynccontextmanager
async def connected(way: Proxy) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(connection: Connection, line: bytes = b"hello\n") -> bytes:
    reader, writer = connection
    writer.write(line)
    return await asyncio.wait_for(reader.readline(), DEADLINE_S)


async def seconds_for_an_answer(way: Proxy) -> float:
    async with connected(way) as connection:
        begun = time.monotonic()
        assert await answer(connection) == b"hello\n"
        return time.monotonic() - begun


async def other_traffic(server: EchoServer) -> None:
    """Answers on one further connection, past the proxy, in which time that through a proxy would have come too."""
    connection = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(50):
        await answer(connection)
    connection[1].close()


async def has_ended(connection: Connection) -> bool:
    try:
        return await asyncio.wait_for(connection[0].read(1), DEADLINE_S) == b""
    except ConnectionResetError:
        return True


async def test_it_passes_bytes_both_ways(way: Proxy) -> None:
    """What a client sends arrives, and so does the answer, also when it is many chunks long."""
    line = b"x" * 60_000 + b"\n"
    async with connected(way) as (reader, writer):
        for _ in range(100):
            writer.write(line)
            assert await asyncio.wait_for(reader.readexactly(len(line)), DEADLINE_S) == line


@pytest.mark.parametrize("direction", ["to_server_s", "to_client_s"])
async def test_a_delay_is_felt_in_its_direction(way: Proxy, direction: str) -> None:
    """An answer takes as much longer as either of its directions does."""
    way.delay(**{direction: DELAY_S})
    assert await seconds_for_an_answer(way) >= DELAY_S


async def test_delays_add_up(way: Proxy) -> None:
    """Both directions together take as long as one after the other."""
    way.delay(to_server_s=DELAY_S, to_client_s=DELAY_S)
    assert await seconds_for_an_answer(way) >= 2 * DELAY_S


async def test_a_delay_does_not_cost_throughput(way: Proxy) -> None:
    """Many lines sent at once take one delay, not one each."""
    way.delay(to_server_s=DELAY_S)
    async with connected(way) as connection:
        begun = time.monotonic()
        for number in range(200):
            connection[1].write(b"%d\n" % number)
            await asyncio.sleep(0)
        assert await answer(connection, b"last\n") == b"0\n"
        while await connection[0].readline() != b"last\n":
            pass
        assert DELAY_S <= time.monotonic() - begun < 20 * DELAY_S


async def test_a_cut_ends_connections(way: Proxy) -> None:
    """A client that is connected sees the end of its connection."""
    async with connected(way) as connection:
        await answer(connection)
        await way.cut()
        assert await has_ended(connection)


async def test_a_cut_refuses_new_connections(way: Proxy) -> None:
    """Nobody listens at a cut proxy's port."""
    await way.cut()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", way.port)


async def test_a_cut_heals(way: Proxy) -> None:
    """Opened again it is as before."""
    await way.cut()
    await way.open()
    async with connected(way) as connection:
        assert await answer(connection) == b"hello\n"


async def test_a_block_stalls_connections_until_it_heals(way: Proxy, server: EchoServer) -> None:
    """What is sent into a block arrives after it, and not before."""
    async with connected(way) as connection:
        await answer(connection)
        way.block()
        pending = asyncio.create_task(answer(connection, b"late\n"))
        await other_traffic(server)
        assert not pending.done()
        await way.open()
        assert await pending == b"late\n"


async def test_a_block_hides_the_server_from_new_connections(way: Proxy, server: EchoServer) -> None:
    """A blocked proxy accepts, but the server hears of it only when the block is over."""
    way.block()
    async with connected(way) as connection:
        pending = asyncio.create_task(answer(connection))
        await other_traffic(server)
        assert (pending.done(), server.accepted) == (False, 1)
        await way.open()
        assert await pending == b"hello\n"


async def test_a_blocked_proxy_can_be_cut(way: Proxy) -> None:
    """A cut ends connections also while they are blocked."""
    async with connected(way) as connection:
        await answer(connection)
        way.block()
        await way.cut()
        assert await has_ended(connection)


async def test_the_end_of_a_connection_is_passed_on() -> None:
    """The server's close reaches the client after its last words, however late."""

    async def say_goodbye(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"goodbye")
        writer.close()

    async with (
        await asyncio.start_server(say_goodbye, "127.0.0.1", port := free_port()),
        proxy(free_port(), port) as way,
    ):
        way.delay(to_client_s=DELAY_S)
        await way.open()
        async with connected(way) as (reader, _):
            assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b"goodbye"


async def test_a_server_that_is_away_looks_away(way: Proxy) -> None:
    """With nobody behind the proxy a client's connection ends."""
    async with proxy(free_port(), free_port()) as nowhere:
        await nowhere.open()
        async with connected(nowhere) as connection:
            assert await has_ended(connection)
