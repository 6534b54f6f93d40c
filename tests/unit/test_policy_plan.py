"""What thresholds and budgets come to on a log: counted by hand, on simulated shops, and written as a policy."""

import json
import shutil
import tomllib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from consumer.adapters.metrics import Metrics
from consumer.cli_policy import write_plan
from consumer.core.calendar import DAY_MS
from consumer.errors import ConfigurationError
from consumer.policy_file import read_policy
from consumer.policy_plan import Plan, budgets, plan, round_numbers
from consumer.policy_tape import TapeAlerts
from consumer.policy_text import policy_text, with_threshold
from consumer.policy_trial import Costs, Judge, Period, Trial
from consumer.policy_view import plan_json
from consumer.settings import DEFAULT_POLICY_FILE, Settings
from policy_texts import EVERYTHING, TIERS
from schemas.manifest import TrainingData, load_manifest
from schemas.policy import PolicyFile
from shop_logs import FIRST_DAY, shop_rows, write_rows
from support import POLICIES

HORIZON = 30.0
COSTS = Costs(margin=100.0, offer_cost=2.0, save_rate=0.5)


def judge(*bought: tuple[int, float], until: float = 200.0, since: float = 0.0) -> Judge:
    """Of a log of purchases: user and day."""
    user, days = zip(*bought, strict=True)
    at_ms = np.round(np.array(days) * DAY_MS).astype(np.int64)
    return Judge(np.array(user), at_ms, Period(round(since * DAY_MS), round(until * DAY_MS), HORIZON))


def alerts(*at: tuple[int, float]) -> TapeAlerts:
    """User and day of each."""
    user, days = zip(*at, strict=True) if at else ((), ())
    at_ms = np.round(np.array(days) * DAY_MS).astype(np.int64)
    return TapeAlerts(np.array(user, np.int64), at_ms, np.ones(len(at), np.int8), np.zeros(len(at)))


def test_a_trial_counts_what_can_be_counted_by_hand() -> None:
    """User 0 is lost twice and caught once, 20 days ahead; user 1 bought 29 days after an alert, which was wrong."""
    known = judge((0, 0.0), (0, 100.0), (1, 50.0), (1, 79.0), (1, 200.0))
    trial = known.trial(0.5, alerts((0, 10.0), (0, 35.0), (1, 51.0), (0, 131.0)), COSTS)
    assert known.lost == 3  # after days 0, 100 and 79
    assert (trial.alerts, trial.precision) == (4, 0.75)
    assert trial.alerts_per_day == pytest.approx(4 / 170)
    assert (trial.caught, trial.median_lead_days) == (pytest.approx(1 / 3), 20.0)
    assert (trial.offers_cost, trial.margin_saved, trial.net) == (8.0, 150.0, 142.0)


def test_what_is_on_the_edge() -> None:
    """A purchase exactly a horizon after an alert makes it wrong, one a millisecond later right; likewise the loss."""
    for late_ms, right in ((0, 0.0), (1, 1.0)):
        known = judge((0, 0.0), (0, 30.0 + late_ms / DAY_MS))
        trial = known.trial(0.5, alerts((0, 0.0)), None)
        assert (trial.precision, known.lost) == (right, 1 + int(right))


def test_only_what_can_be_judged_counts() -> None:
    """Alerts and losses before the period, or less than a horizon before the log ends, are left out."""
    known = judge((0, 5.0), (1, 20.0), (2, 80.0), until=100.0, since=10.0)
    trial = known.trial(0.5, alerts((0, 8.0), (1, 25.0), (1, 70.0), (1, 70.1), (2, 85.0)), None)
    assert (known.lost, trial.alerts, trial.caught) == (1, 2, 1.0)


def test_users_are_not_mixed_up() -> None:
    """The purchase of the next user, however soon, makes nobody's alert wrong and nobody found."""
    known = judge((0, 0.0), (1, 0.0), (1, 200.0), (2, 0.0))
    trial = known.trial(0.5, alerts((0, 170.0), (1, 10.0)), None)
    assert (known.lost, trial.precision, trial.caught) == (3, 1.0, pytest.approx(1 / 3))


