"""`ebbtide score`: its arguments and the model, then `model_export.score`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from consumer.core.calendar import Calendar
from consumer.errors import ConfigurationError
from consumer.event_source import instant
from consumer.settings import DEFAULT_MODEL_DIR, Settings
from model_export.artefact import Artefact
from model_export.score import Question, ShopSample, score
from model_export.shop import SHOP_USERS, shop_token
from schemas.manifest import ManifestError
from schemas.read_report import ReadReport

_FARTHEST_DAYS = 3650.0
_EXAMPLE = "2026-03-01T12:00+01:00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR = 9999


def score_file(
    events: Path, out: Path, as_of: str, horizon_days: float, model_dir: Path | None, settings: Settings
) -> ReadReport:
    """Score every user known at `as_of`; returns how reading went.

    Without `model_dir` it is the shipped model; a model that was not made for a shop is told of it by the log.
    Raises `ConfigurationError` and `EventFileError`.
    """
    question = Question(_as_of_ms(as_of, settings.timezone), _horizon(horizon_days), Calendar(settings.timezone))
    try:
        model = Artefact.load(model_dir or DEFAULT_MODEL_DIR)
    except ManifestError as error:
        raise ConfigurationError(str(error)) from error
    knows_its_shop = model_dir and model.manifest.shop
    if model.manifest.shop and _as_of_ms(str(model.manifest.shop.until), settings.timezone) > question.as_of_ms:
        raise ConfigurationError(
            f"{model.manifest.model_version} knows its shop until {model.manifest.shop.until}, which is after --as-of "
            f"{as_of}: take a model that was adapted to earlier days, or the shipped one"
        )
    if out.exists() and events.exists() and out.samefile(events):
        raise ConfigurationError(f"--out {out} is the event file itself")
    return score(events, out, question, model, None if knows_its_shop else ShopSample(shop_token, SHOP_USERS))


def _as_of_ms(as_of: str, timezone: str) -> int:
    try:
        moment = instant(as_of, timezone)
    except ValueError as error:
        raise ConfigurationError(f"--as-of {as_of} is no day such as 2026-03-01 or time such as {_EXAMPLE}") from error
    if not _EPOCH.year < moment.year < _LAST_YEAR:
        raise ConfigurationError(f"--as-of {as_of} is not after {_EPOCH.year} and before {_LAST_YEAR}")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _horizon(days: float) -> float:
    if not 0 < days <= _FARTHEST_DAYS:
        raise ConfigurationError(f"--horizon-days {days:g} is not between 0 and {_FARTHEST_DAYS:.0f}")
    return days
