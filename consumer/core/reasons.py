"""Why a churn probability is what it is: contributions of named groups, which add up to it.

A group's marginal is what the probability would fall by, had that group alone stayed as the user is used to (grouped
occlusion; Covert, Lundberg & Lee 2021, "Explaining by removing"). All groups together account for what it would fall
by, had all of them. Marginals do not add up to that, since one cause often hides another: the difference, which is
their interaction, is shared out among the groups in proportion to their marginals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.baseline import Baseline
from consumer.core.counterfactuals import GROUPS
from consumer.core.features import rolling
from consumer.core.fold import Target, target_count
from consumer.core.past import Past
from consumer.core.rhythm import rhythm_of
from consumer.core.state import States, joined
from consumer.core.trials import AS_IT_IS, WITHOUT_ANY, Found, Score, probabilities
from schemas.alert import ReasonCode

LEAST_TOLD: Final = 0.005  # a group that contributes less is left out, and counts with what is left
NEWCOMER_TARGET_EVENTS: Final = 2
DECIMALS: Final = 6
_MOST_GROWTH: Final = 3.0  # of a marginal by its share of the interaction, as a multiple
_AT_ONCE: Final = 128  # alerts explained together: more rows at once are slower each, and take memory
_CODES: Final = (ReasonCode.RHYTHM_BROKEN, *(code for code, _ in GROUPS))

Facts = Mapping[str, float]


@dataclass(frozen=True)
class Contribution:
    """One reason before it is put into words."""

    code: ReasonCode
    contribution: float
    facts: Facts


@dataclass(frozen=True)
class Moments:
    """M users as they were when an alert of theirs was decided; every field of shape (M,)."""

    states: States
    day: np.ndarray  # int64: local day of the decision
    silence_days: np.ndarray
    probability: np.ndarray

    def __len__(self) -> int:
        return len(self.states)

    def part(self, rows: slice) -> "Moments":
        """Some of them."""
        states = States(self.states.header[rows], self.states.days[rows])
        return Moments(states, self.day[rows], self.silence_days[rows], self.probability[rows])

    @classmethod
    def joined(cls, parts: Sequence["Moments"]) -> "Moments":
        """One after the other."""
        columns = ("day", "silence_days", "probability")
        values = (np.concatenate([getattr(part, name) for part in parts]) for name in columns)
        return cls(joined([part.states for part in parts]), *values)


def explain(
    moments: Moments, baseline: Baseline, score: Score, horizon_days: float, target: Target
) -> list[list[Contribution]]:
    """Reasons of every alert: groups by size, among them what is left, and the base rate at the end.

    A reason depends on its own alert alone, so that it is the same to the bit however alerts are put together.
    """
    parts = (moments.part(slice(start, start + _AT_ONCE)) for start in range(0, len(moments), _AT_ONCE))
    return [reasons for part in parts for reasons in _explained(part, baseline, score, horizon_days, target)]


def _explained(
    moments: Moments, baseline: Baseline, score: Score, horizon_days: float, target: Target
) -> list[list[Contribution]]:
    past = Past(moments.states, moments.day, moments.silence_days)
    target_days = past.kept & (target_count(moments.states.days, target) > 0)
    rhythm = rhythm_of(past, target_days, baseline)
    groups = [find(past) for _, find in GROUPS]
    found = Found(moments.states, moments.silence_days, rhythm, groups)
    tried = probabilities(found, score, horizon_days)
    as_it_is, without_any = tried[:, AS_IT_IS], tried[:, WITHOUT_ANY]
    shares = shared_out(as_it_is[:, None] - tried[:, AS_IT_IS + 1 : WITHOUT_ANY], as_it_is - without_any)
    shares = shares.round(DECIMALS)
    shares[np.abs(shares) < LEAST_TOLD] = 0.0
    by_group = [rhythm.facts, *(group.facts for group in groups)]
    base = Contribution(
        ReasonCode.BASE_RATE,
        round(baseline.churn_probability, DECIMALS),
        {"share": baseline.churn_probability, "horizon_days": horizon_days},
    )
    rests = _rests(moments, base, shares)
    return [[*sorted([*_told(row, by_group, shares), rests[row]], key=_by_size), base] for row in range(len(moments))]


def shared_out(marginals: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Marginals (M, G) and what all groups account for together (M,) to contributions (M, G).

    Each group takes of the interaction in proportion to its marginal's size, up to three times that, and never so much
    that its sign changes; what nobody takes is left.
    """
    size = np.abs(marginals)
    total = size.sum(axis=1)
    interaction = together - marginals.sum(axis=1)
    share = np.divide(interaction, total, out=np.zeros(len(total)), where=total > LEAST_TOLD)
    result = marginals + size * np.clip(share, -_MOST_GROWTH, _MOST_GROWTH)[:, None]
    return np.where(result * marginals > 0, result, 0.0)


def _by_size(each: Contribution) -> float:
    return -abs(each.contribution)


def _told(row: int, by_group: list[dict[str, np.ndarray]], shares: np.ndarray) -> list[Contribution]:
    return [
        Contribution(_CODES[position], float(shares[row, position]), _of_row(by_group[position], row))
        for position in np.flatnonzero(shares[row]).tolist()
    ]


def _rests(moments: Moments, base: Contribution, shares: np.ndarray) -> list[Contribution]:
    """What is left of each alert's probability: how often and how regularly that customer buys at all."""
    rhythm = rolling(moments.states, moments.day, ())
    facts = {
        "count": rhythm["total_target_events"],
        "gap_days": rhythm["purchase_gap_mean_days"],
        "since_days": moments.day - moments.states.days["day"][:, 0],
    }
    left = moments.probability.round(DECIMALS) - base.contribution - shares.sum(axis=1)
    is_new = rhythm["total_target_events"] <= NEWCOMER_TARGET_EVENTS
    return [
        Contribution(ReasonCode.NEWCOMER if new else ReasonCode.HISTORY, amount, _of_row(facts, row))
        for row, (new, amount) in enumerate(zip(is_new.tolist(), (left.round(DECIMALS) + 0.0).tolist(), strict=True))
    ]


def _of_row(facts: Mapping[str, np.ndarray], row: int) -> Facts:
    return {name: float(values[row]) for name, values in facts.items()}
