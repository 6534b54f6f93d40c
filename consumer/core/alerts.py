"""Decisions to RetentionAlerts: ids, reasons, a snapshot of the features."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

import numpy as np

from consumer.core.features import rolling
from consumer.core.fold import Target
from consumer.core.policy import BY_COMPLAINT, BY_SILENCE, Decisions, Policy
from consumer.core.reason_texts import ENGLISH, Languages, told
from consumer.core.reasons import Contribution, Moments
from consumer.core.risk import churn_probability
from consumer.core.state import States
from schemas.alert import Action, Cause, CurvePoint, Provenance, RetentionAlert, Tier

CURVE_AT_DAYS = (0.0, 7.0, 14.0, 30.0, 60.0, 90.0)
TIERS = tuple(Tier)
_TOLD_WINDOWS_DAYS = (30, 90)  # shorter ones say little about somebody who is about to be lost


@dataclass(frozen=True)
class Evidence:
    """What must be known of the alerted users at the moment of decision: they may move on within the batch."""

    decisions: Decisions
    features: list[dict[str, float | None]]  # one for each decision; None: undefined
    curve: list[list[float]]  # (M, len(CURVE_AT_DAYS))
    last_ms: np.ndarray  # (M,)
    event: np.ndarray  # (M,) index of the deciding event in the batch, -1 for silence
    moments: Moments
    reasons: Sequence[Sequence[Contribution]] = ()  # of each decision, once they are explained


def gather_evidence(states: States, decisions: Decisions, policy: Policy, event: np.ndarray) -> Evidence:
    """Copy out of `states` what the alerts of `decisions` will say."""
    rows = decisions.row
    hazards = np.repeat(states.header["log_hazards"][rows], len(CURVE_AT_DAYS), axis=0)
    curve = churn_probability(hazards, np.tile(CURVE_AT_DAYS, len(rows)), policy.rules.horizon_days)
    day = policy.calendar.day_of(decisions.at_ms)
    moments = Moments(states.take(rows), day, decisions.silence_days, decisions.probability)
    return Evidence(
        decisions,
        _snapshots(rolling(moments.states, day, _TOLD_WINDOWS_DAYS)),
        curve.reshape(len(rows), -1).round(6).tolist(),
        states.header["last_ms"][rows],
        event,
        moments,
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
    control_share: float
    target: Target = "purchase"
    languages: Languages = field(default_factory=lambda: ENGLISH)


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
    cause = int(decisions.cause[index])
    curve = zip(CURVE_AT_DAYS, evidence.curve[index], strict=True)
    return RetentionAlert(
        alert_id=alert_id(user_id, int(decisions.anchor_id[index]), tier),
        user_id=user_id,
        tier=tier,
        cause=Cause.SILENCE if cause == BY_SILENCE else Cause.EVENT,
        churn_probability=round(float(decisions.probability[index]), 6),
        horizon_days=context.horizon_days,
        silence_days=round(float(decisions.silence_days[index]), 3),
        risk_curve=[CurvePoint(silence_days=at, churn_probability=risk) for at, risk in curve],
        reasons=[told(each, context.languages, context.target) for each in evidence.reasons[index]],
        features=evidence.features[index],
        suggested_actions=[_action(cause, tier)],
        control_group=in_control_group(user_id, context.control_share),
        model_version=context.model_version,
        source=provenance,
        last_event_at=instant(int(evidence.last_ms[index])),
        episode_started_at=instant(int(decisions.episode_ms[index])),
        decided_at=instant(int(decisions.at_ms[index])),
        emitted_at=instant(emitted_ms),
    )


def alert_id(user_id: str, anchor_id: int, tier: Tier) -> str:
    """The same decision has the same id, whoever computes it.

    An episode is known by the last event before it opened, not by the instant of opening: that is solved from a
    float curve, whose last bit may depend on the machine. Nor by that event's time: it may close and open again on
    events of the same instant, or on late ones.
    """
    return blake2b(f"{len(user_id)}:{user_id}:{anchor_id}:{tier}".encode(), digest_size=16).hexdigest()


def in_control_group(user_id: str, share: float) -> bool:
    """A fixed share of users, by hash."""
    digest = blake2b(user_id.encode(), digest_size=8, person=b"control").digest()
    return int.from_bytes(digest, "big") < share * 2**64


def instant(time_ms: int) -> datetime:
    """Milliseconds since 1970-01-01 UTC as a datetime."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)


def _action(cause: int, tier: Tier) -> Action:
    if cause == BY_COMPLAINT:
        return Action.CUSTOMER_SERVICE_CALLBACK
    return Action.RECOMMENDATION if tier is Tier.AT_RISK else Action.WIN_BACK_MESSAGE
