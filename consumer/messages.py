"""What leaves the service as Kafka records: alerts, the triggers that go with them, and dead letters."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.core.alerts import AlertContext, Evidence, build_alert, build_outcome, build_score, instant
from consumer.core.decode import Rejection
from consumer.core.outcomes import Outcomes
from consumer.core.standing import Standings
from consumer.core.triggers import build_trigger
from consumer.records import Message, Note, Record
from consumer.telemetry import Telemetry
from schemas.alert import Provenance, RetentionAlert
from schemas.dead_letter import DeadLetter, RejectCode
from schemas.event import MAX_TIME_MS
from schemas.outcome import OutcomeRecord
from schemas.trigger import MarketingTrigger

Outgoing = defaultdict[int, list[Message]]  # by partition
MAX_ORIGINAL_BYTES = 1024 * 1024  # of key and value each: with both in base64, a dead letter is still sent on


@dataclass(frozen=True)
class Origin:
    """The input record that an event came from."""

    partition: int
    record: Record


class Origins(Protocol):
    """The origin of each event of a batch."""

    def __getitem__(self, event: int) -> Origin:
        """Of event number `event`."""


@dataclass(frozen=True)
class Topics:
    """Where records come from and go to."""

    events: str = "shop.events"
    alerts: str = "retention.alerts"
    dead_letters: str = "shop.dead-letters"
    outcomes: str = "retention.outcomes"
    triggers_prefix: str = "marketing.triggers"
    scores: str | None = None  # None: scores are not told


@dataclass(frozen=True)
class AlertNote:
    """Of an alert, and the Kafka timestamp of the event that raised it, if one did."""

    tier: str
    cause: str
    event_ms: int | None

    def tell(self, telemetry: Telemetry, now_ms: int) -> None:
        """See `Note.tell`."""
        telemetry.alert(self.tier, self.cause, None if self.event_ms is None else (now_ms - self.event_ms) / 1000)


@dataclass(frozen=True)
class TriggerNote:
    """Of a trigger."""

    action: str

    def tell(self, telemetry: Telemetry, now_ms: int) -> None:
        """See `Note.tell`."""
        telemetry.trigger(self.action)


@dataclass(frozen=True)
class OutcomeNote:
    """Of an outcome."""

    record: OutcomeRecord

    def tell(self, telemetry: Telemetry, now_ms: int) -> None:
        """See `Note.tell`."""
        telemetry.outcome(self.record)


@dataclass(frozen=True)
class RejectNote:
    """Of a dead letter."""

    code: RejectCode

    def tell(self, telemetry: Telemetry, now_ms: int) -> None:
        """See `Note.tell`."""
        telemetry.reject(self.code)


@dataclass(frozen=True)
class Messages:
    """Builds outgoing records, each with the note by which it is counted."""

    topics: Topics
    context: AlertContext

    def alerts(
        self,
        evidence: Sequence[Evidence],
        users: Sequence[str],
        partition_of_row: Sequence[int],
        origins: Origins,
        now_ms: int,
    ) -> Outgoing:
        """Alert records by partition, each user's in order of decision, with the trigger of each after it."""
        outgoing: Outgoing = defaultdict(list)
        for part in evidence:
            for index, row in enumerate(part.decisions.row.tolist()):
                event = int(part.event[index])
                record = origins[event].record if event >= 0 else None
                provenance = Provenance(
                    topic=self.topics.events,
                    partition=partition_of_row[row],
                    offset=record.offset if record else None,
                )
                alert = build_alert(part, index, users[row], provenance, self.context, now_ms)
                note = AlertNote(alert.tier, alert.cause, record.timestamp_ms if record else None)
                outgoing[provenance.partition].append(self._alert(alert, note))
                trigger = build_trigger(alert, part.header[index], self.context.conduct, self.context.next_items)
                if trigger:
                    outgoing[provenance.partition].append(self._trigger(trigger))
        return outgoing

    def _alert(self, alert: RetentionAlert, note: Note) -> Message:
        headers = (("alert_id", alert.alert_id.encode()),)
        return Message(self.topics.alerts, alert.user_id.encode(), alert.model_dump_json().encode(), headers, note)

    def _trigger(self, trigger: MarketingTrigger) -> Message:
        topic, value = f"{self.topics.triggers_prefix}.{trigger.action}", trigger.model_dump_json().encode()
        headers = (("trigger_id", trigger.trigger_id.encode()),)
        return Message(topic, trigger.user_id.encode(), value, headers, TriggerNote(trigger.action))

    def outcomes(self, outcomes: Outcomes, users: Sequence[str]) -> list[Message]:
        """Outcome records, one each."""
        messages = []
        for index, row in enumerate(outcomes.row.tolist()):
            record = build_outcome(outcomes, index, users[row], self.context)
            value, note = record.model_dump_json().encode(), OutcomeNote(record)
            messages.append(Message(self.topics.outcomes, users[row].encode(), value, note=note))
        return messages

    def scores(self, standings: Standings, users: Sequence[str]) -> list[Message]:
        """Score records, one each."""
        records = (build_score(standings, each, users[row], self.context) for each, row in enumerate(standings.row))
        return [self._score(record.user_id, record.model_dump_json().encode()) for record in records]

    def erased(self, user: str) -> list[Message]:
        """What others who keep scores are told of a user who is to be forgotten."""
        return [self._score(user, None)] if self.topics.scores else []

    def _score(self, user: str, value: bytes | None) -> Message:
        assert self.topics.scores is not None, "scores are told where there is a topic"
        return Message(self.topics.scores, user.encode(), value)

    def rejected(
        self, partition: int, records: Sequence[Record], rejected: Sequence[Rejection], now_ms: int
    ) -> list[Message]:
        """Dead letters of records that could not be decoded."""
        return [
            self._dead_letter(Origin(partition, records[each.index]), each.code, each.reason, now_ms)
            for each in rejected
        ]

    def too_late(self, origin: Origin, now_ms: int) -> Message:
        """The dead letter of an event that is older than the fold takes."""
        reason = "the event is older than the user's last one by more than the accepted lateness"
        return self._dead_letter(origin, RejectCode.TOO_LATE, reason, now_ms)

    def _dead_letter(self, origin: Origin, code: RejectCode, reason: str, now_ms: int) -> Message:
        record = origin.record
        key, value = (each and each[:MAX_ORIGINAL_BYTES] for each in (record.key, record.value))
        if (key, value) != (record.key, record.value):
            reason += f" (the dead letter carries the first {MAX_ORIGINAL_BYTES:,} bytes)"
        letter = DeadLetter(
            code=code,
            reason=reason,
            source_topic=self.topics.events,
            source_partition=origin.partition,
            source_offset=record.offset,
            source_timestamp=instant(min(max(record.timestamp_ms, 0), MAX_TIME_MS)),
            rejected_at=instant(now_ms),
            original_key=key,
            original_value=value,
        )
        headers = (("ebbtide.error.code", code.encode()), ("ebbtide.error.reason", reason.encode()))
        return Message(self.topics.dead_letters, key, letter.model_dump_json().encode(), headers, RejectNote(code))
