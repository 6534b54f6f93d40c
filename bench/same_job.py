"""The same job by Ebbtide and by its rivals, interleaved in one run (`make bench-rivals`); `rivals/JOB.md` has the job.

Every contestant gets the same log in a new group with new topics, and starts from nothing; who comes when is drawn
anew for each repeat. With full histories, 64 days of everybody are processed first and what follows is measured.
"""

import argparse
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import QUICK_FOLDER, RESULTS, write_results
from bench.rivals.contestants import CONTESTANTS, Contestant
from bench.rivals.judging import LEVELS, Alerts, Verdict, compare
from bench.rivals.latency import Latency, measure_latency
from bench.rivals.trial import Arena, ContestantFailedError, Footprint, Run, output_of
from bench.workload import Workload
from consumer.core.state import MAX_DAYS
from consumer.embedded import EmbeddedKafka, EmbeddedValkey

LOADS = (0.25, 0.5, 0.75)
console = Console(width=180)


@dataclass(frozen=True)
class Shape:
    """A log, and what is measured on it."""

    name: str
    workload: Workload

    def events(self, contestant: Contestant) -> int:
        """How many a contestant is measured on."""
        return round(self.workload.events * contestant.share)


@dataclass
class Score:
    """What is known of a contestant in a shape."""

    runs: list[Run] = field(default_factory=list)
    footprint: Footprint | None = None
    verdict: Verdict | None = None
    repeated: int = 0
    failure: str | None = None
    latencies: list[Latency] = field(default_factory=list)

    @property
    def events_per_s(self) -> float:
        """The median."""
        return median(run.events_per_s for run in self.runs)

    def per_million(self, seconds: str) -> float:
        """Median of the processor time spent by `worker`, `kafka` or `valkey` on a million events."""
        return median(_cpu_s(run, seconds) / run.events * 1e6 for run in self.runs)


def _cpu_s(run: Run, of: str) -> float:
    return {"worker": run.cpu_s, "kafka": run.servers.kafka, "valkey": run.servers.valkey}[of]


class Contest:
    """One shape, all contestants."""

    def __init__(self, arena: Arena, shape: Shape, contestants: list[Contestant]) -> None:
        self._arena, self.shape, self._contestants = arena, shape, contestants
        self.scores = {contestant.name: Score() for contestant in contestants}
        self._alerts: dict[str, Alerts] = {}
        self._ends: dict[str, dict[int, int]] = {}

    def run(self, repeats: int, order: random.Random) -> None:
        """Everybody so often, in random order; then the alerts are compared."""
        for repeat in range(repeats):
            for contestant in order.sample(self._contestants, len(self._contestants)):
                if self.scores[contestant.name].failure is None:
                    self._try(contestant, is_first=repeat == 0)
        self._judge()

    def listen(self, seconds: float) -> None:
        """Latency of everybody at shares of their capacity."""
        for contestant in self._contestants:
            score = self.scores[contestant.name]
            for load in LOADS if score.runs else ():
                try:
                    found = measure_latency(
                        self._arena, contestant, self.shape.workload, score.events_per_s, load, seconds
                    )
                except ContestantFailedError as error:
                    score.failure = f"at {load:.0%} of its capacity: {str(error).splitlines()[0]}"
                    console.print(f"{contestant.title}: {error}", style="red", markup=False)
                    break
                score.latencies.append(found)
                console.print(f"{contestant.title}: {found}")

    def _try(self, contestant: Contestant, is_first: bool) -> None:
        score = self.scores[contestant.name]
        try:
            self._measure(contestant, score, is_first)
        except ContestantFailedError as error:
            score.failure = str(error).splitlines()[0]
            console.print(f"{contestant.title}: {error}", style="red", markup=False)
            return
        run = score.runs[-1]
        console.print(
            f"{self.shape.name}: {contestant.title}: {run.events_per_s:,.0f} events/s, "
            f"{run.cpu_s / run.events * 1e6:,.1f} s/M events"
        )

    def _measure(self, contestant: Contestant, score: Score, is_first: bool) -> None:
        arena, workload = self._arena, self.shape.workload
        history, events = workload.history_events, self.shape.events(contestant)
        group = arena.new_group(contestant)
        topic = f"{group}.input"
        arena.make(topic, output_of(group))
        try:
            if history:
                arena.fill(workload, topic, 0, history)
                arena.run(contestant, group, topic, history)
            arena.fill(workload, topic, history, events)
            score.runs.append(arena.run(contestant, group, topic, events))
            if is_first:
                self._alerts[contestant.name], score.repeated = arena.alerts(group)
                self._ends[contestant.name] = arena.ends(topic)
                score.footprint = arena.footprint(group, workload, history + events)
        finally:
            arena.clear(group)

    def _judge(self) -> None:
        """Against whoever had the whole log first; who had less of it, by what they had."""
        whole = [each.name for each in self._contestants if each.share == 1 and each.name in self._alerts]
        if not whole:
            return
        reference = self._alerts[whole[0]]
        for name, found in self._alerts.items():
            had = {key: risk for key, risk in reference.items() if key[3] < self._ends[name][key[2]]}
            self.scores[name].verdict = compare(had, found, LEVELS)


