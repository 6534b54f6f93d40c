"""How good alerts and scores have turned out to be, over the latest outcomes. Bounded memory, no clock."""

from collections import deque
from dataclasses import dataclass, field
from math import nan, sqrt
from typing import Final

import numpy as np

WINDOW: Final = 10_000
BANDS: Final = 10  # of predicted probability, equally wide
_Z: Final = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Resolved:
    """One prediction and what became of it."""

    probability: float
    is_lost: bool
    was_alerted: bool
    tier: str = ""  # of an alert; "" for a sampled score
    control_group: bool = False
    silence_days: float = nan  # of a lost customer, from the last target event to the alert


@dataclass(frozen=True)
class Uplift:
    """How much more often the treated stay than the control group; a 95 % interval around the difference."""

    treated: float
    control: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Share retained among the treated, less that among the control group."""
        return self.treated - self.control


@dataclass
class Quality:
    """The latest outcomes of sampled scores and of alerts; figures are NaN (or left out) where there are none."""

    samples: deque[Resolved] = field(default_factory=lambda: deque(maxlen=WINDOW))
    alerts: deque[Resolved] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, resolved: Resolved) -> None:
        """One more; the oldest goes when there are `WINDOW` of its kind."""
        (self.alerts if resolved.tier else self.samples).append(resolved)

    def precision(self) -> dict[str, float]:
        """By tier, the share of alerted customers who were lost; those who were treated may have been saved."""
        tiers = sorted({each.tier for each in self.alerts})
        return {tier: _share([each.is_lost for each in self.alerts if each.tier == tier]) for tier in tiers}

    def recall(self) -> float:
        """Of sampled customers who were lost, the share that was alerted within the horizon."""
        return _share([each.was_alerted for each in self.samples if each.is_lost])

    def accuracy(self) -> float:
        """The share of sampled customers who were alerted and lost, or neither."""
        return _share([each.was_alerted == each.is_lost for each in self.samples])

    def auroc(self) -> float:
        """Chance that a lost customer was scored higher than one who stayed."""
        probability, lost = self._scores()
        return auroc(lost, probability)

    def brier(self) -> float:
        """Mean squared difference between predicted probability and what happened."""
        probability, lost = self._scores()
        return float(np.mean((probability - lost) ** 2)) if len(lost) else nan

    def calibration(self) -> list[tuple[int, float, float, int]]:
        """By band of predicted probability: its number, the mean prediction, the share lost, and how many there are."""
        probability, lost = self._scores()
        band = np.minimum((probability * BANDS).astype(int), BANDS - 1)
        inside = [(each, band == each) for each in np.unique(band).tolist()]
        return [(each, float(probability[at].mean()), float(lost[at].mean()), int(at.sum())) for each, at in inside]

    def silence_days(self) -> float:
        """Median days of silence after which lost customers were alerted."""
        days = [each.silence_days for each in self.alerts if each.is_lost]
        return float(np.nanmedian(days)) if len(days) and not np.isnan(days).all() else nan

    def uplift(self) -> Uplift | None:
        """Retained share of alerted customers, treated against control; None before both have outcomes."""
        treated = [not each.is_lost for each in self.alerts if not each.control_group]
        control = [not each.is_lost for each in self.alerts if each.control_group]
        if not treated or not control:
            return None
        return Uplift(_share(treated), _share(control), *difference_interval(treated, control))

    def _scores(self) -> tuple[np.ndarray, np.ndarray]:
        probability = np.array([each.probability for each in self.samples], np.float64)
        return probability, np.array([each.is_lost for each in self.samples], np.bool_)


def auroc(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Chance that a random positive is ranked above a random negative, ties counting half; NaN without both."""
    _, inverse, count = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[inverse]
    positives, negatives = int(outcome.sum()), int((~outcome).sum())
    if not positives or not negatives:
        return nan
    return float((rank[outcome].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def difference_interval(first: list[bool], second: list[bool]) -> tuple[float, float]:
    """95 % interval of the difference of two shares, from their Wilson intervals (Newcombe 1998, method 10)."""
    (low1, high1), (low2, high2) = _wilson(first), _wilson(second)
    share1, share2 = _share(first), _share(second)
    below = sqrt((share1 - low1) ** 2 + (high2 - share2) ** 2)
    above = sqrt((high1 - share1) ** 2 + (share2 - low2) ** 2)
    return share1 - share2 - below, share1 - share2 + above


def _wilson(outcomes: list[bool]) -> tuple[float, float]:
    count, share = len(outcomes), _share(outcomes)
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return middle - half, middle + half


def _share(outcomes: list[bool]) -> float:
    return sum(outcomes) / len(outcomes) if outcomes else nan
