"""By hand: confluent-kafka in batches, a value per customer in Redis, at least once.

A batch is one MGET, one MSET, one produce per alert and one flush; then its offsets are committed, which the next
batch does not wait for.
"""

from typing import cast

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from redis import Redis

from bench.rivals.command import Meter, Options, options
from bench.rivals.decode import decode
from bench.rivals.job import Job

BATCH = 5_000
_WAIT_S = 0.01  # for a batch to fill: what events wait at low load


def run(chosen: Options, meter: Meter) -> int:
    """Process so many events; returns how many."""
    job = Job(chosen.model)
    redis = Redis.from_url(chosen.redis)
    producer = Producer({"bootstrap.servers": chosen.bootstrap, "linger.ms": 0, "enable.idempotence": True})
    consumer = Consumer(
        {
            "bootstrap.servers": chosen.bootstrap,
            "group.id": chosen.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "fetch.wait.max.ms": 10,
            "queued.min.messages": 20_000,
            "fetch.queue.backoff.ms": 10,  # after a full queue; the default of a second lets it run dry
        }
    )
    consumer.subscribe([chosen.input], on_assign=lambda *_: meter.ready())
    done = 0
    while done < chosen.events:
        messages = consumer.consume(min(BATCH, chosen.events - done), _WAIT_S)
        if messages:
            meter.begin()
            _process(job, redis, producer, chosen, messages)
            consumer.commit(offsets=_next_offsets(messages), asynchronous=True)
            done += len(messages)
    consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False)
    meter.report(done)
    consumer.close()
    return done


def _process(job: Job, redis: Redis, producer: Producer, chosen: Options, messages: list[Message]) -> None:
    batch = decode([cast("bytes", message.value()) for message in messages])
    keys = [f"{chosen.group}:{user}" for user in batch.users]
    values, alerts = job.process(batch, cast("list[bytes | None]", redis.mget(keys)))
    for alert in alerts:
        source = messages[alert.index]
        record = alert.record(cast("int", source.partition()), cast("int", source.offset()))
        producer.produce(chosen.output, record, alert.user_id)
    redis.mset(dict(zip(keys, values, strict=True)))
    if producer.flush() > 0:
        raise TimeoutError("alerts are not acknowledged")


def _next_offsets(messages: list[Message]) -> list[TopicPartition]:
    reached = {cast("int", message.partition()): message for message in messages}
    return [
        TopicPartition(cast("str", message.topic()), partition, cast("int", message.offset()) + 1)
        for partition, message in reached.items()
    ]


if __name__ == "__main__":
    chosen = options()
    run(chosen, Meter(chosen.ready))
