"""The Redis store under damage, outages and refusals that only a real server has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from proxy import Proxy, free_port, proxy
from redis.asyncio import Redis

from consumer.adapters.redis_client import connect
from consumer.adapters.redis_store import RedisStore
from consumer.embedded import EmbeddedValkey, RedisServer
from consumer.errors import ConfigurationError, EbbtideError, LostPartitionError, UnavailableError
from consumer.records import Chunk, Header, Logged, Position, UserState, View
from support import unique

USERS = [UserState("anna", b"A", 5), UserState("ben", b"B", 7), UserState("cleo", b"C", None)]
AT = Header.of(Logged(Position("genesis", 10, 1_000, 3, 2, 4), 2), "g1")
AFTER = replace(AT, offset=3)
NOTHING = View(None, is_intact=False)


@pytest.fixture
def group() -> str:
    return unique("store")


@pytest.fixture
async def store(valkey: RedisServer, group: str) -> AsyncIterator[RedisStore]:
    """A store with one intact partition."""
    store = RedisStore(valkey.url, group, 10.0)
    await store.fill(0, "g1", 0, USERS)
    await store.switch(0, None, 1, AT)
    yield store
    await store.close()


@pytest.fixture
async def redis(valkey: RedisServer) -> AsyncIterator[Redis]:
    """A client of one's own."""
    async with aclosing(Redis.from_url(valkey.url)) as client:
        yield client


def keys(group: str, generation: str = "g1") -> tuple[str, str, str, str]:
    """Header, users, timers and parts, as other tools know them."""
    tag = f"{{{group}:0}}"
    return f"{tag}:header", f"{tag}:users:{generation}", f"{tag}:due:{generation}", f"{tag}:fill:{generation}"


async def names(redis: Redis, group: str) -> set[str]:
    return {name.decode() async for name in redis.scan_iter(match=f"*{group}*", count=10_000)}


# Damage.

