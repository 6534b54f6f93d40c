"""Quix Streams, with its own state store: RocksDB behind a changelog.

Events are given to a function one by one, with the state of their key; there is no way to have the states of a batch.
Values and states go through as bytes, without Quix's own JSON.
"""

import logging
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import msgspec
from quixstreams import Application, State, message_context

from bench.rivals.alerts import Alert
from bench.rivals.command import Meter, Options, options
from bench.rivals.decode import Event
from bench.rivals.single import SingleJob

_STATE = b"customer"
_COMMIT_S = {"exactly_once": 0.1, "at_least_once": 1.0}  # nothing is read before a transaction's end, alerts at once


def run(chosen: Options, meter: Meter) -> None:
    """Process so many events."""
    job, decoder = SingleJob(chosen.model), msgspec.json.Decoder(Event)
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == chosen.events:
            app.stop()

    app = Application(
        broker_address=chosen.bootstrap,
        consumer_group=chosen.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if chosen.delivery == "exactly_once" else "at-least-once",
        commit_interval=_COMMIT_S[chosen.delivery],
        consumer_extra_config={"fetch.wait.max.ms": 10, "queued.min.messages": 20_000, "fetch.queue.backoff.ms": 10},
        producer_extra_config={"linger.ms": 5},
        consumer_poll_timeout=0.05,
        state_dir=Path(gettempdir()) / chosen.group,
        loglevel=logging.WARNING,
        broker_availability_timeout=0,
        on_message_processed=count,
    )

    def process(value: bytes, state: State[bytes, bytes]) -> bytes | None:
        meter.begin()
        event = decoder.decode(value)
        after, alert = job.process(event, state.get_bytes(_STATE))
        state.set_bytes(_STATE, after)
        if alert is None:
            return None
        source = message_context()
        return Alert(0, event.user_id, *alert).record(source.partition, source.offset)

    events = app.topic(chosen.input, key_deserializer="bytes", value_deserializer="bytes")
    alerts = app.topic(chosen.output, key_serializer="bytes", value_serializer="bytes")
    frame = app.dataframe(events)
    frame = frame.apply(process, stateful=True)
    frame = frame.filter(lambda alert: alert is not None)
    frame.to_topic(alerts)
    meter.ready()
    app.run()
    meter.report(done)


if __name__ == "__main__":
    chosen = options()
    run(chosen, Meter(chosen.ready))
