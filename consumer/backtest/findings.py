"""Everything that a back-test found, for the page and for `summary.json`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from consumer.backtest.bootstrap import number
from consumer.backtest.comparison import DAILY, EARLY_RULE, OURS, RULE, Contest, Method, Standing
from consumer.backtest.history import History
from consumer.backtest.judging import Raised, Window, first_alerts, lost_stretches
from consumer.backtest.recording import Curves
from consumer.backtest.reliability import Band, reliability
from consumer.backtest.rivals import DailyJob, ModelScore, RuleScore, best_rule, rule_scores
from consumer.backtest.wording import WORDINGS, Wording
from consumer.core.actions import TIERS
from consumer.core.calendar import DAY_MS
from consumer.core.fold import Target
from consumer.core.policy import Policy
from schemas.alert import Tier


@dataclass(frozen=True)
class Alerts:
    """M alerts in the order in which they lie in their file."""

    user: np.ndarray  # int64 (M,), as the chronicle numbers them
    at_ms: np.ndarray  # int64 (M,)
    tier: np.ndarray  # int64 (M,): index into TIERS
    by_silence: np.ndarray  # bool (M,)
    probability: np.ndarray  # float64 (M,)
    expected_spend: np.ndarray  # float64 (M,), as published; NaN: not known

    def stretches(self, history: History) -> np.ndarray:
        """The stretch that each belongs to.

        Where dates have no time, an alert and a target event may come at the same instant. What silence raised was
        then raised before the event, and is wrong.
        """
        return history.stretch_of(self.user, self.at_ms - self.by_silence)


@dataclass(frozen=True)
class Level:
    """The comparison at one tier: what counts is a stretch's first alert at this tier or above."""

    tier: Tier
    standings: list[Standing]  # ours first
    first: np.ndarray  # int64 (F,): which alerts these are, judged or not
    everyone: Raised  # (F,): the same
    judged: Raised  # those of them that are


@dataclass(frozen=True)
class Findings:
    """What a replayed log's alerts were worth."""

    history: History
    window: Window
    alerts: Alerts
    levels: list[Level]  # by tier; those that have an alert to judge
    rules: list[RuleScore]
    job: DailyJob
    thresholds: list[ModelScore]
    bands: list[Band]
    lost: int  # customers lost, see `lost_stretches`
    target: Target
    seed: int

    @property
    def words(self) -> Wording:
        """What a target event is called."""
        return WORDINGS[self.target]

    @property
    def too_late(self) -> int:
        """Alerts too close to the log's end for their outcome to be known."""
        return int((self.alerts.at_ms > self.window.last_ms).sum())

    @property
    def everyone(self) -> Raised:
        """The first alert of every stretch that has one, judged or not."""
        stretch = self.alerts.stretches(self.history)
        first = first_alerts(stretch, self.alerts.at_ms)
        return Raised(stretch[first], self.alerts.at_ms[first])

    def money(self, level: Level) -> tuple[float, float]:
        """What those alerted rightly were expected to spend, and all alerted, as their alerts say; NaN: not known."""
        judged = self.window.holds(self.history.time_ms[level.everyone.stretch], level.everyone.at_ms)
        spend = self.alerts.expected_spend[level.first[judged]]
        if np.isnan(spend).all():
            return np.nan, np.nan
        right = level.judged.are_right(self.history, self.window)
        return float(np.nansum(spend[right])), float(np.nansum(spend))

    def as_json(self) -> dict[str, object]:
        """As `summary.json` has it."""
        return {
            "stretches_followed_days": number(self.window.follow_ms / DAY_MS, 2),
            "alerts_too_late_to_judge": self.too_late,
            "customers_lost": self.lost,
            "seed": self.seed,
            "tiers": {str(level.tier): self._level(level) for level in self.levels},
            "calibration": [
                {"foretold": number(each.foretold), "happened": number(each.happened), "customers": each.customers}
                for each in self.bands
            ],
        }

    def _level(self, level: Level) -> Mapping[str, object]:
        right, everyone = self.money(level)
        return {each.key: each.as_json() for each in level.standings} | {
            "expected_spend": {"alerted_rightly": number(right, 2), "alerted": number(everyone, 2)}
        }


def examine(
    history: History, window: Window, alerts: Alerts, curves: Curves, policy: Policy, target: Target, seed: int = 1
) -> Findings:
    """Judge, compare and count."""
    rules, job = list(rule_scores(history, window)), DailyJob.of(history, window, policy, curves)
    contest = Contest(history, window, seed)
    stretch = alerts.stretches(history)
    levels = []
    for index, tier in enumerate(TIERS):
        of_tier = np.flatnonzero(alerts.tier >= index)
        first = of_tier[first_alerts(stretch[of_tier], alerts.at_ms[of_tier])]
        everyone = Raised(stretch[first], alerts.at_ms[first])
        ours = everyone.within(history, window)
        if len(ours):
            rivals = [
                *_rules(contest, rules, ours, WORDINGS[target]),
                *_daily(job, len(ours), policy.rules.thresholds[index]),
            ]
            standings = contest.standings([Method(OURS, "Ebbtide", ours), *rivals])
            levels.append(Level(tier, standings, first, everyone, ours))
    return Findings(
        history,
        window,
        alerts,
        levels,
        rules,
        job,
        list(job.scores()),
        reliability(history, window, policy, curves),
        len(lost_stretches(history, window)),
        target,
        seed,
    )


def _rules(contest: Contest, rules: list[RuleScore], ours: Raised, words: Wording) -> Iterator[Method]:
    """The best rule, and the best of those that are no later than ours are on average."""
    mean_days = float(contest.history.silence_days(ours.stretch, ours.at_ms).mean())
    for key, latest_days in ((RULE, np.inf), (EARLY_RULE, mean_days)):
        best = best_rule(rules, len(ours), latest_days)
        if best:
            yield Method(key, best.rule.title(words), best.rule.alerts(contest.history, contest.window))


def _daily(job: DailyJob, alerts: int, threshold: float) -> Iterator[Method]:
    lowered, raised = job.as_many(alerts, threshold)
    at = f"from a risk of {lowered:.3f} on" if lowered < threshold else "at the same threshold"
    if len(raised):
        yield Method(DAILY, f"same model once a day, {at}", raised)
