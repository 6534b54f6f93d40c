"""Predictions whose outcome is awaited: of every alert, and of a share of all scores.

A prediction says how likely it is that no target event comes within the horizon. When the horizon has passed, the
stream itself has told. A user awaits at most two outcomes: of the alert that was raised first, and of a sampled score.
"""

from dataclasses import dataclass

import numpy as np

from consumer.core.calendar import DAY_MS
from consumer.core.state import NO_TIME, States

SAMPLE, ALERT = 0, 1
_TIME, _RISK = ("sample_ms", "watch_ms"), ("sample_risk", "watch_risk")


@dataclass(frozen=True)
class OutcomeRules:
    """How long a prediction looks ahead, and which share of the scores is sampled."""

    horizon_days: float = 30.0
    share: float = 0.0

    @property
    def horizon_ms(self) -> int:
        """The same in milliseconds."""
        return round(self.horizon_days * DAY_MS)


@dataclass(frozen=True)
class Outcomes:
    """M predictions of which is known now what became, as columns of shape (M,)."""

    row: np.ndarray  # int64: which user of the batch
    kind: np.ndarray  # int8: SAMPLE or ALERT
    predicted_ms: np.ndarray  # int64
    probability: np.ndarray  # float32: that they would be lost
    tier: np.ndarray  # int8: of the alert; 0 for samples
    silence_days: np.ndarray  # float64: from the last target event before to the prediction; NaN without one
    is_lost: np.ndarray  # bool: no target event came within the horizon
    was_alerted: np.ndarray  # bool: there was an alert, or for samples, one was raised within the horizon

    def __len__(self) -> int:
        return len(self.row)


def drawn(states: States, rows: np.ndarray, rules: OutcomeRules) -> np.ndarray:
    """Those of `rows` whose last event's id is drawn and who await no other sampled score."""
    return rows[is_drawn(states.last_id(rows), rules.share) & (states.header["sample_ms"][rows] == NO_TIME)]


def sample(states: States, rows: np.ndarray, at_ms: np.ndarray, risk: np.ndarray) -> None:
    """Remember the scores of `rows`, in place."""
    _remember(states.header, rows, SAMPLE, at_ms, risk)


def watch(states: States, rows: np.ndarray, at_ms: np.ndarray, risk: np.ndarray, tier: np.ndarray) -> None:
    """Remember the alerts of those `rows` who do not await an alert's outcome yet, in place."""
    header = states.header
    chosen = header["watch_ms"][rows] == NO_TIME
    _remember(header, rows[chosen], ALERT, at_ms[chosen], risk[chosen])
    header["watch_tier"][rows[chosen]] = tier[chosen]


def _remember(header: np.ndarray, rows: np.ndarray, kind: int, at_ms: np.ndarray, risk: np.ndarray) -> None:
    header[_TIME[kind]][rows] = at_ms
    header[_RISK[kind]][rows] = risk


def set_timers(states: States, rows: np.ndarray, rules: OutcomeRules) -> None:
    """Have the timer of each of `rows` fire when an outcome is known, where that is before their next alert."""
    header = states.header
    for name in _TIME:
        known_ms = header[name][rows] + rules.horizon_ms
        is_first = (header[name][rows] != NO_TIME) & (
            (header["due_ms"][rows] == NO_TIME) | (known_ms < header["due_ms"][rows])
        )
        header["due_ms"][rows[is_first]] = known_ms[is_first]
        header["due_tier"][rows[is_first]] = 0


def settle(states: States, rows: np.ndarray, rules: OutcomeRules) -> list[Outcomes]:
    """What became of the predictions of `rows` (no row twice) that are known when their timers fire, in place."""
    return [_settled(states, rows, kind, rules) for kind in (SAMPLE, ALERT)]


def _settled(states: States, rows: np.ndarray, kind: int, rules: OutcomeRules) -> Outcomes:
    header = states.header
    predicted_ms = header[_TIME[kind]][rows]
    known = (predicted_ms != NO_TIME) & (predicted_ms + rules.horizon_ms <= header["due_ms"][rows])
    rows, predicted_ms = rows[known], predicted_ms[known]
    settled = Outcomes(
        row=rows,
        kind=np.full(len(rows), kind, np.int8),
        predicted_ms=predicted_ms,
        probability=header[_RISK[kind]][rows],
        tier=header["watch_tier"][rows].astype(np.int8) * (kind == ALERT),
        silence_days=_silence_days(header, rows, predicted_ms),
        is_lost=header["last_target_ms"][rows] <= predicted_ms,
        was_alerted=(header["last_alert_ms"][rows] > predicted_ms) | (kind == ALERT),
    )
    header[_TIME[kind]][rows] = NO_TIME
    header[_RISK[kind]][rows] = 0.0
    if kind == ALERT:
        header["watch_tier"][rows] = 0
    return settled


def _silence_days(header: np.ndarray, rows: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
    """Days from the last target event to the prediction, where none has come since."""
    last_ms = header["last_target_ms"][rows]
    return np.where((last_ms != NO_TIME) & (last_ms <= at_ms), (at_ms - last_ms) / DAY_MS, np.nan)


def is_drawn(ids: np.ndarray, share: float) -> np.ndarray:
    """Which event ids (N,) belong to a `share` of all: always the same, whoever asks; bool (N,)."""
    return _mixed(ids) < share * 2.0**64


def _mixed(ids: np.ndarray) -> np.ndarray:
    """Bits that are as good as independent of the ids' own use: a step of splitmix64 (Steele et al. 2014)."""
    mixed = (ids ^ (ids >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
