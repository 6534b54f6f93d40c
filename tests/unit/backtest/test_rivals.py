"""The rule of thumb and the daily job, on pasts that can be worked out."""

import numpy as np
import pytest

from consumer.backtest.recording import Curves
from consumer.backtest.rivals import DailyJob, Rule, RuleScore, best_rule, rule_scores
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.policy import Policy, PolicyRules
from consumer.core.state import BIN_EDGES_DAYS
from pasts import history, window

DAYS = {0: [0.5, 10.5, 15.5], 1: [0.5, 50.5]}
# as in support.KnownCurve: the risk after s days of silence, up to 7, is exp(-(1.63 - 0.19 s)), and .74 from then on
CURVE = np.log(np.where(BIN_EDGES_DAYS <= 7, 0.2, 0.01)).astype(np.float32)


def test_a_rule_alerts_once_a_stretch_that_gets_there() -> None:
    """After N days, not where the customer buys before, and only after k purchases."""
    past, judged = history(DAYS), window(0, 400)
    alerts = Rule(7, 1).alerts(past, judged)
    assert alerts.stretch.tolist() == [0, 2, 3, 4]
    assert (alerts.at_ms / DAY_MS).tolist() == [7.5, 22.5, 7.5, 57.5]
    assert Rule(7, 2).alerts(past, judged).stretch.tolist() == [2, 4]
    assert Rule(11, 1).alerts(past, judged).stretch.tolist() == [2, 3, 4]


def test_a_rule_does_not_know_of_a_purchase_at_that_very_instant() -> None:
    """As in logs without times of day: it alerts, and is wrong."""
    past, judged = history({0: [0, 7]}), window(0, 400)
    alerts = Rule(7, 1).alerts(past, judged)
    assert alerts.are_right(past, judged).tolist() == [False, True]


def test_every_rule_is_scored() -> None:
    """With its number of alerts and how many were right; rules that never alert are left out."""
    scores = {each.rule: each for each in rule_scores(history(DAYS), window(0, 400))}
    assert (scores[Rule(7, 1)].alerts, scores[Rule(7, 1)].precision) == (4, 0.75)
    assert (scores[Rule(7, 2)].alerts, scores[Rule(7, 2)].precision) == (2, 1.0)
    assert max(rule.least for rule in scores) == 3
    assert max(rule.silence_days for rule in scores) == 90


def test_the_best_rule_raises_enough_alerts() -> None:
    """The most precise of those with at least as many alerts, and no later than asked; none if there is none."""
    scores = [RuleScore(Rule(9, 1), 50, 0.5), RuleScore(Rule(20, 1), 30, 0.8), RuleScore(Rule(60, 1), 10, 0.9)]
    assert best_rule(scores, 10) == scores[2]
    assert best_rule(scores, 11) == scores[1]
    assert best_rule(scores, 10, latest_days=19) == scores[0]
    assert best_rule(scores, 51) is None


def job(purchases: dict[int, list[float]], grace_days: float = 0.0) -> DailyJob:
    """Of customers with the known curve after every purchase."""
    past = history(purchases)
    at = past.time_ms
    curves = Curves(past.user, at, at // DAY_MS, at, past.number, np.tile(CURVE, (len(at), 1)))
    policy = Policy(PolicyRules((0.5,), 0.4, 30.0, grace_days), Calendar())
    return DailyJob.of(past, window(0, 400), policy, curves)


def test_a_daily_job_alerts_at_the_next_midnight() -> None:
    """The risk reaches .5 after 4.93 days of silence, which begins at the end of the day: at midnight it is 5."""
    alerts = job({0: [0.5, 10.5], 1: [3.25]}).alerts(0.5)
    assert (alerts.at_ms / DAY_MS).tolist() == [6.0, 16.0, 9.0]


def test_a_daily_job_has_the_same_grace() -> None:
    """Nobody is alerted in the first week after a purchase: the first midnight after it is day 8."""
    assert (job({0: [0.5]}, grace_days=7.0).alerts(0.5).at_ms / DAY_MS).tolist() == [8.0]


def test_a_daily_job_knows_a_day_as_a_whole() -> None:
    """Of two purchases on a day the later counts; one that comes before the midnight in question prevents the alert."""
    assert (job({0: [0.2, 0.9]}).alerts(0.5).at_ms / DAY_MS).tolist() == [6.0]
    assert (job({0: [0.5, 5.9]}).alerts(0.5).at_ms / DAY_MS).tolist() == [11.0]


def test_a_daily_job_never_alerts_above_all_risks() -> None:
    """The curve ends at .74."""
    assert len(job({0: [0.5]}).alerts(0.75)) == 0


@pytest.mark.parametrize(("alerts", "found"), [(1, 3), (3, 3), (4, 4), (9, 4)])
def test_a_daily_job_s_threshold_is_lowered_until_there_are_enough(alerts: int, found: int) -> None:
    """As far as it must be, and no further than everybody."""
    threshold, raised = job({0: [0.5, 4.5], 1: [3.25], 2: [8.5]}).as_many(alerts, 0.5)
    assert len(raised) == found
    assert (threshold == 0.5) == (alerts <= 3)
