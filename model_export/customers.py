"""Customers of a simulated shop: who they are, and how often they would buy on every day of its log."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from model_export.shops import Shop

_MOOD_DAYS: Final = 28
_MAX_RATE_PER_DAY: Final = 3.0


@dataclass(frozen=True)
class Customers:
    """U customers; every field has shape (U,)."""

    born: np.ndarray  # int64 (U,): day of sign-up
    rate: np.ndarray  # float64 (U,): purchases per day at the start
    leaves: np.ndarray  # float64 (U,): day after which they come back rarely, or never
    spend: np.ndarray  # float64 (U,): mean log of spend
    quits: np.ndarray  # float64 (U,): chance to leave after a purchase
    coupons: np.ndarray  # float64 (U,): share of purchases with a coupon


def customers_of(shop: Shop, users: int, rng: np.random.Generator) -> Customers:
    """Draw `users` customers of a shop."""
    born = _sign_ups(shop, users, rng)
    rate = shop.rate_per_day * _spread(shop, users, rng)
    relative = np.clip(rate / shop.rate_per_day, 1e-3, 1e3)
    loyal = np.clip(relative, 0.02, 50) ** shop.loyalty
    scatter = rng.weibull(shop.lifetime_shape, users) * np.exp(rng.normal(0, shop.lifetime_spread, users))
    lifetime = shop.lifetime_days * loyal * scatter
    quits = rng.beta(shop.quit_mean * shop.quit_weight, (1 - shop.quit_mean) * shop.quit_weight, users)
    quits = np.where(rng.random(users) < shop.one_timers, 1.0, np.minimum(quits / loyal, 1.0))
    z = rng.normal(size=users)
    spend = shop.spend_mean + shop.spend_spread * z + shop.spend_by_rate * np.log(relative)
    wholesale = rng.random(users) < shop.wholesale
    spend = spend + np.where(wholesale, rng.normal(2.0, 0.6, users), 0.0)
    rate = rate * np.where(wholesale, np.exp(rng.normal(0.7, 0.5, users)), 1.0)
    lifetime = np.where(wholesale, lifetime * 2, lifetime)
    coupons = (
        rng.beta(0.5, 0.5 * (1 - shop.coupons) / max(shop.coupons, 1e-3), users) if shop.coupons else np.zeros(users)
    )
    return Customers(born, np.minimum(rate, _MAX_RATE_PER_DAY), born + lifetime, spend, quits, coupons)


def _sign_ups(shop: Shop, users: int, rng: np.random.Generator) -> np.ndarray:
    """Days of sign-up: a cohort at the start, or all the time, more and more or fewer and fewer."""
    span = shop.cohort_days if shop.cohort_days else shop.total_days
    trend = shop.sign_up_trend
    share = rng.random(users)
    position = share if abs(trend) < 1e-3 else np.log1p(share * np.expm1(trend)) / trend
    first = shop.burn_in_days if shop.cohort_days else 0
    early = rng.random(users) < shop.signed_up_before
    return np.where(early, 0, first + np.floor(position * span)).astype(np.int64)


def _spread(shop: Shop, users: int, rng: np.random.Generator) -> np.ndarray:
    """Rates of customers relative to the shop's, of mean about 1."""
    match shop.rate_family:
        case "gamma":
            return rng.gamma(shop.rate_shape, 1 / shop.rate_shape, users)
        case "lognormal":
            return rng.lognormal(-(shop.rate_shape**2) / 2, shop.rate_shape, users)
        case _:
            return (rng.pareto(shop.rate_shape, users) + 1) * (shop.rate_shape - 1) / shop.rate_shape


def intensity_of(shop: Shop, customers: Customers, rng: np.random.Generator, shared: np.random.Generator) -> np.ndarray:
    """Purchases per day of every customer (U, D), 0 before sign-up and after a customer has left."""
    day = np.arange(shop.total_days)
    users = len(customers.born)
    age = (day - customers.born[:, None]).astype(np.float32)
    result = customers.rate[:, None].astype(np.float32) * _calendar(shop, day, shared).astype(np.float32)
    if shop.aging:
        result *= (1 + np.maximum(age, 0) / np.float32(shop.aging_days)) ** np.float32(-shop.aging)
    if shop.mood:
        result *= _moods(shop, users, rng)
    if shop.own_weekday:
        mine = rng.integers(0, 7, users)
        result *= np.where(
            day % 7 == mine[:, None], np.float32(1 + 6 * shop.own_weekday), np.float32(1 - shop.own_weekday)
        )
    left_in = (customers.leaves[:, None] - day).astype(np.float32)
    fading = np.clip(left_in / np.float32(shop.fading_days), 0, 1) if shop.fading_days else left_in >= 0
    result *= np.maximum(fading, np.float32(shop.comebacks))
    result[age < 0] = 0
    return np.minimum(result, 2 * _MAX_RATE_PER_DAY)


def _calendar(shop: Shop, day: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What all customers share: weekdays, the year, growth, promotions; float64 (D,)."""
    weekday = np.exp(rng.normal(0, shop.weekday_spread, 7))
    weekday[rng.permutation(7)[: shop.closed_weekdays]] = 0
    weekday *= 7 / weekday.sum()
    phase = 2 * np.pi * (day / 365.25 - rng.random())
    yearly = np.exp(shop.yearly * np.cos(phase) + shop.peak * np.exp(8 * (np.cos(phase + rng.normal(0, 1)) - 1)))
    growth = np.exp(shop.growth_per_year * (day - day[-1] / 2) / 365.25)
    promotion = np.ones(len(day))
    for start in rng.integers(0, len(day), rng.poisson(shop.promotions_per_year * len(day) / 365.25)):
        promotion[start : start + rng.integers(1, 8)] = 1 + rng.exponential(shop.promotion_lift)
    return weekday[day % 7] * yearly / yearly.mean() * growth * promotion


def _moods(shop: Shop, users: int, rng: np.random.Generator) -> np.ndarray:
    """Slow ups and downs of each customer: exp of an AR(1) over four-week steps; float32 (U, D)."""
    steps = shop.total_days // _MOOD_DAYS + 1
    shock = rng.normal(size=(users, steps)).astype(np.float32)
    level = shock.copy()
    keep = np.float32(shop.mood_memory)
    for step in range(1, steps):
        level[:, step] = keep * level[:, step - 1] + np.sqrt(1 - keep**2) * shock[:, step]
    mood = np.exp(np.float32(shop.mood) * level - np.float32(shop.mood**2 / 2))
    return np.repeat(mood, _MOOD_DAYS, axis=1)[:, : shop.total_days]
