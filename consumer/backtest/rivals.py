"""What a shop could do instead: a rule of thumb, or the same model once a day."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from consumer.backtest.history import History
from consumer.backtest.judging import Raised, Window, first_alerts
from consumer.backtest.recording import Curves
from consumer.backtest.wording import Wording
from consumer.core.calendar import DAY_MS
from consumer.core.policy import Policy
from consumer.core.risk import churn_probability, crossing_days

SILENCES_DAYS = tuple(range(1, 366))
LEAST_EVENTS = (1, 2, 3, 5, 10, 20, 50)
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98)
_LOWEST = 1e-6  # a threshold that everybody reaches
_FIRST_STEP, _HALVINGS = 0.005, 5  # of a threshold


@dataclass(frozen=True)
class Rule:
    """No target event for N days, of those who had at least k: one alert for each stretch that gets there."""

    silence_days: int
    least: int

    def title(self, words: Wording) -> str:
        """As people say it."""
        among = "" if self.least == 1 else f", after {self.least} {words.many} or more"
        return f"{words.none} for {self.silence_days} days{among}"

    def alerts(self, history: History, window: Window) -> Raised:
        """Those that are judged."""
        at_ms = history.time_ms + self.silence_days * DAY_MS
        reached = (history.next_ms >= at_ms) & (history.number >= self.least)
        stretch = np.flatnonzero(reached & window.holds(history.time_ms, at_ms))
        return Raised(stretch, at_ms[stretch])


@dataclass(frozen=True)
class RuleScore:
    """How a rule would have done."""

    rule: Rule
    alerts: int
    precision: float


@dataclass(frozen=True)
class ModelScore:
    """How the daily job would have done at a threshold."""

    threshold: float
    alerts: int
    precision: float


def rule_scores(history: History, window: Window) -> Iterator[RuleScore]:
    """Every rule of the grid that raises an alert at all."""
    for days in SILENCES_DAYS:
        raised = Rule(days, 1).alerts(history, window)
        right, number = raised.are_right(history, window), history.number[raised.stretch]
        for least in LEAST_EVENTS:
            counted = number >= least
            if counted.any():
                yield RuleScore(Rule(days, least), int(counted.sum()), float(right[counted].mean()))


def best_rule(scores: list[RuleScore], alerts: int, latest_days: float = np.inf) -> RuleScore | None:
    """The most precise, chosen with hindsight, of those that raise at least as many alerts, and by `latest_days`."""
    enough = [each for each in scores if each.alerts >= alerts and each.rule.silence_days <= latest_days]
    return max(enough, key=lambda each: (each.precision, -each.rule.silence_days), default=None)


@dataclass(frozen=True)
class DailyJob:
    """Every customer scored at every midnight of the shop by the same model: the last curve of each user-day."""

    history: History
    window: Window
    policy: Policy
    curves: Curves  # one for each user-day, by user and day
    next_day: np.ndarray  # int64 (N,): the user's next active day

    @classmethod
    def of(cls, history: History, window: Window, policy: Policy, curves: Curves) -> "DailyJob":
        """From the curve after every event."""
        rules = policy.rules
        curves = curves.take(np.lexsort((curves.at_ms, curves.day, curves.user)))
        is_last = np.append((np.diff(curves.user) != 0) | (np.diff(curves.day) != 0), True)[: len(curves.user)]
        curves = curves.take(np.flatnonzero(is_last))
        end_day = int(policy.calendar.day_of(np.array([window.until_ms]))[0])
        same_user = np.append(np.diff(curves.user) == 0, False)[: len(curves.user)]
        next_day = np.where(same_user, np.append(curves.day[1:], 0)[: len(curves.user)], end_day)
        kept = np.flatnonzero(curves.target_events >= max(rules.min_target_events, 1))
        return cls(history, window, policy, curves.take(kept), next_day[kept])

    def alerts(self, threshold: float) -> Raised:
        """The first midnight of each stretch at which the risk has reached `threshold`; those that are judged."""
        silent_from_ms = self.policy.calendar.start_of(self.curves.day + 1)
        grace_ms = self.curves.last_target_ms + self.policy.rules.grace_days * DAY_MS
        days = np.ceil(np.maximum(grace_ms - silent_from_ms, 0) / DAY_MS)
        days = self._reached(days, threshold)
        hit = np.flatnonzero(np.isfinite(days))
        at_ms = self.policy.calendar.start_of(self.curves.day[hit] + 1 + days[hit].astype(np.int64))
        stretch = self.history.stretch_of(self.curves.user[hit], self.curves.at_ms[hit])
        first = first_alerts(stretch, at_ms)
        return Raised(stretch[first], at_ms[first]).within(self.history, self.window)

    def _reached(self, from_days: np.ndarray, threshold: float) -> np.ndarray:
        """Whole days of silence at which each row's risk is found to have reached `threshold`, else infinity."""
        horizon_days, hazards = self.policy.rules.horizon_days, self.curves.log_hazards
        last_days = self.next_day - self.curves.day - 1
        found, rows = np.full(len(from_days), np.inf), np.flatnonzero(from_days <= last_days)
        days = from_days[rows]
        while len(rows):  # the risk may have fallen again by midnight: then the search goes on from there
            days = np.ceil(crossing_days(hazards[rows], days, horizon_days, threshold) - 1e-9)
            kept = days <= last_days[rows]
            rows, days = rows[kept], days[kept]
            is_high = churn_probability(hazards[rows], days, horizon_days) >= threshold - 1e-9
            found[rows[is_high]] = days[is_high]
            rows, days = rows[~is_high], days[~is_high] + 1
        return found

    def scores(self) -> Iterator["ModelScore"]:
        """At every threshold of the grid that is reached at all."""
        for threshold in THRESHOLDS:
            raised = self.alerts(threshold)
            if len(raised):
                right = raised.are_right(self.history, self.window)
                yield ModelScore(threshold, len(raised), float(right.mean()))

    def as_many(self, alerts: int, threshold: float) -> tuple[float, Raised]:
        """At about the highest threshold, not above `threshold`, with at least so many alerts: it, and they."""
        raised, step, high = self.alerts(threshold), _FIRST_STEP, threshold
        low = threshold
        while len(raised) < alerts and low > _LOWEST:
            high, low, step = low, max(low - step, _LOWEST), step * 2
            raised = self.alerts(low)
        for _ in range(_HALVINGS if low < threshold else 0):
            middle = (low + high) / 2
            fewer = self.alerts(middle)
            if len(fewer) >= alerts:
                low, raised = middle, fewer
            else:
                high = middle
        return low, raised
