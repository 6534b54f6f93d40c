"""The loop that one would write in a day: event by event, a hash per customer in Redis, one ONNX run per event."""

from typing import cast

import msgspec
from confluent_kafka import Consumer, Producer
from redis import Redis

from bench.rivals.alerts import Alert
from bench.rivals.command import Meter, Options, options
from bench.rivals.decode import Event
from bench.rivals.single import SingleJob


def run(chosen: Options, meter: Meter) -> None:
    """Process so many events."""
    job, decoder = SingleJob(chosen.model), msgspec.json.Decoder(Event)
    redis = Redis.from_url(chosen.redis)
    producer = Producer({"bootstrap.servers": chosen.bootstrap, "linger.ms": 0})
    consumer = Consumer(
        {
            "bootstrap.servers": chosen.bootstrap,
            "group.id": chosen.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([chosen.input], on_assign=lambda *_: meter.ready())
    done = 0
    while done < chosen.events:
        message = consumer.poll(1.0)
        if message is None or message.error() is not None:
            continue
        meter.begin()
        event = decoder.decode(cast("bytes", message.value()))
        key = f"{chosen.group}:{event.user_id}"
        value, alert = job.process(event, cast("bytes | None", redis.hget(key, "state")))
        redis.hset(key, "state", value)
        if alert:
            record = Alert(done, event.user_id, *alert).record(
                cast("int", message.partition()), cast("int", message.offset())
            )
            producer.produce(chosen.output, record, event.user_id)
            producer.flush()
        consumer.commit(message, asynchronous=True)
        done += 1
    consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False)
    meter.report(done)
    consumer.close()


if __name__ == "__main__":
    chosen = options()
    run(chosen, Meter(chosen.ready))
