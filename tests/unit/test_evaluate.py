"""Evaluation: nobody sees what came after the cut-off, and what is reported is what was measured."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from consumer.core.calendar import Calendar
from consumer.core.fold import FoldRules
from consumer.core.state import BINS, States
from model_export.artefact import Artefact
from model_export.bars import FINETUNED, ZEROSHOT, bars
from model_export.baselines import Competitor, rivals
from model_export.comparison import Comparison, Example
from model_export.data import HEADS, day_number
from model_export.evaluate import Entrant, Measuring, Trial, evaluate, steps, suite
from model_export.finetune import FineTuneRecipe
from model_export.finetuned import Finetuned
from model_export.metrics import METRICS
from model_export.report import html, on_terminal, write_report
from model_export.tasks import EvaluationError, Task, read_past
from model_export.zeroshot import Zeroshot, examples
from shop_logs import FIRST_DAY, Row, shop_rows, write_rows

RULES = FoldRules(Calendar())
CUT_OFF = FIRST_DAY + timedelta(days=200)
HORIZON_DAYS = 30


@dataclass(frozen=True)
class Guess:
    """A competitor with one opinion of everybody, a little risen by silence."""

    name: str = ZEROSHOT
    level: float = 0.5

    def predict(self, task: Task) -> np.ndarray:
        """See `Competitor.predict`."""
        silence = task.past.log.silence_days()[task.past.customers]
        return self.level + 0.4 * silence / silence.max()


@dataclass(frozen=True)
class Steady:
    """A model whose hazards follow from how often a customer was active and from all that it is told of the shop."""

    shop: np.ndarray

    def with_shop(self, shop: np.ndarray) -> "Steady":
        """See `Model.with_shop`."""
        return Steady(shop)

    def log_hazards(self, states: States) -> np.ndarray:
        """See `Model.log_hazards`."""
        level = np.log(states.header["days"] / 500.0) + 0.01 * self.shop.sum()
        return np.broadcast_to(level[:, None, None], (len(states), len(HEADS), BINS)).astype(np.float32)


def everyone() -> list[Competitor]:
    """Those that any model is compared with, and a zero-shot model."""
    return [*rivals(), Zeroshot(Steady(np.zeros(1)))]


@dataclass(frozen=True)
class Peeking:
    """A competitor that leaks: it reads the whole file, later events and all."""

    path: Path
    name: str = "leak"

    def predict(self, task: Task) -> np.ndarray:
        """See `Competitor.predict`."""
        whole = read_past(self.path, RULES)
        last = np.array([whole.purchase_days[1][whole.purchase_days[0] == row].max() for row in task.past.customers])
        return np.where(last < task.past.until_day, 0.9, 0.1)


def tampered(rows: list[Row]) -> list[list[Row]]:
    """Copies of a log in which everything from the cut-off on is removed, changed, or more than it was."""
    before = [row for row in rows if row[2] < str(CUT_OFF)]
    after = rows[len(before) :]
    swapped = [(f"u{299 - int(user[1:]):03}", "purchase", day, value * 100) for user, _, day, value in after]
    more = [(f"new{number}", "purchase", str(CUT_OFF), 1.0) for number in range(50)]
    return [before, before + swapped, before + more + after]


def sees_the_future(make: Callable[[Path], Competitor], folder: Path) -> bool:
    """Whether a competitor foretells anything else when only events at or after the cut-off differ."""

    def foretold(number: int, rows: list[Row]) -> bytes:
        path = write_rows(folder / f"{number}.csv", rows)
        past = read_past(path, RULES)
        day = day_number(CUT_OFF)
        task = Task(past.earlier(day) if past.until_day > day else replace(past, until_day=day), HORIZON_DAYS)
        return make(path).predict(task).tobytes()

    rows = shop_rows()
    expected = foretold(0, rows)
    return any(foretold(number, copy) != expected for number, copy in enumerate(tampered(rows), start=1))


@pytest.mark.parametrize("number", range(len(everyone())))
def test_no_competitor_sees_the_future(number: int, tmp_path: Path) -> None:
    """Equal to the bit, whatever comes after the cut-off."""
    assert not sees_the_future(lambda _: everyone()[number], tmp_path)


def test_the_models_see_no_future(tiny_model: Path, tmp_path: Path) -> None:
    """Neither a whole artefact with its shop token, nor one fine-tuned and calibrated at the cut-off."""
    recipe = FineTuneRecipe(moments=3, max_steps=6, check_every=2, batch_customers=64)
    for number, make in enumerate((lambda: Zeroshot(Artefact.load(tiny_model)), lambda: Finetuned(tiny_model, recipe))):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not sees_the_future(lambda _, make=make: make(), folder)


def test_a_planted_leak_is_caught(tmp_path: Path) -> None:
    """A competitor that peeks at later events fails the same check."""
    assert sees_the_future(Peeking, tmp_path)


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> list[Comparison]:
    """One of ours and all rivals, on a horizon that the log can teach and on one that it cannot."""
    path = write_rows(tmp_path_factory.mktemp("shop") / "events.csv", shop_rows())
    later = CUT_OFF + timedelta(days=40)
    trials = [Trial("shop", path, 30, (CUT_OFF, later)), Trial("shop", path, 90, (FIRST_DAY + timedelta(days=110),))]
    example = Example("bought once", 12, [0.1, 0.2, 0.3])
    entrants = [Entrant(Guess(), ours=True, examples=lambda _: [example]), *(Entrant(rival) for rival in rivals())]
    told: list[str] = []
    found = evaluate(trials, entrants, RULES, Measuring(resamples=30), told.append)
    assert len(told) == steps(trials, entrants)
    return found


def test_a_zeroshot_model_answers_from_its_hazards(tmp_path: Path) -> None:
    """Its probabilities and its example curves are those of the hazards at each customer's silence."""
    past = read_past(write_rows(tmp_path / "events.csv", shop_rows()), RULES).earlier(day_number(CUT_OFF))
    task, model = Task(past, HORIZON_DAYS), Zeroshot(Steady(np.zeros(1)))
    hazard = np.exp(model.hazards(past)[:, 0].astype(np.float64))
    np.testing.assert_allclose(model.predict(task), np.exp(-hazard * HORIZON_DAYS), rtol=1e-6)
    shown = examples(model, task)
    assert shown[0].label == "bought once"
    assert 0 <= shown[0].silence_days < 200
    assert len(set(shown[0].risk)) == 1  # a steady hazard forgets silence


