"""The model card tells what the manifest knows."""

from datetime import date
from pathlib import Path

import pytest

from model_export.card import CARD_NAME, card
from schemas.manifest import Calibration, FineTuning, Manifest, TrainingData, load_manifest
from tiny_model import random_model

SHOP = TrainingData(
    source="toys",
    sha256="ab" * 32,
    first_day=date(2024, 1, 1),
    until=date(2024, 7, 1),
    timezone="Europe/Paris",
    users=1_234,
    events=56_789,
    user_days=40_000,
)
TUNED = FineTuning(seed=1, steps=350, validation_loss=1.25, base_loss=1.5, why_base="", torch_version="2")
KEPT = FineTuning(
    seed=1, steps=0, validation_loss=None, base_loss=None, why_base="40 customers; 100 are needed", torch_version="2"
)


@pytest.fixture(scope="module")
def manifest(tiny_model: Path) -> Manifest:
    return load_manifest(tiny_model)


def adapted(manifest: Manifest, calibration: Calibration, fine_tuning: FineTuning | None) -> str:
    told = {"shop": SHOP, "calibration": calibration, "fine_tuning": fine_tuning}
    return " ".join(card(manifest.model_copy(update=told)).split())


def test_every_folder_has_its_card(manifest: Manifest, tiny_model: Path) -> None:
    """It is written beside the manifest, and names model, licence, thresholds and every metric."""
    text = (tiny_model / CARD_NAME).read_text(encoding="utf-8")
    assert text == card(manifest)
    assert text.startswith(f"# Model card: {manifest.model_version}\n")
    for told in ("Apache-2.0", "0.6000", "0.8000", "| loss | 1.5 |", "purchase, activity"):
        assert told in text


def test_a_base_model_knows_no_shop(manifest: Manifest) -> None:
    """It says so, and how to tell it of one."""
    text = card(manifest)
    assert "**Shop.** Unknown" in text
    assert "`ebbtide train calibrate`" in text
    assert "**Fine-tuning.** None." in text


def test_a_fine_tuned_model_tells_of_its_shop(manifest: Manifest) -> None:
    """The log, up to when, the losses before and after, and the calibration."""
    text = adapted(manifest, Calibration(offset=-0.2, persistence=0.5, window_days=45), TUNED)
    assert "toys: 56,789 events of 1,234 users from 2024-01-01 until 2024-07-01 (time zone Europe/Paris" in text
    assert "350 steps on the shop's own log" in text
    assert "the loss fell from 1.5 to 1.25 nats per customer" in text
    assert "Calibration on the last 45 days: offset -0.2, 50% of what they missed." in text


def test_kept_weights_are_said_to_be_kept(manifest: Manifest) -> None:
    """And why; a calibration that was left neutral is not told as one."""
    text = adapted(manifest, Calibration(), KEPT)
    assert "the base weights were kept: 40 customers; 100 are needed." in text
    assert "Calibration left neutral: the log is too short" in text
    assert "last 0 days" not in text
    assert "None nats" not in text


def test_the_size_that_is_told_is_the_size(manifest: Manifest) -> None:
    """To the next ten thousand parameters."""
    count = sum(weight.numel() for weight in random_model().parameters())
    assert f"about {round(count, -4):,} parameters" in card(manifest)


def test_lines_are_short(manifest: Manifest) -> None:
    """A card can be read as text."""
    families = (
        "heavy_tails",
        "aging",
        "seasons",
        "one_timers",
        "moods",
        "comebacks",
        "frequent",
        "panels",
        "behaviour",
    )
    made = manifest.pretraining.model_copy(update={"families": families})
    assert max(map(len, card(manifest.model_copy(update={"pretraining": made, "shop": SHOP})).splitlines())) <= 200
