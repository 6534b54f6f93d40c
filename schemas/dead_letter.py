"""DeadLetter: a record that could not be used, with the reason and the original bytes."""

from base64 import b64decode, b64encode
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema


class RejectCode(StrEnum):
    """Why a record cannot be used."""

    NULL_KEY = "null_key"
    KEY_MISMATCH = "key_mismatch"
    RECORD_TOO_LARGE = "record_too_large"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    ILL_TYPED_FIELD = "ill_typed_field"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    NOT_FINITE = "not_finite"
    NEGATIVE_VALUE = "negative_value"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    NAIVE_TIMESTAMP = "naive_timestamp"
    IN_THE_FUTURE = "in_the_future"
    TOO_LATE = "too_late"


def _from_base64(value: object) -> object:
    return b64decode(value, validate=True) if isinstance(value, str) else value


OriginalBytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


class DeadLetter(BaseModel):
    """One record on `shop.dead-letters`; keyed like the original, whose bytes it carries in base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: RejectCode
    reason: str = Field(description="What is wrong with it, for a person.")
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp: datetime = Field(description="The original record's Kafka timestamp.")
    rejected_at: datetime
    original_key: OriginalBytes | None
    original_value: OriginalBytes | None
