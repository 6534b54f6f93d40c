"""What operators watch, as the pipeline tells it."""

from contextlib import AbstractContextManager
from typing import Protocol

from schemas.outcome import OutcomeRecord


class PrefixCounts(Protocol):
    """What is told of the prefix cache; counts since the start."""

    hits: int
    prefills: int
    evictions: int

    @property
    def bytes(self) -> int:
        """How much is held."""


class Telemetry(Protocol):
    """What operators watch."""

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Time one stage of a micro-batch."""

    def batch(self, records: int) -> None:
        """A micro-batch was taken up."""

    def remembered(self, cache: PrefixCounts) -> None:
        """What the prefix cache has come to."""

    def records(self, result: str, count: int) -> None:
        """What became of records: folded, duplicate, too_late, erased or rejected; told again if read again."""

    def reject(self, code: str) -> None:
        """A dead letter is permanent."""

    def alert(self, tier: str, cause: str, delay_s: float | None) -> None:
        """An alert is permanent, `delay_s` after its event was produced (None: raised by silence)."""

    def outcome(self, record: OutcomeRecord) -> None:
        """What became of a prediction is known, and permanent."""

    def trigger(self, action: str) -> None:
        """A trigger is permanent."""

    def timers(self, count: int) -> None:
        """Silence timers fired."""

    def timers_due(self, users: int) -> None:
        """How many users' timers the last look found due; 0 when none is left."""

    def caught_up(self, is_caught_up: bool) -> None:
        """Whether no record and no timer waits, and all that came of them is committed."""

    def partition(self, partition: int, lag: int, watermark_delay_s: float) -> None:
        """Where a partition stands."""

    def released(self, partition: int) -> None:
        """A partition is no longer ours to report on."""

    def partitions_live(self, count: int) -> None:
        """How many partitions are being processed."""

    def claimed(self, outcome: str) -> None:
        """A partition was claimed, and in what state it was found."""

    def input_lost(self, partition: int, is_lost: bool) -> None:
        """Whether a partition stands where the input cannot be read any more."""

    def doubted(self, reason: str) -> None:
        """A partition has to be claimed again."""

    def rebuilding(self, partition: int, share: float | None) -> None:
        """How much of a restore or catch-up is done; None when it has ended."""

    def committed(self, users: int, messages: int) -> None:
        """A commit was made permanent."""

    def dependency(self, name: str, up: bool) -> None:
        """A server went away or came back."""
