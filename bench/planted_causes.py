"""Is a planted cause named first? Customers of simulated shops, some of whom something happened to, and their alerts.

Each customer's simulated history ends with one of their purchases. Then the cause is planted, and they fall silent.
Those it hit are those who are alerted earlier with it than without it, all else equal. Counted is which group of
reasons is named first, base rate and what is left (history, newcomer) aside (`make bench-reasons`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from consumer.core.calendar import DAY_MS
from consumer.core.events import KIND_OF, Events
from consumer.core.reasons import Contribution
from consumer.core.state import MAX_DAYS, NO_TIME, States
from consumer.scoring import Engine
from model_export.simulate_shop import customers_of, shop_of
from model_export.simulated_states import states_at
from schemas.alert import ReasonCode
from schemas.event import EventType

LOG_DAYS = 400
SILENT_DAYS = 90
BACKGROUND = (ReasonCode.HISTORY, ReasonCode.NEWCOMER, ReasonCode.BASE_RATE)
_LATEST = 3


@dataclass(frozen=True)
class Plant:
    """What is done to a customer: to their history, their last purchase, and after it (event type, days later, fields).

    As it is, nothing is.
    """

    code: ReasonCode = ReasonCode.HISTORY
    history: Callable[[States], None] = lambda states: None
    purchase: tuple[tuple[str, Any], ...] = ()
    after: tuple[tuple[EventType, float, tuple[tuple[str, Any], ...]], ...] = ()


def _bought(states: States) -> np.ndarray:
    kept = np.arange(MAX_DAYS) < states.header["days"].astype(np.int64)[:, None]
    return kept & (states.days["purchases"] > 0)


def _latest(states: States) -> np.ndarray:
    """The customer's latest purchase days but one: the last comes as an event."""
    bought = _bought(states)
    return bought & (np.cumsum(bought[:, ::-1], axis=1)[:, ::-1] < _LATEST)


def _spend_less(states: States) -> None:
    states.days["spend"] *= np.where(_latest(states), 0.2, 1.0)


