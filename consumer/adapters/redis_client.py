"""Connections to Redis: one server, whichever server Sentinel names, or a cluster. `redis_url` decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from consumer.adapters.redis_errors import REDIS_ERRORS, translated
from consumer.errors import ConfigurationError, UnavailableError

Command = tuple[str | bytes | int, ...]

_FORMS = (
    "expected redis://[user:password@]host[:port][/database], "
    "redis+sentinel://[user:password@]host:26379[,host:26379]/master-name[/database] or "
    "redis+cluster://[user:password@]host:port[,host:port]; rediss instead of redis for TLS; "
    "characters other than letters and digits in a password as %XX"
)
_MAX_CONNECTIONS = 1_000  # a call takes one; at most a few calls of each partition are under way


class RedisClient(Protocol):
    """A way to Redis. What goes wrong is raised as what to do about it: see redis_errors.py."""

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that are sent at once, and never repeated: nobody knows what became of them."""

    async def ask_masters(self, *command: str) -> list[Any]:
        """Every master's answer."""

    async def close(self) -> None:
        """Give the connections back."""


def connect(url: str, timeout_s: float) -> RedisClient:
    """A client for `redis_url`, which connects when it is used; raises `ConfigurationError`."""
    try:
        address = _Address.parse(url)
        options = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "protocol": 2,
            "max_connections": _MAX_CONNECTIONS,
            **address.options,
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": False,
        }
        return _KINDS[address.kind](address, options)
    except (ValueError, TypeError, RedisError):  # says what it stumbled over, which may be a part of the password
        raise ConfigurationError(f"redis_url is not usable: {_FORMS}") from None


@dataclass(frozen=True)
class _Address:
    kind: str
    hosts: tuple[tuple[str, int], ...]
    path: tuple[str, ...]
    options: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "_Address":
        """Raises ValueError."""
        parts = urlsplit(url)
        scheme, _, kind = parts.scheme.partition("+")
        if scheme not in ("redis", "rediss") or kind not in _KINDS:
            raise ValueError(f"scheme {parts.scheme}")
        user, at, hosts = parts.netloc.rpartition("@")
        options: dict[str, Any] = {**parse_url(f"{scheme}://{user}{at}host?{parts.query}")}
        del options["host"]
        if options.pop("connection_class", None) is SSLConnection:
            options["ssl"] = True
        default_port = 26_379 if kind == "sentinel" else 6_379
        return cls(
            kind,
            tuple(_host(each, default_port) for each in hosts.split(",")),
            tuple(unquote(each) for each in parts.path.split("/") if each),
            options,
        )


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or default_port


def _database(path: tuple[str, ...]) -> int:
    [database] = path or ("0",)
    return int(database)


class _OneServer:
    """A server, or the one that is the master at the time."""

    def __init__(self, client: Any, sentinel: Any = None) -> None:
        self._client, self._sentinel = client, sentinel
        client.connection_pool.make_connection()  # stumbles over unknown options

    @classmethod
    def standalone(cls, address: _Address, options: dict[str, Any]) -> "_OneServer":
        [(host, port)] = address.hosts
        return cls(Redis(host=host, port=port, **{"db": _database(address.path), **options}))

    @classmethod
    def watched(cls, address: _Address, options: dict[str, Any]) -> "_OneServer":
        master_name, *path = address.path
        of_sentinel = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
        of_sentinel |= {
            name: value for name, value in options.items() if name.startswith(("socket_", "ssl", "retry", "protocol"))
        }
        sentinel = Sentinel(address.hosts, sentinel_kwargs=of_sentinel)  # type: ignore[no-untyped-call]
        return cls(sentinel.master_for(master_name, **{"db": _database(tuple(path)), **options}), sentinel)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """See `RedisClient.run`."""
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return _answers(await pipe.execute(raise_on_error=False))
        except REDIS_ERRORS as error:
            raise translated(error) from error

    async def ask_masters(self, *command: str) -> list[Any]:
        """See `RedisClient.ask_masters`."""
        try:
            return [await self._client.execute_command(*command)]
        except REDIS_ERRORS as error:
            raise translated(error) from error

    async def close(self) -> None:
        """See `RedisClient.close`."""
        await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()


class _Cluster:
    """A Redis Cluster. The client follows what nodes say of moved slots, but not what it finds out by silence."""

    def __init__(self, address: _Address, options: dict[str, Any]) -> None:
        if address.path:
            raise ValueError("a cluster has one database")
        self._hosts = list(address.hosts)  # asked again when no node that is known by its number answers
        nodes = [ClusterNode(host, port) for host, port in self._hosts]
        # steps=0: or it would close all connections, and so all calls under way, with every fifth slot that moves
        self._client = RedisCluster(startup_nodes=nodes, reinitialize_steps=0, **options)
        self._is_outdated = False

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """See `RedisClient.run`."""
        try:
            await self._update()
            async with self._client.pipeline() as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return _answers(await pipe.execute(raise_on_error=False))
        except REDIS_ERRORS as error:
            raise self._noted(translated(error)) from error

    async def ask_masters(self, *command: str) -> list[Any]:
        """See `RedisClient.ask_masters`."""
        try:
            await self._update()
            return [await node.execute_command(*command) for node in self._client.get_primaries()]
        except REDIS_ERRORS as error:
            raise self._noted(translated(error)) from error

    async def close(self) -> None:
        """See `RedisClient.close`."""
        await self._client.aclose()

    async def _update(self) -> None:
        """Ask who the nodes are, unless that is known."""
        if self._is_outdated:
            await self._client.nodes_manager.initialize(self._hosts)
            self._is_outdated = False
        await self._client.initialize()

    def _noted(self, error: Exception) -> Exception:
        self._is_outdated |= isinstance(error, UnavailableError)
        return error


def _answers(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


_KINDS: Mapping[str, Callable[[_Address, dict[str, Any]], RedisClient]] = {
    "": _OneServer.standalone,
    "sentinel": _OneServer.watched,
    "cluster": _Cluster,
}
