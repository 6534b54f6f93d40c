"""Does the rival in Kafka Streams do the same job? Tokens and alerts beside those of Ebbtide's own core.

    python -m bench.rivals.kafka_streams_parity

A small log with all that is awkward goes through both (histories of more than 64 days, duplicates, late and very late
events, refunds, reviews, records that are no events). Tokens must be equal within 1e-5 after every event, and alerts
must be the same but for those whose churn probability is within 1e-3 of a threshold: in both modes, at both deliveries,
and with a restart in the middle, after which states come from the changelog. `make bench-java` first.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.rivals.awkward_log import Record, awkward_log
from bench.rivals.judging import LEVELS
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.core.decode import Limits, decode
from consumer.core.features import TOKEN_SIZE, tokens
from consumer.core.fold import Fate
from consumer.core.state import MAX_DAYS, empty_states
from consumer.embedded import EmbeddedKafka
from consumer.settings import DEFAULT_MODEL_DIR, Settings

FOLDER = Path(__file__).parent
RUN = FOLDER / "kafka-streams" / "run"
INPUT, PARTITIONS = "bench.events", 4
IN_HALVES, RESTARTED = "bench.halves", "restarted"
TOKEN_TOLERANCE, NEAR_THRESHOLD = 1e-5, 1e-3
Alert = tuple[str, str, int]  # user, tier, index of the deciding record


@dataclass(frozen=True)
class Expected:
    """What Ebbtide's core makes of a log."""

    tokens: list[np.ndarray]  # after each record: (days, TOKEN_SIZE); nothing where the record is not folded
    probability: np.ndarray  # after each record; NaN where it is not folded
    alerts: set[Alert]


def expected(log: list[Record]) -> Expected:
    """Every record by itself through the engine that the service runs."""
    settings = Settings(policy_file=FOLDER / "policy.toml", outcome_sample_share=0.0)
    engine = build_worker(settings, Metrics()).engine
    decoded = decode(log, now_ms=4_000_000_000_000, limits=Limits(settings.max_record_bytes))
    states = empty_states(len(decoded.users))
    found = Expected([np.empty((0, TOKEN_SIZE), np.float32)] * len(log), np.full(len(log), np.nan), set())
    for position, index in enumerate(decoded.index.tolist()):
        event = decoded.events.take(np.array([position]))
        fate, findings = engine.on_events(states, event, np.array([0]))
        if fate[0] != Fate.FOLDED:
            continue
        state, row = states.take(event.row), event.row
        found.tokens[index] = tokens(state)[0, : state.header["days"][0]]
        found.probability[index] = engine.policy.probability(states, row, states.header["last_ms"][row])[0]
        for each in findings.alerts:
            for tier in each.decisions.tier.tolist():
                found.alerts.add((decoded.users[row[0]], ("at_risk", "critical")[tier - 1], index))
    return found


def worst_token(log: list[Record], found: Expected, folder: Path) -> float:
    """The largest difference between two tokens; raises ValueError where a record has other tokens altogether."""
    lines, dump = folder / "log.tsv", folder / "tokens.bin"
    lines.write_bytes(b"".join(b"%s\t%s\n" % record for record in log))
    subprocess.run([RUN, "--dump-tokens", lines, dump], check=True)
    values = np.fromfile(dump, ">i4")
    at, worst = 0, 0.0
    for index, wanted in enumerate(found.tokens):
        days = int(values[at])
        if days != len(wanted):
            raise ValueError(f"record {index}: {days} days, {len(wanted)} expected: {log[index]!r}")
        given = values[at + 1 : at + 1 + days * TOKEN_SIZE].view(">f4").reshape(days, TOKEN_SIZE)
        worst = max(worst, float(np.abs(given - wanted).max(initial=0.0)))
        at += 1 + days * TOKEN_SIZE
    return worst


async def produced(log: list[Record], topic: str, kafka: str) -> dict[tuple[int, int], int]:
    """The log in a topic; which record is at which partition and offset."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    sent = [await producer.send(topic, value, key=key) for key, value in log]
    places = {(each.partition, each.offset): index for index, each in enumerate([await each for each in sent])}
    await producer.stop()
    return places


async def consumed(topic: str, kafka: str) -> list[dict[str, object]]:
    """All alerts of a topic."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    alerts: list[dict[str, object]] = []
    while records := await consumer.getmany(timeout_ms=2000):
        alerts += [json.loads(each.value) for part in records.values() for each in part]
    await consumer.stop()
    return alerts


def run(kafka: str, topic: str, output: str, events: int, *options: str) -> None:
    """The rival, over so many events of a topic."""
    common = ["--bootstrap", kafka, "--input", topic, "--output", output, "--group", output]
    common += ["--model", str(DEFAULT_MODEL_DIR), "--events", str(events)]
    subprocess.run([RUN, *common, *options], check=True, stdout=subprocess.DEVNULL, timeout=120)


def differing(alerts: list[dict[str, Any]], places: dict[tuple[int, int], int], found: Expected) -> tuple[int, int]:
    """How many alerts differ, and how many of these are not explained by a probability near a threshold."""
    given = {
        (each["user_id"], each["tier"], places[each["source"]["partition"], each["source"]["offset"]])
        for each in alerts
    }
    differences = (given ^ found.alerts) if len(given) == len(alerts) else given | found.alerts
    near = {user for user, _, index in differences if _is_near(found.probability[index])}
    return len(differences), sum(user not in near for user, _, _ in differences)


def _is_near(probability: float) -> bool:
    return min(abs(probability - level) for level in LEVELS) < NEAR_THRESHOLD


def main() -> int:
    """Compare, and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    log = awkward_log(parser.parse_args().seed)
    found = expected(log)
    longest = max(map(len, found.tokens))
    print(f"{len(log):,} records, histories of up to {longest} days, {len(found.alerts)} alerts expected")
    with tempfile.TemporaryDirectory() as folder:
        worst = worst_token(log, found, Path(folder))
    print(f"tokens: the largest difference is {worst:.1e}")
    failed = worst > TOKEN_TOLERANCE or longest < MAX_DAYS
    with EmbeddedKafka() as kafka:
        failed |= asyncio.run(_compare_alerts(kafka.bootstrap_servers, log, found))
    return int(failed)


async def _compare_alerts(kafka: str, log: list[Record], found: Expected) -> bool:
    runs = {
        f"{mode}-{delivery}": ("--mode", mode, "--delivery", delivery)
        for mode in ("per-event", "batched")
        for delivery in ("exactly_once", "at_least_once")
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (INPUT, IN_HALVES, RESTARTED, *runs)])
    await admin.close()
    places = await produced(log, INPUT, kafka)
    failed = False
    for output, options in runs.items():
        await asyncio.to_thread(run, kafka, INPUT, output, len(log), *options)
    for half in log[: len(log) // 2], log[len(log) // 2 :]:  # offsets are as in the other topic
        await produced(half, IN_HALVES, kafka)
        await asyncio.to_thread(run, kafka, IN_HALVES, RESTARTED, len(half))
    for output in (*runs, RESTARTED):
        alerts = await consumed(output, kafka)
        differences, unexplained = differing(alerts, places, found)
        print(f"{output}: {len(alerts)} alerts, {differences} differ, {unexplained} of them far from a threshold")
        failed |= unexplained > 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
