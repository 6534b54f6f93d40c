"""User states in Redis or Valkey: per partition a hash of states, a sorted set of timers and the position."""

from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from consumer.errors import ConfigurationError, LostPartitionError, UnavailableError
from consumer.ports import Position, Positions, Step, UserState

_APPLY = """
local function apply(users, due, first)
  for i = first, #ARGV, 3 do
    local user, value, due_ms = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if value == '' then redis.call('HDEL', users, user) else redis.call('HSET', users, user, value) end
    if due_ms == '' then redis.call('ZREM', due, user) else redis.call('ZADD', due, due_ms, user) end
  end
end
"""
_FILL = (
    _APPLY
    + """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
apply(KEYS[1], KEYS[2], 2)
return 1
"""
)
_BEGIN_RESTORE = """
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[4])
redis.call('SET', KEYS[3], ARGV[1])
return 1
"""
_END_RESTORE = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[4], ARGV[2])
redis.call('DEL', KEYS[3])
return 1
"""
_WRITE = (
    _APPLY
    + """
local stored = redis.call('GET', KEYS[3]) or ''
if stored ~= ARGV[1] and stored ~= ARGV[2] then return stored end
apply(KEYS[1], KEYS[2], 3)
redis.call('SET', KEYS[3], ARGV[2])
return false
"""
)
_FILL_CHUNK = 1_000
_WORTH_WAITING = (
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "MASTERDOWN",
    "READONLY",
    "CLUSTERDOWN",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
)


class RedisStore:
    """All keys of a partition carry one hash tag, so that its scripts work on a cluster as well."""

    def __init__(self, url: str, group_id: str, timeout_s: float) -> None:
        try:
            self._redis = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        except ValueError as error:
            raise ConfigurationError(f"redis_url is not usable: {error}") from error
        self._group_id = group_id

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()

    async def position(self, partition: int) -> Position | None:
        """See `StateStore.position`."""
        [value] = await self._call(lambda pipe: pipe.get(self._key(partition, "position")))
        return Position.parse(value) if value else None

    async def load(self, users: dict[int, list[str]], at: Positions) -> dict[int, list[bytes | None]]:
        """See `StateStore.load`."""
        asked = {partition: names for partition, names in users.items() if names}

        def ask(pipe: Any) -> None:
            for partition, names in asked.items():
                pipe.hmget(self._key(partition, "users"), names)

        values: dict[int, list[bytes | None]] = {partition: [] for partition in users}
        return values | dict(zip(asked, await self._call_at(at, ask), strict=True))

    async def due(self, until_ms: dict[int, int], at: Positions, limit: int) -> dict[int, list[str]]:
        """See `StateStore.due`."""

        def ask(pipe: Any) -> None:
            for partition, until in until_ms.items():
                pipe.zrange(self._key(partition, "due"), "-inf", until, byscore=True, offset=0, num=limit)

        answers = await self._call_at(at, ask)
        return {p: [user.decode() for user in users] for p, users in zip(until_ms, answers, strict=True)}

    async def write(self, steps: Sequence[Step]) -> None:
        """See `StateStore.write`."""

        def ask(pipe: Any) -> None:
            for step in steps:
                keys = [self._key(step.partition, name) for name in ("users", "due", "position")]
                arguments = [str(step.previous or ""), str(step.position), *_arguments(step.users)]
                pipe.eval(_WRITE, len(keys), *keys, *arguments)

        for step, refused in zip(steps, await self._call(ask), strict=True):
            if refused is not None:
                raise _lost(step.partition, refused, step.previous)

    async def begin_restore(self, partition: int) -> str:
        """See `StateStore.begin_restore`."""
        token = token_hex(8)
        await self._restore(partition, _BEGIN_RESTORE, [[token]])
        return token

    async def fill(self, partition: int, token: str, users: Sequence[UserState]) -> None:
        """See `StateStore.fill`."""
        chunks = [users[start : start + _FILL_CHUNK] for start in range(0, len(users), _FILL_CHUNK)]
        await self._restore(partition, _FILL, [[token, *_arguments(chunk)] for chunk in chunks])

    async def end_restore(self, partition: int, token: str, position: Position) -> None:
        """See `StateStore.end_restore`."""
        await self._restore(partition, _END_RESTORE, [[token, str(position)]])

    async def _restore(self, partition: int, script: str, calls: Sequence[Sequence[str | bytes | int]]) -> None:
        """Run a script of the restore with each call's arguments; 0 says that the token is not in place."""
        keys = [self._key(partition, name) for name in ("users", "due", "restoring", "position")]

        def ask(pipe: Any) -> None:
            for arguments in calls:
                pipe.eval(script, len(keys), *keys, *arguments)

        if not all(await self._call(ask)):
            raise LostPartitionError(f"the restore of partition {partition} was overtaken, or Redis has lost it again")

    def _key(self, partition: int, name: str) -> str:
        return f"{{{self._group_id}:{partition}}}:{name}"

    async def _call_at(self, at: Positions, ask: Any) -> list[Any]:
        """As `_call`, of partitions that stand `at` these positions: asked last, since what is lost stays lost."""

        def ask_both(pipe: Any) -> None:
            ask(pipe)
            for partition in at:
                pipe.get(self._key(partition, "position"))

        answers = await self._call(ask_both)
        asked = len(answers) - len(at)
        for (partition, expected), stored in zip(at.items(), answers[asked:], strict=True):
            if (stored or b"") != str(expected or "").encode():
                raise _lost(partition, stored, expected)
        return answers[:asked]

    async def _call(self, ask: Any) -> list[Any]:
        """One round trip; errors become what to do about them."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                ask(pipe)
                return await pipe.execute()
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise UnavailableError("redis", str(error)) from error
        except RedisError as error:
            if str(error).startswith(_WORTH_WAITING) or any(word in str(error) for word in _WORTH_WAITING):
                raise UnavailableError("redis", str(error)) from error
            raise ConfigurationError(f"Redis refuses: {error}") from error


def _lost(partition: int, stored: bytes | None, expected: Position | None) -> LostPartitionError:
    return LostPartitionError(
        f"partition {partition} stands at {stored.decode() if stored else 'nothing'} in Redis, "
        f"not at {expected or 'nothing'} where this process left it"
    )


def _arguments(users: Sequence[UserState]) -> list[str | bytes | int]:
    return [
        part
        for user in users
        for part in (user.user_id, user.value, "" if user.due_ms is None else user.due_ms)
    ]  # fmt: skip
