"""What an evaluation found: as a page for people, as JSON for machines, and as tables on the terminal."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from model_export.ablation_results import Result
from model_export.ablation_view import lengths, rows, signed, titles
from model_export.bars import Bar
from model_export.comparison import Comparison, Standing, clearly
from model_export.metrics import ECE_BINS, HIGHER_IS_BETTER, METRICS
from model_export.metrics import Figure as Measure
from model_export.plots import differences, plots

LABELS: Final = {
    "auroc": "AUROC", "pr_auc": "PR-AUC", "brier": "Brier", "log_loss": "log-loss", "ece": "ECE",
    "accuracy": "accuracy", "precision_at_budget": "precision", "recall_at_budget": "recall", "lift_at_10pct": "lift",
}  # fmt: skip
_ON_TERMINAL: Final = ("auroc", "brier", "log_loss", "ece")


@dataclass(frozen=True)
class Cell:
    """One figure of a table."""

    value: str
    interval: str
    best: bool
    verdict: str  # of a rival, on the difference to ours: "better", "worse", or "" where it may be chance


def write_report(
    out: Path, comparisons: Sequence[Comparison], bars: Sequence[Bar], ablations: Sequence[Result] = ()
) -> None:
    """`report.html`, which needs nothing else, and `report.json` in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Sequence[Comparison | Bar | Result]] = {
        "comparisons": comparisons, "bars": bars, "ablations": ablations,
    }  # fmt: skip
    content = {name: [asdict(each) for each in part] for name, part in parts.items()}
    text = json.dumps(_without_nan(content), ensure_ascii=False, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    (out / "report.html").write_text(html(comparisons, bars, ablations), encoding="utf-8")


def html(comparisons: Sequence[Comparison], bars: Sequence[Bar], ablations: Sequence[Result] = ()) -> str:
    """The page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("model_export").joinpath("report.html.j2").read_text(encoding="utf-8"))
    sections = [(each, table(each), plots(each)) for each in comparisons]
    return template.render(
        sections=sections, bars=bars, labels=LABELS, metrics=METRICS, ece_bins=ECE_BINS, number=_number,
        ours=next((each.name for each in comparisons[0].standings if each.role == "ours"), None),
        ablations=rows(ablations), trials=titles(ablations), lengths=lengths(ablations), signed=signed,
        ablation_plot=differences(rows(ablations)) if ablations else "",
    )  # fmt: skip


def table(comparison: Comparison) -> list[tuple[Standing, list[Cell]]]:
    """Every standing with its figures, the best competitor of each metric marked."""
    rows = []
    best = {metric: _best(comparison, metric) for metric in METRICS}
    for each in comparison.standings:
        cells = [
            Cell(
                _number(each.figures[metric].value),
                f"{_number(each.figures[metric].low)}–{_number(each.figures[metric].high)}",
                each.role != "reference" and _number(each.figures[metric].value) == best[metric],
                _verdict(each, metric),
            )
            for metric in METRICS
        ]
        rows.append((each, cells))
    return rows


def _best(comparison: Comparison, metric: str) -> str:
    values = [each.figures[metric].value for each in comparison.standings if each.role != "reference"]
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    return _number(max(known) if metric in HIGHER_IS_BETTER else min(known))


def _verdict(standing: Standing, metric: str) -> str:
    difference = standing.differences.get(metric)
    if difference is None or not clearly(difference):
        return ""
    return "better" if (difference.low > 0) == (metric in HIGHER_IS_BETTER) else "worse"


def on_terminal(comparisons: Sequence[Comparison], bars: Sequence[Bar]) -> RenderableType:
    """The main figures, and whether what should be shown is shown; fits 80 columns."""
    parts: list[RenderableType] = [_terminal_table(each) for each in comparisons]
    if any(each.role == "ours" for comparison in comparisons for each in comparison.standings):
        parts.append(Text("▲ better, ▼ worse than the first of ours: the 95 % interval of the difference is off 0."))
    if bars:
        parts.append(_bars_table(bars))
    return Group(*parts)


def _terminal_table(comparison: Comparison) -> Table:
    title = f"{comparison.title}: {comparison.rows:,} customers × cut-offs, {comparison.stayed_away:.1%} stayed away"
    found = Table("competitor", *(LABELS[metric] for metric in _ON_TERMINAL), title=escape(title))
    for standing, cells in table(comparison):
        shown = dict(zip(METRICS, cells, strict=True))
        name = f"[dim]{escape(standing.name)}[/]" if standing.role == "reference" else escape(standing.name)
        figures = [_terminal_cell(shown[metric], standing.figures[metric]) for metric in _ON_TERMINAL]
        found.add_row(f"[bold]{name}[/]" if standing.role == "ours" else name, *figures)
    for column in found.columns[1:]:
        column.no_wrap = True
    return found


def _terminal_cell(cell: Cell, figure: Measure) -> str:
    mark = {"better": "▲", "worse": "▼", "": " "}[cell.verdict]
    value = f"[bold green]{cell.value}[/]" if cell.best else cell.value
    return f"{value} [dim]±{_number((figure.high - figure.low) / 2)}[/]{mark}"


def _bars_table(bars: Sequence[Bar]) -> Table:
    found = Table("", "where", "metric", "figure", "bar", title="What should be shown")
    for each in bars:
        met = "[green]met[/]" if each.met else "[red]not met[/]"
        against = _number(each.bar) + ("" if each.against == "bar" else f" ({each.against})")
        found.add_row(met, f"{each.who}: {each.where}", LABELS[each.metric], _number(each.value), escape(against))
    return found


def _number(value: float | None) -> str:
    """Four digits, without the zero before the point."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.4f}"
    return text[1:] if text.startswith("0.") else text


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what is not defined is null."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
