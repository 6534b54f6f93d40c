"""Model folders: what a manifest says of the weights in them and of the shop they are for. Without torch."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from consumer.core.calendar import Calendar
from consumer.core.features import FEATURE_VERSION, TOKEN_NAMES
from consumer.core.fold import FoldRules
from consumer.core.risk import calibrated
from consumer.core.state import BIN_EDGES_DAYS
from model_export.artefact import PREFILL_NAME, Artefact, Scorer, onnx_scorer, raw_log_hazards
from model_export.calibrate import fit_calibration
from model_export.card import CARD_NAME, card
from model_export.data import HEADS, PRIMARY_TARGET, day_number
from model_export.drift_reference import SHOPS, log_reference, simulated_reference
from model_export.reading import read_columns
from model_export.shop import SHOP_TOKEN_NAMES, shop_token
from model_export.tasks import Past
from model_export.thresholds import ACTIVE_DAYS, DEFAULT_BUDGET, Budget, after_purchases, thresholds
from schemas.files import EventFileError
from schemas.manifest import (
    Calibration,
    FineTuning,
    Manifest,
    ManifestError,
    Pretraining,
    Thresholds,
    TrainingData,
    hash_file,
    write_manifest,
)
from schemas.read_report import ReadReport
from schemas.reference import Reference

HORIZON_DAYS: Final = 30
LICENCE: Final = "Apache-2.0"
_PURCHASES_LOOKED_AT: Final = 5_000
_HEAD: Final = HEADS.index(PRIMARY_TARGET)


@dataclass(frozen=True)
class ShopLog:
    """A shop's event file, and how its times are read."""

    path: Path
    source: str  # its name in the manifest
    timezone: str = "UTC"
    report: ReadReport = field(default_factory=ReadReport)

    def past(self, until: date) -> Past:
        """All before local midnight of `until`; raises `EventFileError`, also where the last purchase is long ago."""
        rules = FoldRules(Calendar(self.timezone), PRIMARY_TARGET)
        until_ms = int(rules.calendar.start_of(np.array([day_number(until)]))[0])
        users, events = read_columns(self.path, rules, until_ms, self.report)
        past = Past(users, events, day_number(until), rules)
        if past.purchase_days[1].max() < past.until_day - ACTIVE_DAYS:
            raise EventFileError(f"{self.path} has no purchase in the {ACTIVE_DAYS} days before {until}")
        return past


def run_calibration(log: ShopLog, until: date, base: Path, out: Path, budget: Budget) -> Manifest:
    """The weights of folder `base` for another shop: its token, calibration and thresholds; writes the folder `out`.

    Raises `EventFileError` for a log that cannot be used, `ManifestError` for a base that cannot.
    """
    manifest = Artefact.load(base).manifest
    past = log.past(until)
    copy_files(manifest, base, out)
    scorer = onnx_scorer(out / PREFILL_NAME)
    calibration = fit_calibration(past, scorer, scorer)
    files = tuple(manifest.files)
    return written(out, adapted_manifest(manifest, out, files, log, past, calibration, budget, manifest.fine_tuning))


def run_reference(folder: Path, shops: int = SHOPS) -> Manifest:
    """What drift is measured against, anew from simulated shops, in a base model's manifest; nothing else changes.

    Raises `ManifestError` where the folder is not whole, or of a model that knows its shop.
    """
    model = Artefact.load(folder)
    if model.manifest.shop:
        raise ManifestError(
            f"{folder} is for {model.manifest.shop.source}: `ebbtide train calibrate` measures it again"
        )
    found = simulated_reference(model.manifest.pretraining.seed, model.scorer, model.shop, HORIZON_DAYS, shops)
    return written(folder, model.manifest.model_copy(update={"reference": found}))


def copy_files(manifest: Manifest, base: Path, out: Path) -> None:
    """What the manifest of folder `base` names, into folder `out`, which may be the same."""
    out.mkdir(parents=True, exist_ok=True)
    for name in manifest.files:
        if base.resolve() != out.resolve():
            shutil.copyfile(base / name, out / name)


