"""`ebbtide train`: an event log in, a model directory out."""

from dataclasses import asdict
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consumer.core.calendar import Calendar
from consumer.core.features import FEATURE_VERSION, TOKEN_NAMES
from consumer.core.fold import FoldRules
from consumer.core.state import BIN_EDGES_DAYS
from model_export.data import HEADS, PRIMARY_TARGET, Log, Panel, panel_of, read_log
from model_export.evaluate import Scorer, holdout
from model_export.export import PREFILL_NAME, export, onnx_scorer
from model_export.fit import Recipe, best_epoch, epochs, every_log_hazard
from model_export.model import HazardGPT
from model_export.thresholds import thresholds
from schemas.manifest import Manifest, Reproduction, TrainingData, hash_file, write_manifest

HORIZON_DAYS: Final = 30


def train(
    events: Path,
    until: date,
    out: Path,
    source: str = "cdnow",
    timezone: str = "UTC",
    recipe: Recipe = Recipe(),
) -> Manifest:
    """Fit a model to what happened before `until` and write graph and manifest into `out`.

    The number of epochs is the best one on the last `recipe.validation_days`; then all of the log up to `until` is
    fitted. Where the log goes on for long enough, the manifest's metrics say how well the following days were
    foretold. The same events, recipe, torch and kind of processor give the same bytes.
    """
    torch.set_num_threads(1)  # so that sums are taken in one order
    rules = FoldRules(Calendar(timezone), PRIMARY_TARGET)
    log = read_log(events, until, rules)
    panel = panel_of(log)
    earlier = panel_of(read_log(events, until - timedelta(days=recipe.validation_days), rules))
    with _progress() as progress:
        count, validation_loss = _choose_epochs(earlier, panel, recipe, progress)
        model = _fit(panel, recipe, count, progress)
    out.mkdir(parents=True, exist_ok=True)
    export(model, out / PREFILL_NAME)
    digest = hash_file(out / PREFILL_NAME)
    metrics = _holdout_metrics(events, until, log, onnx_scorer(out / PREFILL_NAME), rules)
    manifest = Manifest(
        model_version=f"{source}-{until:%Y%m%d}-{digest[:8]}",
        files={PREFILL_NAME: digest},
        feature_version=FEATURE_VERSION,
        token_names=TOKEN_NAMES,
        bin_edges_days=tuple(BIN_EDGES_DAYS.tolist()),
        horizon_days=HORIZON_DAYS,
        heads=HEADS,
        thresholds=thresholds(panel, every_log_hazard(model, panel), HORIZON_DAYS),
        training=_training_data(events, source, until, timezone, log),
        metrics={"validation_loss": round(validation_loss, 6)} | metrics,
        reproduction=Reproduction(seed=recipe.seed, epochs=count, torch_version=torch.__version__),
    )
    write_manifest(out, manifest)
    return manifest


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs, loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _choose_epochs(earlier: Panel, whole: Panel, recipe: Recipe, progress: Progress) -> tuple[int, float]:
    task = progress.add_task("choosing epochs on later time", total=recipe.max_epochs, loss=float("nan"))
    best, best_loss = 0, float("inf")
    for best, best_loss, loss in best_epoch(earlier, whole, recipe):  # noqa: B007 (the last ones count)
        progress.update(task, advance=1, loss=loss)
    progress.update(task, total=progress.tasks[task].completed)
    return best, best_loss


def _fit(panel: Panel, recipe: Recipe, count: int, progress: Progress) -> HazardGPT:
    task = progress.add_task("training on all of it", total=count, loss=float("nan"))
    for epoch in islice(epochs(panel, recipe), count):
        progress.update(task, advance=1, loss=epoch.loss)
    return epoch.model


def _holdout_metrics(events: Path, until: date, log: Log, scorer: Scorer, rules: FoldRules) -> dict[str, float]:
    """Figures on the days after `until`: over the horizon, and over as long a time as was trained on."""
    metrics: dict[str, float] = {}
    for days in (HORIZON_DAYS, log.until_day - log.first_day):
        if found := holdout(events, until, days, scorer, rules):
            metrics |= {f"churn_{days}d_{name}": round(value, 6) for name, value in asdict(found).items()}
    return metrics


def _training_data(events: Path, source: str, until: date, timezone: str, log: Log) -> TrainingData:
    return TrainingData(
        source=source,
        sha256=hash_file(events),
        first_day=date(1970, 1, 1) + timedelta(days=log.first_day),
        until=until,
        timezone=timezone,
        users=len(log.users),
        events=log.events,
        user_days=int(log.states.header["days"].sum()),
    )
