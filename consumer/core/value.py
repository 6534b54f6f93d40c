"""What a customer is worth: expected spend from their own history, shrunk to what is known of the shop."""

import numpy as np

from consumer.core.conduct import SpendPrior
from consumer.core.state import States

_LEAST_DAYS = 30.0  # of history to judge a pace by: one purchase yesterday is not one a day


def expected_spend(states: States, day: np.ndarray, prior: SpendPrior) -> np.ndarray:
    """What each user would spend in `prior.horizon_days` if they went on as until local day `day` (U,): float64 (U,).

    Mean spend of a purchase day, shrunk to the prior as if there had been so many more of the prior's spend, times the
    pace of purchase days over the kept days. NaN where nothing is known of spend.
    """
    days = states.days
    kept = np.arange(days.shape[1]) < states.header["days"].astype(np.int64)[:, None]
    bought = kept & (days["purchases"] > 0)
    count, spent = bought.sum(axis=1), np.where(bought, days["spend"], 0.0).sum(axis=1)
    weight, spend = (0.0, 0.0) if prior.spend is None else (prior.purchases, prior.spend)
    total, of = spent + weight * spend, count + weight
    mean = np.divide(total, of, out=np.full(len(of), np.nan), where=(of > 0) & (total > 0))
    lasted_days = np.maximum(day - days["day"][:, 0].astype(np.int64), _LEAST_DAYS)
    return mean * count / lasted_days * prior.horizon_days
