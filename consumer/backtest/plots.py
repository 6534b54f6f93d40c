"""The page's plots."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from consumer.backtest.comparison import OURS
from consumer.backtest.contest_plots import COLOURS, DASHED, Draw, caught, numbers
from consumer.backtest.findings import Findings, Level
from consumer.backtest.usage import Usage
from consumer.core.actions import TIERS
from consumer.core.calendar import DAY_MS

RIGHT, WRONG = COLOURS[OURS], "#cbd5e1"
_SERIES: Final = ("#99f6e4", "#2dd4bf", "#fbbf24", "#f97316")


def plots(findings: Findings, usage: Usage) -> Iterator[tuple[str, str, Draw]]:
    """(key, what it says, how it is drawn) of every plot that has something to show."""
    words, horizon = findings.words, f"{findings.window.horizon_days:.0f}"
    yield "over_time", "Alerts a day, week by week. Grey: too early or too late to be judged.", _over_time(findings)
    yield "usage", f"Customers alerted, as a share of those who {words.stayed} in the year before.", _usage(usage)
    if not findings.levels:
        return
    yield (
        "numbers",
        "Precision against the number of alerts: along the yellow line N falls (thin: the best minimum number of "
        f"{words.many}), along the dashed one the model's threshold. Higher at the same number is more precise.",
        numbers(findings),
    )
    level = findings.levels[0]
    yield (
        "silence",
        f"Days since the last {words.last} when the alert came; left of the line, before {horizon} days without "
        f"{words.one} were over.",
        _silence(findings, level),
    )
    yield (
        "caught",
        f"Of {findings.lost:,} lost customers, how many had been alerted so many days after their last {words.last}, "
        "with the same number of alerts.",
        caught(findings, level),
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
        axes.axhline(usage.budget, color="#b91c1c", linewidth=1.4, linestyle=DASHED, label="budget")
        _dates(axes)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_ylim(0, max(usage.budget, usage.share.max(initial=0)) * 1.3)
        axes.set(title="Use of the alert budget", ylabel=f"customers alerted in {usage.period_days:.0f} days")
        axes.legend(loc="upper right")

    return draw


def _silence(findings: Findings, level: Level) -> Draw:
    raised, words = level.judged, findings.words
    days = findings.history.silence_days(raised.stretch, raised.at_ms)
    right = raised.are_right(findings.history, findings.window)

    def draw(axes: Axes) -> None:
        end = max(float(np.percentile(days, 99)), findings.window.horizon_days * 1.2)
        edges = np.linspace(0, end, 31).tolist()
        clipped = np.minimum(days, end)
        axes.hist(
            [clipped[right], clipped[~right]], edges, stacked=True, color=[RIGHT, WRONG],
            label=[f"right: {words.nothing} in time", "wrong: came back after all"],
        )  # fmt: skip
        axes.axvline(findings.window.horizon_days, color="#334155", linewidth=1.2, linestyle=DASHED)
        axes.set(title="How early", xlabel=f"days since the last {words.last}", ylabel="alerts", xlim=(0, end))
        axes.legend(loc="best")

    return draw


def _calibration(findings: Findings) -> Draw:
    def draw(axes: Axes) -> None:
        axes.axline((0, 0), slope=1, color="#94a3b8", linewidth=1, linestyle=DASHED)
        foretold, happened = ([getattr(band, name) for band in findings.bands] for name in ("foretold", "happened"))
        axes.plot(foretold, happened, "o-", color=RIGHT, linewidth=2.2, markersize=5)
        axes.set(
            title="Calibration", xlabel="foretold probability", ylabel="share that stayed away", xlim=(0, 1.02),
            ylim=(0, 1.02),
        )  # fmt: skip

    return draw