DAMAGE = {
    "a user less": ("HDEL", 1, "anna"),
    "a user more": ("HSET", 1, "zoe", "Z"),
    "no users": ("DEL", 1),
    "a timer less": ("ZREM", 2, "anna"),
    "a timer more": ("ZADD", 2, 1, "cleo"),
    "no timers": ("DEL", 2),
    "no header": ("DEL", 0),
    "another header": ("SET", 0, str(replace(AT, users=2))),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_damaged_partition_is_not_used(
    store: RedisStore, redis: Redis, group: str, damage: tuple[str, int, str]
) -> None:
    """Where a user, a timer or the header is gone or too many, nothing is handed out, and nothing written."""
    command, key, *arguments = damage
    await redis.execute_command(command, keys(group)[key], *arguments)
    assert not (await store.view(0)).is_intact
    before = [await redis.dump(key) for key in keys(group)]
    for call in (
        store.load({0: ["ben"]}, {0: [AT]}),
        store.due({0: 100}, {0: [AT]}, 10),
        store.step(0, AT, AFTER, [UserState("ben", b"new", 9)]),
        store.catch_up(0, AT, Chunk([UserState("ben", b"new", 9)], 3, None), None),
    ):
        with pytest.raises(LostPartitionError, match="partition 0 stands at"):
            await call
    assert [await redis.dump(key) for key in keys(group)] == before


@pytest.mark.parametrize("damage", ["a user less", "no timers"])
async def test_a_damaged_view_can_be_discarded_and_replaced(
    store: RedisStore, redis: Redis, group: str, damage: str
) -> None:
    """A view need not be intact to be given up, or to be restored over."""
    command, key, *arguments = DAMAGE[damage]
    await redis.execute_command(command, keys(group)[key], *arguments)
    await store.fill(0, "g2", 0, USERS)
    await store.switch(0, AT, 1, replace(AT, generation="g2"))
    assert await store.load({0: ["anna"]}, {0: [replace(AT, generation="g2")]}) == {0: [b"A"]}
    await redis.execute_command(command, keys(group, "g2")[key], *arguments)
    await store.discard(0, replace(AT, generation="g2"))
    assert await names(redis, group) == set()


async def test_a_header_of_somebody_else_is_told(store: RedisStore, redis: Redis, group: str) -> None:
    """Something else under the header's key is for a person to look at."""
    await redis.set(keys(group)[0], "not a header")
    with pytest.raises(ConfigurationError, match="no header under"):
        await store.view(0)


async def test_a_refusal_tells_what_was_found_and_expected(store: RedisStore) -> None:
    """Of every partition that refuses: where it stands, what is there, and where it should stand."""
    with pytest.raises(LostPartitionError) as refusal:
        await store.load({0: ["anna"], 1: ["anna"]}, {0: [AFTER], 1: [AT, AFTER]})
    found = f"partition 0 stands at {AT} in Redis with 3 users and 2 timers, not at {AFTER}"
    missing = f"partition 1 stands at nothing in Redis with 0 users and 0 timers, not at {AT} or {AFTER}"
    assert str(refusal.value) == f"{found}; {missing}"
    assert (refusal.value.partitions, refusal.value.reason) == ({0, 1}, "moved")
    with pytest.raises(LostPartitionError, match=r"partition 1 stands at nothing .* not at 2 parts of generation g2"):
        await store.fill(1, "g2", 2, [])
    await store.fill(0, "g2", 0, [])
    with pytest.raises(LostPartitionError, match=rf"stands at {AT} in Redis with 0 users and 0 timers in 1 parts, not"):
        await store.switch(0, AT, 1, replace(AT, generation="g2"))


# What is left.


async def test_nothing_is_left_of_an_old_generation(store: RedisStore, redis: Redis, group: str) -> None:
    """After a switch there are the header and two keys of the new generation, which stay for good."""
    await store.fill(0, "g2", 0, USERS)
    await store.switch(0, AT, 1, replace(AT, generation="g2"))
    left = set(keys(group, "g2")[:3])
    assert await names(redis, group) == left
    assert [await redis.ttl(key) for key in left] == [-1, -1, -1]


async def test_an_unfinished_generation_expires(store: RedisStore, redis: Redis, group: str) -> None:
    """What is filled and never switched to is gone an hour after its last part."""
    await store.fill(0, "g2", 0, USERS)
    unfinished = keys(group, "g2")[1:]
    for key in unfinished:
        assert 3_500 < await redis.ttl(key) <= 3_600
        await redis.expire(key, 10)
    await store.fill(0, "g2", 1, [])
    assert all([await redis.ttl(key) > 3_500 for key in unfinished])


async def test_a_generation_that_expired_is_not_switched_to(store: RedisStore, redis: Redis, group: str) -> None:
    """A restore that paused for too long starts again."""
    await store.fill(0, "g2", 0, USERS)
    await redis.delete(*keys(group, "g2")[1:])
    for call in (store.fill(0, "g2", 1, []), store.switch(0, AT, 1, replace(AT, generation="g2"))):
        with pytest.raises(LostPartitionError):
            await call
    assert await store.view(0) == View(AT, is_intact=True)


async def test_nothing_is_left_of_a_view_that_was_given_up(store: RedisStore, redis: Redis, group: str) -> None:
    """A view that has other counts at the end of a catch-up than the changelog leaves no keys behind."""
    last = Logged(Position("genesis", 20, 2_000, 9, 9, 4), 5)
    with pytest.raises(LostPartitionError, match="3 users and 2 timers"):
        await store.catch_up(0, AT, Chunk([], 5, last), last)
    assert await names(redis, group) == set()


# Outages.


@asynccontextmanager
async def behind_proxy(valkey: RedisServer, group: str, timeout_s: float) -> AsyncIterator[tuple[RedisStore, Proxy]]:
    """A store whose way to Redis can be cut."""
    target = urlsplit(valkey.url).port
    assert target is not None
    async with proxy(free_port(), target) as way:
        store = RedisStore(f"redis://127.0.0.1:{way.port}/0", group, timeout_s)
        yield store, way
        await store.close()


@pytest.mark.usefixtures("store")
async def test_an_outage_ends_by_itself(valkey: RedisServer, group: str) -> None:
    """While Redis cannot be reached, or does not answer, calls say so; afterwards the next one works."""
    async with behind_proxy(valkey, group, 0.3) as (store, way):
        with pytest.raises(UnavailableError):
            await store.view(0)
        await way.open()
        assert await store.view(0) == View(AT, is_intact=True)
        await way.cut()
        with pytest.raises(UnavailableError):
            await store.load({0: ["anna"]}, {0: [AT]})
        await way.open()
        assert await store.load({0: ["anna"]}, {0: [AT]}) == {0: [b"A"]}
        way.block()
        with pytest.raises(UnavailableError):
            await store.due({0: 100}, {0: [AT]}, 10)
        await way.open()
        assert await store.due({0: 100}, {0: [AT]}, 10) == {0: ["anna", "ben"]}


CHANGES = {
    "step": lambda store: store.step(0, AT, AFTER, []),
    "catch_up": lambda store: store.catch_up(0, AT, Chunk([], 3, None), None),
    "discard": lambda store: store.discard(0, AT),
    "fill": lambda store: store.fill(0, "g2", 0, USERS),
    "switch": lambda store: store.switch(0, AT, 0, replace(AT, users=0, timers=0, generation="g2")),
}


class Deaf:
    """A server that reads requests and never answers, or hangs up."""

    def __init__(self, hangs_up: bool) -> None:
        self.requests = 0
        self._hangs_up = hangs_up

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000_000):
            if b"CLIENT" in data and b"EVAL" not in data:  # the greeting
                writer.write(b"+OK\r\n" * data.count(b"CLIENT"))
                continue
            self.requests += data.count(b"EVAL")
            if self._hangs_up:
                break
        writer.close()


