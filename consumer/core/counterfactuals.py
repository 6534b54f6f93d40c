"""What a user's days would be like, had one group of things stayed as that user is used to: grouped occlusion.

Each group looks at M users at once and says for whom it would change something, by which columns of user-days, and the
figures that a sentence about it needs. No two groups replace the same column, so that all can be replaced together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from consumer.core.past import Past, from_last, latest, mean_where
from consumer.core.state import NO_DAY, States, gathered
from schemas.alert import ReasonCode

COMPLAINT_DAYS: Final = 90  # how long a bad experience is held against the shop
FALL: Final = 0.8  # what falls below this share of what was usual has fallen
LATEST_PURCHASES: Final = 3  # what is compared with the earlier ones, or the later half if there are few
DEPENDENT_SHARE: Final = 1 / 3  # of purchase days with a coupon or discount
DISAPPOINTED: Final = 0.3  # by how much an opinion is below the customer's others

_EVENT_COUNTS: Final = ("views", "searches", "cart_adds", "cart_removals", "checkouts", "reviews", "refunds", "tickets")


@dataclass(frozen=True)
class Finding:
    """One group's counterfactual for M users."""

    affected: np.ndarray  # bool (M,)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)  # (M, 64) each, instead of the user-days' own
    facts: dict[str, np.ndarray] = field(default_factory=dict)  # (M,) each, for the sentence


def replaced(states: States, rows: np.ndarray, findings: Sequence[Finding]) -> States:
    """Copies of some rows with the columns of all `findings`; counts of events and evicted days follow."""
    copy = states.take(rows)
    days, before = copy.days, gathered(states.days, rows)
    for finding in findings:
        for name, values in finding.columns.items():
            days[name] = np.where(finding.affected[rows, None], values[rows], days[name])
    events = days["events"].astype(np.int64)
    for name in _EVENT_COUNTS:
        events += days[name].astype(np.int64) - before[name]
    days["events"] = np.maximum(events, np.minimum(before["events"], 1))
    shift = days["day"][:, 0] - before["day"][:, 0]
    for name in ("evicted_day", "evicted_purchase_day"):
        evicted = copy.header[name]
        copy.header[name] = evicted + np.where(evicted == NO_DAY, 0, shift)
    return copy


def _sentiment(past: Past) -> Finding:
    """Negative texts, and opinions below the customer's usual ones, as good as the others; if all are bad, none."""
    opinions, negative = past.column("opinions"), past.column("negative_texts")
    of_day = past.column("sentiment") / np.maximum(opinions, 1)
    others = mean_where(of_day, (opinions > 0) & (negative == 0))
    usual = np.maximum(np.nan_to_num(others), 0.0)
    bad = (negative > 0) | ((opinions > 0) & (of_day < usual[:, None] - DISAPPOINTED))
    bad &= past.age < COMPLAINT_DAYS
    return Finding(
        bad.any(axis=1),
        {
            "sentiment": np.where(bad, opinions * usual[:, None], past.column("sentiment")),
            "negative_texts": np.where(bad, 0, negative),
            "reviews": np.where(bad & np.isnan(others)[:, None], 0, past.column("reviews")),
        },
        {
            "count": np.where(bad, np.maximum(negative, 1), 0).sum(axis=1),
            "now": mean_where(of_day, bad),
            "before": others,
            "ago_days": past.as_of_day - latest(past.day, bad),
        },
    )


def _refunds_or_tickets(past: Past) -> Finding:
    """No refund and no support ticket."""
    refunds, tickets = past.column("refunds"), past.column("tickets")
    hit = (refunds + tickets > 0) & (past.age < COMPLAINT_DAYS)
    columns = {name: np.where(hit, 0, past.column(name)) for name in ("refunds", "refunded", "tickets")}
    facts = {
        "refunds": np.where(hit, refunds, 0).sum(axis=1),
        "tickets": np.where(hit, tickets, 0).sum(axis=1),
        "ago_days": past.as_of_day - latest(past.day, hit),
    }
    return Finding(hit.any(axis=1), columns, facts)


def _cart_abandoned(past: Past) -> Finding:
    """Nothing put into the cart lately that was not bought in the end."""
    in_cart = past.column("cart_adds")
    left = past.recent & (in_cart > 0) & (past.day > latest(past.day, past.bought)[:, None])
    columns = {name: np.where(left, 0, past.column(name)) for name in ("cart_adds", "cart_removals", "checkouts")}
    facts = {
        "count": np.where(left, in_cart, 0).sum(axis=1),
        "ago_days": past.as_of_day - latest(past.day, left),
    }
    return Finding(np.any(left, axis=1), columns, facts)


