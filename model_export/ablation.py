"""`ebbtide train ablate`: which prior, input and architecture bought what, by short runs that differ in one thing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.progress import Progress, TaskID

from consumer.core.fold import FoldRules
from model_export.ablation_results import Result, Setting, read_results, write_results
from model_export.ablation_runs import Run, chosen, runs
from model_export.ablation_scores import Examination, Network
from model_export.boosting import BoostingRecipe, boosted
from model_export.evaluate import Trial
from model_export.model import HazardGPT
from model_export.pretrain import PretrainRecipe, pretrain
from model_export.progress import training_progress
from model_export.zeroshot import Zeroshot

_RECENT_STEPS: Final = 50  # whose mean loss is shown
Advance = Callable[[int, float], None]  # steps done, loss


def ablate(
    trials: Sequence[Trial], rules: FoldRules, out: Path, setting: Setting, only: Sequence[str] = ()
) -> tuple[Result, ...]:
    """Make and score what `out` does not hold yet; it is saved after every run. Returns all that it holds.

    Raises `EvaluationError` where something is asked that cannot be, `EventFileError` where a log is of no use.
    """
    torch.set_num_threads(1)  # so that sums are taken in one order
    setting = replace(setting, trials=tuple(_told(trial) for trial in trials))
    everything = runs(setting)
    results = {result.name: result for result in (read_results(out) if out.exists() else ())}
    missing = [run for run in chosen(everything, only) if not _is_done(run, setting, results)]
    examination = Examination(trials, rules, setting.seed)
    with training_progress("steps") as progress:
        if missing:
            reading = progress.add_task("reading the logs", total=1, loss=float("nan"))
            examination.prepare()
            progress.remove_task(reading)
        overall = progress.add_task("all runs", total=sum(run.steps for run in missing), loss=float("nan"))
        done = 0
        for run in missing:
            task = progress.add_task(run.name, total=run.steps, loss=float("nan"))
            results[run.name] = _made(run, setting, examination, partial(_show, progress, (overall, task), done))
            done += run.steps
            write_results(out, _in_order(everything, results))
    return _in_order(everything, results)


def _told(trial: Trial) -> str:
    return f"{trial.shop}, {trial.horizon_days} days from {', '.join(map(str, trial.cut_offs))}"


def _is_done(run: Run, setting: Setting, results: dict[str, Result]) -> bool:
    found = results.get(run.name)
    return found is not None and (found.setting, found.recipe) == (setting, run.identity)


def _in_order(everything: Sequence[Run], results: dict[str, Result]) -> tuple[Result, ...]:
    return tuple(results[run.name] for run in everything if run.name in results)


def _show(progress: Progress, tasks: tuple[TaskID, TaskID], before: int, steps: int, loss: float) -> None:
    overall, task = tasks
    progress.update(overall, completed=before + steps, loss=loss)
    progress.update(task, completed=steps, loss=loss)


def _made(run: Run, setting: Setting, examination: Examination, advance: Advance) -> Result:
    """Make the model of a run, and score it."""
    begin = time.monotonic()
    simulated_loss = None
    if isinstance(run.recipe, BoostingRecipe):
        scores = examination.scores(boosted(run.recipe, partial(_shops_done, advance)))
    else:
        model, deaf = _network(run.recipe, advance), run.recipe.withheld >= 1
        scores = examination.scores(Zeroshot(Network.of(model, deaf), run.name))
        simulated_loss = examination.simulated_loss(model, deaf)
    seconds = round(time.monotonic() - begin, 1)
    return Result(run.name, run.what, setting, run.identity, scores, simulated_loss, seconds)


def _network(recipe: PretrainRecipe, advance: Advance) -> HazardGPT:
    recent: list[float] = []
    for reached in pretrain(recipe):
        recent = [*recent[1 - _RECENT_STEPS :], reached.loss]
        advance(reached.step, float(np.mean(recent)))
    return reached.model.eval()


def _shops_done(advance: Advance, shops: int) -> None:
    advance(shops // PretrainRecipe.shops, float("nan"))
