"""States and due timers from the store, together with what it may not have yet."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeVar

from consumer.batch import Stored
from consumer.errors import LostPartitionError
from consumer.owner import Owner
from consumer.ports import StateStore
from consumer.records import Headers
from consumer.retry import Retrier
from consumer.telemetry import Telemetry
from consumer.working_set import due_users

T = TypeVar("T")


class Loader:
    """Asks for the owner's partitions where they stand; an answer from elsewhere brings them into doubt."""

    def __init__(self, owner: Owner, store: StateStore, retry: Retrier, telemetry: Telemetry) -> None:
        self._owner, self._store, self._retry, self._telemetry = owner, store, retry, telemetry

    async def load(self, users: Mapping[int, list[str]]) -> Stored:
        """States by partition, those from memory that the store may not have yet; partitions in doubt are left out."""
        with self._telemetry.stage("load"):
            while users := self._owner.live_of(users):
                known = self._known(users)
                missing = {each: [name for name in names if name not in known[each]] for each, names in users.items()}
                loaded = await self._ask(users, partial(self._store.load, missing))
                if loaded is not None:
                    users = self._owner.live_of(users)  # a commit may have failed meanwhile
                    return {each: _merged(names, known[each], loaded[each]) for each, names in users.items()}
        return {}

    async def due(self, until_ms: Mapping[int, int], limit: int) -> dict[int, list[str]]:
        """At most `limit` users whose timers are due, by partition that has any.

        Asking also tells whether the store is in place.
        """
        while until_ms := self._owner.live_of(until_ms):
            changed = {each: self._owner.work(each).changed() for each in until_ms}
            most = limit + max(map(len, changed.values()))
            found = await self._ask(until_ms, partial(self._store.due, until_ms, limit=most))
            if found is not None:
                due = {each: due_users(names, changed[each], until_ms[each], limit) for each, names in found.items()}
                return {partition: users for partition, users in due.items() if users}
        return {}

    async def _ask(self, partitions: Collection[int], ask: Callable[[Headers], Awaitable[T]]) -> T | None:
        """The store's answer for partitions where they stand; None if that was not sure: ask again for those left.

        A commit that ended meanwhile has moved the store itself, which is no reason for doubt.
        """
        before = self._owner.headers(partitions)
        try:
            return await self._retry("redis", lambda: ask(self._owner.headers(partitions)))
        except LostPartitionError as doubt:
            unmoved = [each for each in self._owner.live_of(before) if self._owner.work(each).headers() == before[each]]
            self._owner.doubt(doubt, among=unmoved)
            return None

    def _known(self, users: Mapping[int, Iterable[str]]) -> dict[int, dict[str, bytes]]:
        """By partition, the states of those users that the store may not have yet."""
        found = {}
        for partition, names in users.items():
            changed = self._owner.work(partition).changed()
            found[partition] = {name: changed[name].value for name in names if name in changed}
        return found


def _merged(names: list[str], known: Mapping[str, bytes], loaded: list[bytes | None]) -> list[bytes | None]:
    """The states of `names`: of those not known, in order, the loaded ones."""
    rest = iter(loaded)
    return [known[name] if name in known else next(rest) for name in names]
