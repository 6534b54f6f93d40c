"""A few alerts as people would read them, with their curve, their reasons, and what the customer did."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from consumer.backtest.findings import Findings, Level
from consumer.backtest.plots import RIGHT
from consumer.core.calendar import DAY_MS

_SHOWN = 4


@dataclass(frozen=True)
class Example:
    """One alert."""

    alert: dict[str, Any]  # as it was published
    is_right: bool
    last_target: str
    outcome: str

    def draw(self, axes: Axes) -> None:
        """The risk as silence goes on, and where the alert came."""
        points = self.alert["risk_curve"]
        axes.plot(
            [each["silence_days"] for each in points], [each["churn_probability"] for each in points],
            color=RIGHT, linewidth=2,
        )  # fmt: skip
        axes.plot(self.alert["silence_days"], self.alert["churn_probability"], "o", color="#b91c1c", markersize=7)
        axes.set(xlabel="days of silence", ylabel="risk", ylim=(0, 1.03), xlim=(0, None))


def examples(findings: Findings, alerts_file: Path) -> list[Example]:
    """Drawn at random, by a seed: of right ones by silence and by an event, wrong ones, and of the highest tier."""
    chosen = list(dict.fromkeys(_chosen(findings)))[:_SHOWN]
    lines = _lines(alerts_file, {alert for alert, _ in chosen})
    return [_example(findings, lines[alert], stretch) for alert, stretch in chosen]


def _chosen(findings: Findings) -> Iterator[tuple[int, int]]:
    """Alerts and their stretches."""
    rng = np.random.default_rng(findings.seed)
    for level in findings.levels:
        judged = findings.window.holds(findings.history.time_ms[level.everyone.stretch], level.everyone.at_ms)
        right = judged & level.everyone.are_right(findings.history, findings.window)
        by_silence = findings.alerts.by_silence[level.first]
        for kind in (right & by_silence, right & ~by_silence, judged & ~right)[: 3 if _is_lowest(level) else 1]:
            if kind.any():
                found = rng.choice(np.flatnonzero(kind))
                yield int(level.first[found]), int(level.everyone.stretch[found])


def _is_lowest(level: Level) -> bool:
    return level.tier == next(iter(type(level.tier)))


def _lines(path: Path, wanted: Iterable[int]) -> dict[int, dict[str, Any]]:
    with path.open("rb") as lines:
        return {number: json.loads(line) for number, line in enumerate(lines) if number in set(wanted)}


def _example(findings: Findings, alert: dict[str, Any], stretch: int) -> Example:
    history, window, words = findings.history, findings.window, findings.words
    next_ms, decided_ms = int(history.next_ms[stretch]), datetime.fromisoformat(alert["decided_at"]).timestamp() * 1000
    days = (next_ms - decided_ms) / DAY_MS
    outcome = (
        f"{words.stayed_away} in this log" if next_ms > window.until_ms else f"{words.came_back} {days:.0f} days later"
    )
    return Example(alert, next_ms > decided_ms + window.horizon_ms, _day(int(history.time_ms[stretch])), outcome)


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
