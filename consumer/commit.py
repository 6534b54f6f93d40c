"""Exactly once: how a commit becomes permanent, and how a partition is claimed after whatever happened.

Kafka is the truth, Redis a view of it that may lag, lose writes or vanish. Facts are read, `resolve` picks one of a few
named outcomes, and a short driver carries it out. Why this holds, and every crash point: docs/exactly_once.md.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from consumer.errors import ConfigurationError, LostPartitionError, PartitionHeldError, UnavailableError
from consumer.ports import Changelog, Source, StateStore
from consumer.rebuild import Rebuild
from consumer.records import NOT_BEGUN_MS, Header, Logged, Message, Position, UserState, View
from consumer.resolve import RESTORES, Outcome, resolve
from consumer.telemetry import Telemetry

log = structlog.get_logger()
_REBUILDS = 4


@dataclass(frozen=True)
class Claimed:
    """A partition that is ours: where it stands in the changelog and, the same, in the store."""

    position: Position
    header: Header


@dataclass(frozen=True)
class ClaimRules:
    """What an operator has allowed."""

    wipe_foreign_state: bool = False
    skip_lost_input: bool = False
    recounts: bool = False  # nothing fences writers (at least once): a position's counts may not be those of its states


@dataclass(frozen=True)
class Ledger:
    """The three places between which a partition must agree."""

    source: Source
    changelog: Changelog
    store: StateStore


class Claimer:
    """Claims partitions."""

    def __init__(self, ledger: Ledger, rules: ClaimRules, telemetry: Telemetry, new_id: Callable[[], str]) -> None:
        self._source, self._changelog, self._store = ledger.source, ledger.changelog, ledger.store
        self._rules, self._telemetry, self._new_id = rules, telemetry, new_id
        self._rebuilding = asyncio.Semaphore(_REBUILDS)  # memory holds the chunks of so many

    async def claim(self, partition: int) -> Claimed:
        """Become the owner and bring the view in place.

        Raises `LostPartitionError` or `UnavailableError` (claim again), `PartitionHeldError` or `ConfigurationError`
        (a person must act).
        """
        await self._changelog.fence(partition)
        found: Outcome | None = None  # at first: what a partition that was begun comes to then says nothing
        while True:
            view = await self._store.view(partition)  # before the barrier: what is read after it is not older
            barrier = await self._changelog.barrier(partition)
            logged = await self._changelog.last(partition, barrier)
            outcome = resolve(logged, view)
            found = found or outcome
            if outcome in (Outcome.FOREIGN, Outcome.RESTORE_AHEAD):
                await self._changelog.barrier(partition)  # still the owner? Only then is this no race
            if logged is not None:
                break
            if outcome is Outcome.FOREIGN and not self._rules.wipe_foreign_state:
                raise _foreign(partition, view)
            await self._begin(partition)
        if self._rules.recounts and outcome in RESTORES:
            logged = await self._recounted(partition, logged)
        await self.check_partition_count([logged.position])
        position = await self._within_retention(partition, logged.position)
        header = await self._in_place(partition, outcome, logged, view)
        log.info("claimed", partition=partition, outcome=found.name.lower(), offset=position.next_offset)
        self._telemetry.claimed(found.name.lower())
        return Claimed(position, header)

    async def release(self, partition: int) -> None:
        """Write no more."""
        await self._changelog.release(partition)

    async def discard(self, partition: int, header: Header) -> None:
        """Have the next claim restore the view."""
        await self._store.discard(partition, header)

    async def _begin(self, partition: int) -> None:
        """The first commit of all: from here on the changelog knows the partition.

        One that was added to the input is no place to begin: its users' states are kept elsewhere.
        """
        if (kept := await self._changelog.newest(0)) is not None:
            await self.check_partition_count([kept.position])
        count = await self._source.partitions()
        start = await self._source.configured_start(partition)
        await self._changelog.commit(partition, [], Position(self._new_id(), start, NOT_BEGUN_MS, 0, 0, count), [])

    async def _recounted(self, partition: int, logged: Logged) -> Logged:
        """The last position with the counts of the states that are there, committed if it says otherwise.

        Holds the names of all the partition's users in memory.
        """
        timers: dict[str, bool] = {}
        async for chunk in self._changelog.read(partition, -1, logged.offset):
            timers |= {user.user_id: user.due_ms is not None for user in chunk.users}
            for user in chunk.users:
                if not user.value:
                    del timers[user.user_id]
        counted = replace(logged.position, users=len(timers), timers=sum(timers.values()))
        if counted == logged.position:
            return logged
        log.warning("a position was wrong about its states: counted anew", partition=partition)
        return Logged(counted, await self._changelog.commit(partition, [], counted, []))

    async def check_partition_count(self, positions: Sequence[Position]) -> None:
        """Raises `ConfigurationError` if the input has another number of partitions than states were kept for."""
        count = await self._source.partitions()
        for kept_for in {position.partitions for position in positions} - {count}:
            if kept_for == 0:
                raise ConfigurationError(
                    "`ebbtide repartition` has not finished writing this state topic: run it again"
                )
            raise ConfigurationError(
                f"the input topic has {count} partitions, but its states were kept for {kept_for}: users live in other "
                "partitions now. Run `ebbtide repartition`, which rebuilds them beside the old ones"
            )

    async def _within_retention(self, partition: int, position: Position) -> Position:
        first, end = await self._source.retained(partition)
        lost = not first <= position.next_offset <= end
        self._telemetry.input_lost(partition, lost)
        if not lost:
            return position
        where = f"partition {partition} stands at offset {position.next_offset}, but the input holds {first} to {end}"
        if not self._rules.skip_lost_input:
            raise PartitionHeldError(
                f"{where}: records were deleted before they were read, or the topic was made anew. Set "
                "EBBTIDE_SKIP_LOST_INPUT=true to go on with what is left",
                partition,
            )
        log.error("going on without what is gone", why=where)
        return replace(position, next_offset=first)

    async def _in_place(self, partition: int, outcome: Outcome, logged: Logged, view: View) -> Header:
        """The view's header once it stands at `logged`."""
        if outcome is Outcome.LIVE:
            assert view.header is not None
            return view.header
        if outcome is Outcome.RESTORE_AHEAD:
            log.error("Redis knows more than the changelog: was the state topic made anew?", partition=partition)
        rebuild = Rebuild(self._changelog, self._store, self._telemetry, partition, logged)
        async with self._rebuilding:
            if outcome is Outcome.CATCH_UP:
                assert view.header is not None
                return await rebuild.catch_up(view.header)
            return await rebuild.restore(view.header, self._new_id())


