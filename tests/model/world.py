"""One Kafka and one Redis for all processes, and what can happen to them by themselves."""

from collections.abc import Callable, Coroutine, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from consumer.adapters.memory import MemoryChangelog
from consumer.adapters.memory_store import MemoryStore
from consumer.errors import EbbtideError
from consumer.records import NOT_BEGUN_MS, Header, Logged, Message, Position, UserState
from model.shop import FORGET, GARBLED, Script, due_ms, fold, message, records, state, time_ms
from model.truth import Truth

T = TypeVar("T")


def now(call: Coroutine[Any, Any, T]) -> T:
    """The result of an adapter's call that never waits."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("an in-memory adapter has waited")


class Writer(MemoryChangelog):
    """One process's writer; all write to the world's log, and what is committed is checked against the truth."""

    def __init__(self, world: "World") -> None:
        super().__init__(lambda message: None)
        self._world = world
        if hasattr(world, "log"):
            self._logs = world.log._logs

    async def commit(
        self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]
    ) -> int:
        """See `Changelog.commit`."""
        self._writable(partition)
        self._world.truth.land(partition, users, position, messages)
        offset = await super().commit(partition, users, position, messages)
        self._world.truth.landed(partition, offset)
        return offset


class World:
    """Everything that outlives a process."""

    def __init__(self, script: Script, owner: list[int], store: type[MemoryStore] = MemoryStore) -> None:
        self.script, self.owner, self.generation = script, owner, 0
        self.input = [records(events) for events in script]
        self.truth = Truth(script)
        self.log = Writer(self)
        self.store = store()
        self.snapshot = self.store_now()
        self.group = [0] * len(script)  # the offsets that the consumer group has committed
        self.in_flight: list[Callable[[], object]] = []  # calls that nobody waits for, and that may still arrive
        self.fences = 0
        self._names = 0

    def new_id(self) -> str:
        """A name that nobody else has."""
        self._names += 1
        return f"id{self._names}"

    def warm_up(self, events: int) -> None:
        """Each partition has been processed up to there, and both places agree."""
        for partition in range(len(self.script)):
            self._warm_up(partition, min(events, len(self.script[partition])))
        self.snapshot = self.store_now()

    def _warm_up(self, partition: int, count: int) -> None:
        values: dict[str, bytes] = {}
        messages, watermark_ms = [], NOT_BEGUN_MS
        for offset, event in enumerate(self.script[partition][:count]):
            values[event.user], alerts = fold(values.get(event.user, b""), event, offset)
            messages += [message(event.user, alert) for alert in alerts]
            watermark_ms = watermark_ms if event.type is FORGET else time_ms(offset)
        users = [state(*each) for each in values.items()]
        known = [each for each in users if each.value]
        timers = sum(due_ms(each.value) is not None for each in users)
        position = Position(self.new_id(), count, watermark_ms, len(known), timers, len(self.script))
        now(self.log.fence(partition))
        offset = now(self.log.commit(partition, users, position, messages))
        header = Header.of(Logged(position, offset), self.new_id())
        now(self.store.fill(partition, header.generation, 0, known))
        now(self.store.switch(partition, None, 1, header))

    # What happens to Redis.

    def store_now(self) -> object:
        """All that Redis holds: a replica, or a snapshot on disk."""
        return deepcopy(self.store._partitions)

    def roll_back(self) -> None:
        """Redis goes back in time as a whole."""
        self.store._partitions = deepcopy(self.snapshot)

    def flush(self) -> None:
        """Redis is emptied."""
        self.store._partitions.clear()

    def lose_header(self, partition: int) -> None:
        """One key goes."""
        self.store._partitions[partition].header = None

    def lose_user(self, partition: int, which: int) -> None:
        """One field of the hash goes."""
        values = self.store._partitions[partition].live.values
        if values:
            del values[sorted(values)[which % len(values)]]

    def lose_timers(self, partition: int) -> None:
        """The sorted set goes."""
        self.store._partitions[partition].live.timers.due_of.clear()

    def garble_user(self, partition: int, which: int) -> None:
        """One field of the hash becomes unreadable."""
        values = self.store._partitions[partition].live.values
        if values:
            values[sorted(values)[which % len(values)]] = GARBLED

    # What happens to Kafka.

    def compact(self, partition: int) -> None:
        """Superseded records go."""
        self.log._logs[partition].compact()

    def drop_tombstones(self, partition: int) -> None:
        """Erased users go, long after they were erased."""
        log = self.log._logs[partition]
        log.compact()
        log.records = [each for each in log.records if not isinstance(each[1], UserState) or each[1].value]

    def arrive(self, which: int) -> None:
        """A call that was given up arrives: who sent it is not told, and it is refused as any other would be."""
        call = self.in_flight.pop(which % len(self.in_flight))
        try:
            call()
        except EbbtideError:
            return
