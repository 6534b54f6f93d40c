"""What the demo does with Kafka: feed a log, follow the alerts, ask the service how far it is."""

import asyncio
import time
from bisect import insort
from pathlib import Path
from typing import BinaryIO

from aiohttp import ClientError, ClientSession, ClientTimeout
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from consumer.adapters.clock import SystemClock
from consumer.adapters.kafka import connection
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.adapters.topics import partition_count
from consumer.settings import Settings
from consumer.tally import Tally
from schemas.alert import RetentionAlert, Tier
from schemas.files import count_events, read_events

_LATEST = 4  # of every tier


class Feed:
    """Produces every row of an event file, as fast as the broker takes them."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path, self._settings = path, settings
        self.total = count_events(path)
        self.sent = 0
        self.is_done = False
        self.tally = Tally(verified_manifest(settings.model_dir), settings.target)

    async def run(self) -> None:
        """Send all, in file order, and wait for the acknowledgements."""
        max_future_ms = int(self._settings.max_future_s * 1000)
        async with AIOKafkaProducer(**connection(self._settings), enable_idempotence=True, linger_ms=5) as producer:
            for key, value in read_events(self._path, self._settings.timezone):
                await producer.send(self._settings.events_topic, value, key)
                self.tally.event(value, SystemClock().now_ms() + max_future_ms)
                self.sent += 1
            await producer.flush()
        self.is_done = True


class Alerts:
    """Follows the alerts topic as any other team would: a plain `read_committed` consumer; keeps all in a file."""

    def __init__(self, settings: Settings, tally: Tally, kept: BinaryIO) -> None:
        self._settings, self._tally, self._kept = settings, tally, kept
        self._latest: dict[Tier, list[RetentionAlert]] = {tier: [] for tier in Tier}

    @property
    def latest(self) -> list[RetentionAlert]:
        """The last few of every tier, by the time of decision."""
        return [alert for alerts in self._latest.values() for alert in alerts]

    async def run(self, is_last: asyncio.Event) -> None:
        """Read until `is_last` is set and nothing is left."""
        async with AIOKafkaConsumer(
            **connection(self._settings), isolation_level="read_committed", auto_offset_reset="earliest"
        ) as consumer:
            topic = self._settings.alerts_topic
            partitions = [TopicPartition(topic, each) for each in range(await partition_count(self._settings, topic))]
            consumer.assign(partitions)
            while not (is_last.is_set() and await self._is_at_end(consumer, partitions)):
                batch = await consumer.getmany(timeout_ms=200)
                for record in [record for records in batch.values() for record in records]:
                    alert = RetentionAlert.model_validate_json(record.value)
                    self._kept.write(record.value + b"\n")
                    self._tally.alert(record.value)
                    insort(self._latest[alert.tier], alert, key=lambda each: (each.decided_at, each.user_id))
                    del self._latest[alert.tier][:-_LATEST]

    async def _is_at_end(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> bool:
        ends = await consumer.end_offsets(partitions)
        return all([await consumer.position(part) >= end for part, end in ends.items()])


class Progress:
    """How far the service is, by its own metrics."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/metrics"
        self._begun_s: float | None = None
        self.processed = 0
        self.timers_due = 0
        self.dead_letters = 0
        self.events_per_s = 0.0
        self._is_caught_up = False

    async def update(self) -> None:
        """Scrape; a service that does not answer yet has not got further."""
        try:
            async with ClientSession(timeout=ClientTimeout(5)) as session, session.get(self._url) as answer:
                text = await answer.text()
        except (ClientError, TimeoutError):
            return
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        before = self.processed

        def total(name: str) -> int:
            return int(sum(each.value for each in samples if each.name == name))

        self.processed, self.timers_due = total("ebbtide_records_total"), total("ebbtide_timers_due")
        self.dead_letters, self._is_caught_up = total("ebbtide_rejects_total"), bool(total("ebbtide_caught_up"))
        self._measure(grew=self.processed > before)

    def _measure(self, grew: bool) -> None:
        now_s = time.monotonic()
        if self._begun_s is None and self.processed:
            self._begun_s = now_s
        elif self._begun_s is not None and (grew or self.timers_due):
            self.events_per_s = self.processed / max(now_s - self._begun_s, 1e-3)

    def is_caught_up(self, sent: int) -> bool:
        """Whether every event sent has been processed, with all that came of it."""
        return self.processed >= sent and self._is_caught_up
