"""States to what is computed from them: model tokens, and the named rolling features that people ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.state import MAX_DAYS, NO_DAY, NO_TIME, TRENDS, States
from consumer.core.trends import TREND_NAMES, through

FEATURE_VERSION: Final = 2
WINDOWS_DAYS: Final = (1, 7, 30, 90)
IN_WINDOWS: Final = (
    "active_days", "events", "sessions", "views", "searches", "cart_adds", "checkouts", "purchases", "spend",
    "discount", "dwell_s", "refunds", "refunded", "reviews", "negative_texts", "tickets",
    "email_opens", "campaign_contacts", "mean_sentiment", "refund_rate", "cart_abandonment",
)  # fmt: skip

_LOG_COUNTS = (
    "events", "sessions", "views", "searches", "cart_adds", "cart_removals", "checkouts", "purchases", "refunds",
    "reviews", "negative_texts", "tickets", "email_opens", "campaign_contacts", "coupons", "unsubscribes",
)  # fmt: skip
_LOG_SUMS = ("spend", "refunded", "discount", "dwell_s")
_LOG_GAPS = ("gap_days", "purchase_gap_days")
LOG_TOKENS: Final = _LOG_COUNTS + _LOG_SUMS + _LOG_GAPS + TREND_NAMES
TOKEN_NAMES: Final = (
    *(f"log1p_{name}" for name in LOG_TOKENS),
    "mean_sentiment", "no_earlier_day", "no_earlier_purchase", "weekday_sin", "weekday_cos",
)  # fmt: skip
TOKEN_SIZE: Final = len(TOKEN_NAMES)
_WEEKDAY_ANGLES = np.arange(7) * (2 * np.pi / 7)
_WEEKDAY_SIN, _WEEKDAY_COS = np.sin(_WEEKDAY_ANGLES), np.cos(_WEEKDAY_ANGLES)


@dataclass(frozen=True)
class Days:
    """Some user-days, and what a token says of the days before them; all fields of one shape, but for the trends."""

    days: np.ndarray  # structured, (...)
    gap_days: np.ndarray  # int64 (...): since the previous active day; -1: there is none
    purchase_gap_days: np.ndarray  # int64 (...): since the previous purchase day; -1: there is none
    trends: np.ndarray  # float32 (..., TRENDS), the day itself included


def tokens(states: States, length: int = MAX_DAYS) -> np.ndarray:
    """Model input: float32 (U, length, TOKEN_SIZE), one token per user-day, oldest first, zero-padded at the end.

    No user may have more than `length` days. A token depends on its own day and earlier ones only, those that left
    the 64 included, so that a closed day's token never changes: training, replay and serving see equal bits.
    """
    return unpadded(tokens_of(walked(states, length)), states)


def walked(states: States, length: int) -> Days:
    """All user-days (U, length) of users who have no more, in order."""
    days = states.days[:, :length]
    gap_days, purchase_gap_days = _gaps(states.header, days)
    return Days(days, gap_days, purchase_gap_days, through(states.header["evicted_trends"], gap_days, days))


def tokens_of(given: Days) -> np.ndarray:
    """What the model is told of some days: float32 (..., TOKEN_SIZE)."""
    days = given.days
    logs = np.empty((*days.shape, len(LOG_TOKENS)))
    for position, name in enumerate(_LOG_COUNTS + _LOG_SUMS):
        logs[..., position] = days[name]
    logs[..., -TRENDS - 2] = np.maximum(given.gap_days, 0)
    logs[..., -TRENDS - 1] = np.maximum(given.purchase_gap_days, 0)
    logs[..., -TRENDS:] = given.trends
    weekday = days["day"] % 7
    result = np.empty((*days.shape, TOKEN_SIZE), np.float32)
    result[..., : len(LOG_TOKENS)] = np.log1p(logs, out=logs)
    result[..., -5] = days["sentiment"] / np.maximum(days["opinions"], 1)
    result[..., -4] = given.gap_days < 0
    result[..., -3] = given.purchase_gap_days < 0
    result[..., -2] = _WEEKDAY_SIN[weekday]
    result[..., -1] = _WEEKDAY_COS[weekday]
    return result


def unpadded(tokens: np.ndarray, states: States) -> np.ndarray:
    """Tokens (U, length, …) with those after a user's days set to zero, in place."""
    tokens[np.arange(tokens.shape[1]) >= states.header["days"].astype(np.int64)[:, None]] = 0.0
    return tokens


