"""`ebbtide train ablate`: its arguments, then `model_export.ablation`."""

from collections.abc import Sequence
from pathlib import Path

from consumer.core.calendar import Calendar
from consumer.core.fold import FoldRules
from consumer.errors import ConfigurationError
from consumer.evaluation import Chosen
from model_export.ablation import ablate
from model_export.ablation_results import Result, Setting
from model_export.tasks import EvaluationError
from schemas.files import EventFileError


def ablate_suite(data: Path, out: Path, setting: Setting, only: Sequence[str]) -> tuple[Result, ...]:
    """On the real logs in folder `data`, which are in UTC.

    Raises `ConfigurationError` where logs, result file or names cannot be used.
    """
    trials = Chosen(data, None, (), ()).trials()
    try:
        return ablate(trials, FoldRules(Calendar("UTC")), out, setting, only)
    except (EvaluationError, EventFileError) as error:
        raise ConfigurationError(str(error)) from error
