"""`ebbtide evaluate`: its arguments, the competitors and the progress bar, then `model_export.evaluate`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from consumer.core.calendar import Calendar
from consumer.core.fold import FoldRules
from consumer.errors import ConfigurationError
from consumer.settings import DEFAULT_MODEL_DIR, Settings
from model_export.ablation_results import read_results
from model_export.artefact import Artefact
from model_export.bars import ZEROSHOT, Bar, bars
from model_export.baselines import rivals
from model_export.comparison import Comparison
from model_export.evaluate import Entrant, Measuring, Trial, evaluate, steps, suite
from model_export.report import write_report
from model_export.tasks import EvaluationError
from model_export.zeroshot import Zeroshot, examples
from schemas.files import EventFileError
from schemas.manifest import Manifest, ManifestError
from schemas.read_report import ReadReport

if TYPE_CHECKING:
    from model_export.finetuned import Finetuned


@dataclass(frozen=True)
class Chosen:
    """What is to be evaluated: the suite in a folder, or one's own log."""

    data: Path | None
    events: Path | None
    at: tuple[str, ...]
    horizons_days: tuple[int, ...]

    def trials(self) -> list[Trial]:
        """Raises `ConfigurationError` where it is not exactly one of the two."""
        if (self.data is None) == (self.events is None):
            raise ConfigurationError("say either --data FOLDER (the three real logs) or --events FILE with --at DATE")
        if self.data is not None:
            return _suite(self.data)
        if not self.at:
            raise ConfigurationError("--events needs a cut-off: --at DATE")
        assert self.events is not None
        name = self.events.name.split(".")[0]
        days = tuple(sorted({_day(text) for text in self.at}))
        return [Trial(name, self.events, horizon, days) for horizon in dict.fromkeys(self.horizons_days)]


def evaluate_logs(
    chosen: Chosen,
    out: Path,
    model_dir: Path | None,
    tune: bool,
    budget: float,
    settings: Settings,
    ablations: Path | None = None,
) -> tuple[list[Comparison], list[Bar], list[ReadReport]]:
    """Run every trial, write `report.html` and `report.json`; the suite's logs are in UTC. Also: how reading went.

    `ablations` is a result of `ebbtide train ablate`, to be shown in the report.

    Raises `ConfigurationError` where logs, cut-offs or the model cannot be used.
    """
    trials = chosen.trials()
    rules = FoldRules(Calendar("UTC" if chosen.data else settings.timezone))
    reports: list[ReadReport] = []
    first_cut_off = min(cut_off for trial in trials for cut_off in trial.cut_offs)
    try:
        ablated = read_results(ablations) if ablations else ()
        entrants = field_of(model_dir or DEFAULT_MODEL_DIR, tune)
        _check_unseen(Artefact.load(model_dir or DEFAULT_MODEL_DIR).manifest, first_cut_off)
        with _progress(steps(trials, entrants)) as advance:
            found = evaluate(trials, entrants, rules, Measuring(budget), advance, reports.append)
    except (EvaluationError, EventFileError, ManifestError) as error:
        raise ConfigurationError(str(error)) from error
    judged = bars(found) if chosen.data else []
    write_report(out, found, judged, ablated)
    return found, judged, reports


def field_of(model_dir: Path, tune: bool) -> list[Entrant]:
    """Everyone who takes part: ours first."""
    artefact = Artefact.load(model_dir)
    ours = [_ours(Zeroshot(artefact, artefact.manifest.model_version if artefact.manifest.shop else ZEROSHOT))]
    if tune:
        from model_export.finetuned import Finetuned

        ours.append(_ours(Finetuned(model_dir)))
    return ours + [Entrant(rival) for rival in rivals()]


def _ours(model: "Zeroshot | Finetuned") -> Entrant:
    return Entrant(model, ours=True, examples=lambda task: examples(model, task))


def _check_unseen(manifest: Manifest, cut_off: date) -> None:
    """No figure may come from data at or after its cut-off."""
    if manifest.shop and manifest.shop.until > cut_off:
        raise ConfigurationError(
            f"{manifest.model_version} knows its shop until {manifest.shop.until}, which is after the cut-off "
            f"{cut_off}: take a model that was adapted to earlier days, or the shipped one"
        )


def _suite(folder: Path) -> list[Trial]:
    trials = suite(folder)
    missing = sorted({str(trial.path) for trial in trials if not trial.path.is_file()})
    if missing:
        raise ConfigurationError(f"--data {folder}: no {', '.join(missing)}")
    return trials


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--at {text} is no day such as 2026-03-01") from error


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    columns = (BarColumn(), TextColumn("{task.completed} of {task.total}"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True)) as progress:
        task = progress.add_task("reading", total=total)
        done = -1

        def advance(doing: str) -> None:
            nonlocal done
            done += 1
            progress.update(task, completed=done, description=doing)

        yield advance
        progress.update(task, completed=total, description="done")
