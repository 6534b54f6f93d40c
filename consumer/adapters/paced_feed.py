"""Events to a topic at a pace of one's own."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer

from consumer.adapters.kafka import connection, start_client, stopped, translated
from consumer.adapters.topics import partition_count
from consumer.settings import Settings

Timed = tuple[int, bytes, bytes]  # when it happened (ms), key, value
_SHORTEST_SLEEP_S = 0.001
_LONG_SLEEP_S = 0.05
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Pace:
    """So many events a second, or so many times as fast as they happened; 0 and 0: as fast as possible."""

    rate_per_s: float = 0.0
    speed_up: float = 0.0

    def due_s(self, number: int, since_first_ms: int) -> float:
        """How long after the first event another one is sent."""
        if self.rate_per_s:
            return number / self.rate_per_s
        return since_first_ms / 1000 / self.speed_up if self.speed_up else 0.0


async def feed(
    records: Iterable[Timed], topic: str, settings: Settings, pace: Pace, on_sent: Callable[[int], object]
) -> None:
    """Send all in order and wait for the acknowledgements; `on_sent` is told how many more were acknowledged.

    Raises `ConfigurationError` where there is no such topic, and `UnavailableError`.
    """
    await partition_count(settings, topic)
    producer = AIOKafkaProducer(**connection(settings), enable_idempotence=True, linger_ms=5)
    await start_client(producer.start, producer.stop)
    try:
        with translated():
            await _send(producer, records, topic, pace, on_sent)
    finally:
        await stopped(producer.stop)


async def _send(
    producer: AIOKafkaProducer, records: Iterable[Timed], topic: str, pace: Pace, on_sent: Callable[[int], object]
) -> None:
    pending: list[asyncio.Future[object]] = []

    async def acknowledged() -> None:
        await asyncio.gather(*pending)
        on_sent(len(pending))
        pending.clear()

    begun_s, first_ms = time.monotonic(), None
    for number, (time_ms, key, value) in enumerate(records):
        first_ms = time_ms if first_ms is None else first_ms
        due_s = begun_s + pace.due_s(number, time_ms - first_ms)
        if len(pending) >= _AT_ONCE or due_s - time.monotonic() > _LONG_SLEEP_S:
            await acknowledged()
        if (ahead_s := due_s - time.monotonic()) > _SHORTEST_SLEEP_S:
            await asyncio.sleep(ahead_s)
        pending.append(await producer.send(topic, value, key))
    await acknowledged()
