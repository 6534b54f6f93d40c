"""An event file as the records of a topic, and the line that each record came from."""

from array import array
from collections.abc import Iterator
from pathlib import Path

from consumer.adapters.kafka import partition_of
from consumer.core.decode import Limits, decode
from consumer.records import Record
from consumer.tally import Tally
from schemas.dead_letter import DeadLetter
from schemas.event import EventType, ShopEvent
from schemas.files import numbered_events, useless_file
from schemas.read_report import SHOWN_BAD_ROWS, ReadReport


class EventLog:
    """Rows in file order, spread over partitions as Kafka's clients would."""

    def __init__(self, path: Path, timezone: str, partitions: int) -> None:
        self._path, self._timezone = path, timezone
        self._lines = [array("q") for _ in range(partitions)]  # of the file, by partition and offset
        self.report = ReadReport(order="taken as they come, like the service does")

    def records(self, now_ms: int, tally: Tally, limits: Limits = Limits()) -> Iterator[tuple[int, Record]]:
        """Every row with its partition; `tally` sees each. Raises `EventFileError`."""
        useless: list[tuple[int, bytes, bytes]] = []
        for line, key, value in numbered_events(self._path, self._timezone, self.report):
            event = tally.event(value, now_ms + limits.max_future_ms)
            if event:
                self._used(event)
            elif not self.report.used and len(useless) < SHOWN_BAD_ROWS:
                useless.append((line, key, value))
            partition = partition_of(key, len(self._lines))
            yield partition, Record(len(self._lines[partition]), now_ms, key, value)
            self._lines[partition].append(line)
        self.report.users = tally.users
        if not self.report.used:
            for each in decode([(key, value) for _, key, value in useless], now_ms, limits).rejected:
                self.report.reject(useless[each.index][0], each.code, each.reason)
            raise useless_file(self._path, self.report)

    def _used(self, event: ShopEvent) -> None:
        report, time_ms = self.report, event.time_ms
        report.used += 1
        report.purchases += event.event_type is EventType.PURCHASE
        report.first_ms = time_ms if report.first_ms is None else min(report.first_ms, time_ms)
        report.out_of_order += report.last_ms is not None and time_ms < report.last_ms
        report.last_ms = time_ms if report.last_ms is None else max(report.last_ms, time_ms)

    def reject(self, dead_letter: bytes) -> None:
        """Note the line that a dead letter came from."""
        letter = DeadLetter.model_validate_json(dead_letter)
        line = self._lines[letter.source_partition][letter.source_offset]
        self.report.reject(line, letter.code, letter.reason)
