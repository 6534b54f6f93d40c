"""The report's plots, as SVG that stands alone in a page."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes

from model_export.ablation_view import Row
from model_export.canvas import svg
from model_export.comparison import HISTORY_LENGTHS, Comparison, Example, Standing

_OURS: Final = ("#0f766e", "#2dd4bf")
_RIVALS: Final = ("#94a3b8", "#6366f1", "#f59e0b", "#ec4899", "#0ea5e9", "#64748b")
_RISKS: Final = ("#99f6e4", "#2dd4bf", "#0f766e", "#134e4a")


def plots(comparison: Comparison) -> list[tuple[str, str]]:
    """(what it says, SVG) of every plot of a comparison."""
    shown = [each for each in comparison.standings if each.role != "reference"]
    colours = _colours(shown)
    drawn = [
        (
            "Of the customers given a probability of staying away, as many should stay away: on the diagonal.",
            svg(lambda axes: _reliability(axes, shown, colours)),
        ),
        (
            "How many of those alerted stay away (precision), when alerting more and more of those who do (recall).",
            svg(lambda axes: _precision_recall(axes, shown, colours, comparison.stayed_away)),
        ),
        (
            "How many times as many leavers are among those alerted as among customers picked at random.",
            svg(lambda axes: _lift(axes, shown, colours)),
        ),
        (
            "How well customers are ranked, by the number of days on which they had bought; bars are 95 % intervals.",
            svg(lambda axes: _by_history(axes, shown, colours)),
        ),
    ]
    if comparison.examples:
        drawn.append(
            (
                f"Risk of buying nothing for {comparison.horizon_days} days, as silence goes on, of typical customers; "
                "dots: where they were at the cut-off.",
                svg(lambda axes: _risks(axes, comparison.examples)),
            )
        )
    return drawn


def differences(ablated: Sequence[Row]) -> str:
    """SVG of every run's difference in mean log-loss to the reference."""
    known = [(row.result.name, row.difference) for row in reversed(ablated) if row.difference is not None]

    def draw(axes: Axes) -> None:
        axes.barh(
            [name for name, _ in known],
            [value for _, value in known],
            color=[_OURS[0] if value > 0 else _RIVALS[0] for _, value in known],
        )
        axes.axvline(0, color="#94a3b8", linewidth=1)
        axes.grid(visible=False, axis="y")
        axes.set(title="What it cost", xlabel="difference in mean log-loss")

    return svg(draw)


def _colours(shown: Sequence[Standing]) -> dict[str, str]:
    ours = [each.name for each in shown if each.role == "ours"]
    rivals = [each.name for each in shown if each.role != "ours"]
    return {name: _OURS[index % len(_OURS)] for index, name in enumerate(ours)} | {
        name: _RIVALS[index % len(_RIVALS)] for index, name in enumerate(rivals)
    }


def _line(
    axes: Axes, each: Standing, colours: dict[str, str], points: Sequence[tuple[float, ...]], mark: str = "None"
) -> None:
    ours = each.role == "ours"
    axes.plot(
        [point[0] for point in points], [point[1] for point in points], marker=mark, label=each.name,
        color=colours[each.name], linewidth=2.4 if ours else 1.3, markersize=4 if ours else 2.5,
        zorder=3 if ours else 2,
    )  # fmt: skip


def _reliability(axes: Axes, shown: Sequence[Standing], colours: dict[str, str]) -> None:
    axes.axline((0, 0), slope=1, color="#94a3b8", linewidth=1, linestyle=(0, (4, 3)))
    for each in shown:
        _line(axes, each, colours, each.curves.reliability, "o")
    axes.set(
        title="Reliability", xlabel="foretold probability", ylabel="share that stayed away", xlim=(0, 1), ylim=(0, 1)
    )
    axes.legend(loc="best")


def _precision_recall(axes: Axes, shown: Sequence[Standing], colours: dict[str, str], base_rate: float) -> None:
    axes.axhline(base_rate, color="#94a3b8", linewidth=1, linestyle=(0, (4, 3)))
    for each in shown:
        _line(axes, each, colours, each.curves.precision_recall)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(None, 1.005))


def _lift(axes: Axes, shown: Sequence[Standing], colours: dict[str, str]) -> None:
    axes.axhline(1, color="#94a3b8", linewidth=1, linestyle=(0, (4, 3)))
    for each in shown:
        _line(axes, each, colours, each.curves.lift)
    axes.set(title="Lift", xlabel="share of customers alerted", ylabel="lift", xlim=(0, 1))
    axes.xaxis.set_major_formatter("{x:.0%}")


def _by_history(axes: Axes, shown: Sequence[Standing], colours: dict[str, str]) -> None:
    labels = [label for label, _, _ in HISTORY_LENGTHS]
    for index, each in enumerate(shown):
        shift = (index - (len(shown) - 1) / 2) * 0.11
        at = [labels.index(bucket.purchase_days) + shift for bucket in each.by_history]
        value = [bucket.auroc.value for bucket in each.by_history]
        below = [max(0.0, bucket.auroc.value - bucket.auroc.low) for bucket in each.by_history]
        above = [max(0.0, bucket.auroc.high - bucket.auroc.value) for bucket in each.by_history]
        axes.errorbar(
            at, value, yerr=[below, above], fmt="o", color=colours[each.name], label=each.name,
            markersize=5 if each.role == "ours" else 3.5, elinewidth=1.2,
        )  # fmt: skip
    axes.axhline(0.5, color="#94a3b8", linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(range(len(labels)), labels)
    axes.grid(visible=False, axis="x")
    axes.set(title="AUROC by history", xlabel="purchase days so far", ylabel="AUROC")


def _risks(axes: Axes, shown: Sequence[Example]) -> None:
    for each, colour in zip(shown, _RISKS, strict=False):
        axes.plot(range(len(each.risk)), each.risk, color=colour, linewidth=2, label=each.label)
        if each.silence_days < len(each.risk):
            axes.plot(each.silence_days, each.risk[each.silence_days], "o", color=colour, markersize=6)
    axes.set(title="Risk over silence", xlabel="days of silence", ylabel="risk", xlim=(0, None), ylim=(0, 1.02))
    axes.legend(loc="lower right")
