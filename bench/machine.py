"""What was measured, on what machine: every bench writes its results here."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"  # what docs/benchmarks.md tells of
PLOTS = RESULTS.parents[1] / "docs" / "benchmarks"
QUICK_FOLDER = RESULTS.with_name("quick")  # both, of benches that are told to be quick


def write_results(path: Path, command: str, measured: object, machine: dict[str, Any] | None = None) -> None:
    """As JSON: the command that measures it again, the machine (as it is now, if not given), and the figures.

    What this process was given on its command line is added to the command.
    """
    given = " ".join(sys.argv[1:])
    command = f'{command} ARGS="{given}"' if given else command
    content = {"command": command, "machine": machine or facts(), "measured": measured}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


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
