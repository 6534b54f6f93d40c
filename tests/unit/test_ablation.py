"""Ablations: every run differs in one thing, is scored on the same customers, and is made once."""

import json
from dataclasses import fields, replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from typer.testing import CliRunner

from consumer.cli import app
from consumer.core.calendar import Calendar
from consumer.core.features import TOKEN_NAMES
from consumer.core.fold import FoldRules
from model_export.ablation import ablate
from model_export.ablation_results import REFERENCE, Result, Setting, difference, read_results, write_results
from model_export.ablation_runs import GROUPS, TRENDS, runs
from model_export.ablation_scores import Network
from model_export.ablation_view import on_terminal, rows
from model_export.baselines import Learner, recency
from model_export.boosting import questions
from model_export.corpus import Seen, examples, seen_customers
from model_export.evaluate import Entrant, Measuring, Trial, evaluate
from model_export.plots import differences
from model_export.pretrain import PretrainRecipe, new_model
from model_export.report import html, write_report
from model_export.shops import FAMILIES
from model_export.tasks import EvaluationError, read_past
from shop_logs import FIRST_DAY, shop_rows, write_rows

RULES = FoldRules(Calendar())
SETTING = Setting(steps=2, shops=1, users=12)
CUT_OFFS = (FIRST_DAY + timedelta(days=200), FIRST_DAY + timedelta(days=230))
QUICK = ("all", "no-shop-token", "boosting")


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    path = write_rows(tmp_path_factory.mktemp("suite") / "events.csv", shop_rows(60))
    return [Trial("shop", path, days, CUT_OFFS) for days in (30, 60)]


