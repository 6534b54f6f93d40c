"""The whole service between a Kafka and a Valkey: what an event costs, by users known, partitions and processes."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice

from bench.fleet import Fleet
from bench.growth_alone import customers
from bench.workload import START_MS, Workload
from consumer.adapters.kafka import partition_of
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.topics import create_topics
from consumer.core.calendar import DAY_MS
from consumer.records import Position, UserState
from consumer.settings import Settings

ACTIVE, PARTITIONS, PARTITIONS_SHARED = 10_000, 4, 6
SHOP = Workload(200_000, ACTIVE, 60, seed=1)
AT_MS = START_MS + 60 * DAY_MS
_AFTERNOON_DAYS = 3 / 24  # so short that hardly any timer falls due in it
_COMMIT_USERS = 5_000


@dataclass(frozen=True)
class Setup:
    """A group to be measured."""

    x: int  # where it lies on its plot
    known: int = ACTIVE
    partitions: int = PARTITIONS
    processes: int = 1


class Shop:
    """Customers as sixty days of a shop leave them, under as many names as asked for."""

    def __init__(self) -> None:
        self._kinds = customers(SHOP, AT_MS)

    def known(self, count: int) -> Iterator[UserState]:
        """They themselves, then others who are as they are."""
        yield from self._kinds
        for number in range(ACTIVE, count):
            yield replace(self._kinds[number % len(self._kinds)], user_id=f"customer-{number:08d}")


class Rounds:
    """Groups side by side, measured in turn on the same events."""

    def __init__(self, servers: dict[str, object], shop: Shop, name: str) -> None:
        self._servers, self._shop, self._name = servers, shop, name

    def measure(self, setups: Sequence[Setup], events: int, repeats: int, spread: bool) -> Iterator["Cost"]:
        """Each group's cost, a round of all and then another; with `spread`, then events of all who are known."""
        with ExitStack() as stack:
            fleets = []
            for setup in setups:
                fleet = Fleet(self._settings(setup), setup.processes)
                asyncio.run(self._prepare(fleet.settings, setup.known))
                fleets.append(stack.enter_context(fleet))
            for fleet in fleets:
                fleet.await_ready()
            for is_spread in (False, True)[: 1 + spread]:
                whose = [setup.known if is_spread else ACTIVE for setup in setups]
                logs = [_afternoon(users, is_spread, events * (repeats + 1)) for users in whose]
                for number in range(repeats + 1):
                    for setup, fleet, log in zip(setups, fleets, logs, strict=True):
                        cpu_us = asyncio.run(fleet.cpu_us(islice(log, events)))
                        if number > 0:  # the first round warms up
                            yield Cost(setup.x, cpu_us, is_spread)

    def _settings(self, setup: Setup) -> dict[str, object]:
        group = f"{self._name}-{setup.x}"
        topics = ("events_topic", "alerts_topic", "dead_letters_topic", "outcomes_topic", "state_topic")
        return self._servers | {name: f"{group}.{name}" for name in topics} | {
            "group_id": group, "triggers_prefix": f"{group}.triggers", "partitions": setup.partitions,
            "clock": "watermark", "log_level": "error",
        }  # fmt: skip

    async def _prepare(self, settings: Settings, known: int) -> None:
        """Topics, and a changelog that has these customers."""
        await create_topics(settings)
        changelog = KafkaChangelog(settings)
        try:
            for partition, users in enumerate(_by_partition(self._shop.known(known), settings.partitions)):
                timers = sum(user.due_ms is not None for user in users)
                position = Position(self._name, 0, AT_MS, len(users), timers, settings.partitions)
                await changelog.fence(partition)
                for begin in range(0, max(len(users), 1), _COMMIT_USERS):
                    await changelog.commit(partition, users[begin : begin + _COMMIT_USERS], position, [])
        finally:
            await changelog.close()


@dataclass(frozen=True)
class Cost:
    """Of an event in one round of a group."""

    x: int
    cpu_us: float
    is_spread: bool  # events of all who are known, instead of the same few


def _afternoon(users: int, is_second: bool, events: int) -> Iterator[tuple[bytes, bytes]]:
    begins_ms = AT_MS + is_second * int(_AFTERNOON_DAYS * DAY_MS)
    return Workload(events, users, _AFTERNOON_DAYS, seed=2 + is_second, start_ms=begins_ms).records()


def _by_partition(users: Iterable[UserState], partitions: int) -> list[list[UserState]]:
    parts: list[list[UserState]] = [[] for _ in range(partitions)]
    for user in users:
        parts[partition_of(user.user_id.encode(), partitions)].append(user)
    return parts