def test_everyone_is_measured_on_the_same_rows(comparisons: list[Comparison]) -> None:
    """All competitors have all figures with intervals, rivals the difference to ours."""
    first = comparisons[0]
    assert [each.role for each in first.standings] == ["ours", *["rival"] * len(rivals())]
    assert first.cut_offs == [str(CUT_OFF), str(CUT_OFF + timedelta(days=40))]
    assert first.rows > first.customers
    for each in first.standings:
        assert set(each.figures) == set(METRICS)
        assert all(figure.low <= figure.high for figure in each.figures.values())
        assert set(each.differences) == (set() if each.role == "ours" else set(METRICS))
        assert each.by_history
    ours, recency = first.standings[0], first.of("Recency")
    assert recency is not None
    expected = recency.figures["brier"].value - ours.figures["brier"].value
    assert recency.differences["brier"].value == pytest.approx(expected)


def test_a_short_log_is_said_to_be_one(comparisons: list[Comparison]) -> None:
    """Where the horizon cannot be learnt there is a note, and a reference row that no one competes with."""
    short = comparisons[1]
    assert short.standings[-1].role == "reference"
    assert "too few" in short.notes[0]
    assert not comparisons[0].notes


def test_the_report_stands_alone(comparisons: list[Comparison], tmp_path: Path) -> None:
    """One file without scripts or anything from elsewhere, with a table and plots for each comparison."""
    write_report(tmp_path, comparisons, bars(comparisons))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5 * len(comparisons)
    assert "<script" not in page
    assert " src=" not in page
    assert "LightGBM" in page
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["comparisons"][0]["standings"][0]["figures"]["auroc"]["value"] > 0
    assert on_terminal(comparisons, bars(comparisons))


def test_names_are_text_in_the_page(comparisons: list[Comparison]) -> None:
    """A file name with markup in it is shown, not run."""
    assert "<b>shop" not in html([replace(comparisons[0], shop="<b>shop")], [])


def test_bars_are_judged_by_the_figures(comparisons: list[Comparison]) -> None:
    """Zero-shot is held to the regression on other shops, fine-tuned to LightGBM and both BTYD models."""
    first = comparisons[0]
    regression = first.of("Logistic regression")
    assert regression is not None
    found = {(bar.metric, bar.against): bar for bar in bars([first])}
    brier = found["brier", "Logistic regression"]
    assert brier.met == (brier.value <= regression.figures["brier"].value)
    assert found["ece", "bar"].met == (first.standings[0].figures["ece"].value <= 0.03)
    renamed = replace(first, standings=[replace(first.standings[0], name=FINETUNED), *first.standings[1:]])
    assert {bar.against for bar in bars([renamed])} == {"bar", "LightGBM", "BG/NBD", "Pareto/NBD"}


@pytest.mark.parametrize("cut_off", [FIRST_DAY, FIRST_DAY + timedelta(days=290), date(2030, 1, 1)])
def test_a_cut_off_outside_the_log_is_explained(cut_off: date, tmp_path: Path) -> None:
    """Nothing before it, or too little after it: the message says what the log holds."""
    path = write_rows(tmp_path / "events.csv", shop_rows(customers=20))
    with pytest.raises(EvaluationError, match="must lie within the log"):
        evaluate([Trial("shop", path, 30, (cut_off,))], [], RULES, Measuring(), lambda _: None)


def test_the_suite_is_the_three_real_logs() -> None:
    """CDNOW at 39 + 39 weeks, and 30 and 90 days everywhere."""
    trials = {(trial.shop, trial.horizon_days): trial for trial in suite(Path("data"))}
    assert trials["cdnow", 273].cut_offs == (date(1997, 10, 1),)
    assert len(trials) == 7


def test_evaluation_does_without_torch() -> None:
    """Neither the baselines nor the report load it."""
    code = "import sys, model_export.evaluate, model_export.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
