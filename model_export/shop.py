"""The shop token: what a log tells of its shop, as one vector that goes before every customer's user-days.

Only shares, medians and rates over all customers: how often people buy, how many come back after how long, how old the
customers are, what they spend. With it one set of weights fits many shops. Chances are given as the log of a
cumulative hazard, log(-log(1 - p)), which is what the network has to answer in.
"""

from typing import Final

import numpy as np

from consumer.core.calendar import DAY_MS
from consumer.core.state import MAX_DAYS, NO_DAY, States

SHOP_USERS: Final = 20_000  # a sample of so many customers is enough
_WINDOWS_DAYS: Final = (30, 90, 180)
_RECENCY_EDGES_DAYS: Final = (30, 90, 180, 365)
_RECENCY_NAMES: Final = ("0_30", "30_90", "90_180", "180_365", "365_on")
_ORDER_NAMES: Final = ("1st", "2nd_3rd", "4th_on")
_QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
_MANY_CUSTOMERS: Final = 2_000  # from so many on, shares are as good as exact
_PRIOR_CUSTOMERS: Final = 5.0  # a share of few customers leans this much towards the share of all

SHOP_TOKEN_NAMES: Final = (
    "log1p_customers", "log1p_span_days",
    *(f"log1p_gap_q{round(100 * q)}" for q in _QUANTILES),
    *(f"recency_share_{name}" for name in _RECENCY_NAMES),
    *(f"returned_{window}d_after_{name}" for window in _WINDOWS_DAYS for name in _RECENCY_NAMES),
    *(f"repeated_{window}d_after_{name}" for window in _WINDOWS_DAYS for name in _ORDER_NAMES),
    *(f"purchases_trend_{window}d" for window in _WINDOWS_DAYS),
    *(f"new_share_{window}d" for window in _WINDOWS_DAYS),
    "first_days_share", "once_share", "five_share", "mean_log1p_purchase_days",
    "mean_log1p_spend", "std_log1p_spend", "active_without_purchase", "mean_log1p_events",
)  # fmt: skip
SHOP_SIZE: Final = len(SHOP_TOKEN_NAMES)


def shop_token(states: States, until_day: int) -> np.ndarray:
    """What the states of a shop's customers say of the shop as of the start of day `until_day`: float32 (SHOP_SIZE,).

    `states` hold nothing on or after `until_day`. Defined for any log, also one without a purchase or a customer.
    """
    present = np.arange(MAX_DAYS) < states.header["days"].astype(np.int64)[:, None]
    day = states.days["day"].astype(np.int64)
    bought = present & (states.days["purchases"] > 0)
    first = states.header["first_ms"] // DAY_MS
    span = float(until_day - first.min()) if len(states) else 0.0
    gap = _gaps(states, day, bought)
    parts = [
        [np.log1p(min(len(states), _MANY_CUSTOMERS)), np.log1p(max(span, 0.0))],
        _gap_quantiles(gap, span),
        *_returns(states, day, bought, until_day),
        *(_repeats(states, day, bought, until_day, window) for window in _WINDOWS_DAYS),
        [_trend(day[bought], until_day, window) for window in _WINDOWS_DAYS],
        [_share(first >= until_day - window) for window in _WINDOWS_DAYS],
        [_share(first < until_day - span + 30)],
        _customers(bought),
        _activity(states, present, bought),
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts]).astype(np.float32)


def _share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else 0.0


def _gaps(states: States, day: np.ndarray, bought: np.ndarray) -> np.ndarray:
    """Days between a customer's successive purchase days, all customers in one: int64 (G,)."""
    earlier = _previous_purchase(states, day, bought)
    known = bought & (earlier != NO_DAY)
    return (day - earlier)[known]


def _previous_purchase(states: States, day: np.ndarray, bought: np.ndarray) -> np.ndarray:
    bought_day = np.where(bought, day, NO_DAY)
    before = states.header["evicted_purchase_day"].astype(np.int64)[:, None]
    return np.maximum.accumulate(np.concatenate((before, bought_day[:, :-1]), axis=1), axis=1)


