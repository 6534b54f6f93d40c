"""The service as its users run it, one process or some of a group, and what they spend."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from consumer.embedded import free_ports
from consumer.settings import Settings

ROOT = Path(__file__).parent.parent
_DEADLINE_S, _LOOK_EVERY_S = 600.0, 0.1
_SETTLE_S = 0.5  # until what is committed in Kafka is in Redis too
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
Records = Iterable[tuple[bytes, bytes]]  # keys and values


class Fleet:
    """So many processes of the service, from entry to exit; `settings` override those of the environment."""

    def __init__(self, settings: Mapping[str, Any], processes: int = 1) -> None:
        self._given, self._count = dict(settings), processes
        self.settings = Settings(**self._given)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports: tuple[int, ...] = ()
        self.sent = 0  # records, all of which `drained` waits for

    def __enter__(self) -> Self:
        self._ports = free_ports(self._count)
        for port in self._ports:
            given = {"log_level": "warning"} | self._given | {"http_port": port}
            environment = {f"EBBTIDE_{name.upper()}": str(value) for name, value in given.items()}
            command = [sys.executable, "-m", "consumer", "run"]
            self._processes.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | environment))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._processes:
            process.wait()

    def await_ready(self) -> None:
        """Until every partition is claimed, and, of several processes, each has its share."""
        share = self.settings.partitions // self._count
        wait_until(lambda: all(self._live(port) >= share for port in self._ports))

    def metrics(self) -> dict[str, float]:
        """Of the first process, by name, summed over labels."""
        found: dict[str, float] = {}
        for line in _get(self._ports[0], "metrics").decode().splitlines():
            if not line.startswith("#"):
                name, value = line.split("{")[0].split(" ")[0], float(line.rpartition(" ")[2])
                found[name] = found.get(name, 0.0) + value
        return found

    def cpu_s(self) -> float:
        """User and system time of all processes so far."""
        return sum(_cpu_s(process.pid) for process in self._processes)

    def rss_mb(self) -> float:
        """Resident memory of all processes."""
        return sum(_rss_mb(process.pid) for process in self._processes)

    async def cpu_us(self, records: Records) -> float:
        """Processor time for one of these records, all of which wait when the first is read."""
        self._signal(signal.SIGSTOP)  # for less than the session timeout
        async with producer(self.settings.kafka_bootstrap_servers) as to:
            count = await send(to, self, records)
        before_s = self.cpu_s()
        self._signal(signal.SIGCONT)
        await self.drained()
        await asyncio.sleep(_SETTLE_S)
        return (self.cpu_s() - before_s) / count * 1e6

    def check(self) -> None:
        """Raises `RuntimeError` if a process has ended."""
        for process in self._processes:
            if process.poll() is not None:
                raise RuntimeError(f"the service has ended with {process.returncode}")

    async def drained(self) -> None:
        """Until all that was sent is committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap_servers)
        await admin.start()
        began = time.monotonic()
        try:
            while sum(each.offset for each in await self._offsets(admin) if each.offset > 0) < self.sent:
                self.check()
                if time.monotonic() - began > _DEADLINE_S:
                    raise RuntimeError("the service does not get through what was sent")
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            await admin.close()

    async def _offsets(self, admin: AIOKafkaAdminClient) -> Iterable[Any]:
        return (await admin.list_consumer_group_offsets(self.settings.group_id)).values()

    def _live(self, port: int) -> int:
        self.check()
        try:
            return int(json.loads(_get(port, "readyz"))["partitions_live"])
        except (OSError, HTTPError):  # it does not listen yet, or is not ready
            return 0

    def _signal(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)


def producer(bootstrap: str) -> AIOKafkaProducer:
    """With the default partitioner, as a shop would have it."""
    return AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, max_batch_size=262_144)


async def send(to: AIOKafkaProducer, fleet: Fleet, records: Records) -> int:
    """As fast as they go; how many."""
    count = 0
    for key, value in records:
        await to.send(fleet.settings.events_topic, value, key)
        count += 1
    await to.flush()
    fleet.sent += count
    return count


def wait_until(holds: Callable[[], bool], within_s: float = _DEADLINE_S) -> None:
    """Raises `RuntimeError` if it takes longer."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > within_s:
            raise RuntimeError("the service is not ready")
        time.sleep(_LOOK_EVERY_S)


def _get(port: int, path: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        content: bytes = answer.read()
    return content


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
