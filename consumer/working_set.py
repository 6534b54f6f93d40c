"""What a partition has changed since Kafka and Redis last agreed: bounded, in memory, gone with every doubt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.records import Header, Message, Position, Step, UserState


@dataclass
class Changes:
    """What one commit will hold."""

    position: Position
    users: dict[str, UserState] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    message_bytes: int = 0
    since_ms: int | None = None  # when the first change came; None: nothing has changed
    is_urgent: bool = False

    def add(self, step: Step, now_ms: int) -> None:
        """Take in a step; a user's later state replaces the earlier one."""
        self.position = step.position
        self.users |= {user.user_id: user for user in step.users}
        self.messages += step.messages
        self.message_bytes += sum(len(each.value or b"") + len(each.key or b"") for each in step.messages)
        self.is_urgent |= step.is_urgent
        if self.since_ms is None:
            self.since_ms = now_ms


@dataclass
class WorkingSet:
    """The changes that gather, those whose commit is under way, and where the store stands without them."""

    header: Header  # of the last commit that the store has taken in, as far as is known
    gathering: Changes
    under_way: Changes | None = None
    header_under_way: Header | None = None  # of a store call that was sent and not answered

    @classmethod
    def at(cls, position: Position, header: Header) -> "WorkingSet":
        """Nothing has changed."""
        return cls(header, Changes(position))

    @property
    def position(self) -> Position:
        """Where the partition stands in memory."""
        return self.gathering.position

    @property
    def has_changes(self) -> bool:
        """Whether anything is not permanent yet."""
        return self.gathering.since_ms is not None or self.under_way is not None

    @property
    def changed_since_ms(self) -> int | None:
        """When the oldest change was made that is not permanent yet."""
        return (self.under_way or self.gathering).since_ms

    def take(self) -> Changes:
        """The gathered changes, for a commit that is now under way."""
        assert self.under_way is None, "one commit at a time"
        self.under_way, self.gathering = self.gathering, Changes(self.gathering.position)
        return self.under_way

    def settled(self, header: Header) -> None:
        """The commit under way is permanent."""
        self.header, self.header_under_way, self.under_way = header, None, None

    def headers(self) -> Sequence[Header]:
        """Where the store may stand."""
        return [self.header] if self.header_under_way is None else [self.header, self.header_under_way]

    def changed(self) -> dict[str, UserState]:
        """Users whose state the store may not have yet."""
        return (self.under_way.users if self.under_way else {}) | self.gathering.users

    def is_within(self, max_users: int, max_message_bytes: int) -> bool:
        """Whether what is held in memory is no more than that."""
        held = [self.gathering, *([self.under_way] if self.under_way else [])]
        return (
            sum(len(each.users) for each in held) <= max_users
            and sum(each.message_bytes for each in held) <= max_message_bytes
        )


def due_users(stored: Iterable[str], changed: Mapping[str, UserState], until_ms: int, limit: int) -> list[str]:
    """Users whose timer fires by `until_ms`: the store's, but for those whose newer timer is in memory."""
    due = [user for user in changed.values() if user.due_ms is not None and user.due_ms <= until_ms]
    return [*(name for name in stored if name not in changed), *(user.user_id for user in due)][:limit]
