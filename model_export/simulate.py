"""Simulated shops: each draw is a shop with habits of its own, whose customers buy, browse, complain and leave.

A customer's purchases are a gamma renewal process in operational time (regular if the shape is above 1, bursty below),
and operational time runs at the customer's intensity: own rate x age x season x weekday x promotions x slow moods,
until they leave. Customers leave after an exponential or Weibull lifetime, after any purchase (Beta-geometric), or
because of a bad experience. (Schmittlein, Morrison & Colombo 1987; Fader, Hardie & Lee 2005; Platzer & Reutterer 2016
for the regularity; Brown et al. 2002 for the time rescaling.) All of a shop's customers and days are drawn at once.

The outcome is user-days, which `model_export.simulate_events` turns into ShopEvents.
"""

from dataclasses import dataclass

import numpy as np

from model_export.behaviour import Table, add_browsing, add_campaigns, add_complaints, add_purchases
from model_export.customers import Customers, customers_of, intensity_of
from model_export.shops import Shop


@dataclass(frozen=True)
class Simulated:
    """N user-days of U users, by user and day; day 0 is when the log begins."""

    shop: Shop
    user: np.ndarray  # int64 (N,)
    days: np.ndarray  # USER_DAY (N,)
    left_day: np.ndarray  # int64 (U,): the latent truth, for evaluation only; comebacks after it are rare
    end_day: int  # exclusive

    @property
    def users(self) -> int:
        """How many, those without any user-day included."""
        return len(self.left_day)


def simulate(shop: Shop, users: int, rng: np.random.Generator, shared: np.random.Generator | None = None) -> Simulated:
    """All user-days of `users` customers of a shop, over its whole log and the days that follow.

    `shared` draws what all customers have in common, so that a shop can be simulated in parts: equal generators give
    the parts the same weekdays, promotions and campaigns.
    """
    shared = shared or rng
    customers = customers_of(shop, users, rng)
    intensity = intensity_of(shop, customers, rng, shared)
    buyer, day = _purchases(shop, customers, intensity, rng)
    buyer, day, bad, left = _until_they_leave(shop, customers, buyer, day, rng)
    table = Table(users, shop.total_days)
    add_purchases(table, shop, customers, buyer, day, rng)
    add_complaints(table, shop, buyer, day, bad, rng)
    if shop.browsing:
        add_browsing(table, shop, intensity, left, buyer, day, rng)
    add_campaigns(table, shop, customers, left, rng, shared)
    user, days = table.finished(rng, shop.dated_only)
    kept = _kept_customers(shop, user, days) & (days["day"] >= shop.burn_in_days)
    days = days[kept].copy()
    days["day"] -= shop.burn_in_days
    return Simulated(shop, user[kept], days, left - shop.burn_in_days, shop.total_days - shop.burn_in_days)


def _purchases(
    shop: Shop, customers: Customers, intensity: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Customer and day of each purchase, by customer and time: int64 (P,) each."""
    elapsed = np.cumsum(intensity, axis=1, dtype=np.float64)
    total = elapsed[:, -1]
    k = shop.regularity
    count = np.ceil(total + 6 * np.sqrt(total / k) + 6 / k + 6).astype(np.int64)
    user = np.repeat(np.arange(len(total)), count)
    gap = rng.gamma(k, 1 / k, len(user))
    start = np.cumsum(count) - count
    at_birth = np.full(len(total), shop.begins_with_purchase)
    gap[start] *= np.where(at_birth, 0.0, rng.random(len(total)))
    along = np.cumsum(gap)
    at = along - np.repeat(along[start] - gap[start], count)
    inside = at < total[user]
    user, at = user[inside], at[inside]
    stride = total.max() + 1.0
    flat = (elapsed + np.arange(len(total))[:, None] * stride).ravel()
    # the first day that goes beyond it, so never a closed one
    found = np.searchsorted(flat, at + user * stride, side="right")
    day = np.minimum(found - user * intensity.shape[1], intensity.shape[1] - 1)
    return user, np.maximum(day, customers.born[user])


def _until_they_leave(
    shop: Shop, customers: Customers, user: np.ndarray, day: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Purchases until the customer quits, which of them went badly, and the day each customer left."""
    bad = rng.random(len(user)) < shop.bad_share
    chance = 1 - (1 - customers.quits[user]) * (1 - shop.bad_quits * bad)
    quits = rng.random(len(user)) < chance
    before = np.cumsum(quits) - quits
    first = np.searchsorted(user, np.arange(len(customers.born)))
    so_far = before - np.append(before, 0)[first][user]
    kept = (so_far == 0) | (rng.random(len(user)) < shop.comebacks)
    left = np.minimum(customers.leaves, np.iinfo(np.int32).max).astype(np.int64)
    last = (so_far == 0) & quits
    left[user[last]] = np.minimum(left[user[last]], day[last])
    return user[kept], day[kept], bad[kept], left


def _kept_customers(shop: Shop, user: np.ndarray, days: np.ndarray) -> np.ndarray:
    """User-days of the customers a panel would hold: those with enough purchases in all; bool (N,)."""
    if not shop.panel_min_purchases or not len(user):
        return np.ones(len(user), np.bool_)
    inside = (days["purchases"] > 0) & (days["day"] >= shop.burn_in_days)
    bought = np.bincount(user[inside], minlength=int(user.max()) + 1)
    return bought[user] >= shop.panel_min_purchases
