"""How does the cost of an event grow (`make bench-growth`)?

With users, history, partitions, processes, micro-batches, pending timers.

Cost is processor time of the service's processes, user and system, for an event; broker and Redis are apart. Users,
partitions and processes are measured on whole services (bench/growth_service.py), history and batches on the worker
alone (bench/growth_alone.py). Pending timers are those of the last `make bench-timers`.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from bench import plots
from bench.growth_alone import of_batches, of_histories, of_the_dearest_day
from bench.growth_curves import Curve, Panel, draw
from bench.growth_service import PARTITIONS_SHARED, Rounds, Setup, Shop
from bench.machine import PLOTS, QUICK_FOLDER, RESULTS, facts, write_results
from consumer.embedded import EmbeddedKafka, EmbeddedValkey
from consumer.event_loop import set_up
from consumer.logs import configure_logging
from consumer.settings import Settings

T = TypeVar("T")

FLAT = 0.1
TIMERS = RESULTS / "timers_traffic.json"
console = Console(width=150)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    known: Sequence[int]
    events: int  # in a round of a whole service
    repeats: int
    history_users: int
    batch_users: int


FULL = Plan((10_000, 100_000, 1_000_000), 80_000, 3, 1_000, 20_000)
QUICK = Plan((10_000, 100_000), 10_000, 1, 100, 2_000)


def services(plan: Plan) -> list[Panel]:
    """Users known, partitions and processes."""
    with EmbeddedKafka() as kafka, EmbeddedValkey() as valkey:
        servers: dict[str, object] = {"kafka_bootstrap_servers": kafka.bootstrap_servers, "redis_url": valkey.url}
        shop = Shop()

        def measured(name: str, setups: list[Setup], spread: bool = False) -> list[tuple[bool, tuple[int, float]]]:
            costs = Rounds(servers, shop, name).measure(setups, plan.events, plan.repeats, spread)
            return [(each.is_spread, (each.x, each.cpu_us)) for each in told(costs)]

        users = measured("users", [Setup(count, known=count) for count in plan.known], spread=True)
        partitions = measured("partitions", [Setup(count, partitions=count) for count in (1, 4, 16)])
        processes = measured(
            "processes", [Setup(count, processes=count, partitions=PARTITIONS_SHARED) for count in (1, 2, 3)]
        )
    return [
        Panel("Users known", "users", [
            Curve.of("events of the same 10,000", [each for is_spread, each in users if not is_spread], FLAT),
            Curve.of("events of all of them", [each for is_spread, each in users if is_spread]),
        ]),
        Panel("Partitions", "partitions", [Curve.of("", [each for _, each in partitions])]),
        Panel(f"Processes, on {facts()['cores']} cores", "processes", [Curve.of("", [each for _, each in processes])]),
    ]  # fmt: skip


def alone(plan: Plan) -> list[Panel]:
    """History and batches."""
    histories = [
        each for _ in range(plan.repeats) for each in told(of_histories(plan.history_users, 10 * plan.history_users))
    ]
    dearest = [*told(of_the_dearest_day(plan.history_users, 10 * plan.history_users) for _ in range(plan.repeats))]
    batches = [*told(of_batches(plan.batch_users, plan.repeats))]
    return [
        Panel("History", "active days of every user", [
            Curve.of("remembered", [(days, cpu_us) for days, cpu_us, _ in histories], FLAT),
            Curve.of("never remembered", [(days, cpu_us) for days, _, cpu_us in histories]),
            Curve.of("the day on which all are read again", dearest),
        ]),
        Panel("Micro-batch", "events", [Curve.of("", batches)]),
    ]  # fmt: skip


def timers() -> Panel:
    """Those that wait, none of them due."""
    runs = json.loads(TIMERS.read_text(encoding="utf-8"))["measured"]
    costs = [(each["waiting"], each["cpu_us"]) for each in runs if not each["backlog"]]
    return Panel("Pending timers", "timers (of make bench-timers)", [Curve.of("", costs)])


def told(measured: Iterable[T]) -> Iterator[T]:
    """As it comes."""
    for each in measured:
        console.print(each, highlight=False)
        yield each


def table(panels: Sequence[Panel]) -> Table:
    """Medians and slopes."""
    found = Table("", "", "CPU µs per event", "slope", "at most", title="How the cost of an event grows")
    for panel in panels:
        for curve in panel.curves:
            costs = ", ".join(f"{x:,}: {cost:,.0f}" for x, cost in curve.medians.items())
            slope = "" if curve.slope is None else f"{curve.slope:+.3f}"
            bar = "" if curve.bar is None else f"{curve.bar}"
            found.add_row(panel.title, curve.what, costs, slope, bar)
    return found


def main() -> None:
    """Measure, print, plot, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Less of everything, in three minutes; into bench/quick/.")
    options = parser.parse_args()
    configure_logging(Settings(log_level="error"))
    plan = QUICK if options.quick else FULL
    set_up()  # as the service is
    panels = [*services(plan), *alone(plan), timers()]
    console.print(table(panels))
    found = [
        {"title": each.title, "x": each.x, "curves": [curve.as_json() for curve in each.curves]} for each in panels
    ]
    results, pictures = (QUICK_FOLDER, QUICK_FOLDER) if options.quick else (RESULTS, PLOTS)
    write_results(results / "growth.json", "make bench-growth", {"plan": asdict(plan), "panels": found})
    plots.save(pictures / "growth.svg", partial(draw, panels), (13.0, 7.0))


if __name__ == "__main__":
    main()
