"""`ebbtide train …`: model folders out of simulated shops, or out of a model folder and a shop's own log."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.progress import Progress, TaskID

from model_export.artefact import PREFILL_NAME, STEP_NAME, WEIGHTS_NAME, Artefact, onnx_scorer, raw_log_hazards
from model_export.calibrate import fit_calibration
from model_export.corpus import held_out
from model_export.drift_reference import simulated_reference
from model_export.export import export, load_weights
from model_export.finetune import Advance, FineTuneRecipe, Tuned, finetune
from model_export.folder import HORIZON_DAYS, ShopLog, adapted_manifest, base_manifest, copy_files, written
from model_export.likelihood import mean_losses
from model_export.pretrain import PretrainRecipe, pretrain
from model_export.progress import training_progress
from model_export.thresholds import Budget, thresholds
from schemas.manifest import FineTuning, Manifest, Pretraining

FILES: Final = (PREFILL_NAME, STEP_NAME, WEIGHTS_NAME)


def run_pretraining(out: Path, recipe: PretrainRecipe, checkpoint: Path | None) -> Manifest:
    """Pre-train on simulated shops and write the model folder `out`; goes on from `checkpoint` if it exists."""
    torch.set_num_threads(1)  # so that sums are taken in one order
    with training_progress("steps") as progress:
        task = progress.add_task("pre-training", total=recipe.steps, loss=float("nan"))
        recent: list[float] = []
        for reached in pretrain(recipe, checkpoint):
            recent = [*recent[-199:], reached.loss]
            progress.update(task, completed=reached.step, loss=float(np.mean(recent)))
    model = reached.model.eval()
    export(model, out)
    unseen = held_out(recipe.seed)
    at_moment, every_day = mean_losses(model, unseen.panel)
    scorer, shop = onnx_scorer(out / PREFILL_NAME), model.shop_mean.numpy()
    known = raw_log_hazards(unseen.after_purchase, scorer, shop)
    pretraining = Pretraining(
        seed=recipe.seed,
        steps=recipe.steps,
        shops=recipe.steps * recipe.shops,
        customers=recipe.steps * recipe.shops * recipe.users,
        families=recipe.families,
        torch_version=torch.__version__,
    )
    manifest = base_manifest(
        out,
        FILES,
        pretraining,
        shop.tolist(),
        thresholds(known[:, 0], unseen.purchases_share, HORIZON_DAYS),
        {"simulated_moment_loss": round(at_moment, 6), "simulated_user_day_loss": round(every_day, 6)},
        simulated_reference(recipe.seed, scorer, shop, HORIZON_DAYS),
    )
    return written(out, manifest)


def run_finetuning(
    log: ShopLog, until: date, base: Path, out: Path, recipe: FineTuneRecipe, budget: Budget
) -> Manifest:
    """Fit the model of folder `base` to a shop's log before `until`, calibrate it, and write the folder `out`.

    Raises `EventFileError` for a log that cannot be used, `ManifestError` for a base that cannot.
    """
    torch.set_num_threads(1)
    manifest = Artefact.load(base).manifest
    past = log.past(until)
    with training_progress("steps") as progress:
        tuned = finetune(load_weights(base), past, recipe, _advance(progress))
    if tuned.steps:
        with _exported(tuned, out) as earlier:
            calibration = fit_calibration(past, onnx_scorer(earlier), onnx_scorer(base / PREFILL_NAME))
        export(tuned.model, out)
    else:
        copy_files(manifest, base, out)
        calibration = fit_calibration(past, onnx_scorer(out / PREFILL_NAME), onnx_scorer(base / PREFILL_NAME))
    fine_tuning = FineTuning(
        seed=recipe.seed,
        steps=tuned.steps,
        validation_loss=_rounded(tuned.validation_loss),
        base_loss=_rounded(tuned.base_loss),
        why_base=tuned.why,
        torch_version=torch.__version__,
    )
    return written(out, adapted_manifest(manifest, out, FILES, log, past, calibration, budget, fine_tuning))


@contextmanager
def _exported(tuned: Tuned, out: Path) -> Iterator[Path]:
    """The graph of the weights that have not seen the last window."""
    folder = out / ".earlier"
    export(tuned.earlier, folder)
    try:
        yield folder / PREFILL_NAME
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _advance(progress: Progress) -> Advance:
    tasks: dict[str, TaskID] = {}

    def advance(what: str, done: int, total: int, loss: float) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total, loss=loss)
        progress.update(tasks[what], completed=done, loss=loss)

    return advance


def _rounded(loss: float) -> float | None:
    return None if np.isnan(loss) else round(loss, 6)
