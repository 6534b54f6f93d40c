"""One contestant's run at the job, measured from outside and by itself."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from bench.rivals.contestants import RIVALS_PYTHON, ROOT, Contestant
from bench.rivals.judging import Alerts
from bench.rivals.kafka_side import drop_topics, ends, latest_bytes, make_topics, read_alerts
from bench.rivals.servers import CpuSeconds, redis_bytes, server_cpu, topic_bytes, topics_with
from bench.workload import Workload
from consumer.embedded import EmbeddedKafka, EmbeddedValkey
from consumer.settings import DEFAULT_MODEL_DIR

_DEADLINE_S = 900.0


class ContestantFailedError(Exception):
    """It ended without figures, or did not end."""


@dataclass(frozen=True)
class Run:
    """What a contestant measured of itself, and what the servers spent meanwhile."""

    events: int
    wall_s: float
    cpu_s: float
    rss_mb: float
    servers: CpuSeconds

    @property
    def events_per_s(self) -> float:
        """Throughput."""
        return self.events / self.wall_s


@dataclass(frozen=True)
class Footprint:
    """What the state takes, per customer that has one, and what writing it took."""

    redis_bytes_per_user: float
    changelog_bytes_per_user: float  # of the latest records
    changelog_bytes_per_event: float  # on the broker's disk, as written


class Arena:
    """The servers, the names that a contestant has there, which are new each time, and a folder for local states."""

    def __init__(self, kafka: EmbeddedKafka, valkey: EmbeddedValkey, folder: Path) -> None:
        self.kafka, self.valkey, self._folder = kafka, valkey, folder
        self._number = 0

    def new_group(self, contestant: Contestant) -> str:
        """A name nobody has had."""
        self._number += 1
        return f"{contestant.name}-{self._number:04d}"

    def make(self, *topics: str) -> None:
        """New topics."""
        asyncio.run(make_topics(self.kafka.bootstrap_servers, *topics))

    def feed(self, workload: Workload, topic: str, first: int, count: int, per_s: float | None = None) -> list[str]:
        """The command that writes a part of a log."""
        numbers = {
            "events": workload.events, "users": workload.users, "days": workload.days, "seed": workload.seed,
            "history-days": workload.history_days, "first": first, "count": count,
        }  # fmt: skip
        given = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
        pace = ["--per-second", str(per_s)] if per_s else []
        return [
            str(RIVALS_PYTHON), "-m", "bench.rivals.feed", "--bootstrap", self.kafka.bootstrap_servers,
            "--topic", topic, *given, *pace,
        ]  # fmt: skip

    def fill(self, workload: Workload, topic: str, first: int, count: int) -> None:
        """Write a part of a log, as fast as it goes."""
        subprocess.run(self.feed(workload, topic, first, count), cwd=ROOT, check=True)

    def run(
        self, contestant: Contestant, group: str, topic: str, events: int, when_ready: Callable[[], None] = lambda: None
    ) -> Run:
        """Let it process so many events; raises `ContestantFailedError`."""
        with TemporaryDirectory() as folder:
            ready, log = Path(folder) / "ready", Path(folder) / "log"
            given = (
                "--bootstrap", self.kafka.bootstrap_servers, "--redis", self.valkey.url, "--input", topic,
                "--output", output_of(group), "--group", group, "--model", str(DEFAULT_MODEL_DIR),
                "--events", str(events), "--ready", str(ready),
            )  # fmt: skip
            with log.open("wb") as errors:
                process = subprocess.Popen(
                    [*contestant.command, *given], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors,
                    env=os.environ | {"TMPDIR": str(self._folder)},
                )  # fmt: skip
            try:
                _await_ready(process, ready, log)
                before = server_cpu()
                when_ready()
                printed, _ = process.communicate(timeout=_DEADLINE_S)
            except subprocess.TimeoutExpired as error:
                raise ContestantFailedError(f"{contestant.name} does not end\n{_tail(log)}") from error
            finally:
                process.kill()
            after = server_cpu()
            if process.returncode != 0 or not printed.strip():
                raise ContestantFailedError(f"{contestant.name} ended with {process.returncode}\n{_tail(log)}")
        figures = json.loads(printed.splitlines()[-1])
        servers = CpuSeconds(after.kafka - before.kafka, after.valkey - before.valkey)
        return Run(figures["events"], figures["wall_s"], figures["cpu_s"], figures["rss_mb"], servers)

    def ends(self, topic: str) -> dict[int, int]:
        """How many records each partition of a topic has."""
        return asyncio.run(ends(self.kafka.bootstrap_servers, topic))

    def alerts(self, group: str) -> tuple[Alerts, int]:
        """Those of a run, and how many were told again."""
        return asyncio.run(read_alerts(self.kafka.bootstrap_servers, output_of(group)))

    def footprint(self, group: str, workload: Workload, events: int) -> Footprint:
        """Of a group's state; reads its changelogs."""
        users = _customers(workload, events)
        keys = size = written = 0
        for topic in self._changelogs(group):
            found = asyncio.run(latest_bytes(self.kafka.bootstrap_servers, topic))
            keys, size = keys + found[0], size + found[1]
            written += topic_bytes(self.kafka, topic)
        return Footprint(redis_bytes(self.valkey.url) / users, size / max(keys, 1), written / events)

    def clear(self, group: str) -> None:
        """Forget a run: its topics, its keys and its folder."""
        asyncio.run(drop_topics(self.kafka.bootstrap_servers, [*topics_with(self.kafka, group)]))
        with Redis.from_url(self.valkey.url) as redis:
            redis.flushall()
        shutil.rmtree(self._folder / group, ignore_errors=True)

    def _changelogs(self, group: str) -> list[str]:
        names = topics_with(self.kafka, group)
        return [name for name in names if "changelog" in name or name.endswith(".state")]


def output_of(group: str) -> str:
    """Where a group's alerts go."""
    return f"{group}.alerts"


@cache
def _customers(workload: Workload, events: int) -> int:
    """How many the log's first events are of."""
    return len({key for key, _ in islice(workload.records(), events)})


def _await_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    began = time.monotonic()
    while not ready.exists():
        if process.poll() is not None or time.monotonic() - began > _DEADLINE_S:
            raise ContestantFailedError(f"not ready\n{_tail(log)}")
        time.sleep(0.005)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
