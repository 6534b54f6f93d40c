"""ShopEvent: one thing a user did, one Kafka record on `shop.events` (key = user id)."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_ID_CHARS = 256
MAX_TIME_MS = 253_402_300_799_999  # 9999-12-31, the last instant that ISO 8601 and Python can write


class EventType(StrEnum):
    """GA4's e-commerce names, then what GA4 has no name for."""

    VIEW_ITEM = "view_item"
    SEARCH = "search"
    ADD_TO_CART = "add_to_cart"
    REMOVE_FROM_CART = "remove_from_cart"
    BEGIN_CHECKOUT = "begin_checkout"
    PURCHASE = "purchase"
    REFUND = "refund"
    SESSION_START = "session_start"
    REVIEW = "review"
    SUPPORT_TICKET = "support_ticket"
    EMAIL_OPEN = "email_open"
    EMAIL_CLICK = "email_click"
    CAMPAIGN_RECEIVED = "campaign_received"
    COUPON_REDEMPTION = "coupon_redemption"
    UNSUBSCRIBE = "unsubscribe"


Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
Label = Annotated[str, Field(max_length=256)]
Amount = Annotated[float, Field(ge=0, le=1e12)]
EpochMs = Annotated[int, Field(ge=0, le=MAX_TIME_MS)]


class ShopEvent(BaseModel):
    """One event. Unknown fields are ignored, so that producers may carry their own."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        frozen=True,
        val_temporal_unit="milliseconds",  # of an epoch in a string; otherwise its size would decide
    )

    event_id: Identifier = Field(description="Unique per event; a repeated id is dropped as a duplicate.")
    user_id: Identifier = Field(description="Who did it; must equal the record's key.")
    event_type: EventType
    occurred_at: EpochMs | AwareDatetime = Field(
        description="ISO 8601 with a zone, or milliseconds since 1970-01-01 UTC."
    )
    item_id: Label | None = None
    category: Label | None = None
    value: Amount | None = Field(None, description="Money, never negative: a refund is an event type.")
    currency: Annotated[str, Field(min_length=3, max_length=3)] | None = Field(None, description="ISO 4217.")
    quantity: Amount | None = None
    discount: Amount | None = Field(None, description="What coupons and loyalty cards took off the price.")
    dwell_ms: Amount | None = Field(None, description="Browsing time, milliseconds.")
    rating: Annotated[float, Field(ge=0, le=5)] | None = Field(None, description="Stars, 0 to 5.")
    text: Annotated[str, Field(max_length=16_384)] | None = Field(None, description="Review or ticket text.")
    sentiment: Annotated[float, Field(ge=-1, le=1)] | None = None
    coupon: Label | None = None
    campaign_id: Label | None = None
    channel: Label | None = None
    locale: Label | None = None

    @property
    def time_ms(self) -> int:
        """When it happened, in milliseconds since 1970-01-01 UTC (negative before)."""
        if isinstance(self.occurred_at, datetime):
            return (self.occurred_at - EPOCH) // timedelta(milliseconds=1)
        return self.occurred_at
