"""What tests of the adapters and of the running service share: a shop of their own on the shared servers."""

import asyncio
import inspect
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from redis.asyncio import Redis

from consumer.adapters.kafka import partition_of
from consumer.adapters.kafka_changelog import BARRIER_KEY, POSITION_KEY
from consumer.adapters.topics import create_topics, partition_count
from consumer.core.events import Events, watermarks
from consumer.core.features import TOKEN_NAMES, TOKEN_SIZE
from consumer.core.state import BIN_EDGES_DAYS
from consumer.embedded import KafkaServer, RedisServer
from consumer.ports import MemoryShape, Scorer
from consumer.prefix_cache import PrefixCache
from consumer.prefix_scorer import PrefixScorer
from consumer.records import NOT_BEGUN_MS, Header
from consumer.settings import Settings

DEADLINE_S = 60.0
POLICIES = Path(__file__).parent / "policies"
Keyed = tuple[bytes | None, bytes | None]


def unique(prefix: str) -> str:
    """A name that nobody else uses."""
    return f"{prefix}-{secrets.token_hex(4)}"


async def until(holds: Callable[[], object | Awaitable[object]], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Return once `holds` does; fail after the deadline, saying what was waited for."""
    give_up_at = time.monotonic() + deadline_s
    while True:
        result = holds()
        if await result if inspect.isawaitable(result) else result:
            return
        assert time.monotonic() < give_up_at, f"not within {deadline_s:.0f} s: {what}"
        await asyncio.sleep(0.05)


def shop_settings(kafka: KafkaServer, valkey: RedisServer, **overrides: Any) -> Settings:
    """Settings with topics and a group that no other test uses."""
    shop = unique("shop")
    chosen: dict[str, Any] = {
        "kafka_bootstrap_servers": kafka.bootstrap_servers,
        "redis_url": valkey.url,
        "events_topic": f"{shop}.events",
        "alerts_topic": f"{shop}.alerts",
        "triggers_prefix": f"{shop}.triggers",
        "dead_letters_topic": f"{shop}.dead-letters",
        "outcomes_topic": f"{shop}.outcomes",
        "state_topic": f"{shop}.state",
        "group_id": shop,
        "partitions": 2,
        "clock": "watermark",
        "http_port": 0,
        "retry_max_s": 0.5,
        "policy_file": POLICIES / "no_grace.toml",
    }
    return Settings(**(chosen | overrides))


def bin_of(at_days: np.ndarray) -> np.ndarray:
    """Index of the bin whose hazard holds at `at_days`: open on the left, closed on the right."""
    return np.minimum(np.searchsorted(BIN_EDGES_DAYS, at_days, side="left"), len(BIN_EDGES_DAYS) - 1)


def event(user: str, event_type: str, at_ms: int, **fields: object) -> Keyed:
    """A record of the input topic; its event id follows from its content."""
    content = {"user_id": user, "event_type": event_type, "occurred_at": at_ms, **fields}
    content.setdefault("event_id", f"{user}:{event_type}:{at_ms}")
    return user.encode(), json.dumps(content).encode()


@dataclass(frozen=True)
class Shop:
    """One test's topics and keys, seen from outside."""

    settings: Settings

    async def create_topics(self) -> None:
        """As `ebbtide topics create` does."""
        await create_topics(self.settings)

    async def produce(self, records: Iterable[Keyed], transactional_id: str | None = None) -> None:
        """Append to the input topic, each a millisecond after the one before; as one transaction if given an id."""
        records = list(records)
        first_ms = time.time_ns() // 1_000_000 - len(records)
        async with AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            transactional_id=transactional_id,
            enable_idempotence=True,
            max_request_size=4 * 1024 * 1024,
        ) as producer:
            if transactional_id:
                await producer.begin_transaction()
            for number, (key, value) in enumerate(records):
                await producer.send(self.settings.events_topic, value, key, timestamp_ms=first_ms + number)
            await producer.flush()
            if transactional_id:
                await producer.commit_transaction()

    async def read(self, topic: str) -> list[Any]:
        """Every committed record of a topic, partition after partition; waits for the end of open transactions."""
        parts = await self._partitions(topic)
        async with self._reader() as consumer:
            ends = await consumer.end_offsets(parts)
        async with self._reader(isolation_level="read_committed") as consumer:
            consumer.assign(parts)
            await consumer.seek_to_beginning(*parts)
            records: list[Any] = []
            async with asyncio.timeout(DEADLINE_S):
                while any([await consumer.position(part) < end for part, end in ends.items()]):
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        records += batch
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def _reader(self, **options: Any) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap_servers, **options)

    async def alerts(self) -> list[dict[str, Any]]:
        """What the alerts topic holds."""
        return [json.loads(record.value) for record in await self.read(self.settings.alerts_topic)]

    async def ends(self) -> dict[int, int]:
        """End offsets of the input topic."""
        async with AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap_servers) as consumer:
            parts = await self._partitions(self.settings.events_topic)
            return {part.partition: end for part, end in (await consumer.end_offsets(parts)).items()}

    async def delete_input_before(self, ends: dict[int, int]) -> None:
        """As retention does."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap_servers)
        await admin.start()
        try:
            topic = self.settings.events_topic
            await admin.delete_records(
                {TopicPartition(topic, each): RecordsToDelete(end) for each, end in ends.items()}
            )
        finally:
            await admin.close()

    async def committed(self) -> dict[int, int | None]:
        """Offsets that the group has committed to Kafka."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            group_id=self.settings.group_id,
            enable_auto_commit=False,
        ) as consumer:
            parts = await self._partitions(self.settings.events_topic)
            return {part.partition: await consumer.committed(part) for part in parts}

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, each) for each in range(await partition_count(self.settings, topic))]

    # Redis, read with a client of our own.

    async def redis(self, call: Callable[[Redis], Awaitable[Any]]) -> Any:
        """The result of `call` on a connection of its own."""
        async with aclosing(Redis.from_url(self.settings.redis_url.get_secret_value())) as redis:
            return await call(redis)

    async def headers(self) -> dict[int, Header | None]:
        """By partition, where the service's view of it stands."""
        keys = [self.key(partition, "header") for partition in range(self.settings.partitions)]
        values = await self.redis(lambda redis: redis.mget(keys))
        return {partition: Header.parse(value) if value else None for partition, value in enumerate(values)}

    async def processed(self) -> int:
        """How many input offsets count as processed."""
        return sum(each.next_offset for each in (await self.headers()).values() if each)

    async def states(self) -> dict[str, bytes]:
        """Packed state by user, of all partitions; fails if a user is in a partition that is not theirs."""
        found: dict[str, bytes] = {}
        for partition, header in (await self.headers()).items():
            if header is not None:
                key = self.key(partition, f"users:{header.generation}")
                for name, value in (await self.redis(lambda redis, key=key: redis.hgetall(key))).items():
                    assert partition_of(name, self.settings.partitions) == partition
                    found[name.decode()] = value
        return found

    async def timers(self) -> dict[str, int]:
        """Due time by user, ms."""
        found: dict[str, int] = {}
        for partition, header in (await self.headers()).items():
            if header is not None:
                key = self.key(partition, f"due:{header.generation}")
                rows = await self.redis(lambda redis, key=key: redis.zrange(key, 0, -1, withscores=True))
                found |= {name.decode(): int(due) for name, due in rows}
        return found

    async def logged(self) -> dict[str, bytes]:
        """Packed state by user, as the changelog has it."""
        records = await self.read(self.settings.state_topic)
        latest = {record.key: record.value for record in records if record.key not in (POSITION_KEY, BARRIER_KEY)}
        return {key.decode(): value for key, value in latest.items() if value}

    async def is_committed(self) -> bool:
        """Whether the changelog's last position is where Redis stands, in every partition."""
        last = {record.partition: record for record in await self.read(self.settings.state_topic) if record.key == b""}
        headers = await self.headers()
        return all(header is None or header.offset == last[each].offset for each, header in headers.items())

    async def is_settled(self) -> bool:
        """Whether every record is processed and no timer is due by its partition's watermark."""
        headers = await self.headers()
        for partition, end in (await self.ends()).items():
            header = headers[partition]
            if header is None and end == 0:
                continue
            if header is None or header.next_offset < end:
                return False
            key, until_ms = self.key(partition, f"due:{header.generation}"), header.watermark_ms
            if await self.redis(lambda redis, key=key, until_ms=until_ms: redis.zcount(key, "-inf", until_ms)):
                return False
        return True

    async def settled(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until nothing is left to do but for the wall clock."""
        await until(self.is_settled, "every record processed", deadline_s)

    def key(self, partition: int, name: str) -> str:
        """A key in Redis."""
        return f"{{{self.settings.group_id}:{partition}}}:{name}"


class WholeHistory:
    """A scorer that answers for whole histories, and remembers past days as they are."""

    memory = MemoryShape(1, TOKEN_SIZE, np.dtype(np.float32))

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Tokens (B, L, F) and lengths (B,) to log-hazards of the target event, float32 (B, bins)."""
        raise NotImplementedError

    def prefill(self, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Scorer.prefill`."""
        return self.log_hazards(tokens, lengths), tokens[:, None]

    def step(self, token: np.ndarray, past: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Scorer.step`."""
        days = np.concatenate((past[:, 0], np.zeros_like(token)[:, None]), axis=1)
        days[np.arange(days.shape[1]) >= lengths[:, None]] = 0.0
        days[np.arange(len(days)), lengths] = token
        return self.log_hazards(days, lengths + 1), token[:, None]


class KnownCurve(WholeHistory):
    """A scorer whose curve can be worked out by hand.

    Hazard 0.2 a day for a week of silence, then 0.01: the 30-day churn probability is exp(-(1.63 - 0.19 s)) for s up
    to 7 days of silence. After a refund on the last active day it is 0.001 a day: 97 % at once.
    """

    version = "known-curve"
    AFTER_WEEK, DAILY, UPSET = 0.01, 0.2, 0.001

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Scorer.log_hazards`."""
        last = tokens[np.arange(len(tokens)), lengths - 1]
        upset = last[:, TOKEN_NAMES.index("log1p_refunds")] > 0
        calm = np.where(BIN_EDGES_DAYS <= 7, self.DAILY, self.AFTER_WEEK)
        return np.log(np.where(upset[:, None], self.UPSET, calm)).astype(np.float32)


def remembering(model: Scorer, max_bytes: int = 2**20) -> PrefixScorer:
    """A model with a small cache of its own."""
    return PrefixScorer(model, PrefixCache(model.memory, max_bytes))


def by_id(alerts: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Alerts by id, without what depends on when and where they were published."""
    return {
        alert["alert_id"]: {name: value for name, value in alert.items() if name not in ("emitted_at", "source")}
        for alert in alerts
    }


def watermarks_of(settings: Settings, events: Events, partition: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Its partition's watermark before each event, and of each partition after all, as the service reckons them."""
    before_ms, after_ms = np.empty(len(events), np.int64), np.empty(settings.partitions, np.int64)
    for each in range(settings.partitions):
        of_partition = np.flatnonzero(partition == each)
        delay_ms = int(settings.watermark_delay_s * 1000)
        *before_ms[of_partition], after_ms[each] = watermarks(events.take(of_partition), NOT_BEGUN_MS, delay_ms)
    return before_ms, after_ms
