"""MarketingTrigger: do this for this customer. One record on `marketing.triggers.<action>`, keyed by user id."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from schemas.alert import Action, Tier


class MarketingTrigger(BaseModel):
    """What a marketing tool needs of an alert in order to act on it, in one flat record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trigger_id: str = Field(description="Hash of alert and action: who has acted on it once ignores it from then on.")
    alert_id: str = Field(description="The RetentionAlert that it was published with.")
    user_id: str
    action: Action
    tier: Tier
    parameters: dict[str, str | float] = Field(
        description="For a template; what is not known of the customer is absent."
    )
    favourite_categories: list[str] = Field(description="The customer's own, the dearest first; at most 4.")
    favourite_items: list[str] = Field(description="The customer's own, the dearest first; at most 6.")
    also_bought: list[str] = Field(description="What others who bought these items bought next; at most 5.")
    language: str = Field(description="ISO 639 code: of the customer's last locale, else the policy's.")
    decided_at: datetime = Field(description="Event time of the alert.")
    created_at: datetime = Field(description="Wall-clock time at which the trigger was published.")
    send_after: datetime = Field(description="When the quiet hours end, if it was created in them; else `created_at`.")
    expires_at: datetime = Field(description="It is no use any more from then on.")