def test_no_alert_is_no_division_by_zero() -> None:
    """There is no precision then, and nobody is caught."""
    trial = judge((0, 0.0)).trial(0.9, alerts(), COSTS)
    assert (trial.alerts, trial.precision, trial.caught, trial.median_lead_days, trial.net) == (0, None, 0.0, None, 0.0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 150)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 150)), max_size=20),
)
def test_a_trial_agrees_with_plain_counting(bought: list[tuple[int, int]], alerted: list[tuple[int, int]]) -> None:
    """Users one by one, days one by one."""
    trial = judge(*bought, until=150.0).trial(0.5, alerts(*alerted), None)
    days = {user: sorted({day for who, day in bought if who == user}) for user in range(4)}

    def comes_back(user: int, day: int) -> bool:
        return any(day < other <= day + HORIZON for other in days[user])

    judged = [(user, day) for user, day in alerted if day + HORIZON <= 150]
    lost = [(user, day) for user in days for day in days[user] if day + HORIZON <= 150 and not comes_back(user, day)]
    leads = [
        day + HORIZON - min(ahead)
        for user, day in lost
        if (ahead := [at for who, at in alerted if who == user and day <= at <= day + HORIZON])
    ]
    assert trial.alerts == len(judged)
    assert trial.precision == (sum(not comes_back(*each) for each in judged) / len(judged) if judged else None)
    assert trial.caught == (pytest.approx(len(leads) / len(lost)) if lost else None)
    assert trial.median_lead_days == (pytest.approx(float(np.median(leads))) if leads else None)


# Budgets.


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.0, []), (1.0, 1.0, [1.0]), (3.0, 4.0, []), (2.0, 30.0, [2.0, 5.0, 10.0, 20.0]), (0.3, 1.2, [0.5, 1.0])],
)
def test_budgets_are_round_numbers_within_reach(low: float, high: float, expected: list[float]) -> None:
    """Between the fewest and the most alerts a day that any threshold gives."""
    assert round_numbers(low, high) == pytest.approx(expected)


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_there_are_never_many_budgets(low: float, high: float) -> None:
    """At most six, ascending, all within reach."""
    numbers = round_numbers(low, high)
    assert len(numbers) <= 6
    assert numbers == sorted(set(numbers))
    assert all(low <= number <= high for number in numbers)


def test_a_budget_is_nearly_spent_and_never_overspent() -> None:
    """Between two thresholds far apart the one is found that spends at least nine tenths."""

    def tried(threshold: float) -> Trial:
        rate = 1_000.0 * (1.0 - threshold) ** 3
        return Trial(threshold, round(rate * 100), rate, 0.5, 0.5, 1.0)

    found = budgets([tried(each) for each in (0.1, 0.5, 0.99)], tried)
    assert len(found) > 3
    assert all(0.9 * each.alerts_per_day <= each.trial.alerts_per_day <= each.alerts_per_day for each in found)


# The whole.


