"""Panels: what training learns from. Customers' user-days up to a moment, and what came after each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from consumer.core.features import tokens
from consumer.core.state import MAX_DAYS, States

_USERS_AT_ONCE: Final = 2_000
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Targets:
    """When each user did what the heads foretell: per head the sorted keys user * stride + day."""

    keys: tuple[np.ndarray, ...]  # int64
    first_day: int
    end_day: int  # nothing is known from here on

    @classmethod
    def of(cls, occurred: Sequence[tuple[np.ndarray, np.ndarray]], first_day: int, end_day: int) -> "Targets":
        """Per head: user (N,) and day (N,) of every target event, `first_day` the earliest of any."""
        stride = end_day - first_day + 1
        keys = []
        for user, day in occurred:
            known = day < end_day
            keys.append(np.sort(user[known] * stride + (day[known].astype(np.int64) - first_day)))
        return cls(tuple(keys), first_day, end_day)

    def after(self, user: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whole days from the end of each user-day (N,) to the next target, and whether there was one: (N, heads)."""
        stride = self.end_day - self.first_day + 1
        base = user * stride
        at = base + (day - self.first_day)
        gap_days, observed = [], []
        for key in self.keys:
            following = np.append(key, _NEVER)[np.searchsorted(key, at, side="right")]
            seen = following < base + stride
            observed.append(seen)
            gap_days.append(np.where(seen, following, base + stride - 2) - at)
        return np.stack(gap_days, axis=-1), np.stack(observed, axis=-1)


@dataclass(frozen=True)
class Panel:
    """N user-days of U customers, customer by customer, oldest first, and what came after each.

    Per head: `gap_days` counts whole days from the end of the user-day. Observed: the next target event fell into
    (gap - 1, gap]. Not observed: there was none in (0, gap], and nothing is known beyond (right-censored).
    """

    tokens: np.ndarray  # float32 (N, TOKEN_SIZE)
    gap_days: np.ndarray  # float32 (N, heads)
    observed: np.ndarray  # bool (N, heads)
    length: np.ndarray  # int64 (U,): user-days per customer
    entry_days: np.ndarray  # float32 (U,): silence after the last user-day at the moment the customer is seen
    shop: np.ndarray  # float32 (U, SHOP_SIZE)

    @property
    def start(self) -> np.ndarray:
        """Where each customer's user-days begin; int64 (U,)."""
        return np.cumsum(self.length) - self.length

    @property
    def last(self) -> np.ndarray:
        """Each customer's last user-day; int64 (U,)."""
        return np.cumsum(self.length) - 1


def panel_of(states: States, user: np.ndarray, moment: np.ndarray, targets: Targets, shop: np.ndarray) -> Panel:
    """Customers with at least one user-day each, seen at the start of day `moment` (U,).

    `user` (U,) are their numbers in `targets`; `shop` (SHOP_SIZE,) is the shop token.
    """
    rows = np.arange(len(states))
    length = states.header["days"].astype(np.int64)
    token = [_tokens(states, rows[first : first + _USERS_AT_ONCE]) for first in range(0, len(rows), _USERS_AT_ONCE)]
    present = np.arange(MAX_DAYS) < length[:, None]
    day = states.days["day"][present].astype(np.int64)
    gap_days, observed = targets.after(np.repeat(user, length), day)
    entry_days = moment - 1 - states.last_day(rows)
    return Panel(
        np.concatenate(token),
        gap_days.astype(np.float32),
        observed,
        length,
        entry_days.astype(np.float32),
        np.repeat(shop[None], len(rows), axis=0),
    )


def _tokens(states: States, rows: np.ndarray) -> np.ndarray:
    length = states.header["days"][rows].astype(np.int64)
    longest = int(length.max())
    part = States(states.header[rows], states.days[rows, :longest])
    return tokens(part, longest)[np.arange(longest) < length[:, None]]


def joined(panels: Sequence[Panel]) -> Panel:
    """One panel after the other."""
    return Panel(*(np.concatenate([getattr(each, field.name) for each in panels]) for field in fields(Panel)))


def some(panel: Panel, customers: np.ndarray) -> Panel:
    """Some customers of a panel, in the order given."""
    length = panel.length[customers]
    begins = np.cumsum(length) - length
    index = np.repeat(panel.start[customers] - begins, length) + np.arange(length.sum())
    return replace(
        panel,
        tokens=panel.tokens[index],
        gap_days=panel.gap_days[index],
        observed=panel.observed[index],
        length=length,
        entry_days=panel.entry_days[customers],
        shop=panel.shop[customers],
    )
