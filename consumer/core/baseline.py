"""What is usual in the shop, whoever the customer is: from the shop token that the model was made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.fold import Target

_RECENCIES: Final = ("0_30", "30_90", "90_180", "180_365", "365_on")
_WINDOWS_DAYS: Final = (30, 90, 180)
_LEAST: Final = 0.01


@dataclass(frozen=True)
class Baseline:
    """A shop's customers, all together."""

    churn_probability: float  # share of all customers without a target event within the horizon
    gap_days: float  # median gap between a customer's target days
    long_gap_days: float  # nine in ten gaps are not longer


def baseline_of(shop: Mapping[str, float], target: Target, horizon_days: float) -> Baseline:
    """`shop`: the values of a model's shop token by name.

    The token holds shares of customers by recency, and for each the log cumulative hazard of a purchase within 30, 90
    and 180 days; in between, it is linear in the logarithm of the days. Customers are active more often than they buy:
    by what share of active days are without a purchase, which the token says as well.
    """
    shares = np.array([max(shop[f"recency_share_{name}"], 0.0) for name in _RECENCIES]) + 1e-9
    known = np.array([[shop[f"returned_{days}d_after_{name}"] for days in _WINDOWS_DAYS] for name in _RECENCIES])
    days_per_purchase = 1.0
    if target == "activity":
        days_per_purchase = 1.0 / (1.0 - min(max(shop["active_without_purchase"], 0.0), 0.95))
    hazards = np.exp([_extended(each, horizon_days) for each in known]) * days_per_purchase
    stay_away = float((shares / shares.sum() * np.exp(-hazards)).sum())
    gaps = (max(float(np.expm1(shop[f"log1p_gap_{name}"])) / days_per_purchase, 1.0) for name in ("q50", "q90"))
    return Baseline(min(max(stay_away, _LEAST), 1.0 - _LEAST), *gaps)


def _extended(log_hazards: np.ndarray, days: float) -> float:
    """The log cumulative hazard at a horizon between the known ones; beyond them, in proportion to the days."""
    at, nearest = np.log(_WINDOWS_DAYS), np.clip(days, _WINDOWS_DAYS[0], _WINDOWS_DAYS[-1])
    return float(np.interp(np.log(nearest), at, log_hazards) + np.log(days / nearest))
