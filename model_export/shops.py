"""The priors: what shops there may be. One draw is one shop.

Each family of habits can be left out, so that its worth can be measured (`docs/model.md` says what each bought).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np

T = TypeVar("T")
RateFamily = Literal["gamma", "lognormal", "pareto"]
_RATE_FAMILIES: Final[tuple[RateFamily, ...]] = ("gamma", "lognormal", "pareto")

# What a shop may have beyond gamma rates, Erlang rhythms and dropout.
FAMILIES: Final = (
    "heavy_tails", "aging", "seasons", "one_timers", "moods", "comebacks", "loyalty", "frequent", "panels",
    "begun_earlier", "behaviour",
)  # fmt: skip

_FOR_EVER_DAYS: Final = 1e5


@dataclass(frozen=True)
class Shop:
    """One shop's habits; days, rates per day, shares in [0, 1], spend in logs of the currency."""

    burn_in_days: int  # trade before the log begins
    observed_days: int
    future_days: int
    dated_only: bool  # events carry dates without times
    # who comes
    cohort_days: int  # all sign up within so many days of the log's begin; 0: they keep coming
    sign_up_trend: float
    signed_up_before: float  # share of customers from before everything
    begins_with_purchase: bool
    panel_min_purchases: int
    # how often
    rate_per_day: float
    rate_family: RateFamily
    rate_shape: float
    regularity: float
    aging: float
    aging_days: float
    mood: float
    mood_memory: float
    own_weekday: float
    fading_days: float
    # when they leave
    lifetime_days: float
    lifetime_shape: float
    lifetime_spread: float
    quit_mean: float
    quit_weight: float
    one_timers: float
    loyalty: float  # the more often a customer buys, the longer they stay: power of the relative rate
    comebacks: float  # what is left of the rate of those who have left
    bad_share: float
    bad_quits: float
    # the calendar
    weekday_spread: float
    closed_weekdays: int
    yearly: float
    peak: float
    growth_per_year: float
    promotions_per_year: float
    promotion_lift: float
    # what they spend
    spend_mean: float
    spend_spread: float
    spend_noise: float
    spend_by_rate: float
    wholesale: float
    coupons: float
    more_orders: float
    # what else they do
    browsing: float  # visits without purchase per purchase; 0: the log has purchases only
    looks_first: float
    views: float
    searches: float
    carts: float
    dwell_s: float
    refunds: float
    tickets: float
    reviews: float
    unsubscribes: float
    campaign_every_days: int
    campaign_reach: float
    campaign_opens: float

    @property
    def total_days(self) -> int:
        """From the first trade to the end of what can be known."""
        return self.burn_in_days + self.observed_days + self.future_days