def table_of(contest: Contest, contestants: list[Contestant], absent: list[Contestant]) -> Table:
    """Who did how well."""
    shape = contest.shape
    table = Table(title=f"{shape.name}: {shape.workload.events:,} events of {shape.workload.users:,} customers")
    for heading in (
        "", "events/s", "worker s/M", "Kafka s/M", "Redis s/M", "RSS MB", "Redis B/user", "changelog B/user",
        "written B/event", "alerts", "differ", "unexplained",
    ):  # fmt: skip
        table.add_column(heading, justify="right" if heading else "left")
    for contestant in contestants:
        table.add_row(contestant.title, *_cells(contest.scores[contestant.name]))
    for contestant in absent:
        table.add_row(f"[bold red]{contestant.title}: NOT RUN, {contestant.missing}")
    return table


def _cells(score: Score) -> list[str]:
    if score.failure or not score.runs:
        return [f"[bold red]FAILED: {score.failure}"]
    cells = [f"{score.events_per_s:,.0f}"]
    cells += [f"{score.per_million(of):,.1f}" for of in ("worker", "kafka", "valkey")]
    cells.append(f"{max(run.rss_mb for run in score.runs):,.0f}")
    if score.footprint:
        print_of = score.footprint
        cells += [
            f"{each:,.0f}"
            for each in (
                print_of.redis_bytes_per_user, print_of.changelog_bytes_per_user, print_of.changelog_bytes_per_event
            )
        ]  # fmt: skip
    if score.verdict:
        found = score.verdict
        cells += [f"{found.alerts:,}", f"{found.missing + found.extra}", f"{found.unexplained}"]
    return cells


def latency_table(contest: Contest, contestants: list[Contestant]) -> Table:
    """p50/p99/p99.9 in ms, at each load."""
    table = Table("", *(f"at {load:.0%}" for load in LOADS), title="Event to alert, ms: p50 / p99 / p99.9 (alerts)")
    for contestant in contestants:
        cells = [
            f"{each.p50_ms:,.0f} / {each.p99_ms:,.0f} / {each.p999_ms:,.0f} ({each.alerts:,})"
            for each in contest.scores[contestant.name].latencies
        ]
        table.add_row(contestant.title, *cells)
    return table


def _content(contest: Contest) -> dict[str, Any]:
    return {
        "shape": contest.shape.name,
        "workload": asdict(contest.shape.workload),
        "contestants": {name: asdict(score) for name, score in contest.scores.items()},
    }


def main() -> None:
    """Measure, print tables, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="A small log, once, in some minutes.")
    parser.add_argument("--events", type=int)
    parser.add_argument("--users", type=int)
    parser.add_argument("--full-users", type=int, default=4_000, help="Customers with full histories.")
    parser.add_argument("--full-events", type=int, default=100_000, help="Events after those histories.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--latency-s", type=float, default=20.0, help="How long each pace is kept; 0: not measured.")
    parser.add_argument("--only", nargs="*", help="Names of contestants; all by default.")
    parser.add_argument("--shapes", nargs="*", default=["short", "full"])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.events = given.events or (100_000 if given.quick else 1_000_000)
    given.users = given.users or given.events // 10
    if given.quick:
        given.full_users, given.full_events = 500, 20_000
        given.repeats, given.latency_s = 1, min(given.latency_s, 5.0)
    chosen = [each for each in CONTESTANTS if not given.only or each.name in given.only]
    present, absent = [each for each in chosen if not each.missing], [each for each in chosen if each.missing]
    shapes = {
        "short": Shape("short mix", Workload(given.events, given.users, 60, given.seed)),
        "full": Shape(
            "full histories", Workload(given.full_events, given.full_users, 60, given.seed, history_days=MAX_DAYS)
        ),
    }
    order = random.Random(given.seed)
    contents = []
    with EmbeddedKafka() as kafka, EmbeddedValkey() as valkey, TemporaryDirectory() as folder:
        arena = Arena(kafka, valkey, Path(folder))
        for name in given.shapes:
            contest = Contest(arena, shapes[name], present)
            contest.run(given.repeats, order)
            console.print(table_of(contest, present, absent))
            if name == "short" and given.latency_s:
                contest.listen(given.latency_s)
                console.print(latency_table(contest, present))
            contents.append(_content(contest))
    for each in absent:
        console.print(f"NOT RUN: {each.title}: {each.missing}", style="bold red")
    write_results((QUICK_FOLDER if given.quick else RESULTS) / "same_job.json", "make bench-rivals", contents)


if __name__ == "__main__":
    main()
