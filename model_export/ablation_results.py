"""What the ablations found, as one JSON file that grows run by run. Without torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from model_export.tasks import EvaluationError

REFERENCE: Final = "all"  # the run that others are held against


@dataclass(frozen=True)
class Setting:
    """What all runs that are compared with one another share."""

    seed: int = 1
    steps: int = 600
    shops: int = 4  # per step
    users: int = 112  # per shop
    trials: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """How one run foretold one log and horizon, all cut-offs pooled."""

    shop: str
    horizon_days: int
    auroc: float | None  # None where all customers did the same
    brier: float
    log_loss: float

    @property
    def title(self) -> str:
        """Log and horizon in a few words."""
        return f"{self.shop}, {self.horizon_days} days"


@dataclass(frozen=True)
class Result:
    """One run: what it was made of and how it did."""

    name: str
    what: str
    setting: Setting
    recipe: str  # everything that decides the weights
    scores: tuple[Score, ...]
    simulated_loss: float | None  # of held-out simulated customers at the moment, nats; None: it has no hazards
    seconds: float

    def on(self, title: str) -> Score | None:
        """Its score on a log and horizon, by title."""
        return next((score for score in self.scores if score.title == title), None)

    @property
    def mean_log_loss(self) -> float:
        """Over all logs and horizons, each counting once."""
        return math.fsum(each.log_loss for each in self.scores) / len(self.scores)


_RESULTS = TypeAdapter(tuple[Result, ...])


def read_results(path: Path) -> tuple[Result, ...]:
    """Raises `EvaluationError` where the file is none of ours."""
    try:
        return _RESULTS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise EvaluationError(f"{path} is no result of `ebbtide train ablate`: {error.errors()[0]['msg']}") from error


def write_results(path: Path, results: Sequence[Result]) -> None:
    """The whole file at once, so that an interruption leaves the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(_RESULTS.dump_json(tuple(results), indent=1) + b"\n")
    partial.replace(path)


def difference(result: Result, results: Sequence[Result]) -> float | None:
    """In mean log-loss to the reference run of the same setting; None if there is none, or for the reference."""
    alike = (each for each in results if each.name == REFERENCE and each.setting == result.setting)
    found = next(alike, None)
    return None if found is None or result.name == REFERENCE else result.mean_log_loss - found.mean_log_loss