@pytest.fixture(autouse=True)
def few_shops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales and the held-out loss from a handful of simulated shops: these tests are not about their figures."""
    monkeypatch.setattr("model_export.pretrain._SCALE_SHOPS", 4)
    monkeypatch.setattr("model_export.corpus._HELD_OUT_SHOPS", 3)


@pytest.fixture(scope="module")
def made(trials: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Result, ...]]:
    """A file with some runs in it."""
    out = tmp_path_factory.mktemp("ablations") / "ablations.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_export.pretrain._SCALE_SHOPS", 4)
        patch.setattr("model_export.corpus._HELD_OUT_SHOPS", 3)
        return out, ablate(trials, RULES, out, SETTING, QUICK)


def test_every_family_is_left_out_once() -> None:
    """The groups cover all families, and no family twice."""
    left_out = [family for group in GROUPS.values() for family in group]
    assert sorted(left_out) == sorted(FAMILIES)


def test_a_run_differs_from_the_reference_in_one_thing() -> None:
    """Same seed, steps and batch; one other field of the recipe."""
    reference, *others = (run.recipe for run in runs(SETTING) if isinstance(run.recipe, PretrainRecipe))
    for recipe in others:
        changed = [each.name for each in fields(recipe) if getattr(recipe, each.name) != getattr(reference, each.name)]
        assert len(changed) == 1
        assert changed[0] in {"families", "withheld", "ignored", "shape"}


def test_all_runs_foretell_the_same(made: tuple[Path, tuple[Result, ...]]) -> None:
    """Networks and boosting are scored on every log and horizon; boosting has no hazards to score."""
    _, results = made
    assert [each.name for each in results] == list(QUICK)
    for result in results:
        assert [(each.shop, each.horizon_days) for each in result.scores] == [("shop", 30), ("shop", 60)]
        assert all(0 < each.brier < 1 and each.log_loss > 0 for each in result.scores)
        assert (result.simulated_loss is None) == (result.name == "boosting")
    assert difference(results[0], results) is None
    assert difference(results[1], results) == results[1].mean_log_loss - results[0].mean_log_loss


def test_a_gru_and_no_trends_run(trials: list[Trial], tmp_path: Path) -> None:
    """The other kinds of run go through as well."""
    results = ablate(trials[:1], RULES, tmp_path / "a.json", SETTING, ("gru", "no-trends", "plain"))
    assert {each.name for each in results} == {"gru", "no-trends", "plain"}


def test_what_is_done_is_not_done_again(
    made: tuple[Path, tuple[Result, ...]], trials: list[Trial], tmp_path: Path
) -> None:
    """A run of the same recipe is taken from the file as it is; one of another seed is made anew."""
    out, marked = tmp_path / "a.json", replace(made[1][0], seconds=1e6)
    write_results(out, [marked])
    both = ablate(trials, RULES, out, SETTING, ("all", "no-trends"))
    assert [each.name for each in both] == ["all", "no-trends"]
    assert both[0] == marked
    (other,) = ablate(trials, RULES, out, replace(SETTING, seed=2), ("all",))[:1]
    assert other.seconds < 1e6
    assert read_results(out)[0] == other


def test_an_interruption_leaves_the_runs_that_ended(
    trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written after every run."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lightgbm, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ablate(trials, RULES, tmp_path / "a.json", SETTING, ("all", "boosting"))
    assert [each.name for each in read_results(tmp_path / "a.json")] == [REFERENCE]


def test_the_report_has_a_section(made: tuple[Path, tuple[Result, ...]], trials: list[Trial], tmp_path: Path) -> None:
    """With every run, the plot and how long the runs were; without ablations there is none."""
    comparisons = evaluate(trials[:1], [Entrant(Learner("Recency", recency))], RULES, Measuring(), lambda _: None)
    write_report(tmp_path, comparisons, [], made[1])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "2 steps of 1 simulated shops × 12 customers: all are much shorter" in page
    assert all(f'<td class="name">{name}<small>' in page for name in QUICK)
    assert len(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["ablations"]) == len(QUICK)
    assert 'id="ablations"' not in html(comparisons, [])


def test_settings_are_not_mixed(made: tuple[Path, tuple[Result, ...]]) -> None:
    """A run is not held against a reference of other steps."""
    _, results = made
    longer = replace(results[0], setting=replace(results[0].setting, steps=3))
    assert difference(results[1], (longer, results[1])) is None
    assert "2 steps" in str(on_terminal(results).caption)


def test_the_results_survive_the_file(made: tuple[Path, tuple[Result, ...]], tmp_path: Path) -> None:
    """Read as written; a file of something else is refused with a message."""
    _, results = made
    write_results(tmp_path / "again.json", results)
    assert read_results(tmp_path / "again.json") == results
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(EvaluationError, match=r"other\.json is no result"):
        read_results(tmp_path / "other.json")


def test_the_plot_shows_every_difference(made: tuple[Path, tuple[Result, ...]]) -> None:
    """One bar per run that has a reference."""
    svg = differences(rows(made[1]))
    assert "no-shop-token" in svg
    assert "boosting" in svg


def test_an_unknown_name_is_told(trials: list[Trial], tmp_path: Path) -> None:
    """With the names that there are."""
    with pytest.raises(EvaluationError, match="no ablation is called nonsense; there are all, plain"):
        ablate(trials, RULES, tmp_path / "a.json", SETTING, ("nonsense",))


def test_wrong_use_is_explained(tmp_path: Path) -> None:
    """A folder without the logs ends the command with exit code 2, before any work."""
    found = CliRunner().invoke(app, ["train", "ablate", "--data", str(tmp_path), "--out", str(tmp_path / "a.json")])
    assert found.exit_code == 2
    assert not (tmp_path / "a.json").exists()


@cache
def _seen(number: int, users: int = 60) -> Seen:
    return seen_customers(5, number, users)


@pytest.mark.parametrize("number", range(6))
def test_boosting_asks_of_known_days_only(number: int) -> None:
    """Horizons end where knowledge ends at the latest, and answers need nothing from beyond the horizon."""
    seen = _seen(number)
    horizon_days, stayed_away = questions(seen, np.random.default_rng(number))
    assert (horizon_days >= 1).all()
    assert (seen.until + horizon_days <= seen.targets.end_day).all()
    stride = seen.targets.end_day - seen.targets.first_day + 1
    bought = {(int(key) // stride, int(key) % stride) for key in seen.targets.keys[0]}
    for user, until, horizon, stayed in zip(seen.user, seen.until, horizon_days, stayed_away, strict=True):
        days = range(until - seen.targets.first_day, until - seen.targets.first_day + horizon)
        assert stayed == (not any((int(user), day) in bought for day in days))


def test_a_withheld_token_changes_nothing_else() -> None:
    """The same customers and outcomes, but no shop in the panel."""
    told, untold = examples(5, 3, 20), examples(5, 3, 20, withheld=1.0)
    for each in fields(told):
        if each.name != "shop":
            assert np.array_equal(getattr(told, each.name), getattr(untold, each.name))
    assert np.isnan(untold.shop).all()


def test_a_deaf_network_is_never_told_of_the_shop(trials: list[Trial]) -> None:
    """Its hazards do not depend on the token; those of any other network do."""
    states = read_past(trials[0].path, RULES).log.states
    model = new_model(PretrainRecipe(shops=1, users=8)).eval()
    shop = model.shop_mean.numpy()

    def change(deaf: bool) -> float:
        network = Network.of(model, deaf)
        shift = network.with_shop(shop).log_hazards(states) - network.with_shop(shop + 1).log_hazards(states)
        return float(np.abs(shift).max())

    assert change(deaf=True) == 0.0
    assert change(deaf=False) > 0.0


def test_ignored_tokens_reach_no_weight() -> None:
    """Their scale is 0, that of all others is as in the reference."""
    reference = new_model(PretrainRecipe(shops=1, users=8)).token_scale.numpy()
    without = new_model(PretrainRecipe(shops=1, users=8, ignored=TRENDS)).token_scale.numpy()
    ignored = np.isin(TOKEN_NAMES, TRENDS)
    assert ignored.sum() == len(TRENDS)
    assert (without[ignored] == 0).all()
    assert np.array_equal(without[~ignored], reference[~ignored])
