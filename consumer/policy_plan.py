"""`ebbtide policy plan`: what thresholds and budgets would have cost and caught on the shop's own log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from math import floor, log10
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from consumer.assembly import build_worker
from consumer.core.calendar import Calendar
from consumer.core.fold import Target
from consumer.core.policy import Policy, PolicyRules
from consumer.errors import ConfigurationError
from consumer.policy_tape import Tape, TapeAlerts, record_tapes
from consumer.policy_trial import Costs, Judge, Period, Trial
from consumer.settings import Settings
from consumer.telemetry import Telemetry
from model_export.reading import read_columns
from schemas.event import MAX_TIME_MS
from schemas.manifest import TrainingData, load_manifest
from schemas.read_report import ReadReport

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98)
MOST_BUDGETS = 6
MOST_BISECTIONS = 24
SPENT = 0.9  # of a budget is near enough
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Budget:
    """The lowest threshold whose alerts, on average, are no more than so many a day."""

    alerts_per_day: float
    trial: Trial


@dataclass(frozen=True)
class Plan:
    """What every choice comes to."""

    events: int
    users: int
    lost: int
    period: Period
    target: Target  # what counts as staying
    rules: PolicyRules  # by which all that is not swept was tried
    thresholds: Sequence[Trial]  # ascending
    budgets: Sequence[Budget]  # ascending

    @property
    def best(self) -> Trial:
        """The one to choose."""
        return max([*self.thresholds, *(each.trial for each in self.budgets)], key=lambda trial: trial.merit)


def plan(
    path: Path, settings: Settings, telemetry: Telemetry, costs: Costs | None, tell: Callable[[str], object]
) -> tuple[Plan, ReadReport]:
    """Fold and score the log once, then try every threshold with the policy in force otherwise.

    `tell` hears what takes long. Raises `EventFileError`, and `ConfigurationError` where no alert could be judged.
    """
    engine, report = build_worker(settings, telemetry).engine, ReadReport()
    users, events = read_columns(path, engine.fold_rules, MAX_TIME_MS + 1, report, settings.target == "purchase")
    period = _period(settings, int(events.time_ms.min()), int(events.time_ms.max()), engine.policy.rules.horizon_days)
    is_target = engine.fold_rules.is_target(events.kind)
    judge = Judge(events.row[is_target], events.time_ms[is_target], period)
    tell(f"scoring {len(events):,} events of {len(users):,} customers")
    tapes = list(record_tapes(engine, events, len(users)))
    rules, calendar = engine.policy.rules, engine.policy.calendar

    def tried(threshold: float) -> Trial:
        return judge.trial(threshold, _alerts(tapes, _at(rules, threshold), calendar, period), costs)

    tell("trying thresholds")
    trials = [tried(threshold) for threshold in THRESHOLDS]
    return Plan(
        len(events), len(users), judge.lost, period, settings.target, rules, trials, budgets(trials, tried)
    ), report


def budgets(trials: Sequence[Trial], tried: Callable[[float], Trial]) -> list[Budget]:
    """Round numbers of alerts a day that are within reach, each with the threshold that spends it."""
    rates = [trial.alerts_per_day for trial in trials]
    found = []
    for budget in round_numbers(min(rates), max(rates)):
        within = next(index for index, rate in enumerate(rates) if rate <= budget)
        spending = _spending(trials[within - 1], trials[within], budget, tried) if within else trials[0]
        found.append(Budget(budget, spending))
    return found


def round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 and so on between the two, at most `MOST_BUDGETS`, evenly spread."""
    if high <= 0:
        return []
    decades = range(floor(log10(max(low, high / 1e4))), floor(log10(high)) + 1)
    numbers = [step * 10.0**decade for decade in decades for step in _STEPS]
    within = [number for number in numbers if low <= number <= high]
    spread = np.linspace(0, len(within) - 1, MOST_BUDGETS).round().astype(int).tolist()
    return [within[index] for index in sorted(set(spread))] if within else []


def _spending(low: Trial, high: Trial, alerts_per_day: float, tried: Callable[[float], Trial]) -> Trial:
    """A threshold that nearly spends the budget, between `low`, which spends more, and `high`, which does not."""
    for _ in range(MOST_BISECTIONS):
        if high.alerts_per_day >= SPENT * alerts_per_day:
            break
        middle = tried((low.threshold + high.threshold) / 2)
        low, high = (low, middle) if middle.alerts_per_day <= alerts_per_day else (middle, high)
    return high


def _at(rules: PolicyRules, threshold: float) -> PolicyRules:
    """The same rules with this one threshold, and the same way below it to the end of an episode."""
    margin = rules.thresholds[0] - rules.rearm
    return replace(rules, thresholds=(threshold,), rearm=max(threshold - margin, 0.0))


def _alerts(tapes: Sequence[Tape], rules: PolicyRules, calendar: Calendar, period: Period) -> TapeAlerts:
    policy = Policy(rules, calendar)
    return TapeAlerts.joined([tape.alerts(policy, period.until_ms) for tape in tapes])


def _period(settings: Settings, first_ms: int, last_ms: int, horizon_days: float) -> Period:
    shop = load_manifest(settings.model_dir).shop
    period = Period(max(first_ms, _end_ms(shop) if shop else 0), last_ms, horizon_days)
    if not period.days:
        after = " after what the model was adapted to" if shop else ""
        raise ConfigurationError(
            f"the log is too short: to judge an alert takes {horizon_days:g} days of events after it{after}"
        )
    return period


def _end_ms(data: TrainingData) -> int:
    return int(datetime.combine(data.until, time(), ZoneInfo(data.timezone)).timestamp() * 1000)
