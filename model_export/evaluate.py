"""`ebbtide evaluate`: models and baselines on the same customers and cut-offs of real logs.

A competitor is handed a `Task`, which holds nothing from its cut-off on; what came after is looked at here only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from consumer.core.fold import FoldRules
from model_export.baselines import Competitor
from model_export.comparison import Comparison, Example, Rows, standings
from model_export.data import day_number
from model_export.design import learnt_days
from model_export.metrics import Sample
from model_export.reference import NAME as REFERENCE
from model_export.reference import cross_validated
from model_export.tasks import EvaluationError, Past, Task, read_past
from schemas.read_report import ReadReport

_DAY_0 = date(1970, 1, 1)
Advance = Callable[[str], None]  # told what was just done


@dataclass(frozen=True)
class Trial:
    """A log, a horizon, and the cut-offs that are pooled."""

    shop: str
    path: Path
    horizon_days: int
    cut_offs: tuple[date, ...]


@dataclass(frozen=True)
class Entrant:
    """A competitor and whose it is."""

    competitor: Competitor
    ours: bool = False
    examples: Callable[[Task], list[Example]] | None = None  # risk curves, of models that have them


@dataclass(frozen=True)
class Measuring:
    """How it is measured."""

    budget: float = 0.10
    resamples: int = 300
    seed: int = 1


def suite(folder: Path) -> list[Trial]:
    """The real logs that Ebbtide is measured on, as they lie in `folder`."""
    cut_offs: dict[str, dict[int, tuple[str, ...]]] = {
        "cdnow": {
            273: ("1997-10-01",),  # 39 + 39 weeks, as in the literature
            90: ("1997-10-01", "1998-01-01", "1998-04-01"),
            30: ("1997-10-01", "1998-01-01", "1998-04-01"),
        },
        "online_retail": dict.fromkeys((90, 30), ("2011-03-01", "2011-05-01", "2011-06-01")),
        "complete_journey": dict.fromkeys((90, 30), ("2017-08-01", "2017-09-15")),
    }
    return [
        Trial(shop, folder / shop / "events.csv.xz", horizon, tuple(map(date.fromisoformat, dates)))
        for shop, horizons in cut_offs.items()
        for horizon, dates in horizons.items()
    ]


def steps(trials: Sequence[Trial], entrants: Sequence[Entrant]) -> int:
    """How often `evaluate` calls `advance`."""
    return sum(len(trial.cut_offs) * len(entrants) + 1 for trial in trials)


def evaluate(
    trials: Sequence[Trial],
    entrants: Sequence[Entrant],
    rules: FoldRules,
    measuring: Measuring,
    advance: Advance,
    was_read: Callable[[ReadReport], object] = lambda _: None,
) -> list[Comparison]:
    """One comparison per trial, in their order; each log is read once, and folded once per cut-off."""
    found: dict[Trial, Comparison] = {}
    for path in dict.fromkeys(trial.path for trial in trials):
        report = ReadReport()
        whole = read_past(path, rules, report)
        was_read(report)
        pasts: dict[int, Past] = {}
        for trial in (each for each in trials if each.path == path):
            tasks = tasks_of(trial, whole, pasts)
            found[trial] = compare(trial, whole, tasks, entrants, measuring, advance)
    return [found[trial] for trial in trials]


def tasks_of(trial: Trial, whole: Past, pasts: dict[int, Past]) -> list[Task]:
    """One per cut-off; `pasts`, by day, is added to, so that trials of the same log share it."""
    for cut_off in trial.cut_offs:
        day = day_number(cut_off)
        if day + trial.horizon_days > whole.until_day or day <= whole.first_day:
            first, last = (_DAY_0 + timedelta(days=each) for each in (whole.first_day, whole.until_day - 1))
            raise EvaluationError(
                f"{trial.path}: {cut_off} and the {trial.horizon_days} days from it on must lie within the log, whose "
                f"purchases begin on {first} and whose last day is {last}"
            )
        pasts.setdefault(day, whole.earlier(day))
    return [Task(pasts[day_number(cut_off)], trial.horizon_days) for cut_off in trial.cut_offs]


def compare(
    trial: Trial,
    whole: Past,
    tasks: Sequence[Task],
    entrants: Sequence[Entrant],
    measuring: Measuring,
    advance: Advance,
) -> Comparison:
    """Let everyone foretell every task, then look at what came true."""
    outcome = [whole.stayed_away(task.past.until_day, task.horizon_days) for task in tasks]
    foretold: dict[str, list[np.ndarray]] = {}
    for task in tasks:
        for entrant in entrants:
            name = entrant.competitor.name
            advance(f"{trial.shop}, {trial.horizon_days} days: {name}")
            foretold.setdefault(name, []).append(entrant.competitor.predict(task))
    roles = {entrant.competitor.name: "ours" if entrant.ours else "rival" for entrant in entrants}
    if any(map(_too_short, tasks)):
        foretold[REFERENCE] = [cross_validated(task, truth) for task, truth in zip(tasks, outcome, strict=True)]
        roles[REFERENCE] = "reference"
    advance(f"{trial.shop}, {trial.horizon_days} days: intervals")
    rows = Rows(
        np.concatenate(outcome),
        np.concatenate([task.past.customers for task in tasks]),
        np.concatenate([task.past.purchase_day_counts for task in tasks]),
        {name: np.concatenate(parts) for name, parts in foretold.items()},
    )
    sample = Sample(rows.outcome, rows.user, measuring.budget, measuring.resamples, measuring.seed)
    with_curves = next((entrant.examples for entrant in entrants if entrant.examples), None)
    return Comparison(
        shop=trial.shop,
        horizon_days=trial.horizon_days,
        cut_offs=[str(cut_off) for cut_off in trial.cut_offs],
        customers=len(np.unique(rows.user)),
        rows=len(rows.user),
        stayed_away=float(rows.outcome.mean()),
        budget=measuring.budget,
        resamples=measuring.resamples,
        standings=standings(rows, roles, sample),
        notes=[_short_log_note(task) for task in tasks if _too_short(task)],
        examples=with_curves(tasks[-1]) if with_curves else [],
    )


def _too_short(task: Task) -> bool:
    return learnt_days(task.past, task.horizon_days) < task.horizon_days


def _short_log_note(task: Task) -> str:
    past, learnt = task.past, learnt_days(task.past, task.horizon_days)
    return (
        f"The log has {past.until_day - past.first_day} days before {_DAY_0 + timedelta(days=past.until_day)}, too few "
        f"to learn what happens within {task.horizon_days} days. Recency, logistic regression and LightGBM learnt "
        f"{learnt} days instead; their probabilities are carried over to {task.horizon_days} days by a power law that "
        f"is fitted to the past as well (rankings stay as they are). “{REFERENCE}” is no competitor but a mark to read "
        "the others by: it was fitted on the outcomes of other customers, so it has seen the holdout's base rate."
    )