def _gap_quantiles(gap: np.ndarray, span: float) -> np.ndarray:
    return np.log1p(np.quantile(gap, _QUANTILES) if len(gap) else np.full(len(_QUANTILES), span))


def _log_hazard(hits: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Log cumulative hazards of groups with `hits` of `known` (G,), each leaning towards all groups together."""
    overall = (hits.sum() + 0.5) / (known.sum() + 1.0)
    share = (hits + _PRIOR_CUSTOMERS * overall) / (known + _PRIOR_CUSTOMERS)
    return np.log(-np.log1p(-np.clip(share, 2e-3, 1 - 2e-3)))


def _returns(states: States, day: np.ndarray, bought: np.ndarray, until_day: int) -> list[np.ndarray]:
    """Share of customers by recency, and their chances to have bought in the last days, by recency before them."""
    chances = []
    for window in _WINDOWS_DAYS:
        start = until_day - window
        earlier = bought & (day < start)
        last = np.maximum(np.where(earlier, day, NO_DAY).max(axis=1, initial=NO_DAY), _evicted_before(states, start))
        known = np.flatnonzero(last != NO_DAY)
        returned = np.any(bought & (day >= start), axis=1)
        group = np.searchsorted(_RECENCY_EDGES_DAYS, start - 1 - last[known], side="right")
        count = np.bincount(group, minlength=len(_RECENCY_NAMES))
        chances.append(_log_hazard(np.bincount(group, returned[known], len(_RECENCY_NAMES)), count))
        if window == _WINDOWS_DAYS[0]:
            shares = count / max(1, count.sum())
    return [shares, *chances]


def _evicted_before(states: States, start: int) -> np.ndarray:
    evicted = states.header["evicted_purchase_day"].astype(np.int64)
    return np.where(evicted < start, evicted, NO_DAY)


def _repeats(states: States, day: np.ndarray, bought: np.ndarray, until_day: int, window: int) -> np.ndarray:
    """Chances of another purchase day within `window` days, after a first, second or third, or later one."""
    older = np.where(states.header["evicted_purchase_day"] != NO_DAY, 3, 0)
    order = np.cumsum(bought, axis=1) + older[:, None]
    following = np.where(bought, day, np.iinfo(np.int64).max)
    following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
    following = np.concatenate((following[:, 1:], np.full((len(day), 1), np.iinfo(np.int64).max)), axis=1)
    known = bought & (day < until_day - window)
    group = np.searchsorted((1, 3), order[known], side="left")
    repeated = (following - window <= day)[known]
    size = len(_ORDER_NAMES)
    return _log_hazard(np.bincount(group, repeated, size), np.bincount(group, minlength=size))


def _trend(day: np.ndarray, until_day: int, window: int) -> float:
    """Log-ratio of the purchase days in the last `window` days to those in the `window` before."""
    last, before = (
        (day >= until_day - window).sum(),
        ((day < until_day - window) & (day >= until_day - 2 * window)).sum(),
    )
    return float(np.clip(np.log((last + 5.0) / (before + 5.0)), -2, 2))


def _customers(bought: np.ndarray) -> list[float]:
    count = bought.sum(axis=1)
    count = count[count > 0]
    return [_share(count == 1), _share(count >= 5), float(np.log1p(count).mean()) if len(count) else 0.0]


def _activity(states: States, present: np.ndarray, bought: np.ndarray) -> list[float]:
    spend = np.log1p(states.days["spend"][bought])
    events = np.log1p(states.days["events"][present])
    return [
        float(spend.mean()) if len(spend) else 0.0,
        float(spend.std()) if len(spend) else 0.0,
        1.0 - bought.sum() / max(1, present.sum()),
        float(events.mean()) if len(events) else 0.0,
    ]
