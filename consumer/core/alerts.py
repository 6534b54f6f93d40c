"""Decisions to RetentionAlerts: ids, reasons, a snapshot of the features."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

import numpy as np

from consumer.core.actions import TIERS, Contributions
from consumer.core.calendar import DAY_MS
from consumer.core.conduct import Conduct, ControlGroup, SpendPrior
from consumer.core.features import rolling
from consumer.core.fold import Target
from consumer.core.outcomes import Outcomes
from consumer.core.policy import BY_SILENCE, Decisions, Policy
from consumer.core.reason_texts import ENGLISH, Languages, told
from consumer.core.reasons import Contribution, Moments
from consumer.core.standing import CURVE_AT_DAYS, Standings, curves
from consumer.core.state import States
from consumer.core.triggers import NextItems
from consumer.core.value import expected_spend
from schemas.alert import Action, Cause, CurvePoint, Provenance, RetentionAlert, Tier
from schemas.outcome import OutcomeRecord, Prediction
from schemas.score import ScoreRecord

_TOLD_WINDOWS_DAYS = (30, 90)  # shorter ones say little about somebody who is about to be lost


@dataclass(frozen=True)
class Evidence:
    """What must be known of the alerted users at the moment of decision: they may move on within the batch."""

    decisions: Decisions
    features: list[dict[str, float | None]]  # one for each decision; None: undefined
    curve: np.ndarray  # float64 (M, len(CURVE_AT_DAYS))
    event: np.ndarray  # (M,) index of the deciding event in the batch, -1 for silence
    moments: Moments
    expected_spend: np.ndarray  # (M,) see consumer.core.value; NaN: nothing is known
    reasons: Sequence[Sequence[Contribution]] = ()  # of each decision, once they are explained
    actions: Sequence[Action] = ()  # of each decision, once they are chosen

    @property
    def header(self) -> np.ndarray:
        """(M,) of the users' states."""
        return self.moments.states.header

    def contributions(self, index: int) -> Contributions:
        """Code and contribution of each reason of decision `index`."""
        return [(each.code, each.contribution) for each in self.reasons[index]]


def gather_evidence(
    states: States, decisions: Decisions, policy: Policy, event: np.ndarray, prior: SpendPrior
) -> Evidence:
    """Copy out of `states` what the alerts of `decisions` will say."""
    rows = decisions.row
    curve = curves(states.header["log_hazards"][rows], policy.rules.horizon_days)
    day = policy.calendar.day_of(decisions.at_ms)
    moments = Moments(states.take(rows), day, decisions.silence_days, decisions.probability)
    return Evidence(
        decisions,
        _snapshots(rolling(moments.states, day, _TOLD_WINDOWS_DAYS)),
        curve,
        event,
        moments,
        expected_spend(moments.states, day, prior),
    )


def _snapshots(features: dict[str, np.ndarray]) -> list[dict[str, float | None]]:
    """Columns to one dictionary a row, NaN to None."""
    table = np.stack(list(features.values()), axis=1)
    values = table.round(4).astype(object)
    values[np.isnan(table)] = None
    return [dict(zip(features, row, strict=True)) for row in values.tolist()]


@dataclass(frozen=True)
class AlertContext:
    """What is the same for all alerts of a service."""

    model_version: str
    horizon_days: float
    conduct: Conduct = field(default_factory=Conduct)
    target: Target = "purchase"
    next_items: NextItems = field(default_factory=dict)
    languages: Languages = field(default_factory=lambda: ENGLISH)
    late_after_ms: int | None = None  # silence noticed so long after its moment is late; None: time is not the wall's


