"""Decisions to RetentionAlerts: ids, reasons, a snapshot of the features."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

import numpy as np

from consumer.core.actions import TIERS, Contributions
from consumer.core.conduct import Conduct, ControlGroup
from consumer.core.features import rolling
from consumer.core.fold import Target
from consumer.core.policy import BY_COMPLAINT, BY_EVENT, BY_SILENCE, Decisions, Policy
from consumer.core.risk import churn_probability
from consumer.core.state import States
from consumer.core.triggers import NextItems
from schemas.alert import Action, Cause, CurvePoint, Provenance, Reason, RetentionAlert, Tier

CURVE_AT_DAYS = (0.0, 7.0, 14.0, 30.0, 60.0, 90.0)
_CAUSES = {BY_SILENCE: "silence", BY_COMPLAINT: "complaint", BY_EVENT: "last_event"}
_TOLD_WINDOWS_DAYS = (30, 90)  # shorter ones say little about somebody who is about to be lost


@dataclass(frozen=True)
class Evidence:
    """What must be known of the alerted users at the moment of decision: they may move on within the batch."""

    decisions: Decisions
    features: list[dict[str, float | None]]  # one for each decision; None: undefined
    curve: list[list[float]]  # (M, len(CURVE_AT_DAYS))
    header: np.ndarray  # (M,) of their states
    event: np.ndarray  # (M,) index of the deciding event in the batch, -1 for silence
    day: np.ndarray  # (M,) local day of the decision
    actions: Sequence[Action] = ()  # of each decision, once they are chosen

    def contributions(self, index: int) -> Contributions:
        """What the cause of decision `index` added to the risk, and what the customer's history accounts for."""
        decisions = self.decisions
        before = float(decisions.before[index])
        added = float(decisions.probability[index]) - before
        return (_CAUSES[int(decisions.cause[index])], added), ("history", before)


def gather_evidence(states: States, decisions: Decisions, policy: Policy, event: np.ndarray) -> Evidence:
    """Copy out of `states` what the alerts of `decisions` will say."""
    rows = decisions.row
    hazards = np.repeat(states.header["log_hazards"][rows], len(CURVE_AT_DAYS), axis=0)
    curve = churn_probability(hazards, np.tile(CURVE_AT_DAYS, len(rows)), policy.rules.horizon_days)
    day = policy.calendar.day_of(decisions.at_ms)
    return Evidence(
        decisions,
        _snapshots(rolling(states.take(rows), day, _TOLD_WINDOWS_DAYS)),
        curve.reshape(len(rows), -1).round(6).tolist(),
        states.header[rows],
        event,
        day,
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
    features = evidence.features[index]
    is_control = in_control_group(user_id, context.conduct.control)
    curve = zip(CURVE_AT_DAYS, evidence.curve[index], strict=True)
    return RetentionAlert(
        alert_id=alert_id(user_id, int(decisions.anchor_id[index]), tier),
        user_id=user_id,
        tier=tier,
        cause=Cause.SILENCE if decisions.cause[index] == BY_SILENCE else Cause.EVENT,
        churn_probability=round(float(decisions.probability[index]), 6),
        horizon_days=context.horizon_days,
        silence_days=round(float(decisions.silence_days[index]), 3),
        risk_curve=[CurvePoint(silence_days=at, churn_probability=risk) for at, risk in curve],
        reasons=_reasons(evidence, index, _history_text(features, context.target)),
        features=features,
        suggested_actions=[Action.NONE if is_control else evidence.actions[index]],
        control_group=is_control,
        model_version=context.model_version,
        source=provenance,
        last_event_at=instant(int(evidence.header["last_ms"][index])),
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


def in_control_group(user_id: str, group: ControlGroup) -> bool:
    """A fixed share of users, by a hash that the experiment's salt is the key of."""
    digest = blake2b(user_id.encode(), digest_size=8, key=group.salt.encode(), person=b"control").digest()
    return int.from_bytes(digest, "big") < group.share * 2**64


def instant(time_ms: int) -> datetime:
    """Milliseconds since 1970-01-01 UTC as a datetime."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)


def _reasons(evidence: Evidence, index: int, history: str) -> Sequence[Reason]:
    """The contributions, each with a sentence."""
    texts = {
        "silence": f"Nothing heard for {evidence.decisions.silence_days[index]:.0f} days since the last active day.",
        "complaint": "The customer has just complained, returned something or unsubscribed.",
        "last_event": "What the customer did last changed the outlook.",
        "history": history,
    }
    return [
        Reason(code=code, contribution=round(contribution, 6), text=texts[code])
        for code, contribution in evidence.contributions(index)
    ]


def _history_text(features: dict[str, float | None], target: Target) -> str:
    count, gap = features["total_target_events"] or 0, features["purchase_gap_mean_days"]
    if target == "activity":
        return f"{count:.0f} actions so far."
    if gap is not None:
        return f"{count:.0f} purchases so far, {gap:.0f} days apart on average."
    if count > 1:
        return f"{count:.0f} purchases so far, all on one day."
    return "One purchase so far." if count else "No purchase so far."
