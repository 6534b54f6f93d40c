"""The page's plots of when alerts came, how early, and how they compare."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from consumer.backtest.bootstrap import Estimate
from consumer.backtest.comparison import DAILY, EARLY_RULE, OURS, RULE
from consumer.backtest.findings import Findings, Level
from consumer.backtest.judging import lost_stretches
from consumer.backtest.usage import Usage
from consumer.core.alerts import TIERS
from consumer.core.calendar import DAY_MS

Draw = Callable[[Axes], None]
COLOURS: Final = {OURS: "#0f766e", RULE: "#f59e0b", EARLY_RULE: "#fb7185", DAILY: "#6366f1"}
NAMES: Final = {OURS: "Ebbtide", RULE: "rule: no purchase for N days", DAILY: "same model once a day"}
RIGHT, WRONG, FAINT = "#0f766e", "#cbd5e1", "#94a3b8"
_SERIES: Final = ("#99f6e4", "#2dd4bf", "#fbbf24", "#f97316")
_DASHED: Final = (0, (4, 3))
_LABELLED_DAYS: Final = (7, 14, 21, 30, 45, 60, 90, 120, 180, 270)


def plots(findings: Findings, usage: Usage) -> Iterator[tuple[str, str, Draw]]:
    """(key, what it says, how it is drawn) of every plot that has something to show."""
    horizon = f"{findings.window.horizon_days:.0f}"
    yield "over_time", "Alerts a day, week by week. Grey: too early or too late to be judged.", _over_time(findings)
    yield "usage", "Customers alerted, as a share of those who bought in the year before.", _usage(usage)
    if not findings.levels:
        return
    yield (
        "numbers",
        "Precision against the number of alerts: along the yellow line N falls (thin: the best minimum number of "
        "purchases), along the dashed one the model's threshold. Higher at the same number is more precise.",
        _numbers(findings),
    )
    level = findings.levels[0]
    yield (
        "silence",
        f"Days since the last purchase when the alert came; left of the line, before {horizon} days without a purchase "
        "were over.",
        _silence(findings, level),
    )
    yield (
        "caught",
        f"Of {findings.lost:,} lost customers, how many had been alerted so many days after their last purchase, with "
        "the same number of alerts.",
        _caught(findings, level),
    )
    if findings.bands:
        yield (
            "calibration",
            f"On dates {horizon} days apart, all customers known by then, in ten groups by foretold probability: as "
            "many should stay away as was foretold.",
            _calibration(findings),
        )


def _date(time_ms: float) -> float:
    return time_ms / DAY_MS  # as matplotlib counts: days since 1970-01-01, UTC


def _dates(axes: Axes) -> None:
    axes.xaxis_date()
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _over_time(findings: Findings) -> Draw:
    alerts, window = findings.alerts, findings.window

    def draw(axes: Axes) -> None:
        starts = np.arange(alerts.at_ms.min(initial=window.until_ms), window.until_ms + 1, 7 * DAY_MS)
        below = np.zeros(len(starts))
        for index, colour in enumerate(_SERIES):
            tier, silent = divmod(index, 2)
            chosen = (alerts.tier == tier) & (alerts.by_silence == (not silent))
            week = np.searchsorted(starts, alerts.at_ms[chosen], side="right") - 1
            count = np.bincount(week, minlength=len(starts)) / 7
            label = f"{TIERS[tier].replace('_', ' ')}, by {'an event' if silent else 'silence'}"
            at = [_date(each) for each in starts]
            axes.bar(at, count, width=6.2, align="edge", bottom=below, color=colour, label=label)
            below += count
        left, right = axes.get_xlim()
        for start, end in ((None, window.from_ms), (window.last_ms, None)):
            bounds = (left if start is None else _date(start), right if end is None else _date(end))
            axes.axvspan(*bounds, color="#f1f5f9", zorder=0)
        axes.set_xlim(left, right)
        _dates(axes)
        axes.set(title="Alerts over time", ylabel="alerts a day")
        axes.set_ylim(0, max(below.max(initial=0) * 1.35, 1e-9))
        axes.legend(loc="upper left", ncols=2)

    return draw


def _usage(usage: Usage) -> Draw:
    def draw(axes: Axes) -> None:
        width = usage.period_days * 0.85
        axes.bar([_date(each) for each in usage.start_ms], usage.share, width=width, align="edge", color=RIGHT)
        axes.axhline(usage.budget, color="#b91c1c", linewidth=1.4, linestyle=_DASHED, label="budget")
        _dates(axes)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_ylim(0, max(usage.budget, usage.share.max(initial=0)) * 1.3)
        axes.set(title="Use of the alert budget", ylabel=f"customers alerted in {usage.period_days:.0f} days")
        axes.legend(loc="upper right")

    return draw


def _numbers(findings: Findings) -> Draw:
    def draw(axes: Axes) -> None:
        plain = [each for each in findings.rules if each.rule.least_purchases == 1]
        _rule_lines(axes, findings, [each.alerts for each in plain], [each.precision for each in plain])
        for each in plain:
            if each.rule.silence_days in _LABELLED_DAYS:
                axes.annotate(
                    f"{each.rule.silence_days} d", (each.alerts, each.precision), fontsize=8, color="#b45309",
                    xytext=(4, 4), textcoords="offset points",
                )  # fmt: skip
        model = findings.thresholds
        axes.plot(
            [each.alerts for each in model], [each.precision for each in model], color=COLOURS[DAILY], linewidth=1.3,
            linestyle=_DASHED,
        )  # fmt: skip
        for level in findings.levels:
            for standing in level.standings:
                if standing.key in (OURS, DAILY):
                    _point(axes, standing.key, len(standing.alerts), standing.figures["precision"], level)
        axes.set_xscale("log")
        axes.set(title="Precision by number of alerts", xlabel="alerts that can be judged", ylabel="precision")
        axes.legend(loc="best")

    return draw


def _rule_lines(axes: Axes, findings: Findings, alerts: list[int], precision: list[float]) -> None:
    best: dict[int, float] = {}
    for each in sorted(findings.rules, key=lambda each: -each.alerts):
        best[each.alerts] = max(each.precision, max(best.values(), default=0.0))
    axes.plot(list(best), list(best.values()), color=COLOURS[RULE], linewidth=0.8, alpha=0.7)
    axes.plot(alerts, precision, color=COLOURS[RULE], linewidth=2, label=NAMES[RULE])


def _point(axes: Axes, key: str, alerts: int, precision: Estimate, level: Level) -> None:
    reach = [[max(0.0, precision.value - precision.low)], [max(0.0, precision.high - precision.value)]]
    first = level.tier is TIERS[0]
    axes.errorbar(
        alerts * (1.0 if key == OURS else 1.06), precision.value, yerr=reach, fmt="o" if first else "D",
        color=COLOURS[key], label=f"{NAMES[key]}: {level.tier.replace('_', ' ')}", zorder=4,
        markersize=7 if key == OURS else 5, markerfacecolor=COLOURS[key] if first else "white", elinewidth=1.3,
    )  # fmt: skip


def _silence(findings: Findings, level: Level) -> Draw:
    raised = level.judged
    days = findings.history.silence_days(raised.stretch, raised.at_ms)
    right = raised.are_right(findings.history, findings.window)

    def draw(axes: Axes) -> None:
        end = max(float(np.percentile(days, 99)), findings.window.horizon_days * 1.2)
        edges = np.linspace(0, end, 31).tolist()
        clipped = np.minimum(days, end)
        axes.hist(
            [clipped[right], clipped[~right]], edges, stacked=True, color=[RIGHT, WRONG],
            label=["right: nothing bought in time", "wrong: bought after all"],
        )  # fmt: skip
        axes.axvline(findings.window.horizon_days, color="#334155", linewidth=1.2, linestyle=_DASHED)
        axes.set(title="How early", xlabel="days since the last purchase", ylabel="alerts", xlim=(0, end))
        axes.legend(loc="best")

    return draw


def _caught(findings: Findings, level: Level) -> Draw:
    lost = lost_stretches(findings.history, findings.window)

    def draw(axes: Axes) -> None:
        end = findings.window.horizon_days * 3
        for each in level.standings:
            among = each.alerts.take(np.flatnonzero(np.isin(each.alerts.stretch, lost)))
            days = np.sort(findings.history.silence_days(among.stretch, among.at_ms))
            share = np.arange(1, len(days) + 1) / max(len(lost), 1)
            at = np.concatenate(([0.0], days, [max(end, days.max(initial=0))]))
            height = np.concatenate(([0.0], share, share[-1:] if len(share) else [0.0]))
            axes.step(
                at, height, where="post", color=COLOURS[each.key], label=each.title,
                linewidth=2.4 if each.key == OURS else 1.5, linestyle=_DASHED if each.key == DAILY else "-",
            )  # fmt: skip
        axes.axvline(findings.window.horizon_days, color="#334155", linewidth=1.2, linestyle=_DASHED)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set(title="Lost customers alerted", xlabel="days since the last purchase", xlim=(0, end), ylim=(0, None))
        axes.legend(loc="best")

    return draw


def _calibration(findings: Findings) -> Draw:
    def draw(axes: Axes) -> None:
        axes.axline((0, 0), slope=1, color=FAINT, linewidth=1, linestyle=_DASHED)
        foretold, happened = ([getattr(band, name) for band in findings.bands] for name in ("foretold", "happened"))
        axes.plot(foretold, happened, "o-", color=RIGHT, linewidth=2.2, markersize=5)
        axes.set(
            title="Calibration", xlabel="foretold probability", ylabel="share that stayed away", xlim=(0, 1.02),
            ylim=(0, 1.02),
        )  # fmt: skip

    return draw
