"""`ebbtide simulate`: its arguments, the shop and what to say of it; then a file, or a topic."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from consumer.adapters.paced_feed import Pace, Timed, feed
from consumer.core.calendar import Calendar
from consumer.errors import ConfigurationError
from consumer.settings import Settings
from model_export.results import check_name
from model_export.simulate import Simulated
from model_export.simulate_events import EventColumns, events_by_time
from model_export.simulate_files import write_events, write_truth
from model_export.simulate_rows import Naming, json_values
from model_export.simulate_shop import Kind, customers_of, event_generator, shop_of
from schemas.files import EventFileError

_FILE_START = date(2024, 1, 1)
_FIRST, _LAST_YEAR = date(1970, 1, 2), 9999
_EPOCH = date(1970, 1, 1)
_LONG_LIFE_DAYS = 50_000


@dataclass(frozen=True)
class Wanted:
    """What is to be simulated."""

    users: int
    seed: int
    days: int | None = None  # None: as long as the shop's own log
    start: str | None = None
    kind: Kind = "any"


@dataclass(frozen=True)
class Target:
    """Where it goes: exactly one of a file and a topic, and for a topic the pace."""

    out: Path | None
    topic: str | None
    pace: Pace
    truth: Path | None = None

    def check(self) -> None:
        """Raises `ConfigurationError` for what makes no sense, before anything is simulated."""
        if (self.out is None) == (self.topic is None):
            raise ConfigurationError("say either --out FILE or --topic NAME")
        if self.out and (self.pace.rate_per_s or self.pace.speed_up):
            raise ConfigurationError("--rate and --speed-up are for a --topic; a file is written at once")
        if self.pace.rate_per_s and self.pace.speed_up:
            raise ConfigurationError("say either --rate or --speed-up")
        if self.truth and self.truth == self.out:
            raise ConfigurationError(f"--truth and --out are both {self.out}")
        try:
            for path in filter(None, (self.out, self.truth)):
                check_name(path)
        except EventFileError as error:
            raise ConfigurationError(str(error)) from error


def simulate_shop(wanted: Wanted, target: Target, settings: Settings, console: Console) -> dict[str, Any]:
    """Simulate and deliver; progress goes to `console`. Returns what the shop is and what was written.

    Raises `ConfigurationError` and `UnavailableError`.
    """
    target.check()
    shop = shop_of(wanted.seed, wanted.kind, wanted.days)
    start = _start(wanted.start, shop.observed_days, target, settings.timezone)
    simulated = customers_of(shop, wanted.users, wanted.seed)
    if not simulated.users:
        raise ConfigurationError(f"nobody buys in {shop.observed_days} days: try more --days, or another --seed")
    parts = events_by_time(simulated, (start - _EPOCH).days, Calendar(settings.timezone), event_generator(wanted.seed))
    naming = Naming(wanted.seed)
    with _progress(console, int(simulated.days["events"].sum())) as on_done:
        if target.out:
            write_events(target.out, parts, naming, on_done)
        else:
            assert target.topic
            asyncio.run(feed(_timed(parts, naming), target.topic, settings, target.pace, on_done))
    if target.truth:
        write_truth(target.truth, simulated, start)
    return _summary(wanted, simulated, start) | {"to": str(target.out or target.topic)}


def _start(given: str | None, days: int, target: Target, timezone: str) -> date:
    """The log's first day. By default a topic's log ends yesterday: all of it has happened, and silence begins."""
    today = datetime.now(ZoneInfo(timezone)).date()
    if given is None:
        return today - timedelta(days=days) if target.topic else _FILE_START
    try:
        start = date.fromisoformat(given)
    except ValueError as error:
        raise ConfigurationError(f"--start {given} is no day such as 2026-03-01") from error
    if start < _FIRST or start.year + days // 365 + 1 >= _LAST_YEAR:
        raise ConfigurationError(f"--start {given} is not between {_FIRST} and the year {_LAST_YEAR}")
    if target.topic and start + timedelta(days=days) > today:
        raise ConfigurationError(
            f"{days} days from {start} on end after yesterday: a service rejects what has not happened yet"
        )
    return start


def _timed(parts: Iterator[EventColumns], naming: Naming) -> Iterator[Timed]:
    for columns in parts:
        for time_ms, (key, value) in zip(columns.time_ms.tolist(), json_values(columns, naming), strict=True):
            yield time_ms, key, value


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("simulated events"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)


def _summary(wanted: Wanted, simulated: Simulated, start: date) -> dict[str, Any]:
    bought = simulated.days["purchases"] > 0
    purchase_days = np.bincount(simulated.user[bought], minlength=simulated.users)
    buyers = purchase_days > 0
    return {
        "simulated": True,
        "seed": wanted.seed,
        "customers": simulated.users,
        "events": int(simulated.days["events"].sum()),
        "first_day": str(start),
        "last_day": str(start + timedelta(days=simulated.end_day - 1)),
        "bought_once": float((purchase_days[buyers] == 1).mean()) if buyers.any() else None,
        "left": float((simulated.left_day < simulated.end_day).mean()),
        "habits": asdict(simulated.shop),
    }


def habits_table(summary: dict[str, Any]) -> Table:
    """What shop it is, in a few lines."""
    habits = summary["habits"]
    table = Table("habit", "of this shop", title=f"Simulated shop, seed {summary['seed']}: no real customers")
    life = habits["lifetime_days"]
    once = summary["bought_once"]
    mail = f"every {habits['campaign_every_days']} days" if habits["campaign_every_days"] else "none"
    rhythm = "regular" if habits["regularity"] > 1 else "bursty" if habits["regularity"] < 1 else "random"
    for name, value in (
        ("log", f"{summary['first_day']} to {summary['last_day']}, {'dates' if habits['dated_only'] else 'times'}"),
        ("customers", f"{summary['customers']:,}, events: {summary['events']:,}"),
        ("typical gap between purchases", f"{1 / habits['rate_per_day']:,.0f} days, {rhythm}"),
        ("customers differ", f"{habits['rate_family']}, shape {habits['rate_shape']:.2g}"),
        ("lifetime", "no end" if life > _LONG_LIFE_DAYS else f"{life:,.0f} days"),
        ("bought on one day only", "nobody bought" if once is None else f"{once:.0%} of buyers"),
        ("left before the end", f"{summary['left']:.0%}"),
        ("visits without purchase", f"{habits['browsing']:.1f} per purchase" if habits["browsing"] else "not logged"),
        ("bad experiences", f"{habits['bad_share']:.0%} of purchases"),
        ("campaigns", mail),
        ("closed days a week", str(habits["closed_weekdays"])),
        ("panel", f"{habits['panel_min_purchases']} purchases or more" if habits["panel_min_purchases"] else "no"),
    ):
        table.add_row(name, value)
    return table
