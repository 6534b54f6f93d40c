"""OutcomeRecord: what became of a prediction, once its horizon has passed; on `retention.outcomes`, by user id."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from schemas.alert import Probability, Tier


class Prediction(StrEnum):
    """What was predicted with."""

    ALERT = "alert"
    SAMPLE = "sample"


class OutcomeRecord(BaseModel):
    """One prediction and what the stream has told since. Alerts are all followed; of scores, a random share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: str
    prediction: Prediction
    tier: Tier | None = Field(description="Of the alert; null for a sampled score.")
    churn_probability: Probability = Field(description="As predicted.")
    is_lost: bool = Field(description="No target event came within the horizon.")
    was_alerted: bool = Field(description="An alert was raised: this one, or within the horizon of a sampled score.")
    control_group: bool = Field(description="Held out: alerted, never triggered.")
    silence_days: float | None = Field(
        description="Of a lost customer, days from the last target event to the prediction: how early it came."
    )
    horizon_days: float
    model_version: str
    predicted_at: datetime
    known_at: datetime = Field(description="Event time at which the horizon had passed.")
