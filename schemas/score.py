"""ScoreRecord: where a customer stands; on `retention.scores`, compacted, by user id; null: the user is erased."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from schemas.alert import CurvePoint, Probability


class ScoreRecord(BaseModel):
    """The latest score; written again when the churn probability has changed by more than a step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: str
    churn_probability: Probability = Field(description="P(no target event within the horizon), at `as_of`.")
    horizon_days: float
    silence_days: float = Field(description="Days since the end of the last active day, at `as_of`.")
    risk_curve: list[CurvePoint] = Field(description="What the probability becomes while nothing is heard.")
    expected_spend: float | None = Field(
        description="What the customer would spend in a year (or the policy's horizon) at their pace; null: not known."
    )
    model_version: str
    as_of: datetime = Field(description="Event time.")
