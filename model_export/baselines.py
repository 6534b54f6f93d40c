"""What the models must beat, each given a fair chance: fitted on the log before the cut-off, tuned on later time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Final, Protocol
from weakref import WeakKeyDictionary

import lightgbm
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_export import btyd
from model_export.design import Design, design
from model_export.metrics import log_loss
from model_export.tasks import Past, Task

Foretell = Callable[[np.ndarray], np.ndarray]  # features (N, F) to P(stays away), float64 (N,)
Fit = Callable[[Design], Foretell]
_INVERSE_PENALTIES: Final = (0.001, 0.01, 0.1, 1.0)
_LEAVES: Final = (4, 8, 16, 31)
_LEARNING_RATES: Final = (0.03, 0.1)
_MAX_ROUNDS: Final = 600
_PATIENCE_ROUNDS: Final = 30
_BOOSTING: Final = {
    "objective": "binary", "min_data_in_leaf": 40, "lambda_l2": 1.0, "feature_fraction": 0.8, "max_bin": 127,
    "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 1, "verbosity": -1,
}  # fmt: skip


class Competitor(Protocol):
    """Foretells who stays away, given the log before the cut-off and nothing else."""

    @property
    def name(self) -> str:
        """Shown in the report."""

    def predict(self, task: Task) -> np.ndarray:
        """P(no purchase within the horizon) of every customer of `task.past`; float64 (C,)."""


@dataclass(frozen=True)
class Learner:
    """A model fitted on earlier cut-offs of the same log."""

    name: str
    fit: Fit

    def predict(self, task: Task) -> np.ndarray:
        """See `Competitor.predict`."""
        rows = design(task)
        if rows.stayed_away.all() or not rows.stayed_away.any():  # nothing to tell apart: the share, off the edges
            count = len(rows.stayed_away)
            return np.full(len(rows.now), (rows.stayed_away.sum() + 1.0) / (count + 2.0))
        foretell = self.fit(rows)
        return rows.whole_horizon(foretell(rows.now), foretell(rows.features))


@dataclass(frozen=True)
class BuyTillYouDie:
    """A model of `btyd`, fitted on every customer's purchase days before the cut-off."""

    name: str
    likelihood: btyd.LogLikelihood
    _fits: WeakKeyDictionary[Past, btyd.Fitted] = field(default_factory=WeakKeyDictionary, repr=False)

    def predict(self, task: Task) -> np.ndarray:
        """See `Competitor.predict`."""
        customers = histories(task.past)
        if task.past not in self._fits:
            self._fits[task.past] = btyd.fit(self.likelihood, customers)
        return self._fits[task.past].stays_away(customers, task.horizon_days)


def rivals() -> list[Competitor]:
    """All of them, the simplest first."""
    return [
        Learner("Recency", recency),
        Learner("Logistic regression", regression),
        Learner("LightGBM", boosting),
        BuyTillYouDie("BG/NBD", btyd.bg_nbd),
        BuyTillYouDie("Pareto/NBD", btyd.pareto_nbd),
    ]


def histories(past: Past) -> btyd.Histories:
    """Every customer's purchase days in the form of the literature; the last day before the cut-off is T."""
    row, day = past.purchase_days
    first = np.flatnonzero(np.diff(row, prepend=-1))
    last = np.append(first[1:], len(row)) - 1
    repeats, until_last, watched = last - first, day[last] - day[first], past.until_day - 1 - day[first]
    return btyd.Histories(repeats.astype(np.float64), until_last.astype(np.float64), watched.astype(np.float64))


def recency(rows: Design) -> Foretell:
    """Logistic regression on the logarithm of the days since the last purchase: ranks as recency does."""

    def days(features: np.ndarray) -> np.ndarray:
        return np.log1p(rows.column("days_since_last_purchase", features))[:, None]

    foretell = _logistic(days(rows.features), rows.stayed_away, inverse_penalty=1000.0)
    return lambda features: foretell(days(features))


def regression(rows: Design) -> Foretell:
    """Ridge-penalised logistic regression on log1p of every feature; the penalty is chosen on later time."""
    features, outcome = scaled(rows.features), rows.stayed_away
    fitting, choosing = rows.split()

    def loss(inverse_penalty: float) -> float:
        foretell = _logistic(features[fitting], outcome[fitting], inverse_penalty)
        return log_loss(outcome[choosing], foretell(features[choosing]))

    both = outcome[fitting].any() and not outcome[fitting].all()
    best = min(_INVERSE_PENALTIES, key=loss) if both else _INVERSE_PENALTIES[1]
    foretell = _logistic(features, outcome, best)
    return lambda others: foretell(scaled(others))


def scaled(features: np.ndarray) -> np.ndarray:
    """For linear models: sign(v) log1p|v| with 0 where missing, and columns that say where; (N, F) to (N, 2F)."""
    missing = np.isnan(features)
    known = np.where(missing, 0.0, features)
    return np.concatenate((np.sign(known) * np.log1p(np.abs(known)), missing), axis=1)


def _logistic(features: np.ndarray, outcome: np.ndarray, inverse_penalty: float) -> Foretell:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))
    model.fit(features, outcome)
    return lambda rows: np.asarray(model.predict_proba(rows)[:, 1])


def boosting(rows: Design) -> Foretell:
    """LightGBM; leaves, learning rate and rounds (early stopping) are chosen on later time, then all rows fitted."""
    fitting, choosing = rows.split()
    best = min(
        _early_stopped(rows.features, rows.stayed_away, fitting, choosing, leaves, rate)
        for leaves, rate in product(_LEAVES, _LEARNING_RATES)
    )
    return boosted(rows.features, rows.stayed_away, *best[1:])


def boosted(features: np.ndarray, outcome: np.ndarray, leaves: int, rate: float, rounds: int) -> Foretell:
    """LightGBM with settled settings."""
    options = _BOOSTING | {"num_leaves": leaves, "learning_rate": rate}
    model = lightgbm.train(options, lightgbm.Dataset(features, outcome.astype(np.float64)), rounds)
    return lambda rows: np.asarray(model.predict(rows, num_threads=1), np.float64)


def _early_stopped(
    features: np.ndarray, outcome: np.ndarray, fitting: np.ndarray, choosing: np.ndarray, leaves: int, rate: float
) -> tuple[float, int, float, int]:
    """(log-loss on the rows that choose, leaves, learning rate, rounds)."""
    options = _BOOSTING | {"num_leaves": leaves, "learning_rate": rate}
    data = lightgbm.Dataset(features[fitting], outcome[fitting].astype(np.float64))
    watched = data.create_valid(features[choosing], outcome[choosing].astype(np.float64))
    stop = lightgbm.early_stopping(_PATIENCE_ROUNDS, verbose=False)
    model = lightgbm.train(options, data, _MAX_ROUNDS, valid_sets=[watched], callbacks=[stop])
    return float(model.best_score["valid_0"]["binary_logloss"]), leaves, rate, max(1, model.best_iteration)
