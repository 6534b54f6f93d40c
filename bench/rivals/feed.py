"""Writes a workload to a topic, all at once or at a pace, as a shop would: with the default partitioner."""

import argparse
import time
from collections.abc import Iterator
from itertools import islice

from confluent_kafka import Producer

from bench.workload import Workload

_TICK_S = 0.005


def part_of(workload: Workload, first: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Some of the log's records, counted from its beginning."""
    return islice(workload.records(), first, first + count)


def send(producer: Producer, topic: str, records: Iterator[tuple[bytes, bytes]]) -> int:
    """As fast as they go; returns how many."""
    sent = 0
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
        sent += 1
        if sent % 1000 == 0:
            producer.poll(0)
    producer.flush()
    return sent


def send_paced(producer: Producer, topic: str, records: Iterator[tuple[bytes, bytes]], per_s: float) -> None:
    """So many a second, a few at each tick."""
    began, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * per_s) - sent
        batch = list(islice(records, due)) if due > 0 else []
        if due > 0 and not batch:
            break
        for key, value in batch:
            producer.produce(topic, value, key)
        sent += len(batch)
        producer.poll(0)
        time.sleep(_TICK_S)
    producer.flush()


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--topic"):
        parser.add_argument(name, required=True)
    for name in ("--events", "--users", "--days", "--seed", "--history-days", "--first", "--count"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--per-second", type=float, help="Pace; without it as fast as possible.")
    given = parser.parse_args()
    workload = Workload(given.events, given.users, given.days, given.seed, history_days=given.history_days)
    records = part_of(workload, given.first, given.count)
    paced = given.per_second is not None
    producer = Producer(
        {
            "bootstrap.servers": given.bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 1 if paced else 50,
            "batch.size": 16_384 if paced else 1_000_000,
            "queue.buffering.max.messages": 500_000,
        }
    )
    if paced:
        ready = iter(list(records))  # made beforehand: making them is not what is paced
        send_paced(producer, given.topic, ready, given.per_second)
    else:
        send(producer, given.topic, records)


if __name__ == "__main__":
    main()
