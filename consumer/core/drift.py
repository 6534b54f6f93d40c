"""Drift: are scores and features still distributed as where the model was made?

The population stability index compares shares by bin, PSI = sum of (a - e) ln(a / e): the symmetric divergence of
Jeffreys 1946, as credit scoring uses it (Siddiqi 2006, "Credit Risk Scorecards"). Some of the scored events
are looked at, drawn by event id. Only counts are kept, and they fade with event time: memory does not grow. No
decision depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from consumer.core.calendar import DAY_MS
from consumer.core.features import rolling
from consumer.core.fold import Target
from consumer.core.outcomes import is_drawn
from consumer.core.risk import churn_probability
from consumer.core.state import States, joined
from schemas.reference import Reference

SCORE: Final = "churn_probability"
_WINDOWS_DAYS: Final = (30, 90)
_IN_WINDOWS: Final = ("purchases", "views", "spend", "discount", "mean_sentiment")
_AS_ROLLING: Final = (
    "days_since_last_purchase", "purchases_30d", "purchases_90d", "purchase_gap_mean_days", "views_30d",
    "mean_sentiment_90d",
)  # fmt: skip
_SPEND_PER_PURCHASE, _DISCOUNT_SHARE = "spend_per_purchase_90d", "discount_share_90d"
FEATURES: Final = (*_AS_ROLLING, _SPEND_PER_PURCHASE, _DISCOUNT_SHARE)
_FLOOR: Final = 1e-4  # of a share: an empty bin has no logarithm
_AT_ONCE: Final = 256  # so many states are counted together: of a few it takes nearly as long


@dataclass(frozen=True)
class DriftRules:
    """How fast observations fade, how many say something, and how many more would not say more."""

    half_life_days: float = 7.0  # whole weeks, so that no weekday is missed
    fewest: float = 500.0
    enough: float = 2_000.0


@dataclass(frozen=True)
class Seen:
    """Observations so far, each by its weight: how many events it stands for, less what has faded since."""

    counts: Mapping[str, np.ndarray]  # by name and bin
    total: float = 0.0
    squares: float = 0.0  # of the weights
    until_ms: int = 0  # the latest event


@dataclass
class Drift:
    """What was seen lately, against a model's reference. One thread adds, any may read.

    All events are looked at while they are few, and then a share that keeps about `enough` of them in sight: so that
    small shops have figures, and large ones do not pay for them.
    """

    reference: Reference
    target: Target
    horizon_days: float
    rules: DriftRules = DriftRules()
    _waiting: list[tuple[States, float]] = field(default_factory=list, repr=False)  # each drawn at a share
    _seen: Seen = field(default_factory=lambda: Seen({}), repr=False)

    def __post_init__(self) -> None:
        known = {name: each for name, each in self.reference.features.items() if name in FEATURES}
        self._expected = {SCORE: self.reference.churn_probability[self.target], **known}

    @property
    def share(self) -> float:
        """Which share of the events is looked at."""
        return min(1.0, self.rules.enough / max(self._seen.total, 1.0))

    def add(self, states: States, rows: np.ndarray, ids: np.ndarray) -> None:
        """Look at the users of those events whose ids (N,) are drawn, as they are now; `rows` (N,) says whose they are.

        They count once there are enough to be worth it, or `count` is called.
        """
        drawn, share = rows[is_drawn(ids, self.share)], self.share
        for begin in range(0, len(drawn), _AT_ONCE):
            self._waiting.append((states.take(drawn[begin : begin + _AT_ONCE]), share))
            if sum(len(each) for each, _ in self._waiting) >= _AT_ONCE:
                self.count()

    def count(self) -> None:
        """Count all that was added: together, since it costs little more than one alone."""
        if not self._waiting:
            return
        states = joined([each for each, _ in self._waiting])
        share = np.concatenate([np.full(len(each), share) for each, share in self._waiting])
        self._waiting = []
        values = {SCORE: _scores(states, self.horizon_days), **features_of(states)}
        at_ms, seen = states.header["last_ms"], self._seen
        until_ms = max(seen.until_ms, int(at_ms.max()))
        weight, kept = self._left(until_ms - at_ms) / share, float(self._left(np.array(until_ms - seen.until_ms)))
        new = {name: binned(values[name], each.edges, weight) for name, each in self._expected.items()}
        counts = {name: kept * seen.counts.get(name, 0.0) + count for name, count in new.items()}
        total, squares = kept * seen.total + float(weight.sum()), kept**2 * seen.squares + float((weight**2).sum())
        self._seen = Seen(counts, total, squares, until_ms)

    def _left(self, age_ms: np.ndarray) -> np.ndarray:
        """What is left of observations so long ago."""
        return 0.5 ** (age_ms / DAY_MS / self.rules.half_life_days)

    def observations(self) -> float:
        """As many of equal weight would say as much (Kish 1965, "Survey Sampling", section 11.7)."""
        return self._seen.total**2 / self._seen.squares if self._seen.squares else 0.0

    def psi(self) -> dict[str, float]:
        """By name; empty while there are too few observations to say."""
        counts = self._seen.counts
        if self.observations() < self.rules.fewest:
            return {}
        return {name: psi(np.array(self._expected[name].shares), count / count.sum()) for name, count in counts.items()}


def psi(expected: np.ndarray, actual: np.ndarray) -> float:
    """Population stability index of two sets of shares (bins,): 0 if they are equal, and never below."""
    one, other = np.maximum(expected, _FLOOR), np.maximum(actual, _FLOOR)
    return float(((other - one) * np.log(other / one)).sum())


def binned(values: np.ndarray, edges: tuple[float, ...], weight: np.ndarray | None = None) -> np.ndarray:
    """How many of `values` (N,), each by its `weight` if given, are in each bin of a `Distribution`: (edges + 2,)."""
    place = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return np.bincount(place, weight, minlength=len(edges) + 2)


def features_of(states: States) -> dict[str, np.ndarray]:
    """`FEATURES` of each user on the last active day so far; float64 (U,) each, NaN where not defined."""
    day = states.last_day(np.arange(len(states))).astype(np.int64)
    features = rolling(states, day, _WINDOWS_DAYS, _IN_WINDOWS)
    spend, discount, purchases = (features[f"{name}_90d"] for name in ("spend", "discount", "purchases"))
    return {
        **{name: features[name] for name in _AS_ROLLING},
        _SPEND_PER_PURCHASE: _ratio(spend, purchases),
        _DISCOUNT_SHARE: _ratio(discount, spend + discount),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _scores(states: States, horizon_days: float) -> np.ndarray:
    """Of each user as of the last event, from the stored curve."""
    return churn_probability(states.header["log_hazards"], np.zeros(len(states)), horizon_days)
