"""RetentionAlert: a customer is about to be lost. One record on `retention.alerts`, keyed by user id."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class Tier(StrEnum):
    """How urgent it is, in ascending order."""

    AT_RISK = "at_risk"
    CRITICAL = "critical"


class Cause(StrEnum):
    """What raised the alert: something the customer did, or that nothing happened for too long."""

    EVENT = "event"
    SILENCE = "silence"


class Action(StrEnum):
    """What marketing could do about it."""

    COUPON = "coupon"
    RECOMMENDATION = "recommendation"
    WIN_BACK_MESSAGE = "win_back_message"
    CUSTOMER_SERVICE_CALLBACK = "customer_service_callback"
    NONE = "none"


class ReasonCode(StrEnum):
    """What a part of the churn probability comes from; readers ignore codes that they do not know."""

    RHYTHM_BROKEN = "rhythm_broken"
    FREQUENCY_FALLING = "frequency_falling"
    BROWSING_FALLING = "browsing_falling"
    CART_ABANDONED = "cart_abandoned"
    SENTIMENT_FALLING = "sentiment_falling"
    REFUNDS_OR_TICKETS = "refunds_or_tickets"
    SPEND_FALLING = "spend_falling"
    DISCOUNT_DEPENDENCE = "discount_dependence"
    NEWCOMER = "newcomer"  # what is left, of somebody of whom little is known yet
    HISTORY = "history"  # what is left: how often and how regularly the customer buys at all
    BASE_RATE = "base_rate"  # the share of customers who do not come back, whoever they are


class Reason(BaseModel):
    """One part of the churn probability; the contributions of an alert's reasons add up to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: ReasonCode
    contribution: float = Field(description="Signed share of the churn probability.")
    text: str = Field(description="The reason in an English sentence.")
    texts: dict[str, str] = Field(description='The sentence by language: "en" and "zh".')


class CurvePoint(BaseModel):
    """Churn probability once the customer has been silent for so long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    silence_days: float
    churn_probability: Probability


class Provenance(BaseModel):
    """Which input decided it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str
    partition: int
    offset: int | None = Field(description="The event that raised the alert; null for silence.")


class RetentionAlert(BaseModel):
    """One customer, one episode of being at risk, one tier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alert_id: str = Field(description="Hash of user, episode and tier: the same decision has the same id.")
    user_id: str
    tier: Tier
    cause: Cause
    churn_probability: Probability = Field(description="P(no target event within the horizon), at `decided_at`.")
    horizon_days: float
    silence_days: float = Field(description="Days since the end of the last active day.")
    risk_curve: list[CurvePoint]
    reasons: list[Reason]
    features: dict[str, float | None] = Field(description="Rolling features at `decided_at`; null: undefined.")
    expected_spend: float | None = Field(
        description="What the customer would spend in a year (or the policy's horizon) at their pace; null: not known."
    )
    value_at_risk: float | None = Field(description="Of that, what churn puts at risk: times the churn probability.")
    suggested_actions: list[Action] = Field(
        description="What was triggered. `none`: no consent, in the control group, or too soon after the last of it."
    )
    late: bool = Field(
        description="Silence whose moment had passed while nobody processed the stream; it may be too late to act."
    )
    control_group: bool = Field(description="Held out: measure, but do not contact.")
    model_version: str
    source: Provenance
    last_event_at: datetime
    episode_started_at: datetime
    decided_at: datetime = Field(description="Event time at which the threshold was reached.")
    emitted_at: datetime = Field(description="Wall-clock time at which the alert was published.")
