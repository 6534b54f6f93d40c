"""Tier thresholds for an alert budget: so many customers alerted within a horizon, as a share of those active.

Every purchase begins an episode that ends in an alert if the customer stays away until the risk reaches the threshold,
which has the chance exp(-L(crossing)). Purchases per horizon times the mean of these chances is the number of alerts.
Where few are silent through the grace, a budget may be larger than all of them, and would be spent on whoever is silent
for so long, whatever the risk. So at most half of these are alerted: those of the higher risk.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.risk import crossing_days, exposure_days
from consumer.core.state import MAX_DAYS, States
from schemas.manifest import Thresholds

ALERT_BUDGET: Final = 0.15
GRACE_DAYS: Final = 7.0  # of the policy, as the service's default
CRITICAL_SHARE: Final = 2 / 3  # of the customers alerted, how many are to become critical
MOST_OF_SILENT: Final = 1 / 2  # of the customers silent through the grace, so many are alerted at most
ACTIVE_DAYS: Final = 365  # an active customer has bought within so many days
_GRID: Final = np.concatenate((np.arange(0.02, 0.98, 0.01), 1 - np.geomspace(0.02, 1e-3, 40)))
_FARTHEST_DAYS: Final = 3650.0


@dataclass(frozen=True)
class Budget:
    """How many alerts are wanted, under which policy."""

    share: float = ALERT_BUDGET  # customers alerted within a horizon, of those active
    grace_days: float = GRACE_DAYS  # nobody is alerted so soon after a purchase


DEFAULT_BUDGET: Final = Budget()


def thresholds(
    after_purchase: np.ndarray,
    purchases_share: float | np.ndarray,
    horizon_days: float,
    budget: Budget = DEFAULT_BUDGET,
) -> Thresholds:
    """The lowest thresholds within `budget`, or half of all silent if that is less; critical: within two thirds of it.

    `after_purchase` (N, bins): calibrated log-hazards right after purchases; `purchases_share`: purchase days per
    horizon and active customer, one for all or each purchase's own shop's (N,).
    """
    alerts = (purchases_share * _alert_chances(after_purchase, horizon_days, budget.grace_days)).mean(axis=1)
    alerts[-1] = 0.0
    all_silent = float(alerts[0])  # who are alerted at the lowest threshold
    most = min(budget.share, all_silent * MOST_OF_SILENT)
    at_risk, critical = (int(np.argmax(alerts <= share)) for share in (most, most * CRITICAL_SHARE))
    critical = max(critical, at_risk + 1) if at_risk + 1 < len(_GRID) else at_risk
    at_risk = min(at_risk, critical - 1)
    return Thresholds(at_risk=round(float(_GRID[at_risk]), 4), critical=round(float(_GRID[critical]), 4))


def _alert_chances(log_hazards: np.ndarray, horizon_days: float, grace_days: float) -> np.ndarray:
    """Chances that each purchase is followed by an alert, per threshold of the grid: (thresholds, N)."""
    hazards = np.exp(log_hazards.astype(np.float64))
    begin = np.full(len(log_hazards), grace_days)
    chances = np.empty((len(_GRID), len(log_hazards)))
    for row, threshold in enumerate(_GRID):
        silence = crossing_days(log_hazards, begin, horizon_days, float(threshold))
        stays = np.exp(-(hazards * exposure_days(np.minimum(silence, _FARTHEST_DAYS))).sum(axis=1))
        chances[row] = np.where(silence < _FARTHEST_DAYS, stays, 0.0)
    return chances


def after_purchases(states: States, from_day: int, limit: int, rng: np.random.Generator) -> tuple[States, int]:
    """States cut off right after their purchases from `from_day` on: a sample of at most `limit`, and how many."""
    present = np.arange(MAX_DAYS) < states.header["days"].astype(np.int64)[:, None]
    hit = present & (states.days["purchases"] > 0) & (states.days["day"] >= from_day)
    rows, slots = np.nonzero(hit)
    chosen = np.sort(rng.choice(len(rows), min(limit, len(rows)), replace=False))
    cut = states.take(rows[chosen])
    cut.header["days"] = slots[chosen] + 1
    return cut, len(rows)
