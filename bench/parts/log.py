"""A workload's log, up to where it is measured and beyond."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from aiokafka import AIOKafkaProducer

from bench.rivals.command import PARTITIONS
from bench.workload import Workload
from consumer.adapters.kafka import partition_of
from consumer.records import Record

_FOLLOWING = 10_000
_BATCH_BYTES = 900_000


@dataclass(frozen=True)
class Shape:
    """A workload of which `measured` events are looked at, once all before them were processed.

    More follow, so that the last micro-batch is as large as any.
    """

    name: str
    workload: Workload
    warm_up: int
    measured: int

    def records(self) -> Iterator[tuple[int, Record]]:
        """With their partitions, and the offsets that they have there."""
        next_offset = [0] * PARTITIONS
        for key, value in islice(self.workload.records(), self.warm_up + self.measured + _FOLLOWING):
            partition = partition_of(key, PARTITIONS)
            yield partition, Record(next_offset[partition], 0, key, value)
            next_offset[partition] += 1


async def write(shape: Shape, bootstrap: str, topic: str) -> None:
    """All of a log."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=_BATCH_BYTES)
    await producer.start()
    try:
        await producer.partitions_for(topic)
        batches = [producer.create_batch() for _ in range(PARTITIONS)]
        for partition, record in shape.records():
            if batches[partition].append(key=record.key, value=record.value, timestamp=None) is None:
                await producer.send_batch(batches[partition], topic, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=record.key, value=record.value, timestamp=None)
        for partition, batch in enumerate(batches):
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()