def _foreign(partition: int, view: View) -> PartitionHeldError:
    return PartitionHeldError(
        f"Redis holds states of partition {partition} (at {view.header}), but the state topic has none: wrong "
        "group_id, redis_url or state_topic, or the topic was made anew. Set "
        "EBBTIDE_WIPE_FOREIGN_STATE=true to start afresh",
        partition,
    )


class Committer:
    """Makes changes permanent: one Kafka transaction, then one atomic call to the store."""

    def __init__(self, changelog: Changelog, store: StateStore, telemetry: Telemetry) -> None:
        self._changelog, self._store, self._telemetry = changelog, store, telemetry

    async def publish(
        self, partition: int, users: Sequence[UserState], position: Position, messages: Sequence[Message]
    ) -> Logged:
        """The transaction; raises `LostPartitionError` if it is not known to be committed."""
        with self._telemetry.stage("publish"):
            offset = await self._changelog.commit(partition, users, position, messages)
        self._telemetry.committed(len(users), len(messages))
        return Logged(position, offset)

    async def follow(self, partition: int, before: Header, after: Header, users: Sequence[UserState]) -> None:
        """Take a commit into the store; raises `LostPartitionError` if it is not known to be there."""
        try:
            with self._telemetry.stage("write"):
                await self._store.step(partition, before, after, users)
        except UnavailableError as error:
            raise LostPartitionError(f"no answer from the store: {error}", [partition], "unknown") from error
