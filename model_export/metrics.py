"""How well probabilities foretold what happened, with bootstrap intervals over users.

Every figure is computed for many weightings of the same rows at once: weights of one give the figure itself, and
multinomial weights (how often each user was drawn) its bootstrap distribution (Efron 1979). All rows of a user get
that user's weight, since cut-offs of one user are not independent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

ECE_BINS: Final = 15
LIFT_SHARE: Final = 0.10
METRICS: Final = (
    "auroc", "pr_auc", "brier", "log_loss", "ece", "accuracy", "precision_at_budget", "recall_at_budget",
    "lift_at_10pct",
)  # fmt: skip
HIGHER_IS_BETTER: Final = frozenset(METRICS) - {"brier", "log_loss", "ece"}
_CLIP = 1e-7  # a certain error costs at most 16 nats
_WEIGHTS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Figure:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """N rows of outcomes, and the users they belong to."""

    outcome: np.ndarray  # bool (N,): stayed away
    user: np.ndarray  # int64 (N,), from 0 on
    budget: float = 0.10  # share of rows that can be alerted
    resamples: int = 300
    seed: int = 1

    def take(self, rows: np.ndarray) -> "Sample":
        """Some of the rows, and the users among them."""
        user = np.unique(self.user[rows], return_inverse=True)[1]
        return replace(self, outcome=self.outcome[rows], user=user)

    def weights(self) -> Iterator[np.ndarray]:
        """How often each row was drawn: float32 (B, N) at a time, the same whenever they are asked for."""
        rng = np.random.default_rng(self.seed)
        users = int(self.user.max()) + 1
        at_once = max(1, _WEIGHTS_AT_ONCE // len(self.user))
        for first in range(0, self.resamples, at_once):
            draws = rng.integers(0, users, size=(min(at_once, self.resamples - first), users))
            counts = [np.bincount(draw, minlength=users)[self.user] for draw in draws]
            yield np.array(counts, np.float32)


@dataclass(frozen=True)
class Measured:
    """Figures of one set of probabilities: (1,) each in `point`, (resamples,) each in `bootstrap`."""

    point: dict[str, np.ndarray]
    bootstrap: dict[str, np.ndarray] = field(repr=False)

    def figure(self, metric: str) -> Figure:
        """The figure with its percentile interval."""
        return _figure(self.point[metric], self.bootstrap[metric])

    def minus(self, other: "Measured", metric: str) -> Figure:
        """Paired difference: both were measured on the same rows and the same draws."""
        return _figure(self.point[metric] - other.point[metric], self.bootstrap[metric] - other.bootstrap[metric])


def _figure(point: np.ndarray, bootstrap: np.ndarray) -> Figure:
    usable = bootstrap[np.isfinite(bootstrap)]
    low, high = np.percentile(usable, [2.5, 97.5]) if len(usable) else (np.nan, np.nan)
    return Figure(float(point[0]), float(low), float(high))


def measure(sample: Sample, probability: np.ndarray) -> Measured:
    """Every metric of the probabilities (N,) that users stay away."""
    ranked = Ranked(sample.outcome, probability.astype(np.float64), sample.budget)
    point = ranked.figures(np.ones((1, len(probability)), np.float32))
    parts = [ranked.figures(weights) for weights in sample.weights()]
    return Measured(point, {name: np.concatenate([part[name] for part in parts]) for name in METRICS})


class Ranked:
    """Rows by falling probability, ties side by side, ready for any number of weightings (B, N)."""

    def __init__(self, outcome: np.ndarray, probability: np.ndarray, budget: float) -> None:
        self.order = np.argsort(-probability, kind="stable")
        self.outcome = outcome[self.order].astype(np.float64)
        self.probability = probability[self.order]
        self.budget = budget
        new = np.diff(self.probability, prepend=np.inf) != 0
        self.tie_starts = np.flatnonzero(new)
        middle = (self.tie_starts + np.append(self.tie_starts[1:], len(new)) - 1) / 2
        ece_bin = (middle * ECE_BINS / len(new)).astype(np.int64)  # equal mass; equal probabilities stay together
        self.bin_starts = self.tie_starts[np.flatnonzero(np.diff(ece_bin, prepend=-1))]

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric for each row of `weights`; float64 (B,) each."""
        weights = weights[:, self.order].astype(np.float64)
        positive = np.add.reduceat(weights * self.outcome, self.tie_starts, axis=1)
        everyone = np.add.reduceat(weights, self.tie_starts, axis=1)
        above = positive.cumsum(axis=1), everyone.cumsum(axis=1)  # at or above each threshold
        hit, share = self._alerted(*above, self.budget)
        top_hit, top_share = self._alerted(*above, LIFT_SHARE)
        positives, total = above[0][:, -1], above[1][:, -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._errors(weights) | {
                "auroc": _auroc(positive, everyone - positive, above[1] - above[0]),
                "pr_auc": _average_precision(positive, *above),
                "precision_at_budget": hit / share,
                "recall_at_budget": hit / positives,
                "lift_at_10pct": (top_hit / top_share) / (positives / total),
            }

    def _errors(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        likelihood = np.where(self.outcome > 0, self.probability, 1 - self.probability)
        right = (self.probability >= 0.5) == (self.outcome > 0)
        gaps = np.add.reduceat(weights * (self.probability - self.outcome), self.bin_starts, axis=1)
        return {
            "brier": weights @ (self.probability - self.outcome) ** 2 / total,
            "log_loss": weights @ -np.log(np.clip(likelihood, _CLIP, 1)) / total,
            "ece": np.abs(gaps).sum(axis=1) / total,
            "accuracy": weights @ right / total,
        }

    @staticmethod
    def _alerted(hits: np.ndarray, alerts: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Hits among the top `share` and its size, (B,) each; of a tie at the edge, the expected part is taken."""
        size = share * alerts[:, -1]
        index = np.array([np.searchsorted(row, at) for row, at in zip(alerts, size, strict=True)])
        index = np.minimum(index, alerts.shape[1] - 1)
        rows = np.arange(len(alerts))
        before = np.where(index > 0, alerts[rows, index - 1], 0.0), np.where(index > 0, hits[rows, index - 1], 0.0)
        tie = np.maximum(alerts[rows, index] - before[0], 1e-12)
        part = (size - before[0]) / tie
        return before[1] + part * (hits[rows, index] - before[1]), size


def _auroc(positive: np.ndarray, negative: np.ndarray, negatives_above: np.ndarray) -> np.ndarray:
    """Mann-Whitney U: the chance that a positive is ranked above a negative, ties counting half."""
    below = negatives_above[:, -1:] - negatives_above
    pairs = (positive * (below + negative / 2)).sum(axis=1)
    return pairs / (positive.sum(axis=1) * negatives_above[:, -1])


def _average_precision(positive: np.ndarray, hits: np.ndarray, alerts: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve as a sum of steps (scikit-learn's average precision)."""
    precision = np.divide(hits, alerts, out=np.zeros_like(hits), where=alerts > 0)
    return (positive * precision).sum(axis=1) / hits[:, -1]


def log_loss(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Mean negative log-likelihood, in nats."""
    likelihood = np.where(outcome, probability, 1 - probability)
    return float(-np.mean(np.log(np.clip(likelihood, _CLIP, 1))))


def reliability(outcome: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, share that stayed away and rows of each ECE bin."""
    ranked = Ranked(outcome, probability.astype(np.float64), LIFT_SHARE)
    count = np.diff(np.append(ranked.bin_starts, len(outcome)))
    foretold = np.add.reduceat(ranked.probability, ranked.bin_starts) / count
    return foretold, np.add.reduceat(ranked.outcome, ranked.bin_starts) / count, count
