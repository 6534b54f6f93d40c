"""Starting and stopping clients of Kafka, which may be cut short at any time."""

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from consumer.adapters.kafka import start_client
from consumer.errors import UnavailableError


class Client:
    """Connects in two steps; cut between them it would lose the first connection."""

    def __init__(self, error: Exception | None = None) -> None:
        self.said: list[str] = []
        self._error = error
        self.goes_on = asyncio.Event()

    async def start(self) -> None:
        """Waits in the middle."""
        self.said.append("connecting")
        await self.goes_on.wait()
        if self._error:
            raise self._error
        self.said.append("connected")

    async def stop(self) -> None:
        """What is open is closed."""
        self.said.append("stopped")


async def test_a_start_that_is_cut_comes_to_its_end_before_it_is_undone() -> None:
    client = Client()
    starting = asyncio.create_task(start_client(client.start, client.stop))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    starting.cancel()
    client.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert client.said == ["connecting", "connected", "stopped"]


async def test_a_start_that_fails_is_undone() -> None:
    client = Client(KafkaConnectionError("nobody there"))
    client.goes_on.set()
    with pytest.raises(UnavailableError, match="nobody there"):
        await start_client(client.start, client.stop)
    assert client.said == ["connecting", "stopped"]


async def test_a_client_that_has_started_stays() -> None:
    client = Client()
    client.goes_on.set()
    await start_client(client.start, client.stop)
    assert client.said == ["connecting", "connected"]
