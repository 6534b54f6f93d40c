"""Writes down when committed alerts reach a reader: a line for each, its source's partition and offset and the time."""

import argparse
import json
import signal
import sys
import time
from typing import cast

from confluent_kafka import Consumer, TopicPartition

from bench.rivals.command import PARTITIONS


def main() -> None:
    """Until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--bootstrap", "--topic"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    consumer = Consumer(
        {
            "bootstrap.servers": given.bootstrap,
            "group.id": "listener",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,  # an answer comes as soon as there is a record
        }
    )
    consumer.assign([TopicPartition(given.topic, number, 0) for number in range(PARTITIONS)])
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            now_ms = time.time() * 1000
            source = json.loads(cast("bytes", message.value()))["source"]
            print(source["partition"], source["offset"], now_ms, flush=True)


if __name__ == "__main__":
    main()
