"""Competitors side by side on the same rows: what the report shows and what `report.json` holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from model_export.metrics import METRICS, Figure, Sample, measure, reliability

HISTORY_LENGTHS: Final = (("1", 1, 1), ("2", 2, 2), ("3–5", 3, 5), ("6–10", 6, 10), ("11+", 11, 10**9))
_CURVE_POINTS = 100
_LEAST_ALERTED = 0.005  # where curves begin: a share of fewer is mostly chance


@dataclass(frozen=True)
class Rows:
    """N (customer, cut-off) pairs of one log and horizon, and what was foretold of each."""

    outcome: np.ndarray  # bool (N,): stayed away
    user: np.ndarray  # int64 (N,)
    purchase_days: np.ndarray  # int64 (N,): on how many days the customer had bought
    probability: Mapping[str, np.ndarray]  # by competitor: float64 (N,)


@dataclass(frozen=True)
class Bucket:
    """AUROC among customers of about as long a history."""

    purchase_days: str
    rows: int
    auroc: Figure


@dataclass(frozen=True)
class Curves:
    """What the plots show; a list of points each."""

    reliability: list[tuple[float, float, int]]  # foretold, came true, rows
    precision_recall: list[tuple[float, float]]  # recall, precision
    lift: list[tuple[float, float]]  # share alerted, lift


@dataclass(frozen=True)
class Standing:
    """How one competitor did."""

    name: str
    role: str  # ours, rival or reference
    figures: dict[str, Figure]
    differences: dict[str, Figure]  # this one's less those of the first of ours, on the same draws
    by_history: list[Bucket]
    curves: Curves


@dataclass(frozen=True)
class Example:
    """One customer's risk over the silence to come."""

    label: str
    silence_days: int  # at the cut-off
    risk: list[float]  # by day of silence, from 0 on


@dataclass(frozen=True)
class Comparison:
    """One log and horizon, with all competitors."""

    shop: str
    horizon_days: int
    cut_offs: list[str]
    customers: int
    rows: int
    stayed_away: float  # share
    budget: float
    resamples: int
    standings: list[Standing]
    notes: list[str] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Log and horizon in a few words."""
        return f"{self.shop}, {self.horizon_days} days"

    def of(self, name: str) -> Standing | None:
        """A competitor's standing, if it took part."""
        return next((each for each in self.standings if each.name == name), None)


def standings(rows: Rows, roles: Mapping[str, str], sample: Sample) -> list[Standing]:
    """Measure every competitor on the same rows and draws."""
    measured = {name: measure(sample, probability) for name, probability in rows.probability.items()}
    ours = next((measured[name] for name, role in roles.items() if role == "ours"), None)
    return [
        Standing(
            name,
            roles[name],
            {metric: result.figure(metric) for metric in METRICS},
            {} if ours is None or ours is result else {metric: result.minus(ours, metric) for metric in METRICS},
            by_history(rows, rows.probability[name], sample),
            curves(rows.outcome, rows.probability[name]),
        )
        for name, result in measured.items()
    ]


def by_history(rows: Rows, probability: np.ndarray, sample: Sample) -> list[Bucket]:
    """AUROC by how often customers had bought; lengths whose customers all did the same are left out."""
    buckets = []
    for label, least, most in HISTORY_LENGTHS:
        inside = (rows.purchase_days >= least) & (rows.purchase_days <= most)
        outcome = rows.outcome[inside]
        if outcome.any() and not outcome.all():
            found = measure(sample.take(inside), probability[inside])
            buckets.append(Bucket(label, int(inside.sum()), found.figure("auroc")))
    return buckets


def curves(outcome: np.ndarray, probability: np.ndarray) -> Curves:
    """Points of the reliability, precision-recall and lift curves."""
    order = np.argsort(-probability, kind="stable")
    edge = np.append(np.diff(probability[order]) != 0, True)  # a threshold takes all of a tie
    hits, alerts = np.cumsum(outcome[order])[edge], (np.arange(len(outcome)) + 1)[edge]
    at = np.unique(np.searchsorted(alerts, np.linspace(_LEAST_ALERTED, 1.0, _CURVE_POINTS) * len(outcome)))
    hits, alerts = hits[at], alerts[at]
    base = outcome.mean()
    return Curves(
        [(_short(p), _short(y), int(n)) for p, y, n in zip(*reliability(outcome, probability), strict=True)],
        [(_short(h / outcome.sum()), _short(h / a)) for h, a in zip(hits, alerts, strict=True)],
        [(_short(a / len(outcome)), _short(h / a / base)) for h, a in zip(hits, alerts, strict=True)],
    )


def _short(value: float) -> float:
    return round(float(value), 5)


def clearly(difference: Figure) -> bool:
    """Whether the 95 % interval of a difference leaves zero out."""
    return difference.low > 0 or difference.high < 0