def _gaps(header: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days since the previous active day and since the previous purchase day, (U, L) each; -1: there is none."""
    day = days["day"].astype(np.int64)
    purchase_day = np.where(days["purchases"] > 0, day, NO_DAY)
    previous = _shifted(header["evicted_day"], day)
    earlier = np.maximum.accumulate(_shifted(header["evicted_purchase_day"], purchase_day), axis=1)
    return np.where(previous == NO_DAY, -1, day - previous), np.where(earlier == NO_DAY, -1, day - earlier)


def _shifted(before_first: np.ndarray, day: np.ndarray) -> np.ndarray:
    return np.concatenate((before_first.astype(np.int64)[:, None], day[:, :-1]), axis=1)


def rolling(
    states: States,
    as_of_day: np.ndarray,
    windows_days: Sequence[int] = WINDOWS_DAYS,
    names: Sequence[str] = IN_WINDOWS,
) -> dict[str, np.ndarray]:
    """Named rolling features of each user as of the end of local day `as_of_day` (U,); float64 (U,) each.

    Windows of `windows_days` end with `as_of_day` and are exact to the day over the kept 64 active days; of each there
    are `names`. NaN means: not defined for this user (for example a mean gap with fewer than two purchase days).
    """
    kept = np.arange(MAX_DAYS) < states.header["days"].astype(np.int64)[:, None]
    day = states.days["day"].astype(np.int64)
    age = np.where(kept, as_of_day[:, None] - day, -1)
    features: dict[str, np.ndarray] = _recency(states, age, kept)
    for window in windows_days:
        inside = _Window(states.days, (age >= 0) & (age < window))
        features |= {f"{name}_{window}d": inside.feature(name) for name in names}
    return features | _rhythm(states, kept & (age >= 0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


class _Window:
    """Days within a window, a mask (U, 64), and what they come to."""

    def __init__(self, days: np.ndarray, inside: np.ndarray) -> None:
        self._days, self._inside = days, inside
        self._totals: dict[str, np.ndarray] = {}

    def feature(self, name: str) -> np.ndarray:
        """Float64 (U,)."""
        if name == "active_days":
            return self._inside.sum(axis=1, dtype=np.float64)
        if name == "mean_sentiment":
            return _ratio(self._total("sentiment"), self._total("opinions"))
        if name == "refund_rate":
            return _ratio(self._total("refunds"), self._total("purchases"))
        if name == "cart_abandonment":
            added = self._total("cart_adds")
            return _ratio(np.maximum(added - self._total("purchases"), 0), added)
        return self._total(name)

    def _total(self, name: str) -> np.ndarray:
        if name not in self._totals:
            self._totals[name] = np.where(self._inside, self._days[name], 0).sum(axis=1, dtype=np.float64)
        return self._totals[name]


def _recency(states: States, age: np.ndarray, kept: np.ndarray) -> dict[str, np.ndarray]:
    known = states.header["first_ms"] != NO_TIME
    seen = kept & (age >= 0)
    bought = seen & (states.days["purchases"] > 0)
    return {
        "days_since_last_event": _youngest(age, seen),
        "days_since_last_purchase": _youngest(age, bought),
        "total_events": np.where(known, states.header["events"], 0).astype(np.float64),
        "total_target_events": np.where(known, states.header["target_events"], 0).astype(np.float64),
        "unsubscribed": states.header["unsubscribed"].astype(np.float64),
    }


def _youngest(age: np.ndarray, mask: np.ndarray) -> np.ndarray:
    youngest = np.where(mask, age, np.iinfo(np.int64).max).min(axis=1)
    return np.where(mask.any(axis=1), youngest, np.nan).astype(np.float64)


def _rhythm(states: States, seen: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and spread of the gaps between purchase days, over the kept days."""
    bought = seen & (states.days["purchases"] > 0)
    day = states.days["day"].astype(np.float64)
    earlier = np.maximum.accumulate(np.where(bought, day, -np.inf), axis=1)
    earlier = np.concatenate((np.full((len(day), 1), -np.inf), earlier[:, :-1]), axis=1)
    is_gap = bought & np.isfinite(earlier)
    gap = np.where(is_gap, day - np.where(is_gap, earlier, 0.0), 0.0)
    count = is_gap.sum(axis=1).astype(np.float64)
    mean = _ratio(gap.sum(axis=1), count)
    variance = _ratio((np.where(is_gap, gap - np.nan_to_num(mean)[:, None], 0.0) ** 2).sum(axis=1), count)
    return {"purchase_gap_mean_days": mean, "purchase_gap_std_days": np.sqrt(variance)}
