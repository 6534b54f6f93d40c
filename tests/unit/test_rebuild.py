"""A restore and a catch-up tell how far they are."""

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumer import rebuild
from consumer.adapters.memory import MemoryChangelog
from consumer.adapters.memory_store import MemoryStore
from consumer.adapters.metrics import Metrics
from consumer.rebuild import Rebuild
from consumer.records import Chunk, Header, Logged, Position, UserState

USERS = 12_000  # the changelog is read in chunks of 5,000
PROGRESS = "ebbtide_rebuild_progress_ratio"


class WatchedStore(MemoryStore):
    """Remembers what the metric said when each part came."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry
        self.progress: list[float | None] = []

    async def fill(self, partition: int, generation: str, part: int, users: Sequence[UserState]) -> None:
        """See `StateStore.fill`."""
        self.progress.append(self._registry.get_sample_value(PROGRESS, {"partition": "0"}))
        await super().fill(partition, generation, part, users)

    async def catch_up(self, partition: int, before: Header, chunk: Chunk, last: Logged | None) -> Header:
        """See `StateStore.catch_up`."""
        self.progress.append(self._registry.get_sample_value(PROGRESS, {"partition": "0"}))
        return await super().catch_up(partition, before, chunk, last)


async def many_users(registry: CollectorRegistry, store: WatchedStore) -> tuple[Rebuild, Logged]:
    """A partition with many users in the changelog."""
    changelog = MemoryChangelog(lambda _: None)
    await changelog.fence(0)
    position = Position("genesis", 7, 1_000, USERS, 0, 1)
    users = [UserState(f"user-{number}", b"state", None) for number in range(USERS)]
    logged = Logged(position, await changelog.commit(0, users, position, []))
    return Rebuild(changelog, store, Metrics(registry), 0, logged), logged


@pytest.mark.parametrize("what", ["restore", "catch-up"])
async def test_progress_is_told(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a metric that rises with every chunk and goes in the end, and in the log with what is left."""
    monkeypatch.setattr(rebuild, "_TELL_EVERY_S", 0.0)
    registry = CollectorRegistry()
    store = WatchedStore(registry)
    work, logged = await many_users(registry, store)
    with capture_logs() as logs:
        if what == "restore":
            await work.restore(None, "g1")
        else:
            start = Header("genesis", -1, "g0", 0, 0, 0, -1)
            await store.switch(0, None, 0, start)
            assert await work.catch_up(start) == Header.of(logged, "g0")
    assert store.progress == [None, pytest.approx(5_000 / USERS, abs=0.01), pytest.approx(10_000 / USERS, abs=0.01)]
    assert registry.get_sample_value(PROGRESS, {"partition": "0"}) is None
    told = [each for each in logs if each["event"] == f"{what} under way"]
    assert [each["done"] for each in told] == ["42%", "83%", "100%"]
    assert all(each["left_s"] >= 0 and each["users_per_s"] > 0 for each in told)
