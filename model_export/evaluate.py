"""How well churn was foretold: scores at a cut-off against what happened after it. Only numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from consumer.core.features import tokens
from consumer.core.fold import FoldRules
from consumer.core.risk import churn_probability
from consumer.core.state import BINS, MAX_DAYS, States
from model_export.data import HEADS, PRIMARY_TARGET, Log, day_number, read_log

# (tokens float32 (B, L, TOKEN_SIZE), lengths int64 (B,)) to log-hazards float32 (B, heads, BINS)
Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
LENGTHS = (1, 2, 4, 8, 16, 32, 64)  # sequences are padded to the next of these
_BATCH = 256
_HEAD = HEADS.index(PRIMARY_TARGET)


@dataclass(frozen=True)
class Scores:
    """Of the probabilities that users do not come back."""

    users: int
    base_rate: float  # share that did not come back
    auroc: float
    brier: float
    log_loss: float


def score(states: States, scorer: Scorer) -> np.ndarray:
    """Log-hazards of every user as of the last active day: float32 (U, heads, BINS)."""
    count = states.header["days"].astype(np.int64)
    result = np.empty((len(states), len(HEADS), BINS), np.float32)
    shorter = 0
    for length in LENGTHS:
        rows = np.flatnonzero((count > shorter) & (count <= length))
        for batch in np.split(rows, np.arange(_BATCH, len(rows), _BATCH)):
            if len(batch):
                result[batch] = scorer(tokens(states.take(batch), length), count[batch])
        shorter = length
    return result


def churn(log: Log, scorer: Scorer, horizon_days: float) -> np.ndarray:
    """P(no purchase within `horizon_days` of the cut-off) of every user; float64 (U,)."""
    return churn_probability(score(log.states, scorer)[:, _HEAD], log.silence_days(), horizon_days)


def holdout(events: Path, at: date, horizon_days: int, scorer: Scorer, rules: FoldRules) -> Scores | None:
    """Score every user known at `at` on the following days; None where the log ends before they are over."""
    before = read_log(events, at, rules)
    after = read_log(events, at + timedelta(days=horizon_days), rules)
    if int(after.states.last_day(np.arange(len(after.states))).max()) < after.until_day - 1:
        return None
    return scores(_stayed_away(before, after, day_number(at), rules), churn(before, scorer, horizon_days))


def _stayed_away(before: Log, after: Log, at_day: int, rules: FoldRules) -> np.ndarray:
    """Whether each user of `before` had no target event from `at_day` on; bool (U,)."""
    row_of = {user: row for row, user in enumerate(after.users)}
    rows = np.array([row_of[user] for user in before.users])
    return rules.calendar.day_of(after.states.header["last_target_ms"][rows]) < at_day


def scores(outcome: np.ndarray, probability: np.ndarray) -> Scores:
    """`outcome` bool (U,): the user did not come back; `probability` (U,) that it would be so."""
    return Scores(
        users=len(outcome),
        base_rate=float(outcome.mean()),
        auroc=auroc(outcome, probability),
        brier=float(np.mean((probability - outcome) ** 2)),
        log_loss=float(-np.mean(np.log(np.clip(np.where(outcome, probability, 1 - probability), 1e-7, 1)))),
    )


def auroc(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Chance that a random positive is ranked above a random negative, ties counting half (Mann-Whitney U)."""
    _, inverse, count = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[inverse]
    positives, negatives = int(outcome.sum()), int((~outcome).sum())
    if not positives or not negatives:
        return float("nan")
    return float((rank[outcome].sum() - positives * (positives + 1) / 2) / (positives * negatives))


assert LENGTHS[-1] == MAX_DAYS
