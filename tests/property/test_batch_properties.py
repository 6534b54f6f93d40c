"""What the worker makes of a partition does not depend on how its records are cut into micro-batches."""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from consumer.adapters.metrics import Metrics
from consumer.batch import Worker, decode_slices
from consumer.core.alerts import AlertContext
from consumer.core.decode import Limits
from consumer.messages import Messages, Topics
from consumer.records import NOT_BEGUN_MS, Position, Record, Step, UserState
from histories import DAY_MS, HOUR_MS, day, engine

NOW_MS = day(4_000)
KINDS = ("purchase", "purchase", "view_item", "refund", None)
Row = tuple[str, str | None, float]  # user, kind (None: a tombstone), day

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(KINDS), st.floats(0, 30).map(lambda at: round(at, 2))),
    min_size=1,
    max_size=25,
)


def record(offset: int, row: Row) -> Record:
    user, kind, at_day = row
    content = {"event_id": f"e{offset}", "user_id": user, "event_type": kind, "occurred_at": day(at_day)}
    return Record(offset, NOW_MS, user.encode(), json.dumps(content).encode() if kind else None)


@dataclass
class Partition:
    """One partition, as the pipeline keeps it: states by user, and where it stands."""

    worker: Worker
    position: Position
    users: dict[str, UserState] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def events(self, records: list[Record]) -> None:
        """A micro-batch, and then its tick."""
        slices = decode_slices({0: records}, {0: 1}, NOW_MS, Limits())
        stored = self._stored(slices[0].decoded.users)
        self._done(self.worker.on_events(slices, {0: stored}, {0: self.position}, NOW_MS))
        until_ms = self.position.watermark_ms
        due = [each.user_id for each in self.users.values() if each.due_ms is not None and each.due_ms <= until_ms]
        if due:
            stored = self._stored(due)
            self._done(self.worker.on_silence({0: due}, {0: stored}, {0: self.position}, {0: until_ms}, NOW_MS))

    def _stored(self, users: list[str]) -> list[bytes | None]:
        return [self.users[user].value if user in self.users else None for user in users]

    def _done(self, steps: list[Step]) -> None:
        [step] = steps
        self.position = step.position
        self.users |= {user.user_id: user for user in step.users}
        self.alerts += [json.loads(each.value or b"") for each in step.messages if each.topic == Topics().alerts]


def partition(delay_ms: int) -> Partition:
    metrics = Metrics(CollectorRegistry())
    messages = Messages(Topics(), AlertContext("m", 30.0))
    worker = Worker(engine(), messages, metrics, delay_ms)
    return Partition(worker, Position("g", 0, NOT_BEGUN_MS, 0, 0, 1))


@given(ROWS, st.lists(st.integers(1, 8)), st.sampled_from([0, HOUR_MS, DAY_MS, 10 * DAY_MS]))
def test_cuts_between_batches_change_nothing(rows: list[Row], sizes: list[int], delay_ms: int) -> None:
    """However disordered the records are, and whoever is erased: one by one or in batches, all comes out the same."""
    records = [record(offset, row) for offset, row in enumerate(rows)]
    one_by_one, in_batches = partition(delay_ms), partition(delay_ms)
    for each in records:
        one_by_one.events([each])
    begin = 0
    for size in [*sizes, len(records)]:
        if batch := records[begin : begin + size]:
            in_batches.events(batch)
        begin += size
    assert in_batches.position == one_by_one.position
    assert in_batches.users == one_by_one.users
    assert by_user(in_batches.alerts) == by_user(one_by_one.alerts)


def by_user(alerts: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Every user's alerts in order."""
    return {user: [each for each in alerts if each["user_id"] == user] for user in "abc"}
