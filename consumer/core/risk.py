"""From hazards to risk: the chance that a silent user stays silent.

With piecewise-constant hazard h of the next target event, cumulative hazard L(u) = integral of h from 0 to u days of
silence, the risk at silence s is P(no target event in the next H days | silent for s) = exp(-(L(s+H) - L(s))).
Silence is counted from the end of the user's last active day, so that day-granular data is interval-censored exactly.
(Standard discrete-time survival analysis; e.g. Kvamme & Borgan 2021, "Continuous and discrete-time survival
prediction with neural networks".)
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from consumer.core.state import BIN_EDGES_DAYS

NEVER = np.inf
_LEFT_DAYS = np.concatenate(([0.0], BIN_EDGES_DAYS[:-1]))
_WIDTH_DAYS = np.concatenate((np.diff(BIN_EDGES_DAYS, prepend=0.0)[:-1], [np.inf]))


def calibrated(log_hazards: np.ndarray, offset: float) -> np.ndarray:
    """Log-hazards (..., bins) moved to the level that a shop's latest months ask for; float32."""
    return log_hazards + np.float32(offset)


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


def expected_events(log_hazards: np.ndarray, silence_days: np.ndarray, horizon_days: float) -> np.ndarray:
    """Expected number of days with a target event in the next `horizon_days`: (N, bins), (N,) to (N,).

    The first comes as the curve says after this silence. After each, the process begins anew with the same curve at no
    silence, so that the expected number m(t) in t days after one solves the renewal equation
    m(t) = sum over k of p(k) (1 + m(t - k)), p(k) being the chance that the next is k days later. (Discrete-time
    renewal equation; e.g. Feller 1968, "An Introduction to Probability Theory and Its Applications", vol. 1, ch. XIII;
    Cox 1962, "Renewal Theory", ch. 4.) A last part of a day counts with its share of the day's hazard.
    """
    days = int(horizon_days)
    until_days = np.append(np.arange(days + 1.0), horizon_days)
    anew = _survival(log_hazards, np.zeros_like(silence_days), until_days)
    chance = anew[:days] - anew[1 : days + 1]
    rest_days = np.arange(days + 1.0) + (horizon_days - days)
    in_rest = anew[: days + 1] - _survival(log_hazards, np.zeros_like(silence_days), rest_days)
    after = np.empty((days + 1, len(log_hazards)))  # 1 + the expected number in k days and that part of one
    for k in range(days + 1):
        after[k] = 1.0 + in_rest[k] + np.einsum("kn,kn->n", chance[:k], after[:k][::-1])
    now = _survival(log_hazards, silence_days, until_days)
    first = now[:days] - now[1 : days + 1]
    return np.einsum("kn,kn->n", first, after[:days][::-1]) + now[days] - now[days + 1]


def _survival(log_hazards: np.ndarray, silence_days: np.ndarray, days: np.ndarray) -> np.ndarray:
    """P(no target event within `days` (K,) | silence): (K, N)."""
    hazards = np.exp(log_hazards.astype(np.float64))
    at_left = np.cumsum(hazards[:, :-1] * _WIDTH_DAYS[:-1], axis=1)
    at_left = np.concatenate((np.zeros((len(hazards), 1)), at_left), axis=1)
    rows = np.arange(len(hazards))

    def cumulative(until_days: np.ndarray) -> np.ndarray:
        bins = np.searchsorted(BIN_EDGES_DAYS[:-1], until_days, side="right")
        return at_left[rows, bins] + (until_days - _LEFT_DAYS[bins]) * hazards[rows, bins]

    return np.exp(cumulative(silence_days) - cumulative(silence_days + days[:, None]))


@lru_cache(maxsize=64)
def breakpoints_days(horizon_days: float) -> np.ndarray:
    """Silences between which the log-risk is linear: every bin edge, and every edge less the horizon."""
    inner = BIN_EDGES_DAYS[:-1]
    points = np.concatenate(([0.0], inner, inner - horizon_days))
    found = np.unique(points[points >= 0])
    found.setflags(write=False)  # all callers share it
    return found


@dataclass(frozen=True)
class RiskAhead:
    """-log(risk) of N curves at K silences from some moment on; in between it is linear."""

    at_days: np.ndarray  # (N, K), ascending
    values: np.ndarray  # (N, K)

    @classmethod
    def of(cls, log_hazards: np.ndarray, from_days: np.ndarray, horizon_days: float) -> "RiskAhead":
        """Of curves (N, bins) from silences `from_days` (N,) on."""
        knots = breakpoints_days(horizon_days)
        at = np.maximum(knots, from_days[:, None])  # knots before the start collapse onto it
        at = np.concatenate((from_days[:, None], at), axis=1)
        exposure = exposure_days(knots + horizon_days) - exposure_days(knots)
        hazards = np.exp(log_hazards.astype(np.float64))
        at_later = np.einsum("nb,kb->nk", hazards, exposure)  # not `@`: a row's last bits would depend on the others
        at_knots = np.concatenate((np.full((len(at), 1), np.nan), at_later), axis=1)
        at_start = window_hazard(log_hazards, from_days, horizon_days)
        return cls(at, np.where(at <= from_days[:, None], at_start[:, None], at_knots))

    def crossing_days(self, threshold: float) -> np.ndarray:
        """Smallest silence (N,) at which the risk reaches `threshold`, exactly; `NEVER` where it does not."""
        level, at, values = -np.log(threshold), self.at_days, self.values
        reached = values <= level
        first = np.argmax(reached, axis=1)
        rows = np.arange(len(at))
        before = np.maximum(first - 1, 0)
        rise = values[rows, before] - values[rows, first]
        share = np.where(rise > 0, (values[rows, before] - level) / np.where(rise > 0, rise, 1.0), 0.0)
        found = at[rows, before] + share * (at[rows, first] - at[rows, before])
        return np.where(reached.any(axis=1), found, NEVER)


def crossing_days(log_hazards: np.ndarray, from_days: np.ndarray, horizon_days: float, threshold: float) -> np.ndarray:
    """Smallest silence s >= `from_days` at which the risk reaches `threshold`; `NEVER` where it does not.

    Shapes (N, bins), (N,) to (N,).
    """
    return RiskAhead.of(log_hazards, from_days, horizon_days).crossing_days(threshold)
