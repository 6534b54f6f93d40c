"""A policy that changes while the service runs: taken up between two micro-batches, or refused with the reason."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumer.adapters.clock import ManualClock
from consumer.adapters.memory import MemoryChangelog, MemorySource
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.assembly import with_policy
from consumer.batch import Worker
from consumer.core.alerts import AlertContext
from consumer.health import Health
from consumer.messages import Messages, Topics
from consumer.owner import CommitPace
from consumer.pipeline import Pipeline, Rules, World
from consumer.policy_file import PolicyInForce, load_policy
from consumer.policy_watch import PolicyWatch
from consumer.records import Message, Record
from consumer.settings import DEFAULT_MODEL_DIR
from histories import day, engine
from schemas.alert import RetentionAlert
from schemas.event import EventType
from schemas.manifest import load_manifest
from support import event

POLICY = """
grace_days = {grace}
[[tiers]]
name = "at_risk"
threshold = {threshold}
[control_group]
share = 0
"""
WRONG = POLICY.format(grace=-1, threshold=0.5)
EARLY, LATE = POLICY.format(grace=0, threshold=0.5), POLICY.format(grace=0, threshold=0.7)


@dataclass
class Watched:
    """A policy file and who watches it, seen from outside."""

    path: Path
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    used: list[PolicyInForce] = field(default_factory=list)
    changes: int = 0

    def __post_init__(self) -> None:
        manifest = load_manifest(DEFAULT_MODEL_DIR)
        load = lambda: load_policy(self.path, manifest, "UTC")  # noqa: E731 (as the service passes it)
        self.watch = PolicyWatch(self.path, load, self.used.append, Metrics(self.registry))

    async def says(self, text: str | None) -> None:
        """The file is written anew, or removed; then somebody looks."""
        if text is None:
            self.path.unlink()
        else:
            self.path.write_text(text)
            self.changes += 1
            os.utime(self.path, ns=(0, 10**18 + self.changes))  # a clock may be too coarse to tell two changes apart
        await self.watch.look()

    @property
    def graces(self) -> list[float]:
        """What was put in force, in order."""
        return [policy.rules.grace_days for policy in self.used]

    @property
    def failures(self) -> float | None:
        """How many versions were refused."""
        return self.registry.get_sample_value("ebbtide_policy_reload_failures_total")

    @property
    def hashes(self) -> list[str]:
        """Of policies said to be in force."""
        families = [family for family in self.registry.collect() if family.name == "ebbtide_policy_info"]
        return [sample.labels["hash"] for family in families for sample in family.samples if sample.value == 1]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "policy.toml")


def policy(grace_days: int) -> str:
    return POLICY.format(grace=grace_days, threshold=0.5)


async def test_a_changed_file_is_put_in_force(watched: Watched) -> None:
    """Every version once, however often it is looked at; the metric names the last."""
    for grace_days in (1, 2):
        await watched.says(policy(grace_days))
        await watched.watch.look()
    assert watched.graces == [1.0, 2.0]
    assert watched.hashes == [watched.used[-1].digest]
    assert watched.failures == 0


async def test_the_same_text_again_is_no_change(watched: Watched) -> None:
    """A file that was only touched is in force already."""
    await watched.says(policy(1))
    await watched.says(policy(1))
    assert watched.graces == [1.0]


@pytest.mark.parametrize("wrong", [WRONG, "no toml", None], ids=["wrong", "no TOML", "removed"])
async def test_a_wrong_file_keeps_the_policy_before(watched: Watched, wrong: str | None) -> None:
    """It is told once, with the file and what is wrong, and counted; the metric still names the one in force."""
    await watched.says(policy(1))
    with capture_logs() as logged:
        await watched.says(wrong)
        for _ in range(3):
            await watched.watch.look()
    [told] = logged
    assert told["log_level"] == "error"
    assert str(watched.path) in told["why"]
    assert watched.graces == [1.0]
    assert (watched.failures, watched.hashes) == (1, [watched.used[0].digest])


async def test_line_and_reason_are_told(watched: Watched) -> None:
    """As `ebbtide policy check` would tell them."""
    await watched.says(policy(1))
    with capture_logs() as logged:
        await watched.says(WRONG)
    assert logged[0]["why"] == f"{watched.path}:2: grace_days: input should be greater than or equal to 0"


async def test_a_mended_file_is_put_in_force(watched: Watched) -> None:
    """After a wrong version the next right one counts; the next wrong one is told again."""
    for text in (policy(1), WRONG, policy(2), WRONG, policy(2)):
        await watched.says(text)
    assert watched.graces == [1.0, 2.0]
    assert watched.failures == 2


# In a running pipeline.


class Changing(MemorySource):
    """In the middle of which somebody changes the policy."""

    def __init__(self, records: list[tuple[int, Record]], change_at: int | None, change: Callable[[], Awaitable[None]]):
        super().__init__(records, 1)
        self._polls, self._change_at, self._change = 0, change_at, change

    async def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[Record]]:
        """See `Source.poll`."""
        self._polls += 1
        if self._polls == self._change_at:
            await self._change()
        return await super().poll(max_records, timeout_ms)


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def risks_alerted(path: Path, change_at: int | None) -> list[float]:
    """At what risk a silent customer is alerted, if the threshold rises before the record of that day."""
    rows = [event("calm", EventType.PURCHASE, day(0))]
    rows += [event("clock", EventType.CAMPAIGN_RECEIVED, day(number)) for number in range(1, 21)]
    delivered: list[Message] = []
    metrics, manifest = Metrics(CollectorRegistry()), load_manifest(DEFAULT_MODEL_DIR)
    worker = Worker(engine(), Messages(Topics(), AlertContext("known", 30.0)), metrics, watermark_delay_ms=0)

    async def change() -> None:
        write(path, LATE + "\n")
        await watch.look()

    source = Changing([(0, Record(offset, 0, *row)) for offset, row in enumerate(rows)], change_at, change)
    world = World(source, MemoryStore(), MemoryChangelog(delivered.append), ManualClock(day(100)), metrics)
    rules = Rules(pace=CommitPace(interval_ms=0), max_batch_records=1, wall_clock_when_idle=False)
    pipeline = Pipeline(world, worker, rules, Health(metrics))
    watch = PolicyWatch(
        path,
        load=lambda: load_policy(path, manifest, "UTC"),
        use=lambda policy: pipeline.use(with_policy(worker, policy)),
        telemetry=metrics,
    )
    write(path, EARLY)
    await watch.look()
    await pipeline.assigned([0])
    await pipeline.run(asyncio.Event(), until=lambda: source.is_exhausted and pipeline.is_caught_up)
    alerts = [each.value or b"" for each in delivered if each.topic == Topics().alerts]
    return [RetentionAlert.model_validate_json(each).churn_probability for each in alerts]


async def test_the_pipeline_goes_by_the_policy_in_force(tmp_path: Path) -> None:
    """A threshold raised before a timer fires counts for it, one raised afterwards comes too late."""
    path, early, late = tmp_path / "policy.toml", pytest.approx(0.5, abs=1e-5), pytest.approx(0.7, abs=1e-5)
    assert await risks_alerted(path, change_at=None) == [early]
    assert await risks_alerted(path, change_at=4) == [late]
    assert await risks_alerted(path, change_at=14) == [early]


def test_only_the_policy_changes(tmp_path: Path) -> None:
    """Model, fold and messages of the worker stay what they were; rules and conduct are the new ones."""
    path = tmp_path / "policy.toml"
    path.write_text(LATE)
    policy = load_policy(path, load_manifest(DEFAULT_MODEL_DIR), "UTC")
    metrics = Metrics(CollectorRegistry())
    before = Worker(engine(), Messages(Topics(), AlertContext("known", 30.0)), metrics, 0)
    after = with_policy(before, policy)
    assert after.engine.policy.rules == policy.rules
    assert after.messages.context == replace(before.messages.context, conduct=policy.conduct)
    assert after.engine.scorer is before.engine.scorer
    assert replace(after, engine=before.engine, messages=before.messages) == before
