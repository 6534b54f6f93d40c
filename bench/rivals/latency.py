"""How long an alert takes, from its event's record to a reader of committed records, at some share of capacity."""

import asyncio
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.rivals.contestants import RIVALS_PYTHON, ROOT, Contestant
from bench.rivals.kafka_side import sent_ms
from bench.rivals.trial import Arena, output_of
from bench.workload import Workload

_PREFIX_S = 3.0  # of full speed: what is processed before the pace begins, so that customers have a history
_SETTLED_S = 3.0  # then that long nothing comes
_BEGINNING = 0.1  # of the paced events does not count


@dataclass(frozen=True)
class Latency:
    """Of the alerts at a load."""

    load: float  # share of the contestant's own capacity
    events_per_s: float
    alerts: int
    p50_ms: float
    p99_ms: float
    p999_ms: float


def measure_latency(
    arena: Arena, contestant: Contestant, workload: Workload, capacity: float, load: float, seconds: float
) -> Latency:
    """Raises `ContestantFailedError`."""
    per_s = capacity * load
    prefix = round(min(capacity * _PREFIX_S, workload.events / 2))
    paced = round(min(per_s * seconds, workload.events - prefix))
    group = arena.new_group(contestant)
    topic = f"{group}.input"
    arena.make(topic, output_of(group))
    arena.fill(workload, topic, 0, prefix)
    before = arena.ends(topic)
    feed = arena.feed(workload, topic, prefix, paced, per_s)

    def send() -> None:
        time.sleep(_PREFIX_S + _SETTLED_S)
        subprocess.run(feed, cwd=ROOT, check=True)

    with TemporaryDirectory() as folder:
        lines = Path(folder) / "alerts"
        with lines.open("wb") as out:
            listener = subprocess.Popen(
                [str(RIVALS_PYTHON), "-m", "bench.rivals.listen", "--bootstrap", arena.kafka.bootstrap_servers,
                 "--topic", output_of(group)],
                cwd=ROOT, stdout=out,
            )  # fmt: skip
        try:
            arena.run(contestant, group, topic, prefix + paced, threading.Thread(target=send).start)
            time.sleep(1.0)
        finally:
            listener.terminate()
            listener.wait()
        arrived = [line.split() for line in lines.read_text().splitlines()]
    sent = asyncio.run(sent_ms(arena.kafka.bootstrap_servers, topic, before))
    arena.clear(group)
    began_ms = min(sent.values()) + _BEGINNING * seconds * 1000
    waited_ms = [
        float(at) - sent[where]
        for partition, offset, at in arrived
        if (where := (int(partition), int(offset))) in sent and sent[where] >= began_ms
    ]
    p50, p99, p999 = np.percentile(waited_ms or [np.nan], (50, 99, 99.9)).tolist()
    return Latency(load, per_s, len(waited_ms), p50, p99, p999)
