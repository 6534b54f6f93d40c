"""Fine-tuning: when the base weights are kept, when not, and that nothing later is looked at."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from model_export.calibrate import moment_panel, targets_of
from model_export.export import load_weights
from model_export.finetune import FineTuneRecipe, Tuned, finetune
from model_export.folder import ShopLog
from model_export.likelihood import mean_losses
from model_export.model import HazardGPT
from model_export.tasks import Past
from model_export.thresholds import Budget
from model_export.train import run_finetuning
from schemas.manifest import load_manifest
from shop_logs import FIRST_DAY, Row, shop_rows, write_rows
from tiny_model import random_model

QUICK = FineTuneRecipe(moments=3, max_steps=40, check_every=10, batch_customers=64, warmup_steps=5)
DAYS = 120


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def odd_rows(customers: int = 130, days: int = DAYS + 30) -> list[Row]:
    """Everybody buys every tenth day, on the day; one in a hundred purchases is the last."""
    rng = np.random.default_rng(2)
    rows = []
    for number in range(customers):
        at = int(rng.integers(0, 40))
        while at < days:
            rows.append((f"u{number:03}", "purchase", str(FIRST_DAY + timedelta(days=at)), 20.0))
            at += 10 if rng.random() > 0.01 else days
    return sorted(rows, key=lambda row: row[2])


def past_of(rows: list[Row], folder: Path, days: int = DAYS) -> Past:
    return ShopLog(write_rows(folder / "log.csv", rows), "log").past(FIRST_DAY + timedelta(days=days))


def tuned(past: Past, recipe: FineTuneRecipe = QUICK, base: HazardGPT | None = None) -> Tuned:
    return finetune(base or random_model(), past, recipe, lambda *_: None)


def weights(model: HazardGPT) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


THIN = {
    "few customers": (lambda: odd_rows(40), DAYS, "40 customers before the last 30 days; 100 are needed"),
    "few days": (odd_rows, 20, "20 days since the first purchase; 28 are needed"),
    "one day": (odd_rows, 1, "1 days since the first purchase; 28 are needed"),
    "few purchases": (
        lambda: [(f"u{n}", "purchase", str(FIRST_DAY + timedelta(days=n // 3)), 1.0) for n in range(200)],
        DAYS,
        "200 purchase days; 300 are needed",
    ),
}


@pytest.mark.parametrize(("rows", "days", "why"), THIN.values(), ids=THIN)
def test_a_thin_log_keeps_the_base_weights(rows, days: int, why: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """And says what is missing."""
    base = random_model()
    found = tuned(past_of(rows(), tmp_path, days), base=base)
    assert (found.steps, found.why) == (0, why)
    assert found.model is found.earlier is base
    assert math.isnan(found.validation_loss)


def test_without_improvement_the_base_weights_are_kept(tmp_path: Path) -> None:
    """Training that changes nothing is no better, and that is said."""
    base = random_model()
    found = tuned(past_of(odd_rows(), tmp_path), replace(QUICK, learning_rate=0.0), base)
    assert (found.steps, found.why) == (0, "no amount of training foretold the latest days clearly better")
    assert found.model is found.earlier is base
    assert found.validation_loss == found.base_loss


def test_the_odd_habits_of_a_shop_are_learnt(tmp_path: Path) -> None:
    """Later days than those trained on, of the same log, are foretold better than by the base weights."""
    rows, base = odd_rows(), random_model()
    before = weights(base)
    found = tuned(past_of(rows, tmp_path), base=base)
    assert found.steps > 0
    assert found.validation_loss < found.base_loss
    assert weights(base) == before
    whole = past_of(rows, tmp_path, DAYS + 30)
    later = moment_panel(whole, whole.until_day - 30, targets_of(whole))
    assert mean_losses(found.model, later)[0] < mean_losses(base, later)[0] - 0.1
    assert mean_losses(found.earlier, later)[0] < mean_losses(base, later)[0] - 0.1


def test_the_validation_loss_is_of_weights_that_have_not_seen_the_window(tmp_path: Path) -> None:
    """It is what `earlier` reaches on the last quarter of the log, and events in there do not change `earlier`."""
    past = past_of(odd_rows(), tmp_path)
    found = tuned(past)
    check = moment_panel(past, past.until_day - DAYS // 4, targets_of(past))
    assert mean_losses(found.earlier, check)[0] == pytest.approx(found.validation_loss, rel=1e-5)
    split = FIRST_DAY + timedelta(days=DAYS - DAYS // 4)
    fewer = [row for number, row in enumerate(odd_rows()) if row[2] < str(split) or number % 10]
    recipe = replace(QUICK, max_steps=10, check_every=10)
    one, other = tuned(past, recipe), tuned(past_of(fewer, tmp_path), recipe)
    assert (one.steps, other.steps) == (10, 10)
    assert weights(one.earlier) == weights(other.earlier)
    assert weights(one.model) != weights(other.model)


def outcome(rows: list[Row], folder: Path, days: int) -> tuple[object, ...]:
    """All that fine-tuning comes to."""
    found = tuned(past_of(rows, folder, days), replace(QUICK, max_steps=10))
    return weights(found.model), weights(found.earlier), found.validation_loss, found.base_loss


def tampered(rows: list[Row], day: date) -> list[Row]:
    """From a day on, half of all purchases are gone, amounts are other ones, and there is somebody new."""
    before = [row for row in rows if row[2] < str(day)]
    later = [(*row[:3], row[3] * 7) for row in rows if row[2] >= str(day)][::2]
    return [*before, ("new", "purchase", str(day), 5.0), *later]


def test_nothing_from_until_on_is_read(tmp_path: Path) -> None:
    """Whatever the log holds from `until` on, weights and losses are equal to the bit."""
    rows, until = odd_rows(), FIRST_DAY + timedelta(days=DAYS)
    assert outcome(tampered(rows, until), tmp_path, DAYS) == outcome(rows, tmp_path, DAYS)


def test_a_planted_leak_of_one_day_is_caught(tmp_path: Path) -> None:
    """Were the cut-off one day late, the same comparison would tell."""
    rows, until = odd_rows(), FIRST_DAY + timedelta(days=DAYS)
    leaked, known = (outcome(each, tmp_path, DAYS + 1) for each in (tampered(rows, until), rows))
    assert leaked[0] != known[0]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    """To the bit; another seed gives other ones."""
    past, recipe = past_of(odd_rows(), tmp_path), replace(QUICK, max_steps=10)
    one, again, other = (weights(tuned(past, replace(recipe, seed=seed)).model) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_a_fine_tuned_folder_is_whole(tiny_model: Path, tmp_path: Path) -> None:
    """It names the log and the losses, its files are as the manifest says, and its weights can be trained on."""
    path = write_rows(tmp_path / "shop.csv", odd_rows())
    until, out = FIRST_DAY + timedelta(days=DAYS), tmp_path / "out"
    told = run_finetuning(
        ShopLog(path, "shop"), until, tiny_model, out, replace(QUICK, max_steps=10), Budget(0.1, 30.0)
    )
    manifest = load_manifest(out)
    assert manifest == told
    assert manifest.model_version.startswith(f"fine-tuned-shop-{until:%Y%m%d}-")
    assert {each.name for each in out.iterdir()} == {*manifest.files, "manifest.json", "model_card.md"}
    assert manifest.fine_tuning is not None
    assert (manifest.fine_tuning.steps, manifest.fine_tuning.why_base) == (10, "")
    assert (manifest.alert_budget, manifest.grace_days, manifest.calibration.window_days) == (0.1, 30.0, DAYS // 4)
    assert manifest.files != load_manifest(tiny_model).files
    assert weights(load_weights(out)) != weights(load_weights(tiny_model))


def test_a_folder_of_kept_weights_holds_the_base_graphs(tiny_model: Path, tmp_path: Path) -> None:
    """A log too thin to learn from changes no byte of graphs and weights, and the manifest says why."""
    path = write_rows(tmp_path / "shop.csv", shop_rows(20, 100))
    told = run_finetuning(
        ShopLog(path, "shop"), FIRST_DAY + timedelta(days=100), tiny_model, tmp_path / "out", QUICK, Budget(0.05)
    )
    assert told.files == load_manifest(tiny_model).files
    assert told.fine_tuning is not None
    assert (told.fine_tuning.steps, told.fine_tuning.validation_loss) == (0, None)
    assert "100 are needed" in told.fine_tuning.why_base
    assert told.model_version.startswith("calibrated-shop-")
