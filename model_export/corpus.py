"""Simulated shops as training examples: customers up to a moment, and what they did after it.

Example number i is drawn from (seed, i) alone, so that training can stop and go on anywhere.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.fold import target_count
from consumer.core.state import COUNTS, SUMS, States, empty_states
from model_export.data import HEADS
from model_export.panel import Panel, Targets, joined, panel_of
from model_export.shop import shop_token
from model_export.shops import FAMILIES, draw_shop
from model_export.simulate import Simulated, simulate
from model_export.simulated_states import states_at
from model_export.thresholds import ACTIVE_DAYS, after_purchases

_HELD_OUT_SEED: Final = 1_000_000
_HELD_OUT_SHOPS: Final = 200
_PURCHASES_OF_A_SHOP: Final = 20
_SIMULATED_USERS: Final = (150, 1600)  # a shop's customers, from few to many
_KNOWN_SHARE: Final = 0.5  # a shop of which fewer are known is drawn again with more
_FEWEST_USERS: Final = 20
_STALE: Final = 0.25  # share of shops whose token is older than the moment
_PARTIAL: Final = 0.2  # share of customers who are seen in the middle of an active day
WITHHELD: Final = 0.1  # share of shops whose token is withheld: nothing is known of them


@dataclass(frozen=True)
class Seen:
    """C customers of a simulated shop as known at some moment of its log, and what they did until its end."""

    states: States  # nothing on or after `until`
    user: np.ndarray  # int64 (C,): their numbers in `targets`
    until: np.ndarray  # int64 (C,): days
    targets: Targets
    shop: np.ndarray  # float32 (SHOP_SIZE,); NaN where withheld


def examples(
    seed: int, number: int, users: int, families: frozenset[str] = frozenset(FAMILIES), withheld: float = WITHHELD
) -> Panel:
    """Customers of the simulated shop `number`, as known at some moment of its log, and what they did until its end.

    The shop token is withheld from a share `withheld` of the shops.
    """
    seen = seen_customers(seed, number, users, families, withheld)
    return panel_of(seen.states, seen.user, seen.until, seen.targets, seen.shop)


def seen_customers(
    seed: int, number: int, users: int, families: frozenset[str] = frozenset(FAMILIES), withheld: float = WITHHELD
) -> Seen:
    """The same customers as `examples`, not yet laid out for the network."""
    rng = np.random.default_rng((seed, number))
    simulated, known, moment = _drawn(rng, families)
    stale_days = int(rng.integers(1, 120)) if rng.random() < _STALE else 0
    shop = _token(simulated, max(moment - stale_days, min(60, moment)))
    if rng.random() < withheld:
        shop = np.full_like(shop, np.nan)
    chosen = rng.choice(known, min(users, len(known)), replace=False)
    until = np.full(len(chosen), moment)
    partial = np.flatnonzero(rng.random(len(chosen)) < _PARTIAL)
    until[partial] = [_some_active_day(simulated, user, moment, rng) + 1 for user in chosen[partial]]
    states = states_at(simulated, chosen, until)
    _thin_last_day(states, partial, rng)
    hits = [target_count(simulated.days, head) > 0 for head in HEADS]
    targets = Targets.of([(simulated.user[hit], simulated.days["day"][hit]) for hit in hits], 0, simulated.end_day)
    return Seen(states, chosen, until, targets, shop)


@dataclass(frozen=True)
class HeldOut:
    """Simulated shops that no training step has seen."""

    panel: Panel
    after_purchase: States  # cut off right after some purchase
    purchases_share: np.ndarray  # float64, as many: purchase days per active customer in 30 days, of its shop


def held_out(seed: int) -> HeldOut:
    """The shops that a pre-trained model is measured on, and that thresholds for an unknown shop come from."""
    seed += _HELD_OUT_SEED
    panel = joined([examples(seed, number, 100) for number in range(_HELD_OUT_SHOPS)])
    states, shares = zip(*(_purchases_of(seed, number) for number in range(_HELD_OUT_SHOPS)), strict=True)
    together = States(np.concatenate([each.header for each in states]), np.concatenate([each.days for each in states]))
    return HeldOut(panel, together, np.repeat(shares, [len(each) for each in states]))


def at_events(seed: int, number: int, count: int, days: int) -> States:
    """States of customers of a held-out shop right after `count` events of the `days` before its moment, all as likely.

    None of a shop in which nothing happened then.
    """
    rng = np.random.default_rng((seed + _HELD_OUT_SEED, number))
    simulated, _, moment = _drawn(rng, frozenset(FAMILIES))
    recent = np.flatnonzero((simulated.days["day"] < moment) & (simulated.days["day"] >= moment - days))
    if not len(recent):
        return empty_states(0)
    events = simulated.days["events"][recent]
    chosen = rng.choice(recent, count, p=events / events.sum())
    states = states_at(simulated, simulated.user[chosen], simulated.days["day"][chosen].astype(np.int64) + 1)
    _thin_last_day(states, np.arange(count), rng)
    return states


def _purchases_of(seed: int, number: int) -> tuple[States, float]:
    """States right after some purchases of a shop, and its purchase days per active customer in 30 days."""
    rng = np.random.default_rng((seed, number))
    simulated, known, moment = _drawn(rng, frozenset(FAMILIES))
    day = simulated.days["day"]
    bought = (simulated.days["purchases"] > 0) & (day < moment) & (day >= moment - ACTIVE_DAYS)
    active = len(np.unique(simulated.user[bought]))
    states = states_at(simulated, known, np.full(len(known), moment))
    after, _ = after_purchases(states, moment - ACTIVE_DAYS, _PURCHASES_OF_A_SHOP, rng)
    return after, float(bought.sum()) * 30 / min(ACTIVE_DAYS, moment) / max(1, active)


def _drawn(rng: np.random.Generator, families: frozenset[str]) -> tuple[Simulated, np.ndarray, int]:
    """A shop with enough customers, those known at the moment, and the moment."""
    while True:
        shop = draw_shop(rng, families)
        users = int(np.exp(rng.uniform(*np.log(_SIMULATED_USERS))))
        for factor in (1, 6):
            simulated = simulate(shop, users * factor, rng)
            known = _known(simulated, shop.observed_days)
            if len(known) >= _KNOWN_SHARE * users:
                return simulated, known, shop.observed_days
        if len(known) >= _FEWEST_USERS:
            return simulated, known, shop.observed_days


def _token(simulated: Simulated, until_day: int) -> np.ndarray:
    known = _known(simulated, until_day)
    return shop_token(states_at(simulated, known, np.full(len(known), until_day)), until_day)


def _known(simulated: Simulated, until_day: int) -> np.ndarray:
    """Customers with a user-day before `until_day`; int64 (K,)."""
    seen = np.zeros(simulated.users, np.bool_)
    seen[simulated.user[simulated.days["day"] < until_day]] = True
    return np.flatnonzero(seen)


def _some_active_day(simulated: Simulated, user: int, moment: int, rng: np.random.Generator) -> int:
    first, last = np.searchsorted(simulated.user, (user, user + 1))
    days = simulated.days["day"][first:last]
    return int(rng.choice(days[days < moment]))


def _thin_last_day(states: States, rows: np.ndarray, rng: np.random.Generator) -> None:
    """Leave only part of the last day's events, as at a moment in the middle of it; purchases come late in a visit."""
    slot = states.header["days"][rows].astype(np.int64) - 1
    whole = states.days[rows, slot]
    part = whole.copy()
    share = rng.random(len(rows))
    for name in COUNTS:
        late = name in ("purchases", "coupons")
        part[name] = rng.binomial(whole[name], share**2 if late else share)
    part["coupons"] = np.minimum(part["coupons"], part["purchases"])
    part["opinions"] = part["reviews"]  # each with one, as simulated
    part["negative_texts"] = np.minimum(part["negative_texts"], part["opinions"])
    events = [name for name in COUNTS if name not in ("events", "sessions", "opinions", "negative_texts", "coupons")]
    part["events"] = sum(part[name].astype(np.int64) for name in events)
    part["sessions"] = np.clip(part["sessions"], 1, np.maximum(part["events"], 1))
    for name, by in (("spend", "purchases"), ("refunded", "refunds"), ("discount", "coupons"), ("dwell_s", "views"),
                     ("sentiment", "opinions")):  # fmt: skip
        ratio = part[by] / np.maximum(whole[by], 1)
        part[name] = whole[name] * ratio
    seen = part["events"] > 0
    states.days[rows[seen], slot[seen]] = part[seen]


assert set(SUMS) == {"spend", "refunded", "discount", "dwell_s", "sentiment"}
