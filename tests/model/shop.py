"""A shop so small that every history of it can be written down: a user's state is what was folded into it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from consumer.batch import Slice, Stored
from consumer.core.events import ERASE
from consumer.errors import DamagedViewError
from consumer.records import Message, Position, Record, Step, UserState

START_MS = 1_700_000_000_000
APART_MS, SILENCE_MS = 1_000, 1_500  # between two events of a partition; until a silence timer fires
QUIET, TELLING, FORGET = "view_item", "refund", None  # event types: no alert, an alert, erasure
ALERTS = "alerts"
GARBLED = b"?"  # no state: found out when it is loaded


@dataclass(frozen=True)
class Event:
    """Of the input; its offset is its place in the partition's list."""

    user: str
    type: str | None = QUIET


Script = Sequence[Sequence[Event]]  # by partition
SCRIPTS: Sequence[Script] = (
    (
        (Event("a"), Event("b", TELLING), Event("a", TELLING), Event("b"), Event("a", TELLING), Event("b", TELLING)),
        (Event("c", TELLING), Event("d"), Event("c"), Event("c", TELLING)),
    ),
    (
        (Event("a", TELLING), Event("b"), Event("a", FORGET), Event("b", TELLING), Event("a"), Event("a", TELLING)),
        (Event("c"), Event("c", TELLING), Event("c", FORGET)),
    ),
    ((Event("a"), Event("b", TELLING), Event("a", FORGET), Event("b"), Event("a", TELLING), Event("c"), Event("b")),),
    ((Event("a", TELLING), Event("b", TELLING), Event("b"), Event("a"), Event("b", TELLING), Event("a", TELLING)),),
)


def time_ms(offset: int) -> int:
    """When the event at an offset happened."""
    return START_MS + offset * APART_MS


def records(events: Sequence[Event]) -> list[Record]:
    """One partition of the input topic."""
    found = []
    for offset, event in enumerate(events):
        content = {"event_id": str(offset), "user_id": event.user, "event_type": event.type}
        value = json.dumps({**content, "occurred_at": time_ms(offset)}).encode() if event.type else None
        found.append(Record(offset, time_ms(offset), event.user.encode(), value))
    return found


# A state lists what was folded since the user is known: "0.2.s.5" is two events, silence, an event.


def is_readable(value: bytes) -> bool:
    """Whether it is a state at all."""
    return value.replace(b".", b"").replace(b"s", b"").isdigit() or not value


def due_ms(value: bytes) -> int | None:
    """When silence is noticed; None if it has been, or if there is nobody."""
    last = value.rpartition(b".")[2]
    return time_ms(int(last)) + SILENCE_MS if last.isdigit() else None


def state(user: str, value: bytes) -> UserState:
    """As stored."""
    return UserState(user, value, due_ms(value))


def fold(value: bytes, event: Event, offset: int) -> tuple[bytes, list[str]]:
    """A user's state after an event, and the alerts about it."""
    if event.type is FORGET:
        return b"", []
    alerts = [f"back:{offset}"] if value.endswith(b"s") else []
    alerts += [f"event:{offset}"] if event.type == TELLING else []
    return b".".join([*([value] if value else []), str(offset).encode()]), alerts


def silence(value: bytes) -> tuple[bytes, list[str]]:
    """A user's state after their timer has fired, and the alert about it."""
    return value + b".s", [f"silent:{value.rpartition(b'.')[2].decode()}"]


def message(user: str, alert: str) -> Message:
    """As published."""
    return Message(ALERTS, user.encode(), alert.encode())


@dataclass
class _Batch:
    """One partition's share of a micro-batch, while it is folded."""

    position: Position
    values: dict[str, bytes]
    messages: list[Message]

    def take(self, user: str, folded: tuple[bytes, list[str]]) -> None:
        value, alerts = folded
        old = self.values[user]
        self.values[user] = value
        self.messages += [message(user, each) for each in alerts]
        self.position = replace(
            self.position,
            users=self.position.users + bool(value) - bool(old),
            timers=self.position.timers + (due_ms(value) is not None) - (due_ms(old) is not None),
        )

    def step(self, partition: int) -> Step:
        users = [state(*each) for each in self.values.items()]
        return Step(partition, self.position, users, self.messages, is_urgent=bool(self.messages))


class ShopWorker:
    """The `Worker` of this shop."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def on_events(
        self, batch: Mapping[int, Slice], stored: Stored, stand: Mapping[int, Position], now_ms: int
    ) -> list[Step]:
        """See `Worker.on_events`."""
        users = {partition: part.decoded.users for partition, part in batch.items()}
        found = _batches(users, stored, stand)
        for partition, part in batch.items():
            share, decoded = found[partition], part.decoded
            for row, kind, index in zip(decoded.events.row, decoded.events.kind, decoded.index, strict=True):
                user, offset = decoded.users[row], part.records[index].offset
                share.take(user, fold(share.values[user], self._script[partition][offset], offset))
                reached_ms = share.position.watermark_ms if kind == ERASE else time_ms(offset)
                share.position = replace(
                    share.position, next_offset=offset + 1, watermark_ms=max(share.position.watermark_ms, reached_ms)
                )
        return [share.step(partition) for partition, share in found.items()]

    def cut(
        self, batch: Mapping[int, Slice], stand: Mapping[int, Position], decoded: Callable[[int, list[Record]], Slice]
    ) -> list[dict[int, Slice]]:
        """See `Worker.cut`: one partition after the other."""
        return [{partition: part} for partition, part in batch.items()]

    def on_silence(
        self,
        due: Mapping[int, list[str]],
        stored: Stored,
        stand: Mapping[int, Position],
        until: Mapping[int, int],
        now_ms: int,
    ) -> list[Step]:
        """See `Worker.on_silence`."""
        found = _batches(due, stored, stand)
        for partition, share in found.items():
            for user, value in list(share.values.items()):
                at_ms = due_ms(value)
                if at_ms is not None and at_ms <= until[partition]:
                    share.take(user, silence(value))
        return [share.step(partition) for partition, share in found.items()]


def _batches(users: Mapping[int, list[str]], stored: Stored, stand: Mapping[int, Position]) -> dict[int, _Batch]:
    damaged = [each for each in users if not all(is_readable(value or b"") for value in stored[each])]
    if damaged:
        raise DamagedViewError("no state", damaged)
    return {
        each: _Batch(stand[each], {n: value or b"" for n, value in zip(names, stored[each], strict=True)}, [])
        for each, names in users.items()
    }


def outcomes(value: bytes, events: Sequence[tuple[int, Event]]) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """All that a user's state and alerts can come to: silence may be noticed before each of some events, and after."""
    if due_ms(value) is not None:
        silent, alerts = silence(value)
        yield from ((last, (*alerts, *more)) for last, more in outcomes(silent, events))
    if not events:
        yield value, ()
        return
    (offset, event), *rest = events
    folded, alerts = fold(value, event, offset)
    yield from ((last, (*alerts, *more)) for last, more in outcomes(folded, rest))
