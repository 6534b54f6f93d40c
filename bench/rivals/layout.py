"""What the job keeps of a customer, and a micro-batch of events as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

COUNTS: Final = (
    "events", "sessions", "views", "searches", "cart_adds", "cart_removals", "checkouts", "purchases", "refunds",
    "reviews", "negative_texts", "tickets", "email_opens", "campaign_contacts", "coupons", "unsubscribes", "opinions",
)  # fmt: skip
SUMS: Final = ("spend", "refunded", "discount", "dwell_s", "sentiment")
COUNTED_AS: Final = {
    "view_item": "views", "search": "searches", "add_to_cart": "cart_adds", "remove_from_cart": "cart_removals",
    "begin_checkout": "checkouts", "purchase": "purchases", "refund": "refunds", "session_start": None,
    "review": "reviews", "support_ticket": "tickets", "email_open": "email_opens", "email_click": None,
    "campaign_received": "campaign_contacts", "coupon_redemption": "coupons", "unsubscribe": "unsubscribes",
}  # fmt: skip
MAX_DAYS, RECENT_IDS, TRENDS, NO_DAY = 64, 16, 9, -1
DAY_MS, SESSION_GAP_MS = 86_400_000, 1_800_000
NEGATIVE_SENTIMENT = -0.2

DAY = np.dtype([("day", "<i4"), ("counts", "<u2", (len(COUNTS),)), ("sums", "<f4", (len(SUMS),))])
CUSTOMER = np.dtype(
    [
        ("days", "u1"), ("next_id", "u1"), ("tier", "u1"), ("purchases", "<u4"), ("first_ms", "<i8"),
        ("last_ms", "<i8"), ("evicted_day", "<i4"), ("evicted_purchase_day", "<i4"),
        ("evicted_trends", "<f4", (TRENDS,)), ("recent_ids", "<u8", (RECENT_IDS,)),
    ]
)  # fmt: skip

KINDS: Final = tuple(COUNTED_AS)
KIND_OF: Final = {name: code for code, name in enumerate(KINDS)}
PURCHASE, REFUND = KIND_OF["purchase"], KIND_OF["refund"]
AT: Final = {name: position for position, name in enumerate(COUNTS)}
PURCHASES = AT["purchases"]


@dataclass(frozen=True)
class Batch:
    """N events in order of arrival as columns, and the U customers that they are of."""

    users: list[str]
    row: np.ndarray  # int64 (N,): which customer
    time_ms: np.ndarray  # int64
    kind: np.ndarray  # int64
    id_hash: np.ndarray  # uint64
    added: np.ndarray  # float64 (N, counts + sums): what each adds to its day

    def take(self, index: np.ndarray) -> "Batch":
        """Some of the events."""
        columns = (self.row, self.time_ms, self.kind, self.id_hash, self.added)
        return Batch(self.users, *(column[index] for column in columns))


@dataclass
class Customers:
    """U customers: `header` (U,) and `days` (U, width), left-aligned, oldest first."""

    header: np.ndarray
    days: np.ndarray


def unpack(values: Sequence[bytes | None], room: int) -> Customers:
    """Stored values to customers with room for some more days each; None is somebody new."""
    header = np.zeros(len(values), CUSTOMER)
    known = np.array([index for index, value in enumerate(values) if value], np.int64)
    stored = [value for value in values if value]
    header["evicted_day"] = header["evicted_purchase_day"] = header["last_ms"] = NO_DAY
    header[known] = np.frombuffer(b"".join([value[: CUSTOMER.itemsize] for value in stored]), CUSTOMER)
    count = header["days"].astype(np.int64)
    width = min(int(count.max(initial=0)) + room, MAX_DAYS)
    days = np.zeros((len(values), width), DAY)
    days[np.arange(width) < count[:, None]] = np.frombuffer(
        b"".join([value[CUSTOMER.itemsize :] for value in stored]), DAY
    )
    return Customers(header, days)


def pack(customers: Customers) -> list[bytes]:
    """The inverse of `unpack`."""
    count = customers.header["days"].astype(np.int64)
    headers = customers.header.tobytes()
    days = customers.days[np.arange(customers.days.shape[1]) < count[:, None]].tobytes()
    ends = (np.cumsum(count) * DAY.itemsize).tolist()
    values, begin = [], 0
    for at, end in zip(range(0, len(headers), CUSTOMER.itemsize), ends, strict=True):
        values.append(headers[at : at + CUSTOMER.itemsize] + days[begin:end])
        begin = end
    return values


def running_max(values: np.ndarray, group: np.ndarray, at_least: np.ndarray) -> np.ndarray:
    """Maximum so far within each group (ascending), not below the group's `at_least`."""
    lift = group << 32
    return np.maximum(np.maximum.accumulate(values + lift) - lift, at_least[group])


def bounds(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last place of each run of equal numbers."""
    cuts = np.flatnonzero(group[1:] != group[:-1])
    return np.concatenate(([0], cuts + 1)), np.append(cuts, len(group) - 1)


def _counted_by_kind() -> np.ndarray:
    counted = np.zeros((len(KINDS), len(COUNTS)))
    counted[:, AT["events"]] = 1
    for kind, name in COUNTED_AS.items():
        if name:
            counted[KIND_OF[kind], AT[name]] = 1
    return counted


_COUNTED = _counted_by_kind()


def added_by(
    kind: np.ndarray,
    value: np.ndarray,
    discount: np.ndarray,
    dwell_s: np.ndarray,
    opinion: np.ndarray,
    coupon: np.ndarray,
) -> np.ndarray:
    """What N events add to their days, but for sessions: float64 (N, counts + sums); NaN: no opinion."""
    speaks = ~np.isnan(opinion)
    added = np.zeros((len(kind), len(COUNTS) + len(SUMS)))
    added[:, : len(COUNTS)] = _COUNTED[kind]
    added[:, AT["opinions"]] = speaks
    added[:, AT["negative_texts"]] = speaks & (opinion < NEGATIVE_SENTIMENT)
    added[:, AT["coupons"]] += coupon & (kind == PURCHASE)
    added[:, -5] = np.where(kind == PURCHASE, value, 0.0)
    added[:, -4] = np.where(kind == REFUND, value, 0.0)
    added[:, -3] = discount
    added[:, -2] = dwell_s
    added[:, -1] = np.where(speaks, opinion, 0.0)
    return added
