"""On what machine figures were measured."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def facts() -> dict[str, Any]:
    """Processor, cores, memory, versions, date."""
    cpu = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "").partition(": ")[2]
    memory_kb = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores, memory_gb = os.cpu_count() or 0, memory_kb / 2**20
    return {
        "machine": f"{cores} cores of {cpu or platform.processor()}, {memory_gb:.0f} GB, {platform.system()}.",
        "cores": cores,
        "cpu": cpu,
        "memory_gb": round(memory_gb, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "aiokafka": version("aiokafka"),
        "onnxruntime": version("onnxruntime"),
        "load_average": os.getloadavg(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
