"""Bytewax with batched scoring; its own recovery keeps states and offsets: at least once.

A step's state is per key, and scoring wants many customers at once: the key is the partition, and its state holds the
partition's customers. What is snapshotted at the end of each epoch (10 s, Bytewax's default) is all of them. The source
hands over what was polled as one item, so that Bytewax's cost per item comes once per batch.
"""

import pickle
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import cast

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import KeyedStream, StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main
from confluent_kafka import Consumer, TopicPartition

from bench.rivals.alerts import Alert
from bench.rivals.command import PARTITIONS, Meter, Options, options
from bench.rivals.decode import decode
from bench.rivals.job import Job

BATCH = 5_000
_EPOCH = timedelta(seconds=10)
_PAUSE = timedelta(milliseconds=2)  # between polls of a partition that had nothing

Polled = list[tuple[int, bytes]]  # offsets and values
Raised = tuple[Alert, int]  # with the offset of its event


class _Progress:
    """How many events have been polled, of those that are wanted."""

    def __init__(self, events: int, meter: Meter) -> None:
        self.wanted, self.polled, self.meter = events, 0, meter


class _Partition(StatefulSourcePartition[tuple[str, Polled], int]):
    def __init__(self, chosen: Options, number: int, offset: int, progress: _Progress) -> None:
        self._number, self._offset, self._progress = number, offset, progress
        self._next_awake: datetime | None = None
        self._consumer = Consumer(
            {
                "bootstrap.servers": chosen.bootstrap,
                "group.id": chosen.group,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "queued.min.messages": 20_000,
                "fetch.queue.backoff.ms": 10,  # after a full queue; the default of a second lets it run dry
            }
        )
        self._consumer.assign([TopicPartition(chosen.input, number, offset)])

    def next_batch(self) -> Iterable[tuple[str, Polled]]:
        progress = self._progress
        if progress.polled >= progress.wanted:
            raise StopIteration
        messages = self._consumer.consume(min(BATCH, progress.wanted - progress.polled), 0.001)
        self._next_awake = None if messages else datetime.now(UTC) + _PAUSE
        if not messages:
            return []
        progress.meter.begin()
        progress.polled += len(messages)
        polled = [(cast("int", each.offset()), cast("bytes", each.value())) for each in messages]
        self._offset = polled[-1][0] + 1
        return [(str(self._number), polled)]

    def next_awake(self) -> datetime | None:
        return self._next_awake

    def snapshot(self) -> int:
        return self._offset

    def close(self) -> None:
        self._consumer.close()


class _Source(FixedPartitionedSource[tuple[str, Polled], int]):
    def __init__(self, chosen: Options, progress: _Progress) -> None:
        self._chosen, self._progress = chosen, progress

    def list_parts(self) -> list[str]:
        return [str(number) for number in range(PARTITIONS)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Partition:
        self._progress.meter.ready()
        return _Partition(self._chosen, int(for_part), resume_state or 0, self._progress)


class _Customers(StatefulBatchLogic[Polled, Raised, bytes]):
    """All customers of a partition."""

    def __init__(self, job: Job, snapshot: bytes | None) -> None:
        self._job = job
        self._values: dict[str, bytes] = pickle.loads(snapshot) if snapshot else {}  # noqa: S301  # our own

    def on_batch(self, values: list[Polled]) -> tuple[Iterable[Raised], bool]:
        polled = [each for part in values for each in part]
        batch = decode([value for _, value in polled])
        after, alerts = self._job.process(batch, [self._values.get(user) for user in batch.users])
        self._values.update(zip(batch.users, after, strict=True))
        return [(alert, polled[alert.index][0]) for alert in alerts], self.RETAIN

    def snapshot(self) -> bytes:
        return pickle.dumps(self._values, pickle.HIGHEST_PROTOCOL)


def flow_of(chosen: Options, progress: _Progress) -> Dataflow:
    """Source, customers, alerts."""
    job = Job(chosen.model)
    flow = Dataflow("rival")
    polled: KeyedStream[Polled] = op.input("events", flow, _Source(chosen, progress))
    raised = op.stateful_batch("customers", polled, lambda snapshot: _Customers(job, snapshot))
    alerts = op.map("records", raised, _message)
    op.output("alerts", alerts, KafkaSink([chosen.bootstrap], chosen.output, {"linger.ms": "0"}))
    return flow


def _message(item: tuple[str, Raised]) -> KafkaSinkMessage[bytes, bytes]:
    partition, (alert, offset) = item
    return KafkaSinkMessage(alert.user_id.encode(), alert.record(int(partition), offset))


def run(chosen: Options, meter: Meter) -> None:
    """Process so many events; the last epoch is kept when the flow ends."""
    folder = Path(gettempdir()) / chosen.group
    if not folder.exists():
        folder.mkdir()
        init_db_dir(folder, 1)
    progress = _Progress(chosen.events, meter)
    flow = flow_of(chosen, progress)
    cluster_main(flow, [], 0, epoch_interval=_EPOCH, recovery_config=RecoveryConfig(folder), worker_count_per_proc=1)
    meter.report(progress.polled)


if __name__ == "__main__":
    chosen = options()
    run(chosen, Meter(chosen.ready))
