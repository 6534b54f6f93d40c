"""Keeps the curves of a replay, so that a daily job of the same model can be judged without scoring again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from consumer.backtest.history import Chronicle
from consumer.batch import Slice, Stored, Worker
from consumer.core.state import BINS, States
from consumer.policy_tape import Tape
from consumer.records import Position, Step


@dataclass(frozen=True)
class Curves:
    """What was known of a user after each folded event; N rows, in order of the replay or by user and time."""

    user: np.ndarray  # int64 (N,), as the chronicle numbers them
    at_ms: np.ndarray  # int64 (N,): the user's last event so far
    day: np.ndarray  # int64 (N,): the last active day
    last_target_ms: np.ndarray  # int64 (N,)
    target_events: np.ndarray  # int64 (N,)
    log_hazards: np.ndarray  # float32 (N, BINS)

    @classmethod
    def joined(cls, parts: Sequence["Curves"]) -> "Curves":
        """One after the other."""
        none = np.zeros(0, np.int64)
        parts = [Curves(none, none, none, none, none, np.zeros((0, BINS), np.float32)), *parts]
        return Curves(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Curves)))

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
        return Curves.joined(self._parts)


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
    engine = replace(worker.engine, observer=recorder)
    return RecordingWorker(engine, worker.messages, worker.telemetry, worker.watermark_delay_ms, recorder), recorder


def curves_on(tapes: Iterable[Tape], numbers: np.ndarray) -> Curves:
    """The same of a log that was only scored; `numbers` (U,) are those of its users in a chronicle."""
    return Curves.joined(
        [
            Curves(
                user=numbers[tape.user[tape.row]],
                at_ms=tape.seen["last_ms"],
                day=tape.last_day.astype(np.int64),
                last_target_ms=tape.seen["last_target_ms"],
                target_events=tape.seen["target_events"].astype(np.int64),
                log_hazards=tape.log_hazards,
            )
            for tape in tapes
        ]
    )