@pytest.mark.parametrize("hangs_up", [True, False], ids=["hangs up", "is silent"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_without_an_answer_is_never_sent_twice(change: object, hangs_up: bool) -> None:
    """Whether a server hangs up or keeps silent: the call fails, and its author decides what to do."""
    deaf = Deaf(hangs_up)
    async with deaf as port:
        store = RedisStore(f"redis://127.0.0.1:{port}", "group", 0.2)
        with pytest.raises(UnavailableError):
            await change(store)  # type: ignore[operator]
        await store.close()
    assert deaf.requests == 1


# What servers say.


class Grumpy:
    """A server that answers every script with one error."""

    def __init__(self, error: str) -> None:
        self._error = error

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000_000):
            is_greeting = b"CLIENT" in data and b"EVAL" not in data
            writer.write(b"+OK\r\n" * data.count(b"CLIENT") if is_greeting else f"-{self._error}\r\n".encode())
        writer.close()


ERRORS = {
    "LOADING Valkey is loading the dataset in memory": UnavailableError,
    "READONLY You can't write against a read only replica.": UnavailableError,
    "READONLY You can't write against a read only replica. script: 12ab, on @user_script:1.": UnavailableError,
    "ERR Error running script (call to f_12): @user_script:5: -READONLY You can't write": UnavailableError,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": UnavailableError,
    "CLUSTERDOWN The cluster is down": UnavailableError,
    "TRYAGAIN Multiple keys request during rehashing of slot": UnavailableError,
    "OOM command not allowed when used memory > 'maxmemory'.": UnavailableError,
    "BUSY Valkey is busy running a script.": UnavailableError,
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist": UnavailableError,
    "NOREPLICAS Not enough good replicas to write.": UnavailableError,
    "ERR max number of clients reached": UnavailableError,
    "NOAUTH Authentication required.": ConfigurationError,
    "WRONGPASS invalid username-password pair or user is disabled.": ConfigurationError,
    "NOPERM User reader has no permissions to run the 'eval' command": ConfigurationError,
    "MOVED 3999 127.0.0.1:6381": ConfigurationError,
    "ERR unknown command 'EVAL'": ConfigurationError,
}


@pytest.mark.parametrize(("said", "recovery"), ERRORS.items(), ids=range(len(ERRORS)))
async def test_what_an_error_means(said: str, recovery: type[EbbtideError]) -> None:
    """What passes is waited for; what only a person can mend ends the service."""
    async with Grumpy(said) as url:
        store = RedisStore(url, "group", 5.0)
        with pytest.raises(recovery) as error:
            await store.step(0, AT, AFTER, [])
        await store.close()
    assert getattr(error.value, "dependency", "redis") == "redis"


# Eviction.


@pytest.mark.parametrize("user", ["default", "managed"])
async def test_a_server_that_evicts_is_told_with_the_remedy(user: str) -> None:
    """A policy other than noeviction is named with the command against it, even where CONFIG is forbidden."""
    with EmbeddedValkey({"maxmemory-policy": "allkeys-lru"}) as valkey:
        async with aclosing(Redis.from_url(valkey.url)) as redis:
            await redis.execute_command("ACL SETUSER", "managed", "on", ">pass", "~*", "+@all", "-config")
            url = valkey.url if user == "default" else valkey.url.replace("//", "//managed:pass@")
            store = RedisStore(url, "group", 10.0)
            problem = await store.policy_problem()
            assert problem is not None
            assert "allkeys-lru" in problem
            assert "CONFIG SET maxmemory-policy noeviction" in problem
            await redis.config_set("maxmemory-policy", "noeviction")
            assert await store.policy_problem() is None
            await store.close()


# URLs.

USABLE = (
    "redis://localhost",
    "redis://user:p%40ss%2Fw@localhost:6380/3",
    "rediss://localhost?ssl_cert_reqs=none",
    "redis://[::1]:6379/0",
    "redis://localhost?health_check_interval=5",
    "redis+sentinel://one:26379,two/shop",
    "redis+sentinel://user:pass@one:26379,two:26380/shop/2?sentinel_password=other",
    "rediss+sentinel://[::1]:26379,[::2]:26379/shop",
    "redis+cluster://one:7000,two:7001",
    "rediss+cluster://:pass@one:7000",
)
UNUSABLE = (
    "",
    "localhost:6379",
    "http://user:s3cret@host",
    "redis://",
    "redis://user:s3cret/part@host",
    "redis://user:s3cret#part@host",
    "redis://host:port",
    "redis://host/shop",
    "redis://host/0/1",
    "redis://one,two",
    "redis://host?s3cret=1",
    "redis://host?db=x",
    "redis+other://host",
    "redis+sentinel://host:26379",
    "redis+sentinel://host:26379/shop/x",
    "redis+sentinel://host,/shop",
    "redis+cluster://host:7000/1",
    "redis+cluster://host:7000?s3cret=1",
    "redis+cluster://host:70000",
)


@pytest.mark.parametrize("url", USABLE)
async def test_a_url_of_each_kind_is_accepted(url: str) -> None:
    """Whatever says clearly where Redis is, is taken; connecting comes later."""
    await connect(url, 1.0).close()


@pytest.mark.parametrize("url", UNUSABLE)
async def test_an_unusable_url_is_told_with_what_is_expected(url: str) -> None:
    """What cannot be a Redis is refused at once, without telling a password."""
    with pytest.raises(ConfigurationError, match=r"redis_url is not usable: expected redis://") as error:
        connect(url, 1.0)
    assert "s3cret" not in str(error.value)
    assert error.value.__cause__ is None
