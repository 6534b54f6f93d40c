"""Manifest: what a model directory holds, what it was made from, and how well it did."""

from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.reference import Reference

MANIFEST_NAME: Final = "manifest.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(gt=0, lt=1)]


class ManifestError(Exception):
    """A model directory cannot be used; the message says why."""


class _Value(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Thresholds(_Value):
    """Churn probabilities within the horizon at which a user enters a tier."""

    at_risk: Probability
    critical: Probability


class TrainingData(_Value):
    """The shop's own log: what shop token, calibration, thresholds and any fine-tuning come from."""

    source: str = Field(description="Name of the event log.")
    sha256: Sha256 = Field(description="Of the event file as it was read.")
    first_day: date
    until: date = Field(description="Exclusive: nothing on or after this day was looked at.")
    timezone: str
    users: int
    events: int
    user_days: int


class Pretraining(_Value):
    """The simulated shops that the weights come from; the same values give the same weights again."""

    seed: int
    steps: int
    shops: int
    customers: int
    families: tuple[str, ...] = Field(description="Habits that the simulated shops may have.")
    torch_version: str


class FineTuning(_Value):
    """How the weights were fitted to the shop's own log."""

    seed: int
    steps: int = Field(description="0: the base weights were kept.")
    validation_loss: float | None = Field(description="Nats per customer on the latest days, held back.")
    base_loss: float | None = Field(description="The same for the base weights.")
    why_base: str = Field("", description="Why the base weights were kept, if they were.")
    torch_version: str


class Calibration(_Value):
    """Added to every log-hazard."""

    offset: float = 0.0
    persistence: float = Field(0.0, description="Share of the latest window's miss that is expected to last.")
    window_days: int = Field(0, description="The last days of the log, on which it was fitted; 0: it was not.")


class Manifest(_Value):
    """Lies beside the graphs as `manifest.json`; the service refuses what does not match it."""

    format_version: Literal[3] = 3
    model_version: str
    licence: str
    files: dict[str, Sha256] = Field(description="File name to the SHA-256 of its content.")
    feature_version: int
    token_names: tuple[str, ...]
    shop_token_names: tuple[str, ...]
    shop_token: tuple[float, ...] = Field(description="What the graphs are told of the shop.")
    bin_edges_days: tuple[float, ...] = Field(description="Right edges; the last hazard holds for ever.")
    horizon_days: int = Field(ge=2, description="Longer than any local day.")
    heads: tuple[str, ...] = Field(description="Targets of `log_hazards`' second axis, in order.")
    calibration: Calibration
    alert_budget: Probability = Field(description="Customers to alert in a horizon, as a share of those active.")
    grace_days: float = Field(7.0, ge=0, description="The policy's `grace_days` with which thresholds keep to it.")
    thresholds: Thresholds
    pretraining: Pretraining
    shop: TrainingData | None = Field(None, description="None: made for a shop of which nothing is known.")
    fine_tuning: FineTuning | None = Field(None, description="None: the base weights.")
    metrics: dict[str, float]
    reference: Reference | None = Field(None, description="What drift is measured against; None: not known.")

    @model_validator(mode="after")
    def _every_value_has_a_name(self) -> "Manifest":
        if len(self.shop_token) != len(self.shop_token_names):
            values, names = len(self.shop_token), len(self.shop_token_names)
            raise ValueError(f"shop_token has {values} values and {names} names")
        if self.reference and self.reference.churn_probability.keys() != set(self.heads):
            raise ValueError(f"reference has churn probabilities of {sorted(self.reference.churn_probability)}")
        return self


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    return sha256(path.read_bytes()).hexdigest()


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a model directory."""
    (directory / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_manifest(directory: Path) -> Manifest:
    """Read `manifest.json` and check every file that it names.

    Raises `ManifestError` where the manifest is missing or malformed, or a file is missing or of another hash.
    """
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST_NAME).read_bytes())
        hashes = {name: hash_file(directory / name) for name in manifest.files}
    except OSError as error:
        raise ManifestError(f"cannot use the model in {directory}: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in error.errors()[:3])
        raise ManifestError(f"cannot use the model in {directory}: {MANIFEST_NAME} is malformed: {wrong}") from error
    for name, expected in manifest.files.items():
        if hashes[name] != expected:
            raise ManifestError(f"{directory / name} has SHA-256 {hashes[name]}; its manifest says {expected}")
    return manifest
