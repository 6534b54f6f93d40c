"""What was read back after a run, beside what the pure core makes of the input; and what is called a violation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.records import Header, Position

Where = tuple[str, int, int]  # topic, partition, offset
Alert = Mapping[str, Any]

LOST = "lost"  # in truth, not seen
DUPLICATE = "duplicate"  # seen more often than in truth
PHANTOM = "phantom"  # seen, not in truth
ABORTED_READ = "aborted-read"  # a read_committed reader saw what is not committed
NON_MONOTONIC = "non-monotonic"  # a user's alerts out of order, or a partition that went back
STATE_DIVERGED = "state-diverged"  # store, changelog and truth are not the same
STUCK = "stuck"  # work was left undone
DANGLING = "dangling"  # a transaction was left open
CRASHED = "crashed"  # a service ended by itself
NAMES = (LOST, DUPLICATE, PHANTOM, ABORTED_READ, NON_MONOTONIC, STATE_DIVERGED, STUCK, DANGLING, CRASHED)


@dataclass(frozen=True)
class Violation:
    """One broken promise, with what is needed to look into it."""

    name: str
    what: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenAlert:
    """An alert that a reader of committed records gets."""

    partition: int
    offset: int
    content: Alert

    @property
    def alert_id(self) -> str:
        """What tells it from others."""
        return str(self.content["alert_id"])

    def told(self) -> dict[str, Any]:
        """What a person wants to know of it."""
        names = ("alert_id", "user_id", "tier", "cause", "decided_at", "emitted_at", "source")
        return {"at": f"{self.partition}@{self.offset}"} | {name: self.content.get(name) for name in names}


@dataclass(frozen=True)
class SeenDeadLetter:
    """A dead letter, by the input record that it is about."""

    source: tuple[int, int]  # partition, offset
    code: str


@dataclass(frozen=True)
class SeenPosition:
    """A position record of the changelog."""

    partition: int
    offset: int
    position: Position


def name_of(topic: str, value: bytes) -> str:
    """What tells a trigger or an outcome from others: its id, or all that it says."""
    content = json.loads(value)
    return f"{topic} {content.get('trigger_id') or json.dumps(content, sort_keys=True)}"


@dataclass(frozen=True)
class Truth:
    """What the pure core makes of the input, up to where each partition stands."""

    alerts: Sequence[Alert]  # each user's in order
    states: Mapping[str, bytes]
    timers: Mapping[str, int]
    dead_letters: Mapping[tuple[int, int], str]  # code by source
    watermarks_ms: Mapping[int, int]
    counts: Mapping[int, tuple[int, int]]  # by partition, how many users and timers
    others: Mapping[str, int] = field(default_factory=dict)  # how often each trigger and outcome, see `name_of`


@dataclass(frozen=True)
class View:
    """What Redis holds in the end."""

    headers: Mapping[int, Header | None]
    states: Mapping[str, bytes]
    timers: Mapping[str, int]


@dataclass(frozen=True)
class History:
    """Everything that was read back. Logs are read `read_committed`, each partition's in order."""

    truth: Truth
    alerts: Sequence[SeenAlert]
    dead_letters: Sequence[SeenDeadLetter]
    positions: Sequence[SeenPosition]
    logged_states: Mapping[str, bytes]  # the changelog's latest of every user that is not erased
    logged_timers: Mapping[str, int]
    view: View
    input_ends: Mapping[int, int]
    read: Mapping[Where, bytes]  # digest of every outgoing record, read after the run …
    read_during: Mapping[Where, bytes]  # … and by a reader that ran along with it
    log_ends: Mapping[tuple[str, int], tuple[int, int]]  # last stable offset and high watermark
    others: Mapping[str, int] = field(default_factory=dict)  # triggers and outcomes
    unsettled: Sequence[str] = ()  # what was not done at the deadline
    exits: Sequence[str] = ()  # services that ended though nobody had asked them to, or not as they should
