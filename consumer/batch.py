"""One joint micro-batch over all owned partitions: from records and stored states to the steps to commit. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

import numpy as np

from consumer.core.decode import Decoded, Limits, decode
from consumer.core.events import Events, watermarks
from consumer.core.fold import Fate
from consumer.core.packing import pack, unpack
from consumer.core.state import NO_TIME, States, UnreadableStateError
from consumer.errors import DamagedViewError
from consumer.messages import Messages, Origin, Outgoing
from consumer.records import Message, Position, Record, Step, UserState
from consumer.scoring import Engine, Findings
from consumer.spending import Spending, day_starts, in_parts, pieces
from consumer.telemetry import Telemetry

Stored = Mapping[int, list[bytes | None]]  # packed states by partition
_KEY_AND_VALUE = attrgetter("key", "value")


@dataclass(frozen=True)
class Slice:
    """One partition's share of a micro-batch, decoded, and the seek under which it was read."""

    records: list[Record]
    decoded: Decoded
    read: int


def decode_slices(
    batch: Mapping[int, list[Record]], reads: Mapping[int, int], now_ms: int, limits: Limits
) -> dict[int, Slice]:
    """The records of every live partition, validated; the others are not ours to take."""
    return {
        partition: Slice(
            records,
            decode([*map(_KEY_AND_VALUE, records)], now_ms, limits),
            reads[partition],
        )
        for partition, records in batch.items()
        if partition in reads
    }


@dataclass(frozen=True)
class Worker:
    """Turns micro-batches into steps."""

    engine: Engine
    messages: Messages
    telemetry: Telemetry
    watermark_delay_ms: int

    def on_events(
        self, batch: Mapping[int, Slice], stored: Stored, stand: Mapping[int, Position], now_ms: int
    ) -> list[Step]:
        """Fold, score and decide the events of all partitions in one go; a step for each partition."""
        users = _Users.of({partition: part.decoded.users for partition, part in batch.items()})
        states = users.unpack(stored)
        before = _counted(states)
        events = _joined([part.decoded.events for part in batch.values()], users.starts)
        origins = _Origins(batch)
        reached_ms = {
            partition: watermarks(part.decoded.events, stand[partition].watermark_ms, self.watermark_delay_ms)
            for partition, part in batch.items()
        }
        before_ms = np.concatenate([reached[:-1] for reached in reached_ms.values()])
        spending = self._spending(stand, {each: int(reached[-1]) for each, reached in reached_ms.items()}, users)
        entries = self.engine.scorer.cache.entries(users.names)
        fate, found = self.engine.on_events(states, events, before_ms, spending.gate, entries)
        stand = spending.after(stand)
        self._count(fate, batch)
        self.telemetry.remembered(self.engine.scorer.cache)
        outgoing = self.messages.alerts(found.alerts, users.names, users.partition_of_row, origins, now_ms)
        alerted = set(outgoing)
        self._add_others(outgoing, found, users)
        for row in events.row[fate == Fate.ERASED].tolist():
            to = outgoing[users.partition_of_row[row]]
            is_back = states.header["events"][row] > 0  # then their new score has the last word
            place = 0 if is_back else len(to)
            to[place:place] = self.messages.erased(users.names[row])
        for partition, part in batch.items():
            outgoing[partition] += self.messages.rejected(partition, part.records, part.decoded.rejected, now_ms)
        for index in np.flatnonzero(fate == Fate.TOO_LATE).tolist():
            outgoing[origins[index].partition].append(self.messages.too_late(origins[index], now_ms))
        changed = users.changed(states, before)
        steps = []
        for partition, part in batch.items():
            next_offset, watermark_ms = part.records[-1].offset + 1, int(reached_ms[partition][-1])
            reached = replace(stand[partition], next_offset=next_offset, watermark_ms=watermark_ms)
            steps.append(changed.step(partition, reached, outgoing[partition], partition in alerted))
        return steps

    def on_silence(
        self,
        due: Mapping[int, list[str]],
        stored: Stored,
        stand: Mapping[int, Position],
        until: Mapping[int, int],
        now_ms: int,
    ) -> list[Step]:
        """Fire the timers of these users up to each partition's instant `until` (ms); a step for each partition."""
        users = _Users.of(due)
        states = users.unpack(stored)
        before = _counted(states)
        until_ms = np.array([until[partition] for partition in users.partition_of_row], np.int64)
        spending = self._spending(stand, {each: until[each] for each in due}, users)
        found = self.engine.on_silence(states, np.arange(len(users.names)), until_ms, spending.gate)
        stand = spending.after(stand)
        self.telemetry.timers(sum(len(each.decisions) for each in found.alerts))
        outgoing = self.messages.alerts(found.alerts, users.names, users.partition_of_row, [], now_ms)
        alerted = set(outgoing)
        self._add_others(outgoing, found, users)
        changed = users.changed(states, before)
        return [changed.step(each, stand[each], outgoing[each], is_urgent=each in alerted) for each in due]

    def cut(
        self, batch: Mapping[int, Slice], stand: Mapping[int, Position], decoded: Callable[[int, list[Record]], Slice]
    ) -> list[dict[int, Slice]]:
        """The batch in parts to be processed one after the other, timers in between: days, if alerts have a budget.

        A first part of nothing, if a day that has begun already ends with the batch's first record.
        """
        if self.engine.conduct.alerts_per_day is None:
            return [dict(batch)]
        calendar = self.engine.policy.calendar
        cut: dict[int, list[Slice]] = {}
        ends_a_day = False
        for partition, part in batch.items():
            events, index = part.decoded.events, part.decoded.index
            starts = day_starts(events, index, stand[partition], self.watermark_delay_ms, calendar)
            ends_a_day |= 0 in starts
            cut[partition] = pieces(part.records, starts, partial(decoded, partition)) if any(starts) else [part]
        return [*([{}] if ends_a_day else []), *in_parts(cut)]

    def _spending(self, stand: Mapping[int, Position], reached_ms: Mapping[int, int], users: "_Users") -> Spending:
        engine = self.engine
        return Spending.of(engine.conduct, engine.policy.calendar, stand, reached_ms, users.partition_of_row)

    def _add_others(self, outgoing: Outgoing, found: Findings, users: "_Users") -> None:
        """Outcomes and scores, which nobody waits for."""
        told = [(each.row, self.messages.outcomes(each, users.names)) for each in found.outcomes]
        told += [(each.row, self.messages.scores(each, users.names)) for each in found.standings]
        for rows, messages in told:
            for row, message in zip(rows.tolist(), messages, strict=True):
                outgoing[users.partition_of_row[row]].append(message)

    def _count(self, fate: np.ndarray, batch: Mapping[int, Slice]) -> None:
        for value, count in zip(*np.unique(fate, return_counts=True), strict=True):
            self.telemetry.records(Fate(value).name.lower(), int(count))
        rejected = [each for part in batch.values() for each in part.decoded.rejected]
        self.telemetry.records("rejected", len(rejected))