def build_alert(
    evidence: Evidence,
    index: int,
    user_id: str,
    provenance: Provenance,
    context: AlertContext,
    emitted_ms: int,
) -> RetentionAlert:
    """The alert of decision `index`."""
    decisions = evidence.decisions
    tier = TIERS[int(decisions.tier[index]) - 1]
    is_control = in_control_group(user_id, context.conduct.control)
    spend = _spend(evidence.expected_spend[index])
    return RetentionAlert(
        alert_id=alert_id(user_id, int(decisions.anchor_id[index]), tier),
        user_id=user_id,
        tier=tier,
        cause=Cause.SILENCE if decisions.cause[index] == BY_SILENCE else Cause.EVENT,
        churn_probability=round(float(decisions.probability[index]), 6),
        horizon_days=context.horizon_days,
        silence_days=round(float(decisions.silence_days[index]), 3),
        risk_curve=_points(evidence.curve[index]),
        reasons=[told(each, context.languages, context.target) for each in evidence.reasons[index]],
        features=evidence.features[index],
        expected_spend=spend,
        value_at_risk=None if spend is None else round(spend * float(decisions.probability[index]), 2),
        suggested_actions=[Action.NONE if is_control else evidence.actions[index]],
        late=decisions.cause[index] == BY_SILENCE and _is_late(int(decisions.at_ms[index]), emitted_ms, context),
        control_group=is_control,
        model_version=context.model_version,
        source=provenance,
        last_event_at=instant(int(evidence.header["last_ms"][index])),
        episode_started_at=instant(int(decisions.episode_ms[index])),
        decided_at=instant(int(decisions.at_ms[index])),
        emitted_at=instant(emitted_ms),
    )


def build_outcome(outcomes: Outcomes, index: int, user_id: str, context: AlertContext) -> OutcomeRecord:
    """The record of outcome `index`."""
    predicted_ms, tier = int(outcomes.predicted_ms[index]), int(outcomes.tier[index])
    silence_days = float(outcomes.silence_days[index])
    return OutcomeRecord(
        user_id=user_id,
        prediction=Prediction.ALERT if tier else Prediction.SAMPLE,
        tier=TIERS[tier - 1] if tier else None,
        churn_probability=round(float(outcomes.probability[index]), 6),
        is_lost=bool(outcomes.is_lost[index]),
        was_alerted=bool(outcomes.was_alerted[index]),
        control_group=in_control_group(user_id, context.conduct.control),
        silence_days=None if np.isnan(silence_days) else round(silence_days, 3),
        horizon_days=context.horizon_days,
        model_version=context.model_version,
        predicted_at=instant(predicted_ms),
        known_at=instant(predicted_ms + round(context.horizon_days * DAY_MS)),
    )


def build_score(standings: Standings, index: int, user_id: str, context: AlertContext) -> ScoreRecord:
    """The record of score `index`."""
    return ScoreRecord(
        user_id=user_id,
        churn_probability=round(float(standings.probability[index]), 6),
        horizon_days=context.horizon_days,
        silence_days=round(float(standings.silence_days[index]), 3),
        risk_curve=_points(standings.curve[index]),
        expected_spend=_spend(standings.expected_spend[index]),
        model_version=context.model_version,
        as_of=instant(int(standings.at_ms[index])),
    )


def _points(curve: np.ndarray) -> list[CurvePoint]:
    points = zip(CURVE_AT_DAYS, curve.round(6).tolist(), strict=True)
    return [CurvePoint(silence_days=at, churn_probability=risk) for at, risk in points]


def _spend(expected: float) -> float | None:
    return None if np.isnan(expected) else round(float(expected), 2)


def alert_id(user_id: str, anchor_id: int, tier: Tier) -> str:
    """The same decision has the same id, whoever computes it.

    An episode is known by the last event before it opened, not by the instant of opening: that is solved from a
    float curve, whose last bit may depend on the machine. Nor by that event's time: it may close and open again on
    events of the same instant, or on late ones.
    """
    return blake2b(f"{len(user_id)}:{user_id}:{anchor_id}:{tier}".encode(), digest_size=16).hexdigest()


def _is_late(at_ms: int, emitted_ms: int, context: AlertContext) -> bool:
    return context.late_after_ms is not None and emitted_ms > at_ms + context.late_after_ms


def in_control_group(user_id: str, group: ControlGroup) -> bool:
    """A fixed share of users, by a hash that the experiment's salt is the key of."""
    digest = blake2b(user_id.encode(), digest_size=8, key=group.salt.encode(), person=b"control").digest()
    return int.from_bytes(digest, "big") < group.share * 2**64


def instant(time_ms: int) -> datetime:
    """Milliseconds since 1970-01-01 UTC as a datetime."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
