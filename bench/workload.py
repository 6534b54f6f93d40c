"""The shop that benchmarks run on: customers as busy as by Zipf's law, every event JSON of about 305 bytes.

Customers come in sessions of a few events, a minute or so apart. Given a seed, the log is the same on every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from consumer.core.calendar import DAY_MS

START_MS = 1_760_000_000_000 // DAY_MS * DAY_MS  # midnight of a day in October 2025, UTC
_SESSION_EVENTS = 3.0
_GAP_MS = 60_000
_BLOCK_ROWS = 50_000
_KINDS = (
    ("session_start", 0.17), ("view_item", 0.47), ("search", 0.09), ("add_to_cart", 0.10), ("begin_checkout", 0.05),
    ("purchase", 0.06), ("email_open", 0.03), ("review", 0.015), ("support_ticket", 0.005), ("refund", 0.005),
    ("coupon_redemption", 0.005),
)  # fmt: skip
_CATEGORIES = ("garden", "kitchen", "books", "toys", "shoes", "beauty", "office", "sports")


@dataclass(frozen=True)
class Workload:
    """`events` of `users` over `days`; the n-th busiest customer has n ** -`zipf` of the busiest one's sessions.

    With `history_days`, everybody has bought on that many days before the log begins: one event each, which come first.
    With `extra_days`, the n-th customer has on n % (`extra_days` + 1) days more, so that their first days differ.
    """

    events: int
    users: int
    days: float
    seed: int
    zipf: float = 0.7
    history_days: int = 0
    extra_days: int = 0
    start_ms: int = START_MS

    @property
    def history_events(self) -> int:
        """How many events of earlier days come first."""
        return self.users * self.history_days + int(self._extra.sum())

    @property
    def _days_before(self) -> int:
        return self.history_days + self.extra_days

    @property
    def _extra(self) -> np.ndarray:
        return np.arange(self.users) % (self.extra_days + 1)

    @property
    def end_ms(self) -> int:
        """When everything has happened."""
        return self.start_ms + int((self._days_before + self.days + 1) * DAY_MS)

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in order of time."""
        rng = np.random.default_rng(self.seed)
        for first_id, user, time_ms in ((0, *self._history(rng)), (self.history_events, *self._sessions(rng))):
            yield from _as_json(first_id, user, time_ms, rng, only_purchases=first_id < self.history_events)

    def _history(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        day = np.repeat(np.arange(self._days_before), self.users)
        user = np.concatenate([rng.permutation(self.users) for _ in range(self._days_before)] or [np.empty(0, int)])
        order = np.sort(rng.integers(0, DAY_MS, (self._days_before, self.users)), axis=1).ravel()
        has_come = day >= self.extra_days - self._extra[user]
        return user[has_come], (self.start_ms + day * DAY_MS + order)[has_come]

    def _sessions(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        share = np.arange(1, self.users + 1) ** -self.zipf
        sessions = round(self.events / _SESSION_EVENTS * 1.1)
        user = rng.permutation(self.users)[rng.choice(self.users, sessions, p=share / share.sum())]
        size = rng.geometric(1 / _SESSION_EVENTS, sessions)
        start_ms = self.start_ms + self._days_before * DAY_MS + rng.integers(0, int(self.days * DAY_MS), sessions)
        gaps_ms = np.ceil(rng.exponential(_GAP_MS, size.sum())).astype(np.int64)
        first = np.cumsum(size) - size
        since_ms = np.cumsum(gaps_ms)
        time_ms = np.repeat(start_ms - since_ms[first], size) + since_ms
        order = np.argsort(time_ms, kind="stable")[: self.events]
        return np.repeat(user, size)[order], time_ms[order]


def _as_json(
    first_id: int, user: np.ndarray, time_ms: np.ndarray, rng: np.random.Generator, only_purchases: bool
) -> Iterator[tuple[bytes, bytes]]:
    count = len(user)
    names, shares = zip(*_KINDS, strict=True)
    kind = np.full(count, names.index("purchase")) if only_purchases else rng.choice(len(names), count, p=shares)
    item, value, stars = rng.integers(0, 20_000, count), rng.gamma(2.0, 20.0, count).round(2), rng.integers(1, 6, count)
    dwell_ms = rng.integers(500, 90_000, count)
    rows = _rows(user, time_ms, kind, item, value, stars, dwell_ms)
    for number, (who, at, what, which, money, rating, stay) in enumerate(rows, first_id):
        user_id = f"customer-{who:08d}"
        name = names[what]
        own = f',"rating":{rating}' if name == "review" else ""
        if name in ("purchase", "refund"):
            own = f',"value":{money},"currency":"EUR","quantity":1'
        elif name in ("view_item", "search"):
            own = f',"dwell_ms":{stay}'
        yield (
            user_id.encode(),
            (
                f'{{"event_id":"{number:08x}-5b1e-4c39-9d21-{which * 7919 % 2**48:012x}","user_id":"{user_id}",'
                f'"event_type":"{name}","occurred_at":{at},"item_id":"item-{which:06d}",'
                f'"category":"{_CATEGORIES[which % len(_CATEGORIES)]}","channel":"web","locale":"en-GB",'
                f'"campaign_id":"autumn-{which % 40:02d}"{own},"page":"/shop/{which:06d}",'
                f'"session":"{(at // 600_000) * 7919 % 2**32:08x}-web"}}'
            ).encode(),
        )


def _rows(*columns: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """Row by row, without all of them in memory at once."""
    for begin in range(0, len(columns[0]), _BLOCK_ROWS):
        yield from zip(*(each[begin : begin + _BLOCK_ROWS].tolist() for each in columns), strict=True)
