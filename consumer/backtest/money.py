"""What a customer was worth: the money that a lost one no longer spends."""

import numpy as np

from consumer.backtest.history import History


def expected_spend(history: History, horizon_ms: int) -> np.ndarray:
    """By stretch: what its user can be expected to spend in a horizon, judging by the purchases until it began.

    Own spend per horizon, each customer's time being that from first to last purchase and one horizon more, shrunk
    to the shop's mean as if everybody had also spent one horizon at that mean. NaN where the log has no values.
    """
    if not len(history.user) or np.isnan(history.spend).all():
        return np.full(len(history.user), np.nan)
    first = np.arange(len(history.user)) - history.number + 1
    total = np.cumsum(np.nan_to_num(history.spend))
    spent = total - total[first] + np.nan_to_num(history.spend[first])
    horizons = (history.time_ms - history.time_ms[first]) / horizon_ms + 1
    is_last = np.append(np.diff(history.user) != 0, True)
    mean = spent[is_last].sum() / horizons[is_last].sum()
    return (spent + mean) / (horizons + 1)
