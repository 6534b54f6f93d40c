"""What is committed, kept apart from the code under test; and what has to hold of it at every moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consumer.adapters.memory import MemoryChangelog
from consumer.adapters.memory_store import MemoryStore, _Partition
from consumer.records import NOT_BEGUN_MS, Message, Position, UserState
from model.shop import FORGET, GARBLED, Event, Script, due_ms, message, outcomes, time_ms

CRASHED = "the service goes on"


class BrokenPromiseError(AssertionError):
    """The protocol has broken a promise."""


def require(holds: object, promise: str, *facts: object) -> None:
    """Raise `BrokenPromiseError` unless a promise is kept."""
    if not holds:
        raise BrokenPromiseError(f"{promise}: {', '.join(map(str, facts))}")


@dataclass
class _Committed:
    position: Position | None = None
    offset: int = -1
    values: dict[str, bytes] = field(default_factory=dict)

    def timers(self) -> dict[str, int]:
        found = {user: due_ms(value) for user, value in self.values.items()}
        return {user: due for user, due in found.items() if due is not None}


def _is_intact(found: _Partition) -> bool:
    """Counted here, as the code that counts is under test as well."""
    there = (len(found.live.values), len(found.live.timers.due_of))
    return found.header is not None and there == (found.header.users, found.header.timers)


class Truth:
    """The committed path: each commit has to continue it, by exactly the events that it says it has read."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.partitions = [_Committed() for _ in script]
        self.alerts: list[Message] = []

    def land(self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]) -> None:
        """A transaction is about to be committed."""
        path = self.partitions[partition]
        self._check_position(path, partition, position)
        first = path.position.next_offset if path.position else 0
        events = list(enumerate(self._script[partition]))[first : position.next_offset]
        written = {each.user_id: each for each in users}
        told = {each.key.decode() for each in messages if each.key}
        for user in {event.user for _, event in events} | written.keys() | told:
            of_user = [(offset, event) for offset, event in events if event.user == user]
            before = path.values.get(user, b"")
            after = written[user].value if user in written else before
            alerts = tuple(each for each in messages if each.key == user.encode())
            expected = [
                (value, tuple(message(user, alert) for alert in those)) for value, those in outcomes(before, of_user)
            ]
            require((after, alerts) in expected, "a commit continues the committed path", user, before, after, alerts)
        for user, each in written.items():
            require(each.due_ms == due_ms(each.value), "a timer belongs to its state", each)
            path.values.pop(user, None)
            if each.value:
                path.values[user] = each.value
        path.position = position
        counts = (len(path.values), len(path.timers()))
        require(counts == (position.users, position.timers), "a position counts what is there", counts, position)
        twice = [each for each in messages if each in self.alerts]
        require(not twice, "no alert is published twice", twice)
        self.alerts += messages

    def _check_position(self, path: _Committed, partition: int, position: Position) -> None:
        before = path.position or Position(position.genesis, 0, NOT_BEGUN_MS, 0, 0, len(self._script))
        require(position.genesis == before.genesis, "a partition has one history", before, position)
        require(position.next_offset >= before.next_offset, "a position never goes back", before, position)
        reached = range(before.next_offset, position.next_offset)
        times_ms = [time_ms(each) for each in reached if self._script[partition][each].type is not FORGET]
        watermark_ms = max([before.watermark_ms, *times_ms])
        require(position.watermark_ms == watermark_ms, "the watermark is that of the events", before, position)
        require(position.partitions == len(self._script), "the position knows the input", position)

    def landed(self, partition: int, offset: int) -> None:
        """The same transaction is committed, its position at `offset` of the changelog."""
        require(offset > self.partitions[partition].offset, "offsets grow", offset)
        self.partitions[partition].offset = offset

    def check_changelog(self, changelog: MemoryChangelog) -> None:
        """What a restore would read is what was committed."""
        for partition, path in enumerate(self.partitions):
            users = [each for _, each in changelog._logs[partition].records if isinstance(each, UserState)]
            latest = {each.user_id: each.value for each in users}
            values = {user: value for user, value in latest.items() if value}
            require(values == path.values, "the changelog holds the fold of what is committed", values, path.values)

    def check_store(self, store: MemoryStore) -> None:
        """The view never knows more than the changelog; where it claims to stand with it, it does."""
        for partition, path in enumerate(self.partitions):
            found = store._partitions[partition]
            if found.header is None:
                continue
            require(found.header.offset <= path.offset, "Redis is never ahead of Kafka", found.header, path.offset)
            if found.header.offset == path.offset and _is_intact(found):
                values = {user: path.values.get(user) if v == GARBLED else v for user, v in found.live.values.items()}
                here = (values, found.live.timers.due_of)
                require(here == (path.values, path.timers()), "Redis holds what it says", here, path.values)

    def unsettled(self, store: MemoryStore) -> str | None:
        """What is left to do when nothing fails any more; None when all is folded and Redis stands with Kafka."""
        for partition, path in enumerate(self.partitions):
            found = store._partitions[partition]
            if path.position is None or path.position.next_offset < len(self._script[partition]):
                return f"partition {partition} is not read to its end: {path.position}"
            if path.timers():
                return f"silence is not noticed in partition {partition}: {path.values}"
            if found.header is None or found.header.offset != path.offset or not _is_intact(found):
                return f"Redis does not stand with Kafka in partition {partition}: {found.header}"
        return None

    def check_end(self) -> None:
        """Every event was told exactly once, whatever the path; and each user's alerts came in order."""
        for events in self._script:
            for user in {event.user for event in events}:
                self._check_user(user, [(at, event) for at, event in enumerate(events) if event.user == user])

    def _check_user(self, user: str, events: list[tuple[int, Event]]) -> None:
        alerts = tuple(each for each in self.alerts if each.key == user.encode())
        expected = [tuple(message(user, each) for each in those) for _, those in outcomes(b"", events)]
        require(alerts in expected, "all of a user's alerts, once and in order", user, alerts)
