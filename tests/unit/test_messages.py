"""What leaves the service as records."""

import json

import pytest

from consumer.core.alerts import AlertContext
from consumer.messages import MAX_ORIGINAL_BYTES, Messages, Origin, Topics
from consumer.records import Record

MESSAGES = Messages(Topics(), AlertContext("m1", 30.0))


@pytest.mark.parametrize(("timestamp_ms", "year"), [(-1, 1970), (0, 1970), (2**62, 9999)])
def test_any_kafka_timestamp_can_be_told(timestamp_ms: int, year: int) -> None:
    """A record's timestamp is its producer's word: one that no calendar holds becomes the nearest that one does."""
    message = MESSAGES.too_late(Origin(0, Record(0, timestamp_ms, b"user", b"{}")), 0)
    assert json.loads(message.value or b"")["source_timestamp"].startswith(str(year))


def test_a_huge_record_is_cut_and_says_so() -> None:
    """A dead letter always fits into a record; what is missing is where it came from."""
    message = MESSAGES.too_late(Origin(3, Record(7, 0, b"user", b"x" * (MAX_ORIGINAL_BYTES + 1))), 0)
    letter = json.loads(message.value or b"")
    assert len(letter["original_value"]) == -(-MAX_ORIGINAL_BYTES // 3) * 4
    assert "first 1,048,576 bytes" in letter["reason"]
    assert (letter["source_partition"], letter["source_offset"]) == (3, 7)
