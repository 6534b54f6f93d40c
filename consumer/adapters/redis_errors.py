"""What Redis and its client say, and what to do about it: the one table of it."""

from dataclasses import dataclass

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from consumer.errors import ConfigurationError, EbbtideError, UnavailableError

REDIS_ERRORS = (RedisError, RedisClusterException, OSError)


@dataclass(frozen=True)
class _Row:
    """Errors of these classes, or with one of these words: the client cuts off some codes, and Lua puts text before."""

    classes: tuple[type[Exception], ...]
    words: tuple[str, ...]
    recovery: type[ConfigurationError] | type[UnavailableError]
    advice: str = ""


_RECOVERIES = (
    _Row((AuthenticationError, AuthorizationError), ("NOAUTH", "WRONGPASS"), ConfigurationError,
         "the user or password of redis_url is not accepted"),
    _Row((), ("Cluster mode is not enabled",), ConfigurationError,
         "redis_url says redis+cluster://, but this server is not part of one (write redis://), or may not be asked"),
    _Row((MovedError,), ("MOVED",), ConfigurationError,
         "this server is part of a cluster: write redis+cluster:// in redis_url"),
    # A server is starting, failing over, moving slots, or short of memory, disk or replicas.
    _Row((BusyLoadingError,), ("LOADING",), UnavailableError),
    _Row((ReadOnlyError,), ("READONLY",), UnavailableError),
    _Row((MasterDownError,), ("MASTERDOWN",), UnavailableError),
    _Row((ClusterDownError,), ("CLUSTERDOWN",), UnavailableError),
    _Row((TryAgainError,), ("TRYAGAIN",), UnavailableError),
    _Row((OutOfMemoryError,), ("OOM",), UnavailableError),
    _Row((), ("BUSY", "MISCONF", "NOREPLICAS"), UnavailableError),
    # No answer; or a cluster of which no node, or no owner of a slot, can be found.
    _Row((RedisConnectionError, RedisTimeoutError, OSError), (), UnavailableError),
    _Row((RedisClusterException, ClusterError), (), UnavailableError),
    _Row((RedisError,), (), ConfigurationError, "Redis refuses"),
)  # fmt: skip


def translated(error: Exception) -> EbbtideError:
    """What to raise instead: the first row that fits."""
    cause = error.__cause__ if isinstance(error, RedisClusterException) else None
    said = cause if isinstance(cause, Exception) else error
    row = next(
        row for row in _RECOVERIES if isinstance(said, row.classes) or any(word in str(said) for word in row.words)
    )
    message = f"{row.advice}: {said}" if row.advice else str(said) or type(said).__name__
    return UnavailableError("redis", message) if row.recovery is UnavailableError else ConfigurationError(message)
