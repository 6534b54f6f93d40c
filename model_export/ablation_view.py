"""The ablations as rows: for the report and for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from model_export.ablation_results import REFERENCE, Result, difference


@dataclass(frozen=True)
class Row:
    """One run in figures."""

    result: Result
    difference: float | None  # in mean log-loss, to the reference

    @property
    def is_reference(self) -> bool:
        """Whether the others are held against this one."""
        return self.result.name == REFERENCE


def rows(results: Sequence[Result]) -> list[Row]:
    """In the order of the results."""
    return [Row(result, difference(result, results)) for result in results]


def titles(results: Sequence[Result]) -> list[str]:
    """Logs and horizons of any run, in order of appearance."""
    return list(dict.fromkeys(score.title for result in results for score in result.scores))


def lengths(results: Sequence[Result]) -> str:
    """How long the runs were, in words."""
    settings = dict.fromkeys((each.setting.steps, each.setting.shops, each.setting.users) for each in results)
    told = [f"{steps:,} steps of {shops} simulated shops × {users} customers" for steps, shops, users in settings]
    return f"Every network had {' or '.join(told)}: all are much shorter than the shipped model's pre-training."


def signed(value: float | None) -> str:
    """Of a difference: “+.0123”; a dash for none."""
    if value is None:
        return "–"
    text = f"{value:+.4f}"
    return text.replace("0.", ".") if abs(value) < 1 else text


def on_terminal(results: Sequence[Result]) -> Table:
    """Every run, what it left out, and what that cost."""
    found = Table(title="Ablations: zero-shot on the real logs", caption=lengths(results))
    found.add_column("run", no_wrap=True)
    found.add_column("what")
    for name in ("mean log-loss", "± reference", "simulated"):
        found.add_column(name, justify="right", min_width=6)
    for row in rows(results):
        result = row.result
        simulated = "–" if result.simulated_loss is None else f"{result.simulated_loss:.4f}"
        figures = f"{result.mean_log_loss:.4f}", signed(row.difference), simulated
        found.add_row(escape(result.name), escape(result.what), *figures, style="bold" if row.is_reference else None)
    return found
