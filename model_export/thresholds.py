"""Tier thresholds from the training period: how much less likely a customer's return has become.

The yardstick is the chance of a purchase within the horizon right after an average purchase. A customer is at risk
when that chance has fallen to a third of it, critical at a sixth. Unlike a share of all customers, it does not
depend on how many lapsed ones a shop still keeps on file.
"""

from typing import Final

import numpy as np

from consumer.core.features import TOKEN_NAMES
from consumer.core.risk import churn_probability
from model_export.data import HEADS, PRIMARY_TARGET, Panel
from schemas.manifest import Thresholds

AT_RISK_RETURN_CHANCE: Final = 1 / 3
CRITICAL_RETURN_CHANCE: Final = 1 / 6
_PURCHASES = TOKEN_NAMES.index("log1p_purchases")
_HEAD = HEADS.index(PRIMARY_TARGET)


def thresholds(panel: Panel, log_hazards: np.ndarray, horizon_days: float) -> Thresholds:
    """Churn probabilities that open the tiers; `log_hazards` (N, heads, BINS) after each of the panel's user-days."""
    bought = panel.tokens[:, _PURCHASES] > 0
    after_purchase = log_hazards[bought, _HEAD]
    churn = churn_probability(after_purchase, np.zeros(len(after_purchase)), horizon_days)
    chance = 1.0 - float(churn.mean())
    return Thresholds(
        at_risk=round(1.0 - chance * AT_RISK_RETURN_CHANCE, 4),
        critical=round(1.0 - chance * CRITICAL_RETURN_CHANCE, 4),
    )
