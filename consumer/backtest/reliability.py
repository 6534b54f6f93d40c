"""Did as many customers stay away as the curves said? On dates one horizon apart, of every customer known by then."""

from dataclasses import dataclass

import numpy as np

from consumer.backtest.history import History, latest_before
from consumer.backtest.judging import Window
from consumer.backtest.recording import Curves
from consumer.core.calendar import DAY_MS
from consumer.core.policy import Policy
from consumer.core.risk import churn_probability

BANDS = 10


@dataclass(frozen=True)
class Band:
    """Customers, counted at every date, whose risk lay in one tenth of all."""

    foretold: float
    happened: float
    customers: int


def reliability(history: History, window: Window, policy: Policy, curves: Curves) -> list[Band]:
    """By rising risk, ten bands of equally many; none where nothing can be judged."""
    curves = curves.by_user()
    moments = range(window.from_ms, window.last_ms + 1, max(window.horizon_ms, 1))
    parts = [_at(moment, history, window, policy, curves) for moment in moments if len(curves.user)]
    if not sum(len(risk) for risk, _ in parts):
        return []
    risk, stayed = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(risk, kind="stable")
    split = (part for part in np.array_split(order, BANDS) if len(part))
    return [Band(float(risk[part].mean()), float(stayed[part].mean()), len(part)) for part in split]


def _at(moment: int, history: History, window: Window, policy: Policy, curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """Risk, and whether no target event came within the horizon, of the customers known at a moment."""
    users = np.unique(history.user[history.time_ms <= moment])
    row = latest_before(curves.user, curves.at_ms, users, np.full(len(users), moment))
    known = (row >= 0) & (curves.user[row] == users)
    users, row = users[known], row[known]
    silent_from_ms = policy.calendar.start_of(curves.day[row] + 1)
    silence_days = np.maximum(moment - silent_from_ms, 0) / DAY_MS
    risk = churn_probability(curves.log_hazards[row], silence_days, window.horizon_days)
    stretch = history.stretch_of(users, np.full(len(users), moment))
    return risk, history.next_ms[stretch] > moment + window.horizon_ms
