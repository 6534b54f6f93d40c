"""The plots that compare ours with what is simpler."""

from collections.abc import Callable
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from consumer.backtest.bootstrap import Estimate
from consumer.backtest.comparison import DAILY, EARLY_RULE, OURS, RULE
from consumer.backtest.findings import Findings, Level
from consumer.backtest.judging import lost_stretches
from consumer.core.actions import TIERS
from consumer.core.calendar import DAY_MS

Draw = Callable[[Axes], None]
COLOURS: Final = {OURS: "#0f766e", RULE: "#f59e0b", EARLY_RULE: "#fb7185", DAILY: "#6366f1"}
NAMES: Final = {OURS: "Ebbtide", DAILY: "same model once a day"}
DASHED: Final = (0, (4, 3))
_LABELLED_DAYS: Final = (7, 14, 21, 30, 45, 60, 90, 120, 180, 270)
_FEWEST = 20  # alerts, for a precision worth drawing


def numbers(findings: Findings) -> Draw:
    """Precision by number of alerts: of every rule, of the model at every threshold, and where ours stands."""

    def draw(axes: Axes) -> None:
        plain = [each for each in findings.rules if each.rule.least == 1 and each.alerts >= _FEWEST]
        _rule_lines(axes, findings, [each.alerts for each in plain], [each.precision for each in plain])
        for each in plain:
            if each.rule.silence_days in _LABELLED_DAYS:
                axes.annotate(
                    f"{each.rule.silence_days} d", (each.alerts, each.precision), fontsize=8, color="#b45309",
                    xytext=(4, 4), textcoords="offset points",
                )  # fmt: skip
        model = [each for each in findings.thresholds if each.alerts >= _FEWEST]
        axes.plot(
            [each.alerts for each in model], [each.precision for each in model], color=COLOURS[DAILY], linewidth=1.3,
            linestyle=DASHED,
        )  # fmt: skip
        for level in findings.levels:
            for standing in level.standings:
                if standing.key in (OURS, DAILY):
                    _point(axes, standing.key, standing.counted, standing.figures["precision"], level)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set(title="Precision by number of alerts", xlabel="alerts judged", ylabel="precision")
        axes.legend(loc="best")

    return draw


def _rule_lines(axes: Axes, findings: Findings, alerts: list[int], precision: list[float]) -> None:
    best: dict[int, float] = {}
    for each in sorted(findings.rules, key=lambda each: each.alerts, reverse=True):
        if each.alerts >= _FEWEST:
            best[each.alerts] = max(each.precision, max(best.values(), default=0.0))
    axes.plot(list(best), list(best.values()), color=COLOURS[RULE], linewidth=0.8, alpha=0.7)
    axes.plot(alerts, precision, color=COLOURS[RULE], linewidth=2, label=f"rule: {findings.words.none} for N days")


def _point(axes: Axes, key: str, alerts: int, precision: Estimate, level: Level) -> None:
    reach = [[max(0.0, precision.value - precision.low)], [max(0.0, precision.high - precision.value)]]
    first = level.tier is TIERS[0]
    axes.errorbar(
        alerts * (1.0 if key == OURS else 1.06), precision.value, yerr=reach, fmt="o" if first else "D",
        color=COLOURS[key], label=f"{NAMES[key]}: {level.tier.replace('_', ' ')}", zorder=4,
        markersize=7 if key == OURS else 5, markerfacecolor=COLOURS[key] if first else "white", elinewidth=1.3,
    )  # fmt: skip


def caught(findings: Findings, level: Level) -> Draw:
    """Share of the lost customers that had been alerted, by days since their last target event."""
    lost = lost_stretches(findings.history, findings.window)

    def draw(axes: Axes) -> None:
        end = findings.window.follow_ms / DAY_MS
        for each in level.standings:
            among = each.alerts.take(np.flatnonzero(np.isin(each.alerts.stretch, lost)))
            days = np.sort(findings.history.silence_days(among.stretch, among.at_ms))
            share = each.share * np.arange(1, len(days) + 1) / max(len(lost), 1)
            at = np.concatenate(([0.0], days, [max(end, days.max(initial=0))]))
            height = np.concatenate(([0.0], share, share[-1:] if len(share) else [0.0]))
            axes.step(
                at, height, where="post", color=COLOURS[each.key], label=each.title,
                linewidth=2.4 if each.key == OURS else 1.5, linestyle=DASHED if each.key == DAILY else "-",
            )  # fmt: skip
        axes.axvline(findings.window.horizon_days, color="#334155", linewidth=1.2, linestyle=DASHED)
        axes.yaxis.set_major_formatter("{x:.0%}")
        top = axes.get_ylim()[1] * 1.35  # leaves room for the legend
        axes.set(
            title="Lost customers alerted",
            xlabel=f"days since the last {findings.words.last}",
            xlim=(0, end),
            ylim=(0, top),
        )
        axes.legend(loc="upper left", frameon=True, facecolor="white", edgecolor="none", framealpha=1)

    return draw
