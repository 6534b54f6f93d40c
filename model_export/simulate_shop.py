"""A simulated shop of any number of customers from one seed, simulated in parts so that memory stays bounded."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np

from model_export.shops import FAMILIES, Shop, draw_shop
from model_export.simulate import Simulated, simulate

Kind = Literal["any", "purchases", "browsing"]

_STREAM: Final = 4_815_162  # keeps these draws apart from those that models are trained on
_SHOP, _SHARED, _CUSTOMERS, _EVENTS = 1, 2, 3, 4
_DAYS_AT_ONCE: Final = 1_500_000  # days x customers
_FEWEST_AT_ONCE: Final = 200
_MOST_TRIED: Final = 50  # customers simulated for each that is wanted; a panel holds few of them


def shop_of(seed: int, kind: Kind = "any", days: int | None = None) -> Shop:
    """The shop of a seed. Its log is as long as the priors say, or `days`, and nothing follows it.

    "purchases": nothing but purchases is logged; "browsing": visits without purchases too.
    """
    rng = _generator(seed, _SHOP)
    families = frozenset(FAMILIES) - {"behaviour"} if kind == "purchases" else frozenset(FAMILIES)
    shop = draw_shop(rng, families)
    while kind == "browsing" and not shop.browsing:
        shop = draw_shop(rng, families)
    return replace(shop, observed_days=days or shop.observed_days, future_days=0)


def customers_of(shop: Shop, users: int, seed: int) -> Simulated:
    """`users` customers with at least one user-day each, or fewer where the shop hardly has any."""
    at_once = max(_FEWEST_AT_ONCE, min(2 * users, _DAYS_AT_ONCE // shop.total_days))
    parts: list[Simulated] = []
    known = tried = 0
    while known < users and tried < _MOST_TRIED * max(users, at_once):
        rng = _generator(seed, _CUSTOMERS, len(parts) + 1)
        part = _renumbered(simulate(shop, at_once, rng, _generator(seed, _SHARED)), known)
        parts.append(part)
        known, tried = known + part.users, tried + at_once
    user = np.concatenate([part.user for part in parts])
    kept = user < users
    days = np.concatenate([part.days for part in parts])
    left_day = np.concatenate([part.left_day for part in parts])
    return Simulated(shop, user[kept], days[kept], left_day[:users], parts[0].end_day)


def event_generator(seed: int) -> np.random.Generator:
    """What draws the times and amounts of single events."""
    return _generator(seed, _EVENTS)


def _renumbered(part: Simulated, first: int) -> Simulated:
    """Only customers with user-days, numbered from `first` on."""
    known = np.unique(part.user)
    return replace(part, user=np.searchsorted(known, part.user) + first, left_day=part.left_day[known])


def _generator(seed: int, *of: int) -> np.random.Generator:
    return np.random.default_rng((seed, _STREAM, *of))
