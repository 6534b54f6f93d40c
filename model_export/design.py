"""What the baselines learn from: (customer, earlier cut-off) pairs whose outcome was known before the cut-off.

Where the log is too short for the whole horizon, a shorter one is learnt, and probabilities are carried over to the
whole horizon by a power law of the cumulative hazard that the training rows themselves show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from scipy.optimize import brentq

from model_export.tasks import Past, Task

MAX_WINDOWS = 6
STEP_DAYS = 30
MIN_HISTORY_DAYS = 60
_EXPONENTS = (0.05, 2.0)
_TINY = 1e-6


@dataclass(frozen=True)
class Window:
    """Customers known before `day`: features (C, F), and who stayed away for the learnt horizon and half of it."""

    day: int
    rows: np.ndarray  # int64 (C,): which users
    features: np.ndarray
    stayed_away: np.ndarray  # bool (C,)
    stayed_away_half: np.ndarray  # bool (C,)


@dataclass(frozen=True)
class Design:
    """Training windows, the latest first, and the rows to foretell."""

    names: list[str]
    windows: list[Window]
    now: np.ndarray  # float64 (C, F): the customers at the cut-off
    learnt_days: int
    horizon_days: int

    @cached_property
    def features(self) -> np.ndarray:
        """All training rows; float64 (N, F)."""
        return np.concatenate([window.features for window in self.windows])

    @cached_property
    def stayed_away(self) -> np.ndarray:
        """All training outcomes; bool (N,)."""
        return np.concatenate([window.stayed_away for window in self.windows])

    def column(self, name: str, features: np.ndarray) -> np.ndarray:
        """One feature of some rows."""
        return features[:, self.names.index(name)]

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Training rows to fit on and to choose settings on; bool (N,) each.

        The latest window chooses, and those fit that were over when it began. Where there are none, one customer in
        four chooses, in all windows.
        """
        latest = self.windows[0].day
        day = np.concatenate([np.full(len(window.rows), window.day) for window in self.windows])
        over = day + self.learnt_days <= latest
        if over.any():
            return over, day == latest
        chosen = np.concatenate([window.rows for window in self.windows]) % 4 == 0
        return ~chosen, chosen

    def whole_horizon(self, probability: np.ndarray, on_training: np.ndarray) -> np.ndarray:
        """Probabilities of the learnt horizon, carried over to the whole one.

        P over h days becomes P^((H/h)^g), as if every cumulative hazard grew with time^g; g is what makes the mean
        of P^((1/2)^g) on the training rows the share that stayed away for h/2 days.
        """
        if self.learnt_days == self.horizon_days:
            return probability
        half = float(np.concatenate([window.stayed_away_half for window in self.windows]).mean())
        log_p = np.log(np.clip(on_training, _TINY, 1.0))
        ratio = (self.learnt_days // 2) / self.learnt_days

        def excess(exponent: float) -> float:
            return float(np.exp(log_p * ratio**exponent).mean()) - half

        low, high = _EXPONENTS
        if excess(low) >= 0 or excess(high) <= 0:
            exponent = low if excess(low) >= 0 else high
        else:
            exponent = float(brentq(excess, low, high))
        return np.clip(probability, _TINY, 1.0) ** ((self.horizon_days / self.learnt_days) ** exponent)


def learnt_days(past: Past, horizon_days: int) -> int:
    """The horizon that the log before the cut-off can teach: the whole one, or half of the log if that is less."""
    length = past.until_day - past.first_day
    return horizon_days if horizon_days + MIN_HISTORY_DAYS <= length else max(1, min(horizon_days, length // 2))


def window_days(past: Past, horizon_days: int) -> list[int]:
    """Earlier cut-offs, latest first, each with its whole learnt horizon before the cut-off and some history."""
    latest = past.until_day - learnt_days(past, horizon_days)
    days = [latest - STEP_DAYS * number for number in range(MAX_WINDOWS)]
    return [day for day in days if day == latest or day - past.first_day >= MIN_HISTORY_DAYS]


_designs: WeakKeyDictionary[Task, Design] = WeakKeyDictionary()  # several baselines learn from the same


def design(task: Task) -> Design:
    """Training rows and rows to foretell; features that never vary are left out."""
    if task not in _designs:
        _designs[task] = _design(task)
    return _designs[task]


def _design(task: Task) -> Design:
    past, learnt = task.past, learnt_days(task.past, task.horizon_days)
    days = window_days(past, task.horizon_days)
    columns = {day: past.features(day) for day in (*days, past.until_day)}
    every = list(columns[past.until_day])
    names = [name for name in every if _varies([columns[day][name] for day in days])] or every[:1]
    matrix = {day: np.stack([of_day[name] for name in names], axis=1) for day, of_day in columns.items()}
    windows = [
        Window(
            day,
            past.customers_before(day),
            matrix[day],
            past.stayed_away(day, learnt),
            past.stayed_away(day, max(1, learnt // 2)),
        )
        for day in days
    ]
    return Design(names, windows, matrix[past.until_day], learnt, task.horizon_days)


def _varies(parts: Sequence[np.ndarray]) -> bool:
    values = np.concatenate(parts)
    known = values[~np.isnan(values)]
    return len(known) > 0 and (len(known) < len(values) or bool(np.ptp(known) > 0))
