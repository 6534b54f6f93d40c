"""A row that is no competitor: what boosting reaches when it may see how the horizon went for other customers."""

from typing import Final

import numpy as np

from model_export.baselines import boosted
from model_export.design import design
from model_export.tasks import Task

NAME: Final = "LightGBM, cross-validated on the holdout"
_FOLDS: Final = 5
_LEAVES, _RATE, _ROUNDS = 8, 0.03, 200


def cross_validated(task: Task, outcome: np.ndarray) -> np.ndarray:
    """P(stays away) of each customer from a model fitted on the *outcomes* of the others; float64 (C,).

    It has seen the holdout's base rate, which nobody knows at the cut-off.
    """
    features = design(task).now
    fold = np.random.default_rng(1).permutation(len(outcome)) % _FOLDS
    foretold = np.empty(len(outcome))
    for held_out in range(_FOLDS):
        rest = fold != held_out
        foretold[~rest] = boosted(features[rest], outcome[rest], _LEAVES, _RATE, _ROUNDS)(features[~rest])
    return foretold
