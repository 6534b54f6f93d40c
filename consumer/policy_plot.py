"""A plan as a picture."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consumer.policy_plan import Plan
from consumer.policy_trial import Trial

_BLUE, _ORANGE, _GREEN, _GREY = "#3465a4", "#ce5c00", "#4e9a06", "#888a85"


def write_plot(plan: Plan, path: Path) -> None:
    """Against the threshold: precision and caught, alerts a day, and the money if there is any; as PNG."""
    with_money = plan.best.net is not None
    figure = Figure(figsize=(7.5, 8.5 if with_money else 6.0), dpi=120, layout="constrained")
    axes = figure.subplots(3 if with_money else 2, 1, sharex=True)
    trials = sorted({*plan.thresholds, *(each.trial for each in plan.budgets)}, key=lambda trial: trial.threshold)
    at = [trial.threshold for trial in trials]
    _shares(axes[0], at, trials)
    axes[1].plot(at, [trial.alerts_per_day for trial in trials], color=_GREY, marker=".")
    axes[1].set(ylabel="alerts a day", ylim=(0, None))
    if with_money:
        _money(axes[2], at, trials)
    for each in axes:
        each.axvline(plan.best.threshold, color="black", linewidth=1, linestyle=":")
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    axes[0].set_title(f"Best threshold: {plan.best.threshold:.4g} (dotted)", loc="left")
    axes[-1].set_xlabel(f"threshold: churn probability within {plan.period.horizon_days:g} days")
    figure.savefig(path)


def _shares(axes: Axes, at: list[float], trials: list[Trial]) -> None:
    for name, color in (("precision", _BLUE), ("caught", _ORANGE)):
        values = [float("nan") if getattr(trial, name) is None else 100 * getattr(trial, name) for trial in trials]
        axes.plot(at, values, color=color, marker=".", label=name)
    axes.set(ylabel="%", ylim=(0, 100))
    axes.legend(frameon=False, loc="best")


def _money(axes: Axes, at: list[float], trials: list[Trial]) -> None:
    for name, label, color in (
        ("margin_saved", "margin saved", _BLUE),
        ("offers_cost", "offers cost", _ORANGE),
        ("net", "net", _GREEN),
    ):
        axes.plot(at, [getattr(trial, name) for trial in trials], color=color, marker=".", label=label)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("over the period judged")
    axes.legend(frameon=False, loc="best")
