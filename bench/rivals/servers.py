"""What broker and store spend on a contestant: processor time, memory, bytes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from consumer.embedded import EmbeddedKafka

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CpuSeconds:
    """User and system time so far."""

    kafka: float
    valkey: float


def server_cpu() -> CpuSeconds:
    """Of the embedded servers that this process has started."""
    kafka = valkey = 0.0
    for folder in _descendants(os.getpid()):
        command = _read(folder / "cmdline")
        if "kafka.Kafka" in command and "embedded_guard" not in command:
            kafka += _cpu_s(folder)
        elif "valkey" in command and "embedded_guard" not in command:
            valkey += _cpu_s(folder)
    return CpuSeconds(kafka, valkey)


def _descendants(ancestor: int) -> Iterator[Path]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _read(folder / "stat").rpartition(")")[2].split()
        if fields:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [ancestor]
    for pid in found:
        found += children.get(pid, [])
        yield Path("/proc") / str(pid)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def _cpu_s(folder: Path) -> float:
    fields = _read(folder / "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S if fields else 0.0


def redis_bytes(url: str) -> int:
    """What Redis says that its data takes, without its own."""
    with Redis.from_url(url) as redis:
        memory = redis.info("memory")
    return int(memory["used_memory"]) - int(memory["used_memory_startup"])


def topic_bytes(kafka: EmbeddedKafka, topic: str) -> int:
    """On the broker's disk, all partitions."""
    data = kafka.nodes[0].process.folder / "data"
    return sum(log.stat().st_size for folder in data.glob(f"{topic}-*") for log in folder.glob("*.log"))


def topics_with(kafka: EmbeddedKafka, part: str) -> set[str]:
    """Names of topics that contain this."""
    data = kafka.nodes[0].process.folder / "data"
    return {folder.name.rpartition("-")[0] for folder in data.iterdir() if folder.is_dir() and part in folder.name}
