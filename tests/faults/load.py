"""What goes into the input topic while faults happen: seeded events with everything in them that a log may hold."""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from consumer.core.calendar import DAY_MS

Keyed = tuple[bytes | None, bytes | None]

START_MS = 631_152_000_000  # 1990: from there on time passes quickly
STEP_MS = DAY_MS // 20  # event time from one event to the next
WATERMARK_DELAY_S = 10 * 86_400.0  # more than any two events are out of order, repeated ones included
_LATE_MS = (0, 0, 0, 0, 3_600_000, 20 * 3_600_000, 60 * 3_600_000)  # the last one is too late for an active user
_KINDS = (
    "view_item", "view_item", "search", "add_to_cart", "purchase", "purchase", "purchase", "refund", "review",
    "support_ticket", "email_open", "unsubscribe",
)  # fmt: skip
_ACTIVE_USERS = 400
_EVENTS_OF_A_USER = 15
_REPEAT_AMONG = 50
_MOST_WAITING = 2_000


class Log:
    """Buyers that come, slow down and go: an endless log, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._now_ms = START_MS
        self._users = 0
        self._events = 0
        self._active = [self._newcomer() for _ in range(_ACTIVE_USERS)]
        self._recent: deque[Keyed] = deque(maxlen=_REPEAT_AMONG)

    def __iter__(self) -> Iterator[Keyed]:
        while True:
            yield self._next()

    def _next(self) -> Keyed:
        chance, dice = self._chance, self._chance.random()
        if dice < 0.03 and self._recent:
            return chance.choice(self._recent)  # a producer's repeat
        if dice < 0.032 and self._recent:
            return chance.choice(self._recent)[0], None  # a tombstone: forget them, before any timer of theirs is due
        if dice < 0.036:
            return self.poison()
        self._recent.append(self._event())
        return self._recent[-1]

    def _event(self) -> Keyed:
        chance = self._chance
        self._now_ms += STEP_MS
        if chance.random() < 1 / _EVENTS_OF_A_USER:
            self._active[chance.randrange(_ACTIVE_USERS)] = self._newcomer()
        return self._record(
            self._someone().decode(),
            event_type=chance.choice(_KINDS),
            occurred_at=self._now_ms - chance.choice(_LATE_MS),
            value=chance.choice((None, 5.0, 49.9)),
            rating=chance.choice((None, None, 1, 5)),
        )

    def poison(self) -> Keyed:
        """A record that cannot be used; never the same twice."""
        self._events += 1
        user = f"poison-{self._events}"
        make = self._chance.choice(_POISON)
        return make(user)

    def _record(self, user: str, **fields: object) -> Keyed:
        self._events += 1
        return user.encode(), json.dumps({"event_id": f"e{self._events}", "user_id": user, **fields}).encode()

    def _newcomer(self) -> tuple[str, float]:
        """A user, and how often they come: some every few days, some twice a year."""
        self._users += 1
        return f"user-{self._users}", self._chance.paretovariate(1.0) ** -1.0 + 0.02

    def _someone(self) -> bytes:
        names, weights = zip(*self._active, strict=True)
        return self._chance.choices(names, weights)[0].encode()


_POISON: tuple[Callable[[str], Keyed], ...] = (
    lambda user: (user.encode(), b"{ this is no JSON"),
    lambda user: (user.encode(), b"\xff\xfe\xfd"),
    lambda user: (user.encode(), json.dumps({"user_id": user, "event_type": "purchase"}).encode()),
    lambda user: (user.encode(), json.dumps(_whole("somebody-else")).encode()),
    lambda user: (user.encode(), json.dumps(_whole(user) | {"event_type": "dance"}).encode()),
    lambda user: (user.encode(), json.dumps(_whole(user) | {"text": "x" * 70_000}).encode()),
    lambda user: (None, json.dumps(_whole(user)).encode()),
    lambda user: (b"\xff" + user.encode(), json.dumps(_whole(user)).encode()),
)


def _whole(user: str) -> dict[str, object]:
    return {"event_id": user, "user_id": user, "event_type": "purchase", "occurred_at": START_MS}


@dataclass
class Feeder:
    """Produces a log at a rate until told to stop; what became of a record whose sending fails does not matter."""

    bootstrap_servers: str
    topic: str
    log: Log
    rate_per_s: float
    produced: int = 0
    failures: int = 0
    _extra: deque[Keyed] = field(default_factory=deque)
    _waiting: set["asyncio.Future[object]"] = field(default_factory=set)
    _has_failed: bool = False

    def poison(self, count: int) -> None:
        """Send so many records that cannot be used, as soon as possible."""
        self._extra.extend(self.log.poison() for _ in range(count))

    async def run(self, stop: asyncio.Event) -> None:
        """Produce; what was sent is acknowledged when this returns."""
        records = iter(self.log)
        while not stop.is_set():
            producer = AIOKafkaProducer(
                bootstrap_servers=self.bootstrap_servers,
                enable_idempotence=True,
                request_timeout_ms=60_000,  # longer than any fault keeps a partition without a leader
                max_request_size=1024 * 1024,
            )
            with suppress(KafkaError, OSError):
                await producer.start()
                await self._feed(producer, records, stop)
            await asyncio.wait([asyncio.ensure_future(producer.stop())], timeout=70)
            self.failures += self._has_failed
            self._has_failed = False
            self._waiting.clear()

    async def _feed(self, producer: AIOKafkaProducer, records: Iterator[Keyed], stop: asyncio.Event) -> None:
        due = time.monotonic()
        while not stop.is_set() and not self._has_failed:
            key, value = self._extra.popleft() if self._extra else next(records)
            sent = await producer.send(self.topic, value, key)
            self._waiting.add(sent)
            sent.add_done_callback(self._sent)
            self.produced += 1
            if len(self._waiting) > _MOST_WAITING:  # no leader: do not pile up
                await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)
            due = max(due + 1 / self.rate_per_s, time.monotonic() - 1.0)
            if (early_s := due - time.monotonic()) > 0.02:
                await asyncio.sleep(early_s)

    def _sent(self, future: "asyncio.Future[object]") -> None:
        self._waiting.discard(future)
        self._has_failed |= future.cancelled() or future.exception() is not None
