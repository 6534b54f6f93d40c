"""What Ebbtide sets out to show on the real logs, and whether the figures do show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from model_export.comparison import Comparison, Standing
from model_export.metrics import HIGHER_IS_BETTER

ZEROSHOT: Final = "Ebbtide, zero-shot"
FINETUNED: Final = "Ebbtide, fine-tuned"
_HEADLINE: Final = ("cdnow", 273)
_HEADLINE_BARS: Final = (("auroc", 0.770), ("brier", 0.160), ("log_loss", 0.496))
_ECE_BAR: Final = 0.03
_BEATEN_BY_FINETUNED: Final = ("LightGBM", "BG/NBD", "Pareto/NBD")


@dataclass(frozen=True)
class Bar:
    """One comparison that should hold."""

    who: str
    where: str
    metric: str
    value: float
    against: str  # what it is held to
    bar: float
    met: bool


def bars(comparisons: Sequence[Comparison]) -> list[Bar]:
    """All that can be judged with the competitors that took part."""
    found: list[Bar] = []
    for each in comparisons:
        if zeroshot := each.of(ZEROSHOT):
            found += _zeroshot(each, zeroshot)
        if finetuned := each.of(FINETUNED):
            found += _finetuned(each, finetuned)
    return found


def _zeroshot(comparison: Comparison, zeroshot: Standing) -> list[Bar]:
    found = [_fixed(comparison, zeroshot, "ece", _ECE_BAR)]
    if (comparison.shop, comparison.horizon_days) == _HEADLINE:
        found += [_fixed(comparison, zeroshot, metric, bar) for metric, bar in _HEADLINE_BARS]
    regression = comparison.of("Logistic regression")
    if comparison.shop != _HEADLINE[0] and regression:
        found += [_beside(comparison, zeroshot, regression, metric, ties=True) for metric in ("brier", "log_loss")]
    return found


def _finetuned(comparison: Comparison, finetuned: Standing) -> list[Bar]:
    rivals = [rival for name in _BEATEN_BY_FINETUNED if (rival := comparison.of(name))]
    found = [_fixed(comparison, finetuned, "ece", _ECE_BAR)]
    for metric in ("auroc", "brier", "log_loss"):
        found += [_beside(comparison, finetuned, rival, metric, ties=False) for rival in rivals]
    return found


def _fixed(comparison: Comparison, standing: Standing, metric: str, bar: float) -> Bar:
    return _judged(comparison, standing, metric, "bar", bar, ties=True)


def _beside(comparison: Comparison, standing: Standing, rival: Standing, metric: str, ties: bool) -> Bar:
    return _judged(comparison, standing, metric, rival.name, rival.figures[metric].value, ties)


def _judged(comparison: Comparison, standing: Standing, metric: str, against: str, bar: float, ties: bool) -> Bar:
    value = standing.figures[metric].value
    better = value > bar if metric in HIGHER_IS_BETTER else value < bar
    return Bar(standing.name, comparison.title, metric, value, against, bar, better or (ties and value == bar))