class _Origins:
    """Which record each event of a joint batch came from."""

    def __init__(self, batch: Mapping[int, Slice]) -> None:
        self._parts = [*batch.items()]
        self._ends = np.cumsum([len(part.decoded.index) for part in batch.values()])

    def __getitem__(self, event: int) -> Origin:
        number = int(np.searchsorted(self._ends, event, side="right"))
        partition, part = self._parts[number]
        place = event - int(self._ends[number]) + len(part.decoded.index)
        return Origin(partition, part.records[part.decoded.index[place]])


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

    def unpack(self, stored: Stored) -> States:
        """The users' states as stored; raises `DamagedViewError` naming the partitions with one that is unreadable."""
        try:
            return unpack([value for partition in self.starts for value in stored[partition]])
        except UnreadableStateError as error:
            damaged = [partition for partition in self.starts if not _is_readable(stored[partition])]
            raise DamagedViewError(f"a state in Redis cannot be read: {error}", damaged) from error

    def changed(self, states: States, before: np.ndarray) -> "_Changed":
        """The users' new states, and how they are counted now instead of `before`."""
        due_ms = states.header["due_ms"].tolist()
        packed = [
            UserState(name, value, None if due == NO_TIME else due)
            for name, value, due in zip(self.names, pack(states), due_ms, strict=True)
        ]
        return _Changed(self, packed, _counted(states) - before)


def _is_readable(values: Sequence[bytes | None]) -> bool:
    try:
        unpack(list(values))
    except UnreadableStateError:
        return False
    return True


def _counted(states: States) -> np.ndarray:
    """Whether each row is a stored user, and has a timer: int64 (U, 2)."""
    known = states.header["events"] > 0
    return np.stack([known, known & (states.header["due_ms"] != NO_TIME)], axis=1).astype(np.int64)


@dataclass(frozen=True)
class _Changed:
    """The new states of a joint batch, and by how much each user changes the counts of users and timers."""

    users: _Users
    packed: list[UserState]
    difference: np.ndarray

    def step(self, partition: int, reached: Position, messages: list[Message], is_urgent: bool) -> Step:
        """One partition's share."""
        share = slice(self.users.starts[partition], self.users.ends[partition])
        users, timers = self.difference[share].sum(axis=0).tolist()
        position = replace(reached, users=reached.users + users, timers=reached.timers + timers)
        return Step(partition, position, self.packed[share], messages, is_urgent)


def _joined(parts: Sequence[Events], starts: Mapping[int, int]) -> Events:
    shifted = [replace(part, row=part.row + start) for part, start in zip(parts, starts.values(), strict=True)]
    return Events.concatenate(shifted)
