"""What a policy tried on a log comes to: how many alerts, how many of them right, who was caught and when."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from consumer.core.calendar import DAY_MS
from consumer.policy_tape import TapeAlerts

_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Costs:
    """What an offer costs, and what it may bring."""

    margin: float  # lost with a customer who does not come back
    offer_cost: float  # of every alert
    save_rate: float  # share of the customers rightly alerted who stay because of it


@dataclass(frozen=True)
class Period:
    """What is judged: alerts from `from_ms` until one horizon before `until_ms`, where the log ends."""

    from_ms: int
    until_ms: int
    horizon_days: float

    @property
    def horizon_ms(self) -> int:
        """The same in milliseconds."""
        return round(self.horizon_days * DAY_MS)

    @property
    def days(self) -> float:
        """How long alerts are judged."""
        return max(self.until_ms - self.horizon_ms - self.from_ms, 0) / DAY_MS

    def covers(self, at_ms: np.ndarray) -> np.ndarray:
        """Which instants are judged: what comes within a horizon is in the log."""
        is_covered: np.ndarray = (at_ms >= self.from_ms) & (at_ms + self.horizon_ms <= self.until_ms)
        return is_covered


@dataclass(frozen=True)
class Trial:
    """What one threshold comes to; None where there is nothing to take a share or a median of."""

    threshold: float
    alerts: int
    alerts_per_day: float
    precision: float | None  # share of the alerts after which no target event came within the horizon
    caught: float | None  # share of the lost customers who were alerted before their loss was certain
    median_lead_days: float | None  # how long before
    offers_cost: float | None = None
    margin_saved: float | None = None
    net: float | None = None

    @property
    def merit(self) -> float:
        """What the best choice has most of: net gain, or without costs the harmonic mean of precision and caught."""
        if self.net is not None:
            return self.net
        if not self.precision or not self.caught:
            return 0.0
        return 2 / (1 / self.precision + 1 / self.caught)


class Judge:
    """Knows every target event of a log, before which nothing happened: (N,) users, and times in ms."""

    def __init__(self, user: np.ndarray, at_ms: np.ndarray, period: Period) -> None:
        self._period = period
        self._first_ms = int(at_ms.min(initial=period.until_ms))
        self._span_ms = period.until_ms - self._first_ms + 2 * period.horizon_ms + 1  # one user's times, and a horizon
        self._targets = np.unique(self._places(user, at_ms))
        gap_ms = np.diff(self._targets, append=_END)
        is_judged = period.covers(self._targets % self._span_ms + self._first_ms)
        self._lost = self._targets[is_judged & (gap_ms > period.horizon_ms)]

    @property
    def lost(self) -> int:
        """Customers lost: target events, in the period, after which there was no other within the horizon."""
        return len(self._lost)

    def trial(self, threshold: float, alerts: TapeAlerts, costs: Costs | None) -> Trial:
        """What these alerts come to."""
        judged = self._period.covers(alerts.at_ms)
        place = self._places(alerts.user, alerts.at_ms)
        bought = _first(self._targets, place, "right") <= place + self._period.horizon_ms
        count, right = int(judged.sum()), int((judged & ~bought).sum())
        lead_days = self._lead_days(place)
        return Trial(
            threshold=threshold,
            alerts=count,
            alerts_per_day=count / self._period.days if self._period.days else 0.0,
            precision=right / count if count else None,
            caught=len(lead_days) / self.lost if self.lost else None,
            median_lead_days=float(np.median(lead_days)) if len(lead_days) else None,
            **_money(count, right, costs),
        )

    def _lead_days(self, place: np.ndarray) -> np.ndarray:
        """Days by which the first alert about every customer caught came before the loss was certain."""
        certain = self._lost + self._period.horizon_ms
        first = _first(np.sort(place), self._lost, "left")
        lead_days: np.ndarray = (certain - first)[first <= certain] / DAY_MS
        return lead_days

    def _places(self, user: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
        """Users side by side on one axis of time, so far apart that what is within a horizon is of one user."""
        places: np.ndarray = user * self._span_ms + (at_ms - self._first_ms)
        return places


def _first(places: np.ndarray, after: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """The first of the sorted `places` at or after each, beyond each if the side is right; `_END` if there is none."""
    following: np.ndarray = np.append(places, _END)[np.searchsorted(places, after, side)]
    return following


def _money(alerts: int, right: int, costs: Costs | None) -> dict[str, float]:
    if costs is None:
        return {}
    spent, saved = alerts * costs.offer_cost, right * costs.save_rate * costs.margin
    return {"offers_cost": spent, "margin_saved": saved, "net": saved - spent}
