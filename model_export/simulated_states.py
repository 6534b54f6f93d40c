"""Simulated user-days as the states that the fold would leave."""

import numpy as np

from consumer.core.calendar import DAY_MS
from consumer.core.state import MAX_DAYS, NO_DAY, States, empty_states
from consumer.core.trends import increments, through
from model_export.simulate import Simulated


def states_at(simulated: Simulated, users: np.ndarray, until_day: np.ndarray) -> States:
    """The states of some customers (U,) from their user-days before `until_day` (U,), as the fold would leave them.

    Only what user-days tell: not the times within a day, nor event ids.
    """
    first = np.searchsorted(simulated.user, users)
    stride = simulated.end_day + 1
    key = simulated.user * stride + simulated.days["day"]
    count = np.searchsorted(key, users * stride + until_day) - first
    states = empty_states(len(users))
    kept = np.minimum(count, MAX_DAYS)
    present = np.arange(MAX_DAYS) < kept[:, None]
    at = np.where(present, (first + count - kept)[:, None] + np.arange(MAX_DAYS), 0)
    states.days[present] = simulated.days[at[present]]
    header = states.header
    header["days"] = kept
    known = count > 0
    header["first_ms"][known] = simulated.days["day"][first[known]].astype(np.int64) * DAY_MS
    _evict(states, simulated, first, count)
    _totals(states, simulated, first, count)
    return states


def _totals(states: States, simulated: Simulated, first: np.ndarray, count: np.ndarray) -> None:
    header = states.header

    def total(column: str) -> np.ndarray:
        so_far = np.concatenate(([0], np.cumsum(simulated.days[column], dtype=np.int64)))
        return so_far[first + count] - so_far[first]

    header["events"], header["target_events"] = total("events"), total("purchases")
    header["unsubscribed"] = total("unsubscribes") > 0
    present = np.arange(MAX_DAYS) < header["days"][:, None]
    bought = np.where(present & (states.days["purchases"] > 0), states.days["day"], NO_DAY).max(axis=1)
    bought = np.maximum(bought, header["evicted_purchase_day"]).astype(np.int64)
    header["last_target_ms"] = np.where(bought >= 0, bought * DAY_MS, -1)
    last = states.last_day(np.arange(len(states))).astype(np.int64)
    header["last_ms"] = np.where(header["days"] > 0, last * DAY_MS, -1)


def _evict(states: States, simulated: Simulated, first: np.ndarray, count: np.ndarray) -> None:
    """What the header keeps of the days that are more than `MAX_DAYS`."""
    rows = np.flatnonzero(count > MAX_DAYS)
    if not len(rows):
        return
    gone = count[rows] - MAX_DAYS
    at = np.minimum(first[rows][:, None] + np.arange(gone.max()), len(simulated.days) - 1)
    days = simulated.days[at]
    gap = np.diff(days["day"].astype(np.int64), axis=1, prepend=0)
    trends = through(np.zeros((len(rows), increments(days[:0, :0]).shape[-1]), np.float32), gap, days)
    last = gone - 1
    states.header["evicted_trends"][rows] = trends[np.arange(len(rows)), last]
    states.header["evicted_day"][rows] = days["day"][np.arange(len(rows)), last]
    inside = np.arange(days.shape[1]) < gone[:, None]
    bought = np.where(inside & (days["purchases"] > 0), days["day"], NO_DAY).max(axis=1)
    states.header["evicted_purchase_day"][rows] = bought
