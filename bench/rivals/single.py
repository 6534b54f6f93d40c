"""The job of `JOB.md` one event at a time, for contestants that are given events so.

A single event is too little for numpy: it is folded in plain Python. Closed days are kept as the tokens that they have
become, which never change, so that nothing but today's is worked out anew and the model's input is two strings joined.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import numpy as np
import xxhash

from bench.rivals.alerts import Tiers
from bench.rivals.command import POLICY
from bench.rivals.decode import Event, opinion_of
from bench.rivals.layout import (
    AT,
    COUNTED_AS,
    COUNTS,
    DAY_MS,
    MAX_DAYS,
    NEGATIVE_SENTIMENT,
    NO_DAY,
    RECENT_IDS,
    SESSION_GAP_MS,
    TRENDS,
)  # fmt: skip
from bench.rivals.model import Model
from bench.rivals.tokens import HALF_LIVES_DAYS, TOKEN_SIZE

_HEAD = Struct(f"<BBIqqiii{TRENDS}f{len(COUNTS)}H5d{RECENT_IDS}Q")
_TOKEN = Struct(f"<{TOKEN_SIZE}f")
_SCALARS, _IDS_FROM = 8, 8 + TRENDS + len(COUNTS) + 5
_COUNTED = {kind: AT[name] if name else None for kind, name in COUNTED_AS.items()}
_EVENTS, _SESSIONS, _PURCHASES, _COUPONS = (AT[name] for name in ("events", "sessions", "purchases", "coupons"))
_NEGATIVE, _OPINIONS = AT["negative_texts"], AT["opinions"]
_WEEKDAYS = [(math.sin(day * 2 * math.pi / 7), math.cos(day * 2 * math.pi / 7)) for day in range(7)]
_ONE_ROW = 1


@dataclass
class Customer:
    """What is kept of one customer."""

    next_id: int
    tier: int
    purchases: int
    first_ms: int
    last_ms: int
    day: int  # today's; NO_DAY: nothing has happened yet
    last_day: int  # the last closed one
    purchase_day: int  # the last closed one with a purchase
    trends: list[float]  # as of the last closed day
    counts: list[int]  # today's
    sums: list[float]
    recent_ids: list[int]
    closed: bytes  # tokens

    @staticmethod
    def unpack(value: bytes | None) -> "Customer":
        """From what is stored; None is somebody new."""
        if value is None:
            scalars = (0, 0, 0, NO_DAY, NO_DAY, NO_DAY, NO_DAY, NO_DAY)
            return Customer(*scalars, [0.0] * TRENDS, [0] * len(COUNTS), [0.0] * 5, [0] * RECENT_IDS, b"")
        kept = _HEAD.unpack_from(value)
        counts_from, sums_from = _SCALARS + TRENDS, _SCALARS + TRENDS + len(COUNTS)
        next_id, tier, purchases, first_ms, last_ms, day, last_day, purchase_day = kept[:_SCALARS]
        return Customer(
            next_id,
            tier,
            purchases,
            first_ms,
            last_ms,
            day,
            last_day,
            purchase_day,
            trends=list(kept[_SCALARS:counts_from]),
            counts=list(kept[counts_from:sums_from]),
            sums=list(kept[sums_from:_IDS_FROM]),
            recent_ids=list(kept[_IDS_FROM:]),
            closed=value[_HEAD.size :],
        )

    def pack(self) -> bytes:
        """The inverse."""
        head = _HEAD.pack(
            self.next_id, self.tier, self.purchases, self.first_ms, self.last_ms, self.day, self.last_day,
            self.purchase_day, *self.trends, *self.counts, *self.sums, *self.recent_ids,
        )  # fmt: skip
        return head + self.closed

    def fold(self, event: Event) -> bool:
        """Take an event in; False: it is a repetition."""
        id_hash = xxhash.xxh3_64_intdigest(event.event_id.encode())
        if id_hash in self.recent_ids:
            return False
        self.recent_ids[self.next_id] = id_hash
        self.next_id = (self.next_id + 1) % RECENT_IDS
        day = max(event.occurred_at // DAY_MS, self.day)
        if day > self.day:
            self._close_day()
            self.day = day
        self._add(event)
        if self.last_ms == NO_DAY:
            self.first_ms = event.occurred_at
        self.last_ms = max(self.last_ms, event.occurred_at)
        return True

    def tokens(self) -> np.ndarray:
        """The model's input: float32 (1, L, 36)."""
        token = self._today(self._trends_today())
        return np.frombuffer(self.closed + token, np.float32).reshape(_ONE_ROW, -1, TOKEN_SIZE)

    def _close_day(self) -> None:
        if self.day == NO_DAY:
            return
        trends = self._trends_today()
        self.closed = (self.closed + self._today(trends))[-(MAX_DAYS - 1) * _TOKEN.size :]
        self.trends = trends
        self.last_day = self.day
        if self.counts[_PURCHASES]:
            self.purchase_day = self.day
        self.counts, self.sums = [0] * len(COUNTS), [0.0] * 5

    def _add(self, event: Event) -> None:
        counts, sums, kind = self.counts, self.sums, event.event_type
        counts[_EVENTS] += 1
        counts[_SESSIONS] += self.last_ms == NO_DAY or event.occurred_at - self.last_ms > SESSION_GAP_MS
        counted = _COUNTED[kind]
        if counted is not None:
            counts[counted] += 1
        if kind == "purchase":
            self.purchases += 1
            sums[0] = round(sums[0] + event.value, 4)
            counts[_COUPONS] += event.coupon is not None
        elif kind == "refund":
            sums[1] = round(sums[1] + event.value, 4)
        sums[2] = round(sums[2] + event.discount, 4)
        sums[3] = round(sums[3] + event.dwell_ms / 1000.0, 4)
        if event.rating is not None or event.sentiment is not None:
            opinion = opinion_of(event)
            sums[4] = round(sums[4] + opinion, 4)
            counts[_OPINIONS] += 1
            counts[_NEGATIVE] += opinion < NEGATIVE_SENTIMENT

    def _trends_today(self) -> list[float]:
        gap = self.day - self.last_day
        decays = [2.0 ** (-gap / half_life) for half_life in HALF_LIVES_DAYS] if self.last_day != NO_DAY else [0.0] * 3
        added = (1.0 if self.counts[_PURCHASES] else 0.0, 1.0, math.log1p(self.sums[0]))
        return [
            trend * decays[place % 3] + added[place // 3]
            for place, trend in enumerate(self.trends)
        ]  # fmt: skip

    def _today(self, trends: list[float]) -> bytes:
        log1p, counts, sums = math.log1p, self.counts, self.sums
        gap = 0 if self.last_day == NO_DAY else self.day - self.last_day
        since_purchase = 0 if self.purchase_day == NO_DAY else self.day - self.purchase_day
        return _TOKEN.pack(
            *[log1p(each) if each else 0.0 for each in (*counts[:16], *sums[:4], gap, since_purchase, *trends)],
            sums[4] / max(counts[_OPINIONS], 1),
            self.last_day == NO_DAY,
            self.purchase_day == NO_DAY,
            *_WEEKDAYS[self.day % 7],
        )


class SingleJob:
    """The job on one event after the other."""

    def __init__(self, model_dir: Path, policy: Path = POLICY) -> None:
        self._model, self._tiers = Model(model_dir), Tiers.read(policy)

    def process(self, event: Event, stored: bytes | None) -> tuple[bytes, tuple[str, float] | None]:
        """The customer's value after the event, and tier and probability if it raises an alert."""
        customer = Customer.unpack(stored)
        if not customer.fold(event):
            return customer.pack(), None
        tokens = customer.tokens()
        probability = float(self._model.score(tokens, np.array([tokens.shape[1]], np.int64))[0])
        alert = self._decide(customer, event.event_type == "purchase", probability)
        return customer.pack(), alert

    def _decide(self, customer: Customer, is_purchase: bool, probability: float) -> tuple[str, float] | None:
        if is_purchase or probability < self._tiers.rearm:
            customer.tier = 0
            return None
        reached = sum(probability >= threshold for threshold in self._tiers.thresholds)
        if reached <= customer.tier or not customer.purchases:
            return None
        customer.tier = reached
        return self._tiers.names[reached - 1], probability