def draw_shop(rng: np.random.Generator, families: frozenset[str] = frozenset(FAMILIES)) -> Shop:
    """A shop from the priors; `families` names the habits it may have."""

    def maybe(chance: float, family: str | None = None) -> bool:
        hit = rng.random() < chance
        return bool(hit and (family is None or family in families))

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    panel = maybe(0.15, "panels")
    cohort = maybe(0.25) and not panel
    earlier = maybe(0.5, "begun_earlier") or panel
    highest = 0.6 if "frequent" in families else 1 / 14
    lowest = 1 / 30 if panel else 1 / 500
    rate = log_uniform(lowest, highest)
    typical_gap = 1 / rate
    rate_family = _choice(rng, _RATE_FAMILIES if "heavy_tails" in families else _RATE_FAMILIES[:1])
    shapes = {"gamma": log_uniform(0.3, 8.0), "lognormal": rng.uniform(0.3, 1.6), "pareto": rng.uniform(1.3, 3.5)}
    lifetime_low = 180.0 if panel else 60.0
    quit_mean = float(rng.beta(0.8, 12) * min(1.0, typical_gap / 20) ** 0.7) if maybe(0.6) else 0.0
    behaves = maybe(0.6, "behaviour")
    complains = maybe(0.6, "behaviour")
    return Shop(
        burn_in_days=int(log_uniform(60, 500)) if earlier else 0,
        observed_days=int(log_uniform(80, 750)),
        future_days=int(log_uniform(60, 330)),
        dated_only=maybe(0.3),
        cohort_days=int(rng.integers(30, 120)) if cohort else 0,
        sign_up_trend=float(rng.normal(0, 1.2)),
        signed_up_before=float(rng.beta(1, 1)) if earlier else 0.0,
        begins_with_purchase=maybe(0.8),
        panel_min_purchases=int(log_uniform(3, 30)) if panel else 0,
        rate_per_day=rate,
        rate_family=rate_family,
        rate_shape=float(shapes[rate_family]),
        regularity=_choice(rng, (0.5, 0.7, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0, 5.0)),
        aging=float(rng.normal(0.25, 0.35)) if maybe(0.55, "aging") else 0.0,
        aging_days=log_uniform(5, 120),
        mood=float(rng.uniform(0.1, 1.0)) if maybe(0.45, "moods") else 0.0,
        mood_memory=float(rng.uniform(0.3, 0.95)),
        own_weekday=float(rng.beta(1, 2)) if maybe(0.4, "moods") else 0.0,
        fading_days=log_uniform(5, 90) if maybe(0.3, "aging") else 0.0,
        lifetime_days=log_uniform(lifetime_low, 5000) + 2 * typical_gap if maybe(0.6) else _FOR_EVER_DAYS,
        lifetime_shape=log_uniform(0.5, 2.0) if maybe(0.5) else 1.0,
        lifetime_spread=float(rng.uniform(0, 1.5)),
        quit_mean=float(np.clip(quit_mean, 1e-4, 0.6)),
        quit_weight=log_uniform(1, 30),
        one_timers=float(rng.beta(1.2, 2.5)) if maybe(0.5, "one_timers") and not panel else 0.0,
        loyalty=float(rng.uniform(0.1, 1.3)) if maybe(0.75, "loyalty") else 0.0,
        comebacks=log_uniform(0.01, 0.4) if maybe(0.65, "comebacks") else 0.0,
        bad_share=float(rng.beta(1.2, 12)) if complains else 0.0,
        bad_quits=float(rng.beta(2, 3)),
        weekday_spread=float(rng.uniform(0, 0.5)) if maybe(0.8, "seasons") else 0.0,
        closed_weekdays=_choice(rng, (0, 0, 0, 0, 0, 1, 1, 2)) if "seasons" in families else 0,
        yearly=float(rng.exponential(0.15)) if maybe(0.7, "seasons") else 0.0,
        peak=float(rng.exponential(0.4)) if maybe(0.5, "seasons") else 0.0,
        growth_per_year=float(rng.normal(0, 0.35)) if maybe(0.6, "seasons") else 0.0,
        promotions_per_year=float(rng.uniform(0, 12)) if maybe(0.5, "seasons") else 0.0,
        promotion_lift=float(rng.exponential(0.7)),
        spend_mean=float(rng.normal(3.6, 1.1)),
        spend_spread=float(rng.uniform(0.2, 1.0)),
        spend_noise=float(rng.uniform(0.2, 0.9)),
        spend_by_rate=float(rng.normal(0.08, 0.15)),
        wholesale=float(rng.beta(1, 20)) if maybe(0.4, "heavy_tails") else 0.0,
        coupons=float(rng.beta(1, 8)) if maybe(0.4, "behaviour") else 0.0,
        more_orders=float(rng.exponential(0.1)) if maybe(0.6) else 0.0,
        browsing=log_uniform(0.3, 8.0) if behaves else 0.0,
        looks_first=float(rng.beta(1, 2)),
        views=float(rng.uniform(1, 8)),
        searches=float(rng.uniform(0, 2)),
        carts=float(rng.uniform(0.05, 0.4)),
        dwell_s=log_uniform(5, 120),
        refunds=float(rng.beta(2, 2)) if complains and maybe(0.7) else 0.0,
        tickets=float(rng.beta(2, 2)) if complains and maybe(0.5) else 0.0,
        reviews=float(rng.beta(1, 8)) if maybe(0.4, "behaviour") else 0.0,
        unsubscribes=float(rng.beta(1, 3)) if complains and maybe(0.4) else 0.0,
        campaign_every_days=int(rng.integers(7, 61)) if maybe(0.3, "behaviour") else 0,
        campaign_reach=float(rng.uniform(0.05, 0.8)),
        campaign_opens=float(rng.uniform(0.05, 0.5)),
    )


def _choice(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
