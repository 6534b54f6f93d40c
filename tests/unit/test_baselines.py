"""Baselines learn from the past alone, and learn something."""

from pathlib import Path

import numpy as np
import pytest

from consumer.core.calendar import Calendar
from consumer.core.fold import FoldRules
from model_export.baselines import histories, rivals, scaled
from model_export.data import day_number
from model_export.design import STEP_DAYS, design, learnt_days, window_days
from model_export.metrics import log_loss
from model_export.reference import cross_validated
from model_export.tasks import EvaluationError, Past, Task, read_past
from shop_logs import FIRST_DAY, shop_rows, write_rows

DAY_0 = day_number(FIRST_DAY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """300 days of a shop."""
    path = write_rows(tmp_path_factory.mktemp("shop") / "events.csv", shop_rows())
    return read_past(path, FoldRules(Calendar()))


def test_a_past_ends_before_its_cut_off(whole: Past) -> None:
    """No event, user or purchase day at or after it is left, and there is no way to a later one."""
    past = whole.earlier(DAY_0 + 100)
    assert past.events.time_ms.max() < (DAY_0 + 100) * 86_400_000
    assert past.purchase_days[1].max() < DAY_0 + 100
    assert len(past.users) == past.events.row.max() + 1
    with pytest.raises(EvaluationError, match="after the cut-off"):
        past.earlier(DAY_0 + 101)


def test_customers_have_bought(whole: Past) -> None:
    """Someone known from a campaign only is no customer; rows stay the same from one cut-off to the next."""
    past = whole.earlier(DAY_0 + 100)
    assert "nobody" in past.users
    assert "nobody" not in [past.users[row] for row in past.customers]
    assert past.users == whole.users[: len(past.users)]
    assert (past.customers == whole.customers_before(DAY_0 + 100)).all()


def test_staying_away_is_no_purchase_within_the_horizon(tmp_path: Path) -> None:
    """A purchase on the cut-off counts as return, one on the first day after the horizon does not."""
    bought = {"on": 50, "last": 59, "after": 60}
    rows = [(user, "purchase", "2024-01-05", 1.0) for user in bought]
    rows += [(user, "purchase", f"2024-02-{20 + day - 50}", 1.0) for user, day in bought.items() if day < 60]
    rows += [("after", "purchase", "2024-03-01", 1.0)]
    past = read_past(write_rows(tmp_path / "events.csv", rows), FoldRules(Calendar()))
    assert past.stayed_away(DAY_0 + 50, 10).tolist() == [False, False, True]


def test_outcomes_learnt_from_are_over_before_the_cut_off(whole: Past) -> None:
    """Each training window ends at or before the cut-off, and windows are spaced."""
    past = whole.earlier(DAY_0 + 250)
    days = window_days(past, 30)
    assert max(days) + 30 == past.until_day
    assert set(np.diff(days)) == {-STEP_DAYS}
    fitting, choosing = design(Task(past, 30)).split()
    assert fitting.any()
    assert choosing.any()
    assert not (fitting & choosing).any()


def test_a_short_log_teaches_half_of_it(whole: Past) -> None:
    """Where the horizon does not fit into the log, half of the log is learnt and carried over."""
    past = whole.earlier(DAY_0 + 150)
    assert learnt_days(past, 150) == (past.until_day - past.first_day) // 2
    rows = design(Task(past, 150))
    half = np.full(len(rows.stayed_away), rows.stayed_away.mean())
    carried = rows.whole_horizon(np.array([0.3, 0.6, 0.9]), half)
    assert (carried < [0.3, 0.6, 0.9]).all()
    assert (np.diff(carried) > 0).all()


def test_every_rival_beats_the_share_of_the_past(whole: Past) -> None:
    """Each foretells probabilities that are better than everybody's average."""
    task = Task(whole.earlier(DAY_0 + 250), 30)
    outcome = whole.stayed_away(task.past.until_day, 30)
    knows_nothing = log_loss(outcome, np.full(len(outcome), design(task).stayed_away.mean()))
    for rival in rivals():
        probability = rival.predict(task)
        assert probability.shape == outcome.shape
        assert ((probability >= 0) & (probability <= 1)).all()
        assert log_loss(outcome, probability) < knows_nothing, rival.name
    assert log_loss(outcome, cross_validated(task, outcome)) < knows_nothing


def test_histories_are_those_of_the_literature(whole: Past) -> None:
    """Repeat purchase days, the last of them, and the last day before the cut-off, from the first purchase on."""
    past = whole.earlier(DAY_0 + 120)
    found = histories(past)
    row = int(past.customers[7])
    days = [day for user, day in zip(*past.purchase_days, strict=True) if user == row]
    assert (found.x[7], found.t_x[7]) == (len(days) - 1, days[-1] - days[0])
    assert found.T[7] == DAY_0 + 119 - days[0]


def test_linear_models_see_logs_and_what_is_missing() -> None:
    """Missing values become 0 with a column that says so; the sign is kept."""
    found = scaled(np.array([[np.e - 1, np.nan], [1 - np.e, 0.0]]))
    np.testing.assert_allclose(found, [[1, 0, 0, 1], [-1, 0, 0, 0]])


def test_a_shop_where_everyone_returns_is_no_error(tmp_path: Path) -> None:
    """With one kind of outcome there is nothing to tell apart, and the share is foretold, off the edges."""
    days = [f"2024-{month:02}-{day:02}" for month in (1, 2, 3, 4) for day in range(1, 29)]
    rows = [(user, "purchase", day, 5.0) for day in days for user in ("ann", "bob", "cem")]
    past = read_past(write_rows(tmp_path / "events.csv", rows), FoldRules(Calendar()))
    for rival in rivals():
        probability = rival.predict(Task(past.earlier(past.until_day - 10), 10))
        assert (probability < 0.2).all(), rival.name
