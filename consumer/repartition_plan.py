"""Where users and positions go once the input has another number of partitions. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from consumer.adapters.kafka import partition_of
from consumer.errors import ConfigurationError, EbbtideError
from consumer.records import NOT_BEGUN_MS, Logged, Position, UserState

Shares = Mapping[int, Sequence[UserState]]  # users by the partition that is theirs now
_UNFINISHED = 0  # a partition count that no topic has: the service refuses to work on such a position


@dataclass(frozen=True)
class InputNow:
    """The input as it is: by partition, the first offset that can be read and the one after the last."""

    retained: Sequence[tuple[int, int]]
    from_end: bool = False  # whether a partition that was never processed starts there

    def configured_start(self, partition: int) -> int:
        """As the service would start it."""
        first, end = self.retained[partition]
        return end if self.from_end else first


def kept_for(logged: Iterable[Logged], states_in: int, now: int) -> int:
    """For how many partitions of the input states were kept in a topic of `states_in`; `now` where nothing moves.

    Raises `ConfigurationError` for a state topic that cannot be moved from.
    """
    counts = {each.position.partitions for each in logged}
    if _UNFINISHED in counts:
        raise ConfigurationError(
            "the state topic was left unfinished by an `ebbtide repartition`: delete it, and set "
            "EBBTIDE_STATE_TOPIC to the one before"
        )
    if len(earlier := counts - {now}) > 1:
        raise ConfigurationError(f"the state topic holds states that were kept for {sorted(counts)} partitions")
    if earlier:
        return earlier.pop()
    return now if counts else states_in


@dataclass(frozen=True)
class Plan:
    """From the last positions of the old state topic to those of the new one."""

    logged: Mapping[int, Logged]  # by old partition; one that was never begun is missing
    kept_for: int
    input: InputNow

    @property
    def partitions(self) -> int:
        """Of the input now, and of the new state topic."""
        return len(self.input.retained)

    def next_offset(self, partition: int) -> int:
        """Where the service will go on."""
        if self.partitions < self.kept_for:  # Kafka takes no partitions away: the input is another one
            return self.input.configured_start(partition)
        if partition in self.logged:
            return self.logged[partition].position.next_offset
        if partition >= self.kept_for:  # whatever it holds is newer than the service
            return self.input.retained[partition][0]
        return self.input.configured_start(partition)

    def unread(self) -> dict[int, range]:
        """Offsets not processed yet of partitions in which users lived that may live elsewhere now."""
        found = {}
        for partition in range(min(self.kept_for, self.partitions)):
            first, end = self.input.retained[partition]
            found[partition] = range(max(first, self.next_offset(partition)), end)
        return {partition: offsets for partition, offsets in found.items() if offsets}

    def watermark_ms(self) -> int:
        """The least that any partition had reached: for nobody more silence is taken as seen than there was."""
        reached = [each.position.watermark_ms for each in self.logged.values()]
        return min((each for each in reached if each != NOT_BEGUN_MS), default=NOT_BEGUN_MS)


class Split:
    """Hands users to the partitions that are theirs now, and counts them there.

    Users that an old partition holds although they did not live there are *early*: producers knew the new partitions
    before the service was stopped. Of two states the one in the partition where the user lived has the longer history.
    """

    def __init__(self, kept_for: int, partitions: int) -> None:
        self._kept_for, self._partitions = kept_for, partitions
        self._has_timer: list[dict[str, bool]] = [{} for _ in range(partitions)]
        self._early: dict[str, UserState] = {}

    def shares(self, partition: int, users: Iterable[UserState]) -> Shares:
        """What to write of users found in an old partition, the later one of the same user last."""
        shares: defaultdict[int, list[UserState]] = defaultdict(list)
        for user in users:
            key = user.user_id.encode()
            home = partition_of(key, self._partitions)
            if partition_of(key, self._kept_for) == partition:
                self._put(home, user, shares)
            elif home == partition:
                self._early[user.user_id] = user
            else:
                raise EbbtideError(
                    f"user {user.user_id!r} is in partition {partition}, where Kafka's default partitioner (murmur2 of "
                    "the key) never put them: if the producers use another one, nobody knows here where users live now"
                )
        return shares

    def early(self) -> tuple[Shares, list[str]]:
        """What to write of early users, once all others are: theirs alone; and who has an older state as well."""
        shares: defaultdict[int, list[UserState]] = defaultdict(list)
        older = []
        for name, user in self._early.items():
            home = partition_of(name.encode(), self._partitions)
            if user.value and name in self._has_timer[home]:
                older.append(name)
            else:
                self._put(home, user, shares)
        return shares, older

    def _put(self, home: int, user: UserState, shares: Mapping[int, list[UserState]]) -> None:
        if user.value:
            self._has_timer[home][user.user_id] = user.due_ms is not None
        elif self._has_timer[home].pop(user.user_id, None) is None:
            return  # never written, so nothing to erase
        shares[home].append(user)

    def counts(self, partition: int) -> tuple[int, int]:
        """How many users and timers a new partition has."""
        has_timer = self._has_timer[partition]
        return len(has_timer), sum(has_timer.values())


@dataclass(frozen=True)
class Drafts:
    """The positions of the new topic, one per partition, each the start of a history of its own."""

    plan: Plan
    genesis: Sequence[str]

    def unfinished(self, partition: int) -> Position:
        """Holds the place; no service works on it."""
        start, watermark_ms = self.plan.next_offset(partition), self.plan.watermark_ms()
        return Position(self.genesis[partition], start, watermark_ms, partitions=_UNFINISHED)

    def final(self, partition: int, split: Split, next_offset: int | None = None) -> Position:
        """By which the service goes on, from the plan's offset or another one."""
        users, timers = split.counts(partition)
        held = self.unfinished(partition)
        start = held.next_offset if next_offset is None else next_offset
        return replace(held, next_offset=start, users=users, timers=timers, partitions=self.plan.partitions)
