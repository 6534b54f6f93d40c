"""One joint micro-batch over all owned partitions: from records and stored states to the steps to commit. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from consumer.core.decode import Decoded, Limits, decode
from consumer.core.events import ERASE, Events
from consumer.core.fold import Fate
from consumer.core.state import NO_TIME, States, UnreadableStateError, pack, unpack
from consumer.errors import ConfigurationError
from consumer.messages import Messages, Origin
from consumer.ports import Position, Record, Step, Telemetry, UserState
from consumer.scoring import Engine

NOT_BEGUN_MS = -1
Stored = Mapping[int, list[bytes | None]]  # packed states by partition


class Stand(Protocol):
    """Where a partition stands: what a step follows on."""

    @property
    def stored(self) -> Position | None:
        """The position last stored."""


@dataclass(frozen=True)
class Slice:
    """One partition's share of a micro-batch, decoded, and the claim under which it was read."""

    records: list[Record]
    decoded: Decoded
    claim: int


def decode_slices(
    batch: Mapping[int, list[Record]], claims: Mapping[int, int], now_ms: int, limits: Limits
) -> dict[int, Slice]:
    """The records of every claimed partition, validated; the others are not ours to take."""
    return {
        partition: Slice(
            records,
            decode([(record.key, record.value) for record in records], now_ms, limits),
            claims[partition],
        )
        for partition, records in batch.items()
        if partition in claims
    }


@dataclass(frozen=True)
class Worker:
    """Turns micro-batches into steps."""

    engine: Engine
    messages: Messages
    telemetry: Telemetry
    watermark_delay_ms: int

    def on_events(
        self, batch: Mapping[int, Slice], stored: Stored, stand: Mapping[int, Stand], now_ms: int
    ) -> list[Step]:
        """Fold, score and decide the events of all partitions in one go; a step for each partition."""
        users = _Users.of({partition: part.decoded.users for partition, part in batch.items()})
        states = users.unpack(stored)
        events = _joined([part.decoded.events for part in batch.values()], users.starts)
        origins = [
            Origin(partition, part.records[index])
            for partition, part in batch.items()
            for index in part.decoded.index.tolist()
        ]
        fate, evidence = self.engine.on_events(states, events)
        self._count(fate, batch)
        outgoing = self.messages.alerts(evidence, users.names, users.partition_of_row, origins, now_ms)
        for partition, part in batch.items():
            outgoing[partition] += self.messages.rejected(partition, part.records, part.decoded.rejected, now_ms)
        for index in np.flatnonzero(fate == Fate.TOO_LATE).tolist():
            outgoing[origins[index].partition].append(self.messages.too_late(origins[index], now_ms))
        changed = users.pack(states)
        reached_ms = np.where((fate == Fate.FOLDED) & (events.kind != ERASE), events.time_ms, NOT_BEGUN_MS)
        steps = []
        for partition, part in batch.items():
            before = stand[partition].stored
            of_partition = users.holds(partition, events.row)
            position = self._advanced(before, part.records[-1].offset + 1, reached_ms[of_partition])
            steps.append(Step(partition, before, position, changed[partition], outgoing[partition]))
        return steps

    def on_silence(
        self,
        due: Mapping[int, list[str]],
        stored: Stored,
        stand: Mapping[int, Stand],
        until: Mapping[int, int],
        now_ms: int,
    ) -> list[Step]:
        """Fire the timers of these users up to each partition's instant `until` (ms); a step for each partition."""
        users = _Users.of(due)
        states = users.unpack(stored)
        until_ms = np.array([until[partition] for partition in users.partition_of_row], np.int64)
        evidence = self.engine.on_silence(states, np.arange(len(users.names)), until_ms)
        self.telemetry.timers(sum(len(each.decisions) for each in evidence))
        outgoing = self.messages.alerts(evidence, users.names, users.partition_of_row, [], now_ms)
        changed = users.pack(states)
        steps = []
        for partition in due:
            position = stand[partition].stored
            assert position is not None, "timers exist only where a step was stored"
            steps.append(Step(partition, position, position, changed[partition], outgoing[partition]))
        return steps

    def _advanced(self, stored: Position | None, next_offset: int, reached_ms: np.ndarray) -> Position:
        before_ms = stored.watermark_ms if stored else NOT_BEGUN_MS
        watermark_ms = int(reached_ms.max(initial=NOT_BEGUN_MS)) - self.watermark_delay_ms
        return Position(next_offset, max(before_ms, watermark_ms))

    def _count(self, fate: np.ndarray, batch: Mapping[int, Slice]) -> None:
        for value, count in zip(*np.unique(fate, return_counts=True), strict=True):
            self.telemetry.records(Fate(value).name.lower(), int(count))
        rejected = [each for part in batch.values() for each in part.decoded.rejected]
        self.telemetry.records("rejected", len(rejected))


@dataclass(frozen=True)
class _Users:
    """The users of a joint batch: one row each, partition after partition."""

    names: list[str]
    partition_of_row: list[int]
    starts: dict[int, int]
    ends: dict[int, int]

    @classmethod
    def of(cls, users: Mapping[int, list[str]]) -> "_Users":
        ends = dict(zip(users, np.cumsum([len(names) for names in users.values()]).tolist(), strict=True))
        return cls(
            names=[name for names in users.values() for name in names],
            partition_of_row=[partition for partition, names in users.items() for _ in names],
            starts={partition: ends[partition] - len(names) for partition, names in users.items()},
            ends=ends,
        )

    def holds(self, partition: int, row: np.ndarray) -> np.ndarray:
        """Which rows belong to `partition`."""
        return (row >= self.starts[partition]) & (row < self.ends[partition])

    def unpack(self, stored: Stored) -> States:
        try:
            return unpack([value for partition in self.starts for value in stored[partition]])
        except UnreadableStateError as error:
            raise ConfigurationError(
                f"among the states of partitions {sorted(self.starts)} in Redis, {error}: use the version that wrote "
                "them, or delete these partitions' keys to have them rebuilt from the state topic"
            ) from error

    def pack(self, states: States) -> dict[int, list[UserState]]:
        """The users' new states, by partition."""
        due_ms = states.header["due_ms"].tolist()
        packed = [
            UserState(name, value, None if due == NO_TIME else due)
            for name, value, due in zip(self.names, pack(states), due_ms, strict=True)
        ]
        return {partition: packed[start : self.ends[partition]] for partition, start in self.starts.items()}


def _joined(parts: Sequence[Events], starts: Mapping[int, int]) -> Events:
    shifted = [replace(part, row=part.row + start) for part, start in zip(parts, starts.values(), strict=True)]
    return Events.concatenate(shifted)
