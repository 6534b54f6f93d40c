"""From hazards to risk: the chance that a silent user stays silent.

With piecewise-constant hazard h of the next target event, cumulative hazard L(u) = integral of h from 0 to u days of
silence, the risk at silence s is P(no target event in the next H days | silent for s) = exp(-(L(s+H) - L(s))).
Silence is counted from the end of the user's last active day, so that day-granular data is interval-censored exactly.
(Standard discrete-time survival analysis; e.g. Kvamme & Borgan 2021, "Continuous and discrete-time survival
prediction with neural networks".)
"""

import numpy as np

from consumer.core.state import BIN_EDGES_DAYS

NEVER = np.inf
_LEFT_DAYS = np.concatenate(([0.0], BIN_EDGES_DAYS[:-1]))
_WIDTH_DAYS = np.concatenate((np.diff(BIN_EDGES_DAYS, prepend=0.0)[:-1], [np.inf]))


def exposure_days(until_days: np.ndarray) -> np.ndarray:
    """Days spent in each bin by the time `until_days`: shape (...,) to (..., bins); L = sum(exposure * hazard)."""
    return np.clip(until_days[..., None] - _LEFT_DAYS, 0.0, _WIDTH_DAYS)


def window_hazard(log_hazards: np.ndarray, silence_days: np.ndarray, horizon_days: float) -> np.ndarray:
    """L(s+H) - L(s) per row: `log_hazards` (N, bins), `silence_days` (N,)."""
    exposure = exposure_days(silence_days + horizon_days) - exposure_days(silence_days)
    return (np.exp(log_hazards.astype(np.float64)) * exposure).sum(axis=-1)


def churn_probability(log_hazards: np.ndarray, silence_days: np.ndarray, horizon_days: float) -> np.ndarray:
    """P(no target event in the next `horizon_days`), per row."""
    return np.exp(-window_hazard(log_hazards, silence_days, horizon_days))


def breakpoints_days(horizon_days: float) -> np.ndarray:
    """Silences between which the log-risk is linear: every bin edge, and every edge less the horizon."""
    inner = BIN_EDGES_DAYS[:-1]
    points = np.concatenate(([0.0], inner, inner - horizon_days))
    return np.unique(points[points >= 0])


def crossing_days(log_hazards: np.ndarray, from_days: np.ndarray, horizon_days: float, threshold: float) -> np.ndarray:
    """Smallest silence s >= `from_days` at which the risk reaches `threshold`; `NEVER` where it does not.

    Exact: -log(risk) is piecewise linear in s, so it is evaluated at every breakpoint and interpolated in the
    first piece that reaches -log(threshold). Shapes (N, bins), (N,) to (N,).
    """
    level = -np.log(threshold)
    knots = breakpoints_days(horizon_days)
    at = np.maximum(knots, from_days[:, None])  # knots before the start collapse onto it
    at = np.concatenate((from_days[:, None], at), axis=1)
    exposure = exposure_days(knots + horizon_days) - exposure_days(knots)
    hazards = np.exp(log_hazards.astype(np.float64))
    at_later = np.einsum("nb,kb->nk", hazards, exposure)  # not `@`: a row's last bits would depend on the other rows
    at_knots = np.concatenate((np.full((len(at), 1), np.nan), at_later), axis=1)
    at_start = window_hazard(log_hazards, from_days, horizon_days)
    values = np.where(at <= from_days[:, None], at_start[:, None], at_knots)
    reached = values <= level
    first = np.argmax(reached, axis=1)
    rows = np.arange(len(at))
    before = np.maximum(first - 1, 0)
    rise = values[rows, before] - values[rows, first]
    share = np.where(rise > 0, (values[rows, before] - level) / np.where(rise > 0, rise, 1.0), 0.0)
    found = at[rows, before] + share * (at[rows, first] - at[rows, before])
    return np.where(reached.any(axis=1), np.where(first == 0, from_days, found), NEVER)
