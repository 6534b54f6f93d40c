"""What customers of a simulated shop do on the days they buy, before, after and in between."""

import numpy as np

from consumer.core.state import USER_DAY
from model_export.customers import Customers
from model_export.shops import Shop


class Table:
    """Counts and sums by customer and day, added to in any order."""

    def __init__(self, users: int, days: int) -> None:
        self.users, self.days = users, days
        self._parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}

    def add(self, name: str, user: np.ndarray, day: np.ndarray, amount: np.ndarray | float = 1.0) -> None:
        """Count `amount` (M,) for customers (M,) on days (M,); days beyond the end are left out."""
        amount = np.broadcast_to(np.asarray(amount, np.float64), user.shape)
        inside = (day >= 0) & (day < self.days) & (amount != 0)
        self._parts.setdefault(name, []).append(((user * self.days + day)[inside], amount[inside]))

    def finished(self, rng: np.random.Generator, dated_only: bool) -> tuple[np.ndarray, np.ndarray]:
        """Customer (N,) and USER_DAY (N,), by customer and day."""
        used = np.zeros(self.users * self.days, np.bool_)
        for key, _ in (part for parts in self._parts.values() for part in parts):
            used[key] = True
        keys = np.flatnonzero(used)
        rank = np.cumsum(used, dtype=np.int32) - 1
        days = np.zeros(len(keys), USER_DAY)
        days["day"] = keys % self.days
        for name, parts in self._parts.items():
            key = np.concatenate([key for key, _ in parts])
            amount = np.concatenate([amount for _, amount in parts])
            days[name] = np.bincount(rank[key], amount, len(keys))
        own = ("purchases", "views", "searches", "cart_adds", "cart_removals", "checkouts", "refunds", "reviews",
               "tickets", "email_opens", "campaign_contacts", "unsubscribes")  # fmt: skip
        days["events"] = sum(days[name].astype(np.int64) for name in own)
        days["sessions"] = 1 if dated_only else np.minimum(1 + rng.poisson(0.3, len(keys)), days["events"])
        return keys // self.days, days


def _cents(amount: np.ndarray) -> np.ndarray:
    return np.round(np.minimum(amount, 1e6), 2)


def add_purchases(
    table: Table, shop: Shop, customers: Customers, user: np.ndarray, day: np.ndarray, rng: np.random.Generator
) -> None:
    """What purchases (P,) were worth."""
    count = 1 + rng.poisson(shop.more_orders, len(user))
    spend = _cents(np.exp(customers.spend[user] + rng.normal(0, shop.spend_noise, len(user))) + 0.01) * count
    table.add("purchases", user, day, count)
    table.add("spend", user, day, spend)
    with_coupon = rng.random(len(user)) < customers.coupons[user]
    table.add("coupons", user[with_coupon], day[with_coupon])
    table.add("discount", user[with_coupon], day[with_coupon], _cents(spend[with_coupon] * rng.uniform(0.05, 0.4)))


def add_complaints(
    table: Table, shop: Shop, user: np.ndarray, day: np.ndarray, bad: np.ndarray, rng: np.random.Generator
) -> None:
    """Refunds, tickets and reviews after purchases: mostly, but not only, after bad ones."""
    for name, share, usual, within_days in (
        ("refunds", shop.refunds, 0.1, 14),
        ("tickets", shop.tickets, 0.15, 7),
        ("unsubscribes", shop.unsubscribes, 0.02, 21),
    ):
        hit = rng.random(len(user)) < share * np.where(bad, 1.0, usual * shop.bad_share)
        who, when = user[hit], day[hit] + rng.integers(0, within_days + 1, int(hit.sum()))
        table.add(name, who, when)
        if name == "refunds":
            table.add("refunded", who, when, _cents(np.exp(shop.spend_mean + rng.normal(0, 0.5, len(who)))))
    reviewed = rng.random(len(user)) < shop.reviews * np.where(bad, 1.5, 1.0)
    who, when = user[reviewed], day[reviewed] + rng.integers(1, 15, int(reviewed.sum()))
    sentiment = np.clip(np.where(bad[reviewed], -0.6, 0.6) + rng.normal(0, 0.3, len(who)), -1, 1).round(3)
    table.add("reviews", who, when)
    table.add("opinions", who, when)
    table.add("sentiment", who, when, sentiment)
    table.add("negative_texts", who, when, sentiment < -0.2)


def add_browsing(
    table: Table,
    shop: Shop,
    intensity: np.ndarray,
    left: np.ndarray,
    buyer: np.ndarray,
    day: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Visits: on purchase days, in the days before, and without any purchase for as long as a customer stays."""
    alive = np.where(np.arange(intensity.shape[1]) <= left[:, None], 1, np.float32(shop.comebacks))
    idle = rng.random(intensity.shape, np.float32) < -np.expm1(-np.float32(shop.browsing) * intensity) * alive
    visitor, visit_day = np.nonzero(idle)
    prior = rng.random(len(buyer)) < shop.looks_first
    ahead = day[prior] - rng.integers(1, 4, int(prior.sum()))
    user = np.concatenate((buyer, visitor, buyer[prior]))
    when = np.concatenate((day, visit_day, ahead))
    bought = np.arange(len(user)) < len(buyer)
    views = 1 + rng.poisson(shop.views, len(user))
    carts = np.where(bought, 1 + rng.poisson(0.5, len(user)), rng.random(len(user)) < shop.carts)
    table.add("views", user, when, views)
    table.add("searches", user, when, rng.poisson(shop.searches, len(user)))
    table.add("cart_adds", user, when, carts)
    table.add("cart_removals", user, when, (carts > 0) & (rng.random(len(user)) < 0.15))
    table.add("checkouts", user, when, np.where(bought, 1, (carts > 0) & (rng.random(len(user)) < 0.25)))
    table.add("dwell_s", user, when, views * np.round(rng.exponential(shop.dwell_s, len(user)), 1))


def add_campaigns(
    table: Table,
    shop: Shop,
    customers: Customers,
    left: np.ndarray,
    rng: np.random.Generator,
    shared: np.random.Generator,
) -> None:
    """Campaigns reach a share of all customers, gone ones included; those who stay open some of them."""
    if not shop.campaign_every_days:
        return
    for day in range(int(shared.integers(shop.campaign_every_days)), shop.total_days, shop.campaign_every_days):
        reached = np.flatnonzero((customers.born < day) & (rng.random(len(left)) < shop.campaign_reach))
        table.add("campaign_contacts", reached, np.full(len(reached), day))
        opened = reached[(left[reached] >= day) & (rng.random(len(reached)) < shop.campaign_opens)]
        table.add("email_opens", opened, day + rng.integers(0, 3, len(opened)))
