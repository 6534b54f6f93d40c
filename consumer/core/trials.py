"""Churn probabilities as they are and as they would be without some groups, of all alerts in one scoring."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.counterfactuals import Finding, replaced
from consumer.core.rhythm import Rhythm
from consumer.core.risk import churn_probability
from consumer.core.state import States, joined

Score = Callable[[States], np.ndarray]  # log-hazards (N, bins) of every user
AS_IT_IS, WITHOUT_RHYTHM, WITHOUT_ANY = 0, 1, -1  # columns; between the last two, one without each group
_ALL_COLUMNS: Final = slice(None)


@dataclass(frozen=True)
class Found:
    """What was found of M users: their silence, and what each group would change."""

    states: States
    silence_days: np.ndarray  # (M,)
    rhythm: Rhythm
    groups: Sequence[Finding]

    @property
    def columns(self) -> int:
        """How many probabilities each user has."""
        return len(self.groups) + 3

    @property
    def changes(self) -> np.ndarray:
        """Whose state would be another without a broken rhythm, and without each group: bool (M, 1 + groups).

        Without a broken rhythm, that is only where the customer was written to since: less silence alone is another
        place on the same curve.
        """
        written_to = self.rhythm.affected & (self.rhythm.own_days < self.states.header["days"])
        return np.stack([written_to, *(group.affected for group in self.groups)], axis=1)


@dataclass(frozen=True)
class _Trial:
    """States to score, and which curves they give: of users `rows`, in one column or in all."""

    rows: np.ndarray
    column: int | slice
    states: States


def probabilities(found: Found, score: Score, horizon_days: float) -> np.ndarray:
    """Of M users as they are, without a broken rhythm, without each group, and without any: (M, columns)."""
    hazards = _hazards(found, score)
    silence = np.repeat(found.silence_days[:, None], found.columns, axis=1)
    for column in (WITHOUT_RHYTHM, WITHOUT_ANY):
        silence[:, column] = np.where(found.rhythm.affected, found.rhythm.usual_silence_days, found.silence_days)
    flat = churn_probability(hazards.reshape(-1, hazards.shape[-1]), silence.ravel(), horizon_days)
    return flat.reshape(-1, found.columns)


def _hazards(found: Found, score: Score) -> np.ndarray:
    """Log-hazards (M, columns, bins). Where one change is all there is, what it gives is what is without any."""
    hazards = np.repeat(found.states.header["log_hazards"][:, None], found.columns, axis=1)
    trials = [trial for trial in _trials(found) if len(trial.rows)]
    if not trials:
        return hazards
    scored = score(joined([trial.states for trial in trials]))
    ends = np.cumsum([len(trial.rows) for trial in trials])[:-1]
    for trial, curves in zip(trials, np.split(scored, ends), strict=True):
        hazards[trial.rows, trial.column] = curves[:, None] if trial.column == _ALL_COLUMNS else curves
    single = np.flatnonzero(found.changes.sum(axis=1) == 1)
    hazards[single, WITHOUT_ANY] = hazards[single, WITHOUT_RHYTHM + found.changes[single].argmax(axis=1)]
    return hazards


def _trials(found: Found) -> list[_Trial]:
    """Users as they are come first, for every column: the curve that is stored may be an earlier model's."""
    states, changes = found.states, found.changes
    changed, several = np.flatnonzero(changes.any(axis=1)), np.flatnonzero(changes.sum(axis=1) > 1)
    written_to, *by_group = (np.flatnonzero(each) for each in changes.T)
    trials = [
        _Trial(changed, _ALL_COLUMNS, states.take(changed)),
        _Trial(written_to, WITHOUT_RHYTHM, found.rhythm.usual(states.take(written_to), written_to)),
    ]
    for column, (rows, group) in enumerate(zip(by_group, found.groups, strict=True), start=WITHOUT_RHYTHM + 1):
        trials.append(_Trial(rows, column, replaced(states, rows, [group])))
    without_any = found.rhythm.usual(replaced(states, several, found.groups), several)
    return [*trials, _Trial(several, WITHOUT_ANY, without_any)]
