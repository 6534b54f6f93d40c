"""Keeps the curves of a replay, so that a daily job of the same model can be judged without scoring again."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from consumer.backtest.history import Chronicle
from consumer.batch import Slice, Stored, Worker
from consumer.core.events import Events
from consumer.core.gate import Gate
from consumer.core.state import BINS, States
from consumer.ports import Position, Step
from consumer.scoring import Engine, Findings


@dataclass(frozen=True)
class Curves:
    """What was known of a user after each folded event; N rows, in order of the replay or by user and time."""

    user: np.ndarray  # int64 (N,), as the chronicle numbers them
    at_ms: np.ndarray  # int64 (N,): the user's last event so far
    day: np.ndarray  # int64 (N,): the last active day
    last_target_ms: np.ndarray  # int64 (N,)
    target_events: np.ndarray  # int64 (N,)
    log_hazards: np.ndarray  # float32 (N, BINS)

    def take(self, index: np.ndarray) -> "Curves":
        """Some rows."""
        return Curves(*(getattr(self, each.name)[index] for each in fields(self)))

    def by_user(self) -> "Curves":
        """Sorted by user and time; rows of the same instant stay in order."""
        return self.take(np.lexsort((self.at_ms, self.user)))


@dataclass
class Recorder:
    """Filled by a `RecordingWorker` batch after batch."""

    chronicle: Chronicle
    _users: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    _parts: list[Curves] = field(default_factory=list)

    def begin(self, names: list[str]) -> None:
        """A batch in which row i is this user."""
        self._users = np.array([self.chronicle.user(name) for name in names], np.int64)

    def add(self, states: States, rows: np.ndarray) -> None:
        """Rows whose curve is new."""
        header = states.header[rows]
        self._parts.append(
            Curves(
                user=self._users[rows],
                at_ms=header["last_ms"],
                day=states.last_day(rows),
                last_target_ms=header["last_target_ms"],
                target_events=header["target_events"].astype(np.int64),
                log_hazards=header["log_hazards"],
            )
        )

    def curves(self) -> Curves:
        """Everything so far."""
        none = np.zeros(0, np.int64)
        parts = [Curves(none, none, none, none, none, np.zeros((0, BINS), np.float32)), *self._parts]
        return Curves(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Curves)))


@dataclass(frozen=True)
class RecordingEngine(Engine):
    """The engine, watched."""

    recorder: Recorder = field(kw_only=True)

    def _after_fold(
        self, states: States, events: Events, index: np.ndarray, gate: Gate | None, entries: np.ndarray | None
    ) -> Findings:
        found = super()._after_fold(states, events, index, gate, entries)
        self.recorder.add(states, events.row)
        return found


@dataclass(frozen=True)
class RecordingWorker(Worker):
    """The worker, which alone knows whose state a row is."""

    recorder: Recorder

    def on_events(
        self, batch: Mapping[int, Slice], stored: Stored, stand: Mapping[int, Position], now_ms: int
    ) -> list[Step]:
        """See `Worker.on_events`."""
        self.recorder.begin([name for part in batch.values() for name in part.decoded.users])
        return super().on_events(batch, stored, stand, now_ms)


def recording(worker: Worker, chronicle: Chronicle) -> tuple[RecordingWorker, Recorder]:
    """`worker`, but what it computes is kept."""
    recorder = Recorder(chronicle)
    engine = RecordingEngine(**_values(worker.engine), recorder=recorder)
    return RecordingWorker(**_values(worker) | {"engine": engine}, recorder=recorder), recorder


def _values(whole: Engine | Worker) -> dict[str, Any]:
    return {each.name: getattr(whole, each.name) for each in fields(whole)}
