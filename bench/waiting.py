"""What waiting buys: the same model at the same number of alerts, with other days of grace, against the best rule."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from consumer.backtest.comparison import OURS, RULE, Contest, Method
from consumer.backtest.findings import Findings
from consumer.backtest.rivals import DailyJob, best_rule
from consumer.backtest.wording import WORDINGS
from consumer.core.policy import Policy

GRACES_DAYS: Final = (7, 14, 21, 30, 45, 60, 75)


def waits(findings: Findings) -> Iterator[dict[str, Any]]:
    """By days of grace, once a day, at the first tier, with as many alerts as the service raised.

    The threshold falls for it; nothing where so long a silence is too rare.
    """
    if not findings.levels:
        return
    ours = findings.levels[0].judged
    contest = Contest(findings.history, findings.window, findings.seed)
    rule = best_rule(findings.rules, len(ours))
    assert rule
    theirs = Method(RULE, rule.rule.title(WORDINGS["purchase"]), rule.rule.alerts(findings.history, findings.window))
    at_risk = findings.job.policy.rules.thresholds[0]
    for days in GRACES_DAYS:
        threshold, raised = _waiting(findings.job, days).as_many(len(ours), at_risk)
        if len(raised) >= len(ours):
            mine, other = contest.standings([Method(OURS, f"{days} days of grace", raised), theirs], len(ours))
            yield {"grace_days": days, "threshold": round(threshold, 4), **mine.as_json(), "rule": other.as_json()}


def _waiting(job: DailyJob, days: float) -> DailyJob:
    policy = Policy(replace(job.policy.rules, grace_days=days), job.policy.calendar)
    return replace(job, policy=policy)
