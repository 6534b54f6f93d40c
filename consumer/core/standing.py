"""Scores for other teams: where a customer stands, told again when it has changed enough."""

from dataclasses import dataclass

import numpy as np

from consumer.core.conduct import SpendPrior
from consumer.core.policy import Policy
from consumer.core.risk import churn_probability
from consumer.core.state import States
from consumer.core.value import expected_spend

_LEAST = np.finfo(np.float32).tiny
CURVE_AT_DAYS = (0.0, 7.0, 14.0, 30.0, 60.0, 90.0)


@dataclass(frozen=True)
class Standings:
    """M scores to be told, as columns."""

    row: np.ndarray  # int64 (M,): which user of the batch
    at_ms: np.ndarray  # int64 (M,)
    probability: np.ndarray  # float64 (M,): churn probability then
    silence_days: np.ndarray  # float64 (M,)
    curve: np.ndarray  # float64 (M, len(CURVE_AT_DAYS)): churn probability after so many days of silence
    expected_spend: np.ndarray  # float64 (M,); NaN: nothing is known

    def __len__(self) -> int:
        return len(self.row)


def curves(log_hazards: np.ndarray, horizon_days: float) -> np.ndarray:
    """Churn probability after so many days of silence: (N, bins) to (N, len(CURVE_AT_DAYS))."""
    hazards = np.repeat(log_hazards, len(CURVE_AT_DAYS), axis=0)
    risk = churn_probability(hazards, np.tile(CURVE_AT_DAYS, len(log_hazards)), horizon_days)
    return risk.reshape(len(log_hazards), len(CURVE_AT_DAYS))


def is_news(before: np.ndarray, risk: np.ndarray, step: float) -> np.ndarray:
    """Whether a risk (N,) is to be told after the last one told, `before` (N,); 0: none was."""
    return (before == 0) | (np.abs(risk - before) > step)


def changed(
    states: States, rows: np.ndarray, at_ms: np.ndarray, policy: Policy, prior: SpendPrior, step: float
) -> Standings:
    """Those of `rows` (no row twice) whose risk differs by more than `step` from the last one told, which is noted.

    A user's first score is told however low it is.
    """
    header = states.header
    risk = policy.probability(states, rows, at_ms)
    before = header["published_risk"][rows]
    differs = is_news(before, risk, step)
    rows, at_ms, risk = rows[differs], at_ms[differs], risk[differs]
    header["published_risk"][rows] = np.maximum(risk, _LEAST)  # 0: never told
    return Standings(
        rows,
        at_ms,
        risk,
        policy.silence_days(states, rows, at_ms),
        curves(header["log_hazards"][rows], policy.rules.horizon_days),
        expected_spend(states.take(rows), policy.calendar.day_of(at_ms), prior),
    )
