"""Where does the time go, and how much of it is the price of everything happening at once (`make bench-stages`)?

Microseconds of processor time an event, of the service's own process. *Alone*: each stage by itself on the same events,
in the best of several sizes of micro-batches, nothing beside it. Their sum is the limit that the service could reach if
nothing but its stages cost anything. *In the service*: the same stages timed within the whole, exactly once, between
real servers; the event loop and the rest is what no stage is charged with. The service as it is, untimed, is what is
compared to the limit. Best of several repeats each, taken in turns.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.axes import Axes
from redis import Redis
from rich.console import Console
from rich.table import Table

from bench.machine import PLOTS, QUICK_FOLDER, RESULTS, write_results
from bench.parts.alone import computed, warmed
from bench.parts.log import Shape, write
from bench.parts.stages import ORDER
from bench.parts.wires import measured
from bench.rivals.command import POLICY
from bench.rivals.contestants import ROOT
from bench.rivals.kafka_side import make_topics
from bench.workload import Workload
from consumer.core.state import MAX_DAYS
from consumer.embedded import EmbeddedKafka, EmbeddedValkey
from consumer.event_loop import run_async, set_up
from consumer.settings import Settings, load_settings
from model_export.canvas import svg

SIZES = (2_500, 10_000, 40_000)
_WARM_UP_SIZE = 10_000
_BAR = 0.6  # of the limit: what the service is to reach
_COLOURS = (
    "#1f77b4", "#aec7e8", "#17becf", "#9edae5", "#2ca02c", "#98df8a", "#d62728", "#ff9896", "#9467bd", "#c5b0d5",
    "#8c564b", "#c49c94", "#e377c2", "#7f7f7f", "#ff7f0e", "#ffbb78", "#dbdb8d",
)  # fmt: skip


@dataclass
class Breakdown:
    """Microseconds of processor time an event, by stage."""

    shape: str
    events: int
    alone_us: dict[str, float] = field(default_factory=dict)
    in_service_us: dict[str, float] = field(default_factory=dict)
    service_us: float = float("inf")  # untimed
    timed_service_us: float = float("inf")

    @property
    def limit_us(self) -> float:
        """The sum of the stages alone."""
        return sum(self.alone_us.values())

    @property
    def reached(self) -> float:
        """Which share of the limit the service reaches."""
        return self.limit_us / self.service_us

    def alone(self, seconds: dict[str, float]) -> None:
        """Another measurement of some stages."""
        for stage, each in seconds.items():
            self.alone_us[stage] = min(self.alone_us.get(stage, float("inf")), each / self.events * 1e6)

    def served(self, figures: dict[str, Any], by_stage: bool) -> None:
        """Another run of the service."""
        per_event_us = 1e6 / figures["events"]
        total_us = figures["cpu_s"] * per_event_us
        if not by_stage:
            self.service_us = min(self.service_us, total_us)
        elif total_us < self.timed_service_us:
            self.timed_service_us = total_us
            self.in_service_us = {stage: each * per_event_us for stage, each in figures["stages"].items()}
            self.in_service_us[ORDER[-1]] = total_us - sum(self.in_service_us.values())


class Bench:
    """One shape between servers that are there."""

    def __init__(self, kafka: EmbeddedKafka, valkey: EmbeddedValkey, shape: Shape) -> None:
        self._kafka, self._valkey, self._shape = kafka, valkey, shape
        self._topic = shape.name.replace(" ", "-")
        self._groups = 0
        self._shop, self._records = warmed(shape, self._settings(), _WARM_UP_SIZE)
        asyncio.run(make_topics(kafka.bootstrap_servers, self._topic))
        asyncio.run(write(shape, kafka.bootstrap_servers, self._topic))
        self.result = Breakdown(shape.name, shape.measured)

    def repeat(self) -> None:
        """Everything once more."""
        for by_stage in (False, True):
            self.result.served(self._serve(by_stage), by_stage)
        for size in SIZES:
            seconds, turns = computed(self._shop, self._records, size)
            self.result.alone(seconds)
            self.result.alone(run_async(measured(self._settings(), self._shop, turns, self._shape.measured)))
            self._clear()

    def _serve(self, by_stage: bool) -> dict[str, Any]:
        settings = self._settings()
        with TemporaryDirectory() as folder:
            command = [
                sys.executable, "-m", "bench.parts.service", "--bootstrap", self._kafka.bootstrap_servers, "--redis",
                self._valkey.url, "--input", self._topic, "--group", settings.group_id, "--events",
                str(self._shape.warm_up + self._shape.measured), "--warm-up", str(self._shape.warm_up), "--ready",
                str(Path(folder) / "ready"), *(["--by-stage"] if by_stage else []),
            ]  # fmt: skip
            printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        self._clear()
        return json.loads(printed.splitlines()[-1])

    def _settings(self) -> Settings:
        """Of a group and a state topic that nobody has had."""
        self._groups += 1
        group, topic = f"{self._topic}-{self._groups}", self._topic
        return load_settings(
            kafka_bootstrap_servers=self._kafka.bootstrap_servers, redis_url=self._valkey.url,
            events_topic=topic, alerts_topic=f"{topic}.alerts", dead_letters_topic=f"{topic}.dead-letters",
            outcomes_topic=f"{topic}.outcomes", triggers_prefix=f"{topic}.triggers", state_topic=f"{group}.state",
            group_id=group, policy_file=POLICY, clock="watermark", outcome_sample_share=0.0,
        )  # fmt: skip

    def _clear(self) -> None:
        with Redis.from_url(self._valkey.url) as redis:
            redis.flushall()


def table_of(result: Breakdown) -> Table:
    """By stage, and which share of the limit is reached."""
    table = Table(title=f"{result.shape}: µs of processor time an event ({result.events:,} events)")
    for heading in ("", "alone", "in the service"):
        table.add_column(heading, justify="right" if heading else "left")
    for stage in ORDER:
        alone, within = result.alone_us.get(stage), result.in_service_us.get(stage, 0.0)
        table.add_row(stage, "" if alone is None else f"{alone:.2f}", f"{within:.2f}")
    table.add_section()
    table.add_row("sum", f"{result.limit_us:.2f}", f"{result.timed_service_us:.2f}")
    table.add_row("the service, untimed", "", f"{result.service_us:.2f}")
    mark = "green" if result.reached >= _BAR else "bold red"
    table.add_row("of the limit", "", f"[{mark}]{result.reached:.1%}")
    return table


def draw(axes: Axes, results: list[Breakdown]) -> None:
    """A bar for the stages alone and one for the service, for each shape."""
    bars = [
        bar
        for each in results
        for bar in ((f"{each.shape}\nalone", each.alone_us), (f"{each.shape}\nservice", each.in_service_us))
    ]
    names, bottom = [name for name, _ in bars], [0.0] * len(bars)
    for stage, colour in zip(ORDER, _COLOURS, strict=True):
        heights = [stages.get(stage, 0.0) for _, stages in bars]
        axes.bar(names, heights, 0.7, bottom, label=stage, color=colour)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set(ylabel="µs of processor time an event", title="Where the time goes")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)


def main() -> None:
    """Measure, print tables, draw, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="Measured in the short mix.")
    parser.add_argument("--full-events", type=int, default=40_000, help="Measured with full histories.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="Of the shops: less is sooner done.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="A fifth of everything, once; into bench/quick/.")
    given = parser.parse_args()
    if given.quick:
        given.scale, given.repeats = 0.2, 1
    set_up()  # as the service is
    log, full = round(1_000_000 * given.scale), round(100_000 * given.scale)
    short_shop = Workload(log, log // 10, 60, given.seed)
    full_shop = Workload(full, full // 50, 60, given.seed, history_days=MAX_DAYS)
    shapes = (
        Shape("short mix", short_shop, log // 2, round(given.events * given.scale)),
        Shape(
            "full histories", full_shop, full_shop.history_events + full // 2, round(given.full_events * given.scale)
        ),
    )
    with EmbeddedKafka() as kafka, EmbeddedValkey() as valkey:
        benches = [Bench(kafka, valkey, shape) for shape in shapes]
        for _ in range(given.repeats):
            for bench in benches:
                bench.repeat()
    results = [bench.result for bench in benches]
    for result in results:
        Console().print(table_of(result))
    found, pictures = (QUICK_FOLDER, QUICK_FOLDER) if given.quick else (RESULTS, PLOTS)
    told = [asdict(each) | {"limit_us": each.limit_us, "of_limit": each.reached} for each in results]
    write_results(found / "stages.json", "make bench-stages", told)
    plot = svg(lambda axes: draw(axes, results), (9.0, 5.0))
    (pictures / "stages.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main()