def _browsing_falling(past: Past) -> Finding:
    """Views, searches and dwell time of late scaled up to what they were on earlier days."""
    earlier = past.own & ~past.recent
    columns: dict[str, np.ndarray] = {}
    affected = np.zeros(len(past.states), np.bool_)
    facts = {name: np.full(len(affected), np.nan) for name in ("now", "before")}
    for name in ("dwell_s", "searches", "views"):  # what people know best is told, so it comes last
        values = past.column(name)
        now, before = mean_where(values, past.recent), mean_where(values, earlier)
        fell = now < FALL * before
        scale = np.divide(before, now, out=np.ones(len(now)), where=fell & (now > 0))
        raised = np.where((now > 0)[:, None], values * scale[:, None], before[:, None])
        raised = raised if name == "dwell_s" else np.rint(np.nan_to_num(raised))
        columns[name] = np.where(past.recent & fell[:, None], raised, values)
        affected |= (columns[name] != values).any(axis=1)
        facts |= {"now": np.where(fell, now, facts["now"]), "before": np.where(fell, before, facts["before"])}
        facts[name] = fell.astype(np.float64)
    return Finding(affected, columns, facts)


def _spend_falling(past: Past) -> Finding:
    """The latest purchases scaled up to what earlier ones cost."""
    spend = past.column("spend")
    latest_ones = past.bought & (from_last(past.bought) <= _latest_count(past.bought.sum(axis=1))[:, None])
    now, before = mean_where(spend, latest_ones), mean_where(spend, past.bought & ~latest_ones)
    fell = now < FALL * before
    scale = np.divide(before, now, out=np.ones(len(now)), where=fell & (now > 0))
    raised = np.where((now > 0)[:, None], spend * scale[:, None], before[:, None])
    columns = {"spend": np.where(latest_ones & fell[:, None], raised, spend)}
    return Finding(np.asarray(fell), columns, {"now": now, "before": before})


def _discount_dependence(past: Past) -> Finding:
    """The same purchases without coupon or discount."""
    coupons, discount = past.column("coupons"), past.column("discount")
    cheap = past.bought & ((coupons > 0) | (discount > 0))
    bought = past.bought.sum(axis=1)
    affected = cheap.any(axis=1) & (cheap.sum(axis=1) >= DEPENDENT_SHARE * bought)
    columns = {"coupons": np.zeros_like(coupons), "discount": np.zeros_like(discount)}
    return Finding(affected, columns, {"count": cheap.sum(axis=1), "of": bought})


def _frequency_falling(past: Past) -> Finding:
    """The latest purchase gaps, an open one included if it is long, as short as the earlier ones: days move closer."""
    order = from_last(past.bought)
    gaps = past.bought.sum(axis=1) - 1
    late = _latest_count(np.maximum(gaps, 0))
    first = np.where(past.bought, past.day, np.iinfo(np.int64).max).min(axis=1)
    start = latest(past.day, past.bought & (order == late[:, None] + 1))
    last = latest(past.day, past.bought)
    before = (start - first) / np.maximum(gaps - late, 1)
    open_too = past.last_own_day - last > before
    now = (np.where(open_too, past.last_own_day, last) - start) / np.maximum(late + open_too, 1)
    affected = (gaps > 0) & (before < FALL * now)
    ratio = np.divide(before, now, out=np.ones(len(now)), where=affected)
    columns = {"day": _moved_closer(past, start, ratio)}
    return Finding(affected, columns, {"now": now, "before": before})


def _moved_closer(past: Past, start_day: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Day numbers with the gaps since `start_day` (M,) shortened to `ratio` (M,); the last day stays."""
    gap = np.diff(past.day, axis=1, append=past.day[:, -1:])
    shrinks = past.kept & (past.day >= start_day[:, None])
    inner = past.kept & (np.arange(past.day.shape[1]) < past.states.header["days"].astype(np.int64)[:, None] - 1)
    shorter = np.where(shrinks, np.maximum(np.rint(gap * ratio[:, None]), 1).astype(np.int64), gap)
    until_last = np.cumsum(np.where(inner, shorter, 0)[:, ::-1], axis=1)[:, ::-1]
    return np.where(past.kept, latest(past.day, past.kept)[:, None] - until_last, past.states.days["day"])


def _latest_count(count: np.ndarray) -> np.ndarray:
    """How many of so many purchases or gaps count as the latest."""
    return np.minimum(LATEST_PURCHASES, count // 2)


GROUPS: Final[tuple[tuple[ReasonCode, Callable[[Past], Finding]], ...]] = (
    (ReasonCode.FREQUENCY_FALLING, _frequency_falling),
    (ReasonCode.BROWSING_FALLING, _browsing_falling),
    (ReasonCode.CART_ABANDONED, _cart_abandoned),
    (ReasonCode.SENTIMENT_FALLING, _sentiment),
    (ReasonCode.REFUNDS_OR_TICKETS, _refunds_or_tickets),
    (ReasonCode.SPEND_FALLING, _spend_falling),
    (ReasonCode.DISCOUNT_DEPENDENCE, _discount_dependence),
)
