"""Facts for the watchdog, once a second, and what follows from its findings."""

import asyncio
import time
from dataclasses import replace

import structlog

from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.kafka_unread import members
from consumer.adapters.metrics import Metrics
from consumer.errors import EbbtideError, RestartNeededError
from consumer.health import Health
from consumer.pipeline import Pipeline
from consumer.settings import Settings
from consumer.watch_checks import Check, Subject
from consumer.watch_facts import Facts, Group, PartitionFacts
from consumer.watchdog import Watchdog

log = structlog.get_logger()
TICK_S = 1.0
COUNTS_PER_LIMIT = 4


class Watch:
    """Looks from `run` on; at the pipeline once it is told of it."""

    def __init__(self, settings: Settings, health: Health, metrics: Metrics) -> None:
        self._settings, self._health, self._metrics = settings, health, metrics
        self._watchdog = Watchdog(settings)
        self._serving: tuple[KafkaSource, Pipeline] | None = None
        self._census: tuple[int | None, int] = None, 0  # members, partitions of the topic
        self._failing: set[tuple[Check, Subject]] = set()

    def serving(self, source: KafkaSource, pipeline: Pipeline) -> None:
        """They are at work now."""
        self._serving = source, pipeline

    async def run(self) -> None:
        """For ever; raises `RestartNeededError`."""
        while True:
            asleep_s = time.monotonic()
            await asyncio.sleep(TICK_S)
            late_s = max(time.monotonic() - asleep_s - TICK_S, 0.0)
            self._metrics.loop_lag(late_s)
            self._look(late_s)

    def _look(self, loop_lag_s: float) -> None:
        report = self._watchdog.look(self._facts(loop_lag_s), time.monotonic())
        for check, lasting_s in report.lasting_s.items():
            self._metrics.lasting(check, lasting_s)
        self._health.found([finding.sentence for finding in report.findings])
        failing = {(finding.check, finding.subject): finding.sentence for finding in report.findings}
        for key in failing.keys() - self._failing:
            log.error("unhealthy", check=key[0].name, why=failing[key])
        for check, _ in self._failing - failing.keys():
            log.info("healthy again", check=check.name)
        self._failing = set(failing)
        if fatal := [finding.sentence for finding in report.findings if finding.check.exits]:
            raise RestartNeededError(f"only a new process gets on: {'; '.join(fatal)}")

    def _facts(self, loop_lag_s: float) -> Facts:
        health = self._health
        facts = Facts(health.away(), health.held(), health.input_failure(), loop_lag_s)
        if self._serving is None:
            return facts
        source, pipeline = self._serving
        return replace(
            facts,
            rounds=health.rounds,
            group=Group(source.is_member(), source.assigned(), *self._census, source.why_broken()),
            partitions=_partitions(source, pipeline),
        )

    async def count_members(self) -> None:
        """Ask now and then, while this process has no partition, whether there is one for every member."""
        while True:
            await asyncio.sleep(self._settings.assignment_max_s / COUNTS_PER_LIMIT)
            self._census = await self._counted()

    async def _counted(self) -> tuple[int | None, int]:
        if self._serving is None or self._serving[0].assigned() or self._health.away():
            return None, 0
        try:
            return len(await members(self._settings)), await self._serving[0].partitions()
        except EbbtideError as error:
            log.info("cannot tell how many members the group has", why=str(error))
            return None, 0


def _partitions(source: KafkaSource, pipeline: Pipeline) -> dict[int, PartitionFacts]:
    found = {}
    for partition, standing in pipeline.standings().items():
        next_offset = standing.next_offset
        lag = None if next_offset is None else source.lag(partition, next_offset)
        fetched_ms, stable_offset = source.fetched(partition) or (None, None)
        found[partition] = PartitionFacts(standing, lag, source.stuck(partition), stable_offset, fetched_ms)
    return found