def base_manifest(
    out: Path,
    files: Sequence[str],
    pretraining: Pretraining,
    shop: Sequence[float],
    tiers: Thresholds,
    metrics: dict[str, float],
    reference: Reference | None = None,
) -> Manifest:
    """Of weights that have seen no real shop."""
    hashes = {name: hash_file(out / name) for name in files}
    return Manifest(
        model_version=f"zero-shot-{hashes[PREFILL_NAME][:8]}",
        licence=LICENCE,
        files=hashes,
        feature_version=FEATURE_VERSION,
        token_names=TOKEN_NAMES,
        shop_token_names=SHOP_TOKEN_NAMES,
        shop_token=tuple(shop),
        bin_edges_days=tuple(BIN_EDGES_DAYS.tolist()),
        horizon_days=HORIZON_DAYS,
        heads=HEADS,
        calibration=Calibration(),
        alert_budget=DEFAULT_BUDGET.share,
        grace_days=DEFAULT_BUDGET.grace_days,
        thresholds=tiers,
        pretraining=pretraining,
        metrics=metrics,
        reference=reference,
    )


def adapted_manifest(
    manifest: Manifest,
    out: Path,
    files: Sequence[str],
    log: ShopLog,
    past: Past,
    calibration: Calibration,
    budget: Budget,
    fine_tuning: FineTuning | None,
) -> Manifest:
    """Of a folder whose graphs lie in `out`, for the shop whose log is `past`."""
    token = shop_token(past.log.states, past.until_day)
    hashes = {name: hash_file(out / name) for name in files}
    scorer = onnx_scorer(out / PREFILL_NAME)
    until = date(1970, 1, 1) + timedelta(days=past.until_day)
    kind = "fine-tuned" if fine_tuning and fine_tuning != manifest.fine_tuning and fine_tuning.steps else "calibrated"
    return manifest.model_copy(
        update={
            "model_version": f"{kind}-{log.source}-{until:%Y%m%d}-{hashes[PREFILL_NAME][:8]}",
            "files": hashes,
            "shop_token": tuple(token.tolist()),
            "calibration": calibration,
            "alert_budget": budget.share,
            "grace_days": budget.grace_days,
            "thresholds": _thresholds(past, scorer, token, calibration, budget),
            "shop": _fingerprint(log, past, until),
            "fine_tuning": fine_tuning,
            "reference": log_reference(past, scorer, token, calibration, HORIZON_DAYS),
        }
    )


def _thresholds(past: Past, scorer: Scorer, token: np.ndarray, calibration: Calibration, budget: Budget) -> Thresholds:
    """Of purchases as frequent as in the log's last year, by customers as well known as in the log's later half.

    Where a log begins everybody looks new, and likely to leave: what is said then tells nothing of what will be said.
    """
    year_from = max(past.first_day, past.until_day - ACTIVE_DAYS)
    known_from = max(year_from, (past.first_day + int(past.purchase_days[1].max()) + 1) // 2)
    states, _ = after_purchases(past.log.states, known_from, _PURCHASES_LOOKED_AT, np.random.default_rng(0))
    raw = raw_log_hazards(states, scorer, token)[:, _HEAD]
    return thresholds(calibrated(raw, calibration.offset), _purchases_share(past, year_from), HORIZON_DAYS, budget)


def _purchases_share(past: Past, from_day: int) -> float:
    """Purchase days per horizon and customer who bought, from a day on; also those that states have dropped."""
    row, day = past.purchase_days
    customer = row[day >= from_day]
    return len(customer) / len(np.unique(customer)) * HORIZON_DAYS / (past.until_day - from_day)


def _fingerprint(log: ShopLog, past: Past, until: date) -> TrainingData:
    return TrainingData(
        source=log.source,
        sha256=hash_file(log.path),
        first_day=date(1970, 1, 1) + timedelta(days=past.first_day),
        until=until,
        timezone=log.timezone,
        users=len(past.users),
        events=past.log.events,
        user_days=int(past.log.states.header["days"].sum()),
    )


def written(out: Path, manifest: Manifest) -> Manifest:
    """Write `manifest.json` and the model card beside the graphs."""
    write_manifest(out, manifest)
    (out / CARD_NAME).write_text(card(manifest), encoding="utf-8")
    return manifest
