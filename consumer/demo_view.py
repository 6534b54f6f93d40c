"""The demo's live view: how far it is, how fast, and the latest alerts."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from consumer.adapters import feed
from consumer.tables import alerts_table


class View:
    """Redraws in place on a terminal; prints only its last state elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self._bar = Progress(
            BarColumn(20),
            TextColumn("{task.completed:,} of {task.total:,} events, {task.fields[speed]:,.0f}/s"),
            TextColumn("{task.fields[alerts]:,} alerts"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("", total=total, speed=0.0, alerts=0)
        self._live = Live(self._bar, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, source: feed.Feed, progress: feed.Progress, alerts: feed.Alerts) -> None:
        """Draw how things stand."""
        self._bar.update(
            self._task,
            completed=progress.processed,
            speed=progress.events_per_s,
            alerts=sum(source.tally.alerts.values()),
        )
        self._live.update(Group(self._bar, alerts_table(alerts.latest)))
