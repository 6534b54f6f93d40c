"""What is computed, stage by stage: one thread, and nothing that waits, beside it or interrupts it."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import islice

from prometheus_client import CollectorRegistry

from bench.parts.clock import StageClock
from bench.parts.log import Shape
from bench.parts.stages import COMPUTED
from bench.rivals.command import PARTITIONS
from consumer import pipeline
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.batch import Worker
from consumer.core.decode import Limits
from consumer.records import NOT_BEGUN_MS, Position, Record, Step, UserState
from consumer.settings import Settings

_MAX_DUE_USERS = 2_000


@dataclass(frozen=True)
class Turn:
    """What a micro-batch has asked of Kafka and Redis."""

    names: Mapping[int, list[str]]
    until_ms: Mapping[int, int]
    steps: list[Step]


@dataclass
class Shop:
    """All that the service knows at some moment."""

    worker: Worker
    users: dict[int, dict[str, UserState]]
    stand: dict[int, Position]
    now_ms: int
    turns: list[Turn] = field(default_factory=list)

    @classmethod
    def new(cls, settings: Settings, now_ms: int) -> "Shop":
        """Nothing has happened."""
        stand = {each: Position("bench", 0, NOT_BEGUN_MS, partitions=PARTITIONS) for each in range(PARTITIONS)}
        worker = build_worker(settings, Metrics(CollectorRegistry()))
        return cls(worker, {each: {} for each in range(PARTITIONS)}, stand, now_ms)

    def copy(self) -> "Shop":
        """The same shop, of which nothing changes when this one does."""
        engine = self.worker.engine
        scorer = replace(engine.scorer, cache=deepcopy(engine.scorer.cache))
        engine = replace(engine, scorer=scorer, drift=deepcopy(engine.drift))
        worker = replace(self.worker, engine=engine, telemetry=Metrics(CollectorRegistry()))
        users = {partition: known.copy() for partition, known in self.users.items()}
        return Shop(worker, users, self.stand.copy(), self.now_ms)

    def take(self, records: Iterable[tuple[int, Record]]) -> None:
        """One micro-batch of events, then one of timers."""
        batch: dict[int, list[Record]] = {}
        for partition, record in records:
            batch.setdefault(partition, []).append(record)
        slices = pipeline.decode_slices(  # type: ignore[attr-defined]  # there the clock looks at it
            batch, dict.fromkeys(batch, 0), self.now_ms, Limits()
        )
        names = {partition: part.decoded.users for partition, part in slices.items()}
        steps = self.worker.on_events(slices, self.stored(names), self.stand, self.now_ms)
        self._keep(steps)
        until_ms = {partition: position.watermark_ms for partition, position in self.stand.items()}
        self.turns.append(Turn(names, until_ms, steps))
        while due := self._due(until_ms):
            fired = self.worker.on_silence(due, self.stored(due), self.stand, until_ms, self.now_ms)
            self._keep(fired)
            self.turns.append(Turn(due, until_ms, fired))

    def stored(self, names: Mapping[int, list[str]]) -> dict[int, list[bytes | None]]:
        """Packed states of some users, by partition."""
        return {
            partition: [known.value if (known := self.users[partition].get(name)) else None for name in of_partition]
            for partition, of_partition in names.items()
        }

    def _keep(self, steps: list[Step]) -> None:
        for step in steps:
            self.users[step.partition] |= {user.user_id: user for user in step.users}
            self.stand[step.partition] = step.position

    def _due(self, until_ms: Mapping[int, int]) -> dict[int, list[str]]:
        found = {
            partition: list(islice(self._due_in(partition, at), _MAX_DUE_USERS)) for partition, at in until_ms.items()
        }
        return {partition: names for partition, names in found.items() if names}

    def _due_in(self, partition: int, until_ms: int) -> Iterator[str]:
        known = self.users[partition].values()
        return (user.user_id for user in known if user.due_ms is not None and user.due_ms <= until_ms)


def in_batches(records: Iterable[tuple[int, Record]], size: int) -> Iterator[list[tuple[int, Record]]]:
    """So many at a time."""
    left = iter(records)
    while batch := list(islice(left, size)):
        yield batch


def warmed(shape: Shape, settings: Settings, size: int) -> tuple[Shop, list[tuple[int, Record]]]:
    """A shop in which all has happened that comes before what is measured, and what is measured."""
    records = shape.records()
    shop = Shop.new(settings, shape.workload.end_ms)
    for part in in_batches(islice(records, shape.warm_up), size):
        shop.take(part)
        shop.turns.clear()
    return shop, list(islice(records, shape.measured))


def computed(shop: Shop, records: list[tuple[int, Record]], size: int) -> tuple[dict[str, float], list[Turn]]:
    """By stage, processor seconds for all `records` in micro-batches of so many; and what these have asked."""
    shop, clock = shop.copy(), StageClock()
    with clock.attached(COMPUTED):
        for part in in_batches(records, size):
            shop.take(part)
    return clock.seconds(), shop.turns
