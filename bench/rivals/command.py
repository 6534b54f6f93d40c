"""The command line that every contestant in Python answers to, and what it measures of itself."""

import argparse
import json
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from consumer.event_loop import collect_seldom

PARTITIONS = 4
POLICY = Path(__file__).with_name("policy.toml")


@dataclass(frozen=True)
class Options:
    """As `JOB.md` has them."""

    bootstrap: str
    redis: str
    input: str
    output: str
    group: str
    model: Path
    events: int
    ready: Path
    delivery: str


def options() -> Options:
    """Of this process."""
    collect_seldom()  # as Ebbtide does: nobody loses by it
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap", "--redis", "--input", "--output", "--group"):
        parser.add_argument(name, required=name != "--redis")
    for name in ("--model", "--ready"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--events", type=int, required=True, help="Stop once so many have been processed.")
    parser.add_argument("--delivery", choices=("at_least_once", "exactly_once"), default="at_least_once")
    return Options(**vars(parser.parse_args()))


class Meter:
    """Wall and processor time from the first record on."""

    def __init__(self, ready: Path) -> None:
        self._ready = ready
        self._began: tuple[float, float] | None = None

    def ready(self) -> None:
        """Partitions are there."""
        self._ready.touch()

    def reads(self) -> None:
        """What came before is done, and more is to be read."""

    def begin(self, records: int = 1) -> None:
        """So many `records` are there; only the first time counts."""
        if self._began is None:
            self._began = time.monotonic(), _cpu_s()

    def report(self, events: int) -> None:
        """All are durable: the last line."""
        now = time.monotonic(), _cpu_s()
        began = self._began or now
        figures = {
            "events": events,
            "wall_s": now[0] - began[0],
            "cpu_s": now[1] - began[1],
            "rss_mb": _peak_kb() / 1024,
        }
        print(json.dumps(figures), flush=True)


def _peak_kb() -> int:
    """Most resident memory; `getrusage` would not say less than what the parent had when it made this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _cpu_s() -> float:
    """User and system time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