def settings_of(tiny_model: Path) -> Settings:
    return Settings(model_dir=tiny_model, policy_file=POLICIES / "no_grace.toml")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated shop, of which some customers leave."""
    return write_rows(tmp_path_factory.mktemp("log") / "events.csv", shop_rows(customers=60, days=240))


def planned(log: Path, model: Path, costs: Costs | None = None) -> Plan:
    told: list[str] = []
    found, report = plan(log, settings_of(model), Metrics(CollectorRegistry()), costs, told.append)
    assert report.used == found.events
    assert told
    return found


def test_with_higher_thresholds_there_are_fewer_alerts_and_fewer_caught(log: Path, tiny_model: Path) -> None:
    """Of purchases alone, where episodes end with the next one; and the same log gives the same plan."""
    found = planned(log, tiny_model)
    rates = [trial.alerts_per_day for trial in found.thresholds]
    caught = [trial.caught or 0.0 for trial in found.thresholds]
    assert rates == sorted(rates, reverse=True)
    assert caught == sorted(caught, reverse=True)
    assert rates[0] > rates[-1]
    assert found == planned(log, tiny_model)


def test_the_best_is_the_one_with_the_highest_net(log: Path, tiny_model: Path) -> None:
    """Free offers are worth a low threshold; offers that cost all they could bring are worth none."""
    free = planned(log, tiny_model, Costs(100.0, 0.0, 0.5))
    dear = planned(log, tiny_model, Costs(100.0, 100.0, 0.5))
    trials = [*free.thresholds, *(each.trial for each in free.budgets)]
    assert free.best.net == max(trial.net for trial in trials if trial.net is not None)
    assert free.best.threshold < dear.best.threshold


def test_the_plan_is_written_as_a_policy_that_can_be_used(log: Path, tiny_model: Path, tmp_path: Path) -> None:
    """With the best threshold in it, and all else as it was; beside it the numbers, and a picture."""
    found = planned(log, tiny_model, COSTS)
    write_plan(tmp_path, found, settings_of(tiny_model))
    written = read_policy(tmp_path / "policy.toml").policy
    before = read_policy(POLICIES / "no_grace.toml").policy
    assert written.tiers[0].threshold == pytest.approx(found.best.threshold, abs=1e-4)
    assert written.model_copy(update={"tiers": before.tiers}) == before
    assert json.loads((tmp_path / "plan.json").read_text()) == plan_json(found)
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_a_log_too_short_to_judge_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    """With fewer days than the horizon no alert could be told right from wrong."""
    log = write_rows(tmp_path / "events.csv", [row for row in shop_rows() if row[2] < "2024-01-20"])
    with pytest.raises(ConfigurationError, match="too short: to judge an alert takes 30 days"):
        planned(log, tiny_model)


def test_the_plan_judges_only_after_what_the_model_knows(log: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Of a model that was adapted to this log until a day, alerts before that day are not held to its credit."""
    adapted = shutil.copytree(tiny_model, tmp_path / "adapted")
    manifest = load_manifest(adapted)
    shop = TrainingData(
        source="log", sha256="0" * 64, first_day=FIRST_DAY, until=FIRST_DAY + timedelta(days=100), timezone="UTC",
        users=1, events=1, user_days=1,
    )  # fmt: skip
    (adapted / "manifest.json").write_text(manifest.model_copy(update={"shop": shop}).model_dump_json())
    whole, later = planned(log, tiny_model), planned(log, adapted)
    assert (whole.period.days, later.period.days) == (239 - 30, 239 - 30 - 100)
    assert later.thresholds[0].alerts < whole.thresholds[0].alerts


# A policy as text.


@pytest.mark.parametrize("text", [TIERS, EVERYTHING, DEFAULT_POLICY_FILE.read_text()], ids=["least", "most", "shipped"])
def test_a_written_policy_reads_as_the_same(text: str, tmp_path: Path) -> None:
    """Every key survives, and the comment is none."""
    policy = PolicyFile.model_validate(tomllib.loads(text))
    (tmp_path / "policy.toml").write_text(policy_text(policy, ["so be it"]))
    assert read_policy(tmp_path / "policy.toml").policy == policy


@pytest.mark.parametrize(("critical", "tiers"), [(0.8, 2), (0.4, 1), (None, 1)])
def test_a_second_tier_stays_above_the_first(critical: float | None, tiers: int) -> None:
    """Where the new threshold is above the second tier's, the second tier goes; a re-arm level too wide goes too."""
    policy = PolicyFile.model_validate(tomllib.loads(TIERS.replace("0.5", "0.5\nrearm = 0.45")))
    chosen = with_threshold(policy, 0.42, critical)
    assert [tier.threshold for tier in chosen.tiers] == [0.42, None][:tiers]
    assert chosen.tiers[0].rearm is None