def _look_less(states: States) -> None:
    recent = states.days["day"] > states.last_day(np.arange(len(states)))[:, None] - 30
    for name in ("views", "searches", "dwell_s"):
        states.days[name] = np.where(recent, states.days[name] // 5, states.days[name])


def _buy_with_coupons(states: States) -> None:
    states.days["coupons"] = np.where(_bought(states), 1, 0)
    states.days["discount"] = np.where(_bought(states), np.round(states.days["spend"] * 0.3, 2), 0.0)


def _buy_less_often(states: States) -> None:
    """The latest gaps become three times as long: everything before them is that much earlier."""
    gap = np.diff(states.days["day"], axis=1, append=states.days["day"][:, -1:])
    inner = np.arange(MAX_DAYS) < states.header["days"].astype(np.int64)[:, None] - 1
    since = np.cumsum(_latest(states)[:, ::-1], axis=1)[:, ::-1] < _LATEST - 1
    later = np.cumsum(np.where(inner & since, 2 * gap, 0)[:, ::-1], axis=1)[:, ::-1]
    states.days["day"] -= later.astype(np.int32)
    states.header["evicted_day"] -= np.where(states.header["evicted_day"] < 0, 0, later[:, 0]).astype(np.int32)


PLANTS = {
    "bad review": Plant(ReasonCode.SENTIMENT_FALLING, after=((EventType.REVIEW, 3.0, (("sentiment", -0.8),)),)),
    "refund and ticket": Plant(
        ReasonCode.REFUNDS_OR_TICKETS,
        after=((EventType.REFUND, 3.0, (("value", 30.0),)), (EventType.SUPPORT_TICKET, 3.1, ())),
    ),
    "support ticket": Plant(ReasonCode.REFUNDS_OR_TICKETS, after=((EventType.SUPPORT_TICKET, 3.0, ()),)),
    "abandoned cart": Plant(ReasonCode.CART_ABANDONED, after=((EventType.ADD_TO_CART, 3.0, ()),)),
    "buys less often": Plant(ReasonCode.FREQUENCY_FALLING, history=_buy_less_often),
    "looks at less": Plant(ReasonCode.BROWSING_FALLING, history=_look_less),
    "spends less": Plant(ReasonCode.SPEND_FALLING, history=_spend_less, purchase=(("value", 5.0),)),
    "buys with coupons": Plant(
        ReasonCode.DISCOUNT_DEPENDENCE, history=_buy_with_coupons, purchase=(("coupon", True), ("discount", 9.0))
    ),
}


@dataclass(frozen=True)
class Customers:
    """Customers of one simulated shop, just before a purchase of theirs at midday of `day` (U,)."""

    states: States
    day: np.ndarray
    spend: np.ndarray

    def __len__(self) -> int:
        return len(self.states)


def customers(seed: int, users: int) -> Customers:
    """Those with a history before a purchase that is drawn at random among theirs."""
    simulated = customers_of(shop_of(seed, "browsing", LOG_DAYS), users, seed)
    purchase = np.random.default_rng(seed).permutation(np.flatnonzero(simulated.days["purchases"] > 0))
    user, first = np.unique(simulated.user[purchase], return_index=True)
    chosen = simulated.days[purchase[first]]
    day = chosen["day"].astype(np.int64)
    states = states_at(simulated, user, day)
    known = np.flatnonzero(states.header["days"] > 0)
    return Customers(states.take(known), day[known], chosen["spend"][known])


@dataclass(frozen=True)
class Alerted:
    """A customer's first alert since the purchase: when, and why."""

    at_ms: int
    reasons: tuple[Contribution, ...]

    @property
    def first_named(self) -> str:
        """The group that is named first; nothing where no group contributes enough."""
        return next((each.code.value for each in self.reasons if each.code not in BACKGROUND), "no group")


def alerts(engine: Engine, shop: Customers, plant: Plant = Plant()) -> dict[int, Alerted]:
    """First alerts by customer."""
    states = shop.states.take(np.arange(len(shop)))
    plant.history(states)
    states.header["log_hazards"] = engine.scorer.score(states, np.arange(len(shop)))
    since_ms = shop.day * DAY_MS + DAY_MS // 2
    events = [_events(EventType.PURCHASE, since_ms, 1, {"value": shop.spend} | dict(plant.purchase))]
    for number, (kind, days_later, fields) in enumerate(plant.after, start=2):
        events.append(_events(kind, since_ms + int(days_later * DAY_MS), number, dict(fields)))
    batch = Events.concatenate(events)
    _, decided = engine.on_events(states, batch, np.full(len(batch), NO_TIME))
    decided += engine.on_silence(states, np.arange(len(shop)), since_ms + SILENT_DAYS * DAY_MS)
    found: dict[int, Alerted] = {}
    for part in decided.alerts:
        told = zip(part.decisions.row.tolist(), part.decisions.at_ms.tolist(), part.reasons, strict=True)
        for row, at_ms, reasons in told:
            if at_ms >= since_ms[row]:
                found.setdefault(row, Alerted(at_ms, tuple(reasons)))
    return found


def _events(kind: EventType, time_ms: np.ndarray, number: int, fields: dict[str, Any]) -> Events:
    """One event of every customer."""
    users = len(time_ms)

    def column(name: str, absent: float) -> np.ndarray:
        return np.broadcast_to(np.asarray(fields.get(name, absent), np.float64), users)

    return Events(
        row=np.arange(users),
        time_ms=time_ms,
        kind=np.full(users, KIND_OF[kind], np.int8),
        id_hash=np.full(users, number, np.uint64),
        value=column("value", 0.0),
        discount=column("discount", 0.0),
        dwell_s=np.zeros(users),
        sentiment=column("sentiment", np.nan),
        coupon=column("coupon", 0.0) > 0,
        item=np.zeros(users, "S32"),
        category=np.zeros(users, "S32"),
        language=np.zeros(users, "S4"),
    )


@dataclass(frozen=True)
class Hit:
    """A customer who is alerted earlier with the cause than without it."""

    first_named: str
    earlier_days: float  # at least, where there is no alert without it


def hits(engine: Engine, shop: Customers, plant: Plant) -> list[Hit]:
    """Whom the cause hit, and what they are told of first."""
    without, with_it = alerts(engine, shop), alerts(engine, shop, plant)
    end_ms = (shop.day * DAY_MS + DAY_MS // 2 + SILENT_DAYS * DAY_MS).tolist()
    earlier_ms = {
        row: (without[row].at_ms if row in without else end_ms[row]) - alerted.at_ms for row, alerted in with_it.items()
    }
    return [Hit(with_it[row].first_named, gained / DAY_MS) for row, gained in earlier_ms.items() if gained > 0]
