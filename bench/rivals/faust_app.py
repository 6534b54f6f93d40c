"""Faust-streaming, at least once: a table in memory behind a changelog, events taken in batches, scored together.

Keys and values go through as bytes, the loop is uvloop's, and `take_events` gives the events of a batch with their
offsets. What Faust counts for its own statistics was found not to matter.
"""

import asyncio
from contextlib import aclosing
from typing import Any, cast

import faust
import uvloop

from bench.rivals.command import PARTITIONS, Meter, Options, options
from bench.rivals.decode import decode
from bench.rivals.job import Job

BATCH = 2_000
_WAIT_S = 0.1  # for a batch to fill: half the processor time of 10 ms, at which batches stay small


def app_of(chosen: Options) -> faust.App:
    """With what its documentation says about throughput."""
    return faust.App(
        chosen.group,
        broker=f"kafka://{chosen.bootstrap}",
        store="memory://",
        autodiscover=False,
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        broker_commit_every=100_000,
        broker_max_poll_records=BATCH,
        stream_buffer_maxsize=4 * BATCH,
        stream_wait_empty=False,
        producer_linger_ms=5,
        producer_max_batch_size=1_000_000,
        producer_max_request_size=10_000_000,
        datadir=str(chosen.ready.parent),
    )


async def serve(chosen: Options, meter: Meter) -> None:
    """Process so many events."""
    job, app = Job(chosen.model), app_of(chosen)
    events = app.topic(chosen.input)
    alerts = app.topic(chosen.output)
    customers = app.Table(
        "customers", key_type=bytes, value_type=bytes, partitions=PARTITIONS,
        use_partitioner=True,  # a batch is of many partitions
    )  # fmt: skip
    acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def process(taken: list[Any]) -> None:
        meter.begin()
        batch = decode([event.value for event in taken])
        keys = [user.encode() for user in batch.users]
        after, found = job.process(batch, [cast("bytes | None", customers.get(key)) for key in keys])
        for key, value in zip(keys, after, strict=True):
            customers[key] = value
        for alert in found:
            source = taken[alert.index].message
            await alerts.send(key=alert.user_id.encode(), value=alert.record(source.partition, source.offset))

    @app.agent(events)
    async def work(stream: Any) -> None:
        done = 0
        async with aclosing(stream.take_events(BATCH, within=_WAIT_S)) as batches:
            async for taken in batches:
                await process(taken)
                done += len(taken)
                if done >= chosen.events:
                    break
        acknowledged.set_result(done)
        await asyncio.Event().wait()  # an agent that ends is started again

    meter.ready()
    await app.start()
    done = await acknowledged
    await app.commit({chosen.input})
    meter.report(done)
    await app.stop()


if __name__ == "__main__":
    chosen = options()
    uvloop.run(serve(chosen, Meter(chosen.ready)))
