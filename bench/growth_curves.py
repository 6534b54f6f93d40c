"""What an event costs against something that grows: points, their slope, and their plot."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.fits import log_log_slope

_COLUMNS, _COLOURS = 3, ("#2563eb", "#f59e0b", "#94a3b8")
_COSTS_US = (10, 100, 1_000)


@dataclass(frozen=True)
class Curve:
    """Processor time for an event, µs, by x; several where it was measured again."""

    what: str
    points: dict[int, list[float]]
    bar: float | None = None  # that the slope must not exceed

    @classmethod
    def of(cls, what: str, measured: Iterable[tuple[int, float]], bar: float | None = None) -> "Curve":
        """From costs in any order."""
        points: dict[int, list[float]] = {}
        for x, cpu_us in measured:
            points.setdefault(x, []).append(cpu_us)
        return cls(what, dict(sorted(points.items())), bar)

    @property
    def medians(self) -> dict[int, float]:
        """One cost for each x."""
        return {x: median(costs) for x, costs in self.points.items()}

    @property
    def slope(self) -> float | None:
        """On log–log axes, where x is not zero; of a single point there is none."""
        shown = {x: cost for x, cost in self.medians.items() if x}
        return log_log_slope([*shown], [*shown.values()]) if len(shown) > 1 else None

    @property
    def name(self) -> str:
        """What it is, and its slope."""
        return self.what if self.slope is None else f"{self.what}, slope {self.slope:+.2f}"

    def as_json(self) -> dict[str, Any]:
        """With what follows from the points."""
        return asdict(self) | {"medians": self.medians, "slope": None if self.slope is None else round(self.slope, 4)}


@dataclass(frozen=True)
class Panel:
    """Curves over the same x."""

    title: str
    x: str
    curves: list[Curve]

    def draw(self, axes: Axes) -> None:
        """Both axes are logarithmic; what was measured at zero is a dotted line."""
        for curve, colour in zip(self.curves, _COLOURS, strict=False):
            shown = {x: cost for x, cost in curve.medians.items() if x}
            label = curve.name if curve.what else None
            axes.plot([*shown], [*shown.values()], color=colour, marker="o", markersize=4, label=label)
            for x in shown:
                costs = curve.points[x]
                axes.vlines(x, min(costs), max(costs), color=colour, linewidth=1)
            if 0 in curve.medians:
                axes.axhline(curve.medians[0], color="#94a3b8", linestyle=":", label="none")
        ticks = [x for x in self.curves[0].medians if x]
        slope = self.curves[0].slope
        axes.set(
            title=self.title if slope is None else f"{self.title}: slope {slope:+.2f}",
            xlabel=self.x,
            xscale="log",
            yscale="log",
            ylim=(10, 5_000),
        )
        axes.set_xticks(ticks, [f"{x:,}" for x in ticks])
        axes.set_yticks(_COSTS_US, [f"{cost:,}" for cost in _COSTS_US])
        axes.minorticks_off()
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="upper right", fontsize="small")


def draw(panels: Sequence[Panel], figure: Figure) -> None:
    """Side by side, costs on the same scale."""
    rows = -(-len(panels) // _COLUMNS)
    for panel, axes in zip(panels, figure.subplots(rows, _COLUMNS, squeeze=False).flat, strict=True):
        panel.draw(axes)
        axes.set_ylabel("CPU µs per event")
