"""Closed days and today as the tokens that the model reads."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.rivals.layout import AT, COUNTS, NO_DAY, PURCHASES, TRENDS, Customers, running_max

HALF_LIVES_DAYS: Final = (14, 60, 240)
TOKEN_SIZE, LOGS = 36, 31
FARTHEST_DAYS = 8192
DECAYS = np.exp2(-np.arange(FARTHEST_DAYS + 1)[:, None] / np.tile(HALF_LIVES_DAYS, 3)).astype(np.float32)
_LOG1P_GAPS = np.log1p(np.arange(FARTHEST_DAYS + 1)).astype(np.float32)
_WEEKDAYS = np.stack([f(np.arange(7) * (2 * np.pi / 7)) for f in (np.sin, np.cos)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Past:
    """The closed days of S customers: their tokens one customer after the other, and what a next day's needs."""

    tokens: np.ndarray  # float32 (T, 36)
    start: np.ndarray  # int64 (S,)
    trends: np.ndarray  # float32 (S, TRENDS), as of the last closed day
    last_day: np.ndarray  # int64 (S,); NO_DAY: none
    purchase_day: np.ndarray

    @staticmethod
    def of(customers: Customers, rows: np.ndarray, count: np.ndarray) -> "Past":
        """The first `count` (S,) days of these customers."""
        header = customers.header[rows]
        start = np.cumsum(count) - count
        owner = np.repeat(np.arange(len(rows)), count)
        days = customers.days[rows[owner], np.arange(len(owner)) - start[owner]]
        day, totals = days["day"].astype(np.int64), np.concatenate((days["counts"], days["sums"]), axis=1, dtype="f4")
        ends = start + count - 1
        some = count > 0
        last_day = header["evicted_day"].astype(np.int64)
        previous = np.empty_like(day)
        previous[1:] = day[:-1]
        previous[start[some]] = last_day[some]
        last_day[some] = day[ends[some]]
        purchase_day = header["evicted_purchase_day"].astype(np.int64)
        bought = running_max(np.where(totals[:, PURCHASES] > 0, day, NO_DAY), owner, purchase_day)
        earlier = np.empty_like(bought)
        earlier[1:] = bought[:-1]
        earlier[start[some]] = purchase_day[some]
        purchase_day[some] = bought[ends[some]]
        gap = np.where(previous == NO_DAY, NO_DAY, day - previous)
        since_purchase = np.where(earlier == NO_DAY, NO_DAY, day - earlier)
        along, trends = through(header["evicted_trends"], start, count, gap, increments(totals))
        return Past(token_rows(day, totals, gap, since_purchase, along), start, trends, last_day, purchase_day)


def token_rows(
    day: np.ndarray, totals: np.ndarray, gap: np.ndarray, since_purchase: np.ndarray, trends: np.ndarray
) -> np.ndarray:
    """Tokens float32 (M, 36) of days with these counts and sums (M, 22); NO_DAY in a gap: no earlier day."""
    tokens = np.empty((len(day), TOKEN_SIZE), np.float32)
    tokens[:, :16] = totals[:, :16]
    tokens[:, 16:20] = totals[:, -5:-1]
    tokens[:, 22:LOGS] = trends
    tokens[:, 20:22] = 0.0
    np.log1p(tokens[:, :LOGS], out=tokens[:, :LOGS])
    tokens[:, 20] = _LOG1P_GAPS[np.clip(gap, 0, FARTHEST_DAYS)]
    tokens[:, 21] = _LOG1P_GAPS[np.clip(since_purchase, 0, FARTHEST_DAYS)]
    tokens[:, 31] = totals[:, -1] / np.maximum(totals[:, AT["opinions"]], 1)
    tokens[:, 32] = gap == NO_DAY
    tokens[:, 33] = since_purchase == NO_DAY
    tokens[:, 34:] = _WEEKDAYS[day % 7]
    return tokens


def increments(totals: np.ndarray) -> np.ndarray:
    """What days add to the trends: float32 (M, TRENDS)."""
    added = np.ones((len(totals), 3, 3), np.float32)
    added[:, 0] = (totals[:, PURCHASES] > 0)[:, None]
    added[:, 2] = np.log1p(totals[:, len(COUNTS)])[:, None]
    return added.reshape(-1, TRENDS)


def through(
    trends: np.ndarray, start: np.ndarray, count: np.ndarray, gap: np.ndarray, added: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Trends after each day and after each customer's last: those with most days first, so that the others drop out."""
    result = np.empty_like(added)
    decay = DECAYS[np.clip(gap, 0, FARTHEST_DAYS)]
    order = np.argsort(-count, kind="stable")
    still = np.searchsorted(-count[order], -np.arange(int(count.max(initial=0))), side="left").tolist()
    now, begin = trends[order], start[order]
    for place, number in enumerate(still):
        at = begin[:number] + place
        now[:number] = result[at] = now[:number] * decay[at] + added[at]
    last = np.empty_like(now)
    last[order] = now
    return result, last
