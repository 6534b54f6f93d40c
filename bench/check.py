"""Has a change slowed the hot path (`make bench-check`)?

Every function is measured by a reference of about the same nature, which no change to the service alters, in turns with
it: the ratio of the two says as much on a busy machine as on an idle one. A ratio more than 20 % above its mark in
results/check.json is measured again, since noise slows too; what stays above it has become slower. `--write` sets the
marks anew.
"""

import argparse
import gc
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.machine import RESULTS, write_results
from bench.parts.hot_path import Benchmark, HotPath, Work
from consumer.event_loop import set_up

MARKS = RESULTS / "check.json"
TOLERANCE = 1.2
TRIES = 5
_ROUNDS = 30


@dataclass(frozen=True)
class Judgement:
    """What a function takes, by its reference."""

    name: str
    mark: float | None  # None: there is none yet
    ratio: float

    @property
    def change(self) -> float:
        """How many times what it took when the mark was set."""
        return self.ratio / self.mark if self.mark else 1.0

    @property
    def is_slower(self) -> bool:
        """By more than noise explains."""
        return self.change > TOLERANCE


def judge(name: str, mark: float | None, first: float, again: Callable[[], float], tries: int = TRIES) -> Judgement:
    """By the best of several measurements: only a suspicious one is followed by others."""
    found = Judgement(name, mark, first)
    while found.is_slower and (tries := tries - 1):
        found = Judgement(name, mark, min(found.ratio, again()))
    return found


def ratios(benchmarks: Sequence[Benchmark], rounds: int = _ROUNDS) -> dict[str, float]:
    """By name, the best time of each by the best one of its reference; all in turns, so that noise is everybody's."""
    best = {each.name: (math.inf, math.inf) for each in benchmarks}
    for _ in range(rounds):
        for each in benchmarks:
            work_s, reference_s = best[each.name]
            best[each.name] = min(work_s, _seconds(each.prepare())), min(reference_s, _seconds(each.reference))
    return {name: work_s / reference_s for name, (work_s, reference_s) in best.items()}


def _seconds(work: Work) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def marks_of(path: Path) -> Mapping[str, float]:
    """As they were written; none before that."""
    return json.loads(path.read_text(encoding="utf-8"))["measured"] if path.exists() else {}


def table_of(judgements: list[Judgement]) -> Table:
    """Ratios and what has become of them."""
    table = Table(title="Processor time by that of a reference, in the same run")
    for heading in ("", "mark", "now", "change"):
        table.add_column(heading, justify="right" if heading else "left")
    for each in judgements:
        change = f"{each.change - 1:+.0%}" if each.mark else "no mark"
        shown = f"[bold red]{change}" if each.is_slower else change
        table.add_row(each.name, f"{each.mark:.3f}" if each.mark else "", f"{each.ratio:.3f}", shown)
    return table


def judged(benchmarks: Sequence[Benchmark], marks: Mapping[str, float]) -> list[Judgement]:
    """All of them."""
    return [
        judge(each.name, marks.get(each.name), first, partial(_again, each))
        for each, first in zip(benchmarks, ratios(benchmarks).values(), strict=True)
    ]


def _again(benchmark: Benchmark) -> float:
    return ratios([benchmark])[benchmark.name]


def main() -> None:
    """Measure and compare, or write the marks; exits with 1 and names what has become slower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="Set the marks.")
    given = parser.parse_args()
    benchmarks = HotPath().benchmarks()
    gc.collect()
    set_up()  # as the service is
    if given.write:
        found = [ratios(benchmarks) for _ in range(TRIES)]
        marks = {each.name: round(median(of_try[each.name] for of_try in found), 4) for each in benchmarks}
        write_results(MARKS, "make bench-check", marks)
        return
    judgements = judged(benchmarks, marks_of(MARKS))
    Console().print(table_of(judgements))
    if slower := [each for each in judgements if each.is_slower]:
        print("slower: " + ", ".join(f"{each.name} ({each.change - 1:+.0%})" for each in slower), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
