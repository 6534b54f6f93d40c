"""The job of `JOB.md` over a micro-batch: what the contestants in Python share, whatever carries their records.

A customer is one small value: a header, then the active days. Within a micro-batch all events of a customer's day are
folded at once by running sums, closed days become tokens once per customer rather than once per event, and rows are
scored together with others of about their length. As in the log, the events of a customer come in order of time.
"""

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from bench.rivals.command import POLICY

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
HALF_LIVES_DAYS = (14, 60, 240)
TOKEN_SIZE, LOGS = 36, 31
HORIZON_DAYS = 30

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
_PURCHASES = AT["purchases"]
_FARTHEST_DAYS = 8192
_DECAYS = np.exp2(-np.arange(_FARTHEST_DAYS + 1)[:, None] / np.tile(HALF_LIVES_DAYS, 3)).astype(np.float32)
_LOG1P_GAPS = np.log1p(np.arange(_FARTHEST_DAYS + 1)).astype(np.float32)
_WEEKDAYS = np.stack([f(np.arange(7) * (2 * np.pi / 7)) for f in (np.sin, np.cos)], axis=1).astype(np.float32)


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


class Model:
    """The weights in ONNX Runtime, one thread; rows of about the same length are scored together."""

    _TOKENS_PER_RUN = 1024  # more no longer fit the cache
    _PADDING_PER_RUN = 24  # tokens that cost as much as another run

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self._shop = np.array([manifest["shop_token"]], np.float32)
        self._offset = np.float32(manifest["calibration"]["offset"])
        edges = np.minimum(manifest["bin_edges_days"], HORIZON_DAYS)
        self._exposure_days = np.diff(edges, prepend=0.0)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(folder / "prefill.onnx", options, providers=["CPUExecutionProvider"])

    def probabilities(self, closed: np.ndarray, start: np.ndarray, count: np.ndarray, today: np.ndarray) -> np.ndarray:
        """Churn probability of R rows: `count` tokens of `closed` from `start` (R,) on, then `today` (R, 36)."""
        result = np.empty(len(today))
        order = np.argsort(count, kind="stable")
        for begin, end in self._runs(count[order]):
            rows = order[begin:end]
            before = count[rows]
            longest = int(before[-1])
            tokens = np.zeros((len(rows), longest + 1, TOKEN_SIZE), np.float32)
            if longest:
                place = np.arange(longest)
                there = place < before[:, None]
                tokens[:, :-1][there] = closed[(start[rows][:, None] + place)[there]]
            tokens[np.arange(len(rows)), before] = today[rows]
            result[rows] = self.score(tokens, before + 1)
        return result

    def score(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Churn probability of histories (R, L, 36) of these lengths."""
        given = {"tokens": tokens, "lengths": lengths, "shop": self._shop}
        [hazards] = self._session.run(["log_hazards"], given)
        return np.exp(-(np.exp(hazards[:, 0] + self._offset) @ self._exposure_days))

    def _runs(self, count: np.ndarray) -> Iterator[tuple[int, int]]:
        """Cuts of rows in ascending order of length, where another run costs less than the padding."""
        begin = 0
        while begin < len(count):
            end = begin
            while end < len(count):
                longest = int(count[end])
                most = begin + max(self._TOKENS_PER_RUN // (longest + 1), 1)
                padding = (end - begin) * (longest - int(count[end - 1])) if end > begin else 0
                if end >= most or padding > self._PADDING_PER_RUN:
                    break
                end = min(int(np.searchsorted(count, longest, side="right")), most)
            yield begin, end
            begin = end


@dataclass(frozen=True)
class Tiers:
    """When alerts are due."""

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    rearm: float  # below which an episode ends

    @staticmethod
    def read(path: Path) -> "Tiers":
        """From a policy file."""
        tiers = tomllib.loads(path.read_text(encoding="utf-8"))["tiers"]
        thresholds = tuple(tier["threshold"] for tier in tiers)
        return Tiers(tuple(tier["name"] for tier in tiers), thresholds, thresholds[0] - tiers[0]["rearm"])


@dataclass(frozen=True)
class Alert:
    """Event `index` of the batch has raised it."""

    index: int
    user_id: str
    tier: str
    probability: float

    def record(self, partition: int, offset: int) -> bytes:
        """As it is written."""
        return (
            f'{{"user_id":"{self.user_id}","tier":"{self.tier}","churn_probability":{self.probability:.6f},'
            f'"source":{{"partition":{partition},"offset":{offset}}}}}'
        ).encode()


class Job:
    """The whole of it between bytes and bytes."""

    def __init__(self, model_dir: Path, policy: Path = POLICY) -> None:
        self.model, self.tiers = Model(model_dir), Tiers.read(policy)

    def process(self, batch: Batch, stored: Sequence[bytes | None]) -> tuple[list[bytes], list[Alert]]:
        """The values of the batch's customers after its events, and the alerts, in order of arrival."""
        arrival = np.argsort(batch.row, kind="stable")
        events = batch.take(arrival)
        days = events.time_ms // DAY_MS
        customers = unpack(stored, room=int(np.ptp(days)) + 1 if len(days) else 0)
        fresh = _fresh(customers.header, events)
        events, arrival = events.take(fresh), arrival[fresh]
        if len(arrival):
            probability = self._scored(customers, events)
            alerts = self._alerts(customers.header, events, arrival, probability)
            return pack(customers), alerts
        return list(map(bytes, (value or b"" for value in stored))), []

    def _scored(self, customers: Customers, events: Batch) -> np.ndarray:
        """Fold events, which are sorted by customer, into `customers`; the probability after each."""
        header = customers.header
        events.added[:, AT["sessions"]] = _new_session(header, events)
        day = _running_max(events.time_ms // DAY_MS, events.row, _last_day(customers))
        probability = np.empty(len(day))
        for segment in _rounds(events.row, day):
            probability[segment] = self._scored_days(customers, events.take(segment), day[segment])
        first, last = _bounds(events.row)
        rows = events.row[last]
        header["first_ms"][rows] = np.where(
            header["last_ms"][rows] == NO_DAY, events.time_ms[first], header["first_ms"][rows]
        )
        header["last_ms"][rows] = np.maximum(header["last_ms"][rows], np.maximum.reduceat(events.time_ms, first))
        _remember(header, events, first)
        return probability

    def _scored_days(self, customers: Customers, events: Batch, day: np.ndarray) -> np.ndarray:
        """The same for events of which each customer's are of one day."""
        first, last = _bounds(events.row)
        rows = events.row[first]
        slot = _open(customers, rows, day[first])
        today = customers.days[rows, slot]
        before = np.concatenate((today["counts"], today["sums"]), axis=1, dtype=np.float64)
        segment = np.repeat(np.arange(len(first)), last - first + 1)
        total = np.cumsum(events.added, axis=0)
        running = total + (before - total[first] + events.added[first])[segment]
        np.round(running[:, -len(SUMS) :], 4, out=running[:, -len(SUMS) :])
        today["counts"], today["sums"] = running[last, : len(COUNTS)], running[last, len(COUNTS) :]
        customers.days[rows, slot] = today
        past = _Past.of(customers, rows, slot)
        gap = day - past.last_day[segment]
        tokens = token_rows(
            day,
            running,
            np.where(past.last_day[segment] == NO_DAY, NO_DAY, gap),
            np.where(past.purchase_day[segment] == NO_DAY, NO_DAY, day - past.purchase_day[segment]),
            past.trends[segment] * _DECAYS[np.minimum(gap, _FARTHEST_DAYS)] + _increments(running),
        )
        return self.model.probabilities(past.tokens, past.start[segment], slot[segment], tokens)

    def _alerts(self, header: np.ndarray, events: Batch, arrival: np.ndarray, probability: np.ndarray) -> list[Alert]:
        """Episodes open, escalate and close; `arrival` tells an event's place in the batch."""
        purchase = events.kind == PURCHASE
        first, last = _bounds(events.row)
        bought = np.cumsum(purchase) - np.repeat((np.cumsum(purchase) - purchase)[first], last - first + 1)
        may_alert = bought + header["purchases"][events.row] > 0
        reached = np.searchsorted(self.tiers.thresholds, probability, side="right") * (may_alert & ~purchase)
        closes = purchase | (probability < self.tiers.rearm)
        header["purchases"][events.row[last]] += bought[last].astype(np.uint32)
        in_episode = header["tier"] > 0
        in_episode[events.row[reached > 0]] = True
        concerned = np.flatnonzero(in_episode[events.row] & (closes | (reached > 0)))
        tier = header["tier"].tolist()
        alerts = []
        for index, row, reaches, is_closing in zip(
            concerned.tolist(), events.row[concerned].tolist(), reached[concerned].tolist(),
            closes[concerned].tolist(), strict=True,
        ):  # fmt: skip
            if is_closing:
                tier[row] = 0
            elif reaches > tier[row]:
                tier[row] = reaches
                name = self.tiers.names[reaches - 1]
                alerts.append(Alert(int(arrival[index]), events.users[row], name, float(probability[index])))
        header["tier"] = tier
        return sorted(alerts, key=lambda alert: alert.index)


@dataclass(frozen=True)
class _Past:
    """The closed days of S customers: their tokens one customer after the other, and what a next day's needs."""

    tokens: np.ndarray  # float32 (T, 36)
    start: np.ndarray  # int64 (S,)
    trends: np.ndarray  # float32 (S, TRENDS), as of the last closed day
    last_day: np.ndarray  # int64 (S,); NO_DAY: none
    purchase_day: np.ndarray

    @staticmethod
    def of(customers: Customers, rows: np.ndarray, count: np.ndarray) -> "_Past":
        """The first `count` (S,) days of these customers."""
        header = customers.header[rows]
        start = np.cumsum(count) - count
        owner = np.repeat(np.arange(len(rows)), count)
        days = customers.days[rows[owner], np.arange(len(owner)) - start[owner]]
        day, totals = days["day"].astype(np.int64), np.concatenate((days["counts"], days["sums"]), axis=1, dtype="f4")
        ends = start + count - 1
        some = count > 0
        last_day = header["evicted_day"].astype(np.int64)
        previous = np.empty_like(day)
        previous[1:] = day[:-1]
        previous[start[some]] = last_day[some]
        last_day[some] = day[ends[some]]
        purchase_day = header["evicted_purchase_day"].astype(np.int64)
        bought = _running_max(np.where(totals[:, _PURCHASES] > 0, day, NO_DAY), owner, purchase_day)
        earlier = np.empty_like(bought)
        earlier[1:] = bought[:-1]
        earlier[start[some]] = purchase_day[some]
        purchase_day[some] = bought[ends[some]]
        gap = np.where(previous == NO_DAY, NO_DAY, day - previous)
        since_purchase = np.where(earlier == NO_DAY, NO_DAY, day - earlier)
        through, trends = _through(header["evicted_trends"], start, count, gap, _increments(totals))
        return _Past(token_rows(day, totals, gap, since_purchase, through), start, trends, last_day, purchase_day)


def token_rows(
    day: np.ndarray, totals: np.ndarray, gap: np.ndarray, since_purchase: np.ndarray, trends: np.ndarray
) -> np.ndarray:
    """Tokens float32 (M, 36) of days with these counts and sums (M, 22); NO_DAY in a gap: no earlier day."""
    tokens = np.empty((len(day), TOKEN_SIZE), np.float32)
    tokens[:, :16] = totals[:, :16]
    tokens[:, 16:20] = totals[:, -5:-1]
    tokens[:, 22:LOGS] = trends
    tokens[:, 20:22] = 0.0
    np.log1p(tokens[:, :LOGS], out=tokens[:, :LOGS])
    tokens[:, 20] = _LOG1P_GAPS[np.clip(gap, 0, _FARTHEST_DAYS)]
    tokens[:, 21] = _LOG1P_GAPS[np.clip(since_purchase, 0, _FARTHEST_DAYS)]
    tokens[:, 31] = totals[:, -1] / np.maximum(totals[:, AT["opinions"]], 1)
    tokens[:, 32] = gap == NO_DAY
    tokens[:, 33] = since_purchase == NO_DAY
    tokens[:, 34:] = _WEEKDAYS[day % 7]
    return tokens


def _increments(totals: np.ndarray) -> np.ndarray:
    """What days add to the trends: float32 (M, TRENDS)."""
    added = np.ones((len(totals), 3, 3), np.float32)
    added[:, 0] = (totals[:, _PURCHASES] > 0)[:, None]
    added[:, 2] = np.log1p(totals[:, len(COUNTS)])[:, None]
    return added.reshape(-1, TRENDS)


def _through(
    trends: np.ndarray, start: np.ndarray, count: np.ndarray, gap: np.ndarray, added: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Trends after each day and after each customer's last: those with most days first, so that the others drop out."""
    result = np.empty_like(added)
    decay = _DECAYS[np.clip(gap, 0, _FARTHEST_DAYS)]
    order = np.argsort(-count, kind="stable")
    still = np.searchsorted(-count[order], -np.arange(int(count.max(initial=0))), side="left").tolist()
    now, begin = trends[order], start[order]
    for place, number in enumerate(still):
        at = begin[:number] + place
        now[:number] = result[at] = now[:number] * decay[at] + added[at]
    last = np.empty_like(now)
    last[order] = now
    return result, last


def _fresh(header: np.ndarray, events: Batch) -> np.ndarray:
    """Which events, sorted by customer, are no repetition of one of the customer's last 16."""
    suspect = (header["recent_ids"][events.row] == events.id_hash[:, None]).any(axis=1)
    if not suspect.any() and len(np.unique(events.id_hash)) == len(events.id_hash):
        return np.arange(len(events.row))
    rings: dict[int, list[int]] = {}
    fresh = []
    for index, (row, id_hash) in enumerate(zip(events.row.tolist(), events.id_hash.tolist(), strict=True)):
        ring = rings.get(row)
        if ring is None:
            at = int(header["next_id"][row])
            ring = rings[row] = np.roll(header["recent_ids"][row], -at).tolist()
        if id_hash not in ring:
            del ring[0]
            ring.append(id_hash)
            fresh.append(index)
    return np.array(fresh, np.int64)


def _remember(header: np.ndarray, events: Batch, first: np.ndarray) -> None:
    count = np.diff(np.append(first, len(events.row)))
    place = np.arange(len(events.row)) - np.repeat(first, count)
    header["recent_ids"][events.row, (header["next_id"][events.row] + place) % RECENT_IDS] = events.id_hash
    rows = events.row[first]
    header["next_id"][rows] = (header["next_id"][rows] + count) % RECENT_IDS


def _new_session(header: np.ndarray, events: Batch) -> np.ndarray:
    before = header["last_ms"][events.row]
    same = events.row[1:] == events.row[:-1]
    before[1:][same] = np.maximum(before[1:], events.time_ms[:-1])[same]
    return (before == NO_DAY) | (events.time_ms - before > SESSION_GAP_MS)


def _last_day(customers: Customers) -> np.ndarray:
    count = customers.header["days"].astype(np.int64)
    last = customers.days["day"][np.arange(len(count)), np.maximum(count - 1, 0)].astype(np.int64)
    return np.where(count > 0, last, NO_DAY)


def _running_max(values: np.ndarray, group: np.ndarray, at_least: np.ndarray) -> np.ndarray:
    """Maximum so far within each group (ascending), not below the group's `at_least`."""
    lift = group << 32
    return np.maximum(np.maximum.accumulate(values + lift) - lift, at_least[group])


def _bounds(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last place of each run of equal numbers."""
    cuts = np.flatnonzero(group[1:] != group[:-1])
    return np.concatenate(([0], cuts + 1)), np.append(cuts, len(group) - 1)


def _rounds(row: np.ndarray, day: np.ndarray) -> list[np.ndarray]:
    """Events by whether they are of a customer's first day of the batch, second, …"""
    new_row = np.concatenate(([True], row[1:] != row[:-1]))
    new_day = np.concatenate(([True], day[1:] != day[:-1])) & ~new_row
    turns = np.cumsum(new_day)
    turn = turns - turns[np.maximum.accumulate(np.where(new_row, np.arange(len(row)), 0))]
    return [np.flatnonzero(turn == each) for each in range(int(turn.max()) + 1)]


def _open(customers: Customers, rows: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Slot of each customer's (no one twice) day, made where missing."""
    header, days = customers.header, customers.days
    count = header["days"][rows].astype(np.int64)
    newer = (count == 0) | (day > days["day"][rows, np.maximum(count - 1, 0)])
    full = rows[newer & (count == MAX_DAYS)]
    if len(full):
        oldest = days[full, 0]
        gap = oldest["day"] - header["evicted_day"][full]
        totals = np.concatenate((oldest["counts"], oldest["sums"]), axis=1, dtype="f4")
        kept = header["evicted_trends"][full] * _DECAYS[np.clip(gap, 0, _FARTHEST_DAYS)]
        header["evicted_trends"][full] = kept + _increments(totals)
        header["evicted_day"][full] = oldest["day"]
        bought = totals[:, _PURCHASES] > 0
        header["evicted_purchase_day"][full[bought]] = oldest["day"][bought]
        days[full, :-1] = days[full, 1:]
    slot = np.where(newer, np.minimum(count, MAX_DAYS - 1), count - 1)
    blank = np.zeros(int(newer.sum()), DAY)
    blank["day"] = day[newer]
    days[rows[newer], slot[newer]] = blank
    header["days"][rows[newer]] = slot[newer] + 1
    return slot
