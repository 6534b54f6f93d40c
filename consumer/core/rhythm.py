"""Silence against the user's own usual gap: for how long nothing was heard, and for how long that is usual."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.baseline import Baseline
from consumer.core.past import Past, gaps_of, latest, mean_where
from consumer.core.state import MAX_DAYS, States

_FEWEST_GAPS: Final = 2  # with fewer, the shop's usual ones are taken
_SPREADS: Final = 2.0


@dataclass(frozen=True)
class Rhythm:
    """The silence of M users; every field has shape (M,)."""

    affected: np.ndarray  # bool: silent for longer than is usual
    usual_silence_days: np.ndarray  # mean and two spreads of the gaps: what is longer is no chance
    target_days_ago: np.ndarray  # int64: days since the last target day; where there is none, since the last own one
    gap_days: np.ndarray  # mean gap between target days
    is_own: np.ndarray  # bool: the customer's own gaps, else the shop's
    own_days: np.ndarray  # int64: kept days up to the last on which the customer did something

    def usual(self, states: States, rows: np.ndarray) -> States:
        """Users `rows`, in place, without the days on which they were merely written to since their own last one."""
        states.header["days"] = np.where(self.affected[rows], self.own_days[rows], states.header["days"])
        return states

    @property
    def facts(self) -> dict[str, np.ndarray]:
        """What a sentence needs."""
        return {"silent_days": self.target_days_ago, "gap_days": self.gap_days, "is_own": self.is_own}


def rhythm_of(past: Past, target_days: np.ndarray, baseline: Baseline) -> Rhythm:
    """`target_days` (M, 64): on which days there was what counts as staying."""
    gap, is_gap = gaps_of(past.day, target_days)
    is_own = is_gap.sum(axis=1) >= _FEWEST_GAPS
    mean = np.where(is_own, mean_where(gap, is_gap), baseline.gap_days)
    spread = np.sqrt(mean_where((gap - mean[:, None]) ** 2, is_gap))
    usual = np.where(is_own, mean + _SPREADS * spread, baseline.long_gap_days)
    last_day = past.states.last_day(np.arange(len(mean))).astype(np.int64)
    has_own = past.own.any(axis=1)
    last_own = np.where(has_own, past.last_own_day, last_day)
    silent = past.silence_days + last_day - last_own
    last_target = latest(past.day, target_days)
    return Rhythm(
        affected=has_own & (silent > usual),
        usual_silence_days=usual,
        target_days_ago=past.as_of_day - np.where(last_target > 0, last_target, last_own),
        gap_days=mean,
        is_own=is_own,
        own_days=np.where(past.own, np.arange(1, MAX_DAYS + 1), 0).max(axis=1),
    )
