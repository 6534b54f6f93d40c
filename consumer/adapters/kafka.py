"""What all Kafka clients of the service share: how to connect, what errors mean, where a key goes."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from functools import lru_cache
from typing import Any

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidTransactionTimeout,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedVersionError,
)
from aiokafka.partitioner import DefaultPartitioner

from consumer.errors import ConfigurationError, EbbtideError, LostPartitionError, UnavailableError
from consumer.settings import Settings
from consumer.tasks import unasked

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES // 8  # of small records that are sent together
REQUEST_TIMEOUT_MS = 15_000
STOP_TIMEOUT_S = 5.0


def connection(settings: Settings) -> dict[str, Any]:
    """What every client needs to reach the brokers."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_sasl_password:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.kafka_ca_file)
    except OSError as error:
        raise ConfigurationError(f"kafka_ca_file {settings.kafka_ca_file} cannot be used: {error}") from error


@lru_cache(maxsize=1_000_000)
def partition_of(key: bytes, partitions: int) -> int:
    """Where every Kafka client puts a record with this key, unless told otherwise."""
    return int(DefaultPartitioner()(key, range(partitions), []))


class _Recovery(Enum):
    ENLARGE = auto()  # a person must: larger records
    ALLOW = auto()  # a person must: rights, or what the broker supports
    RETRY = auto()  # wait, and do the same again
    FENCED = auto()  # in doubt: another process writes now
    UNKNOWN = auto()  # in doubt: nobody knows what became of the commit


# Kafka's errors to what is done about them, first match: when reading or administrating, and when committing.
_RECOVERIES: tuple[tuple[tuple[type[Exception], ...], _Recovery, _Recovery], ...] = (
    ((MessageSizeTooLargeError, RecordListTooLargeError), _Recovery.ENLARGE, _Recovery.ENLARGE),
    (
        (
            TopicAuthorizationFailedError,
            GroupAuthorizationFailedError,
            ClusterAuthorizationFailedError,
            TransactionalIdAuthorizationFailed,
            InvalidTransactionTimeout,
            UnsupportedVersionError,
        ),
        _Recovery.ALLOW,
        _Recovery.ALLOW,
    ),
    ((ProducerFenced, InvalidProducerEpoch), _Recovery.RETRY, _Recovery.FENCED),
    ((KafkaError, OSError), _Recovery.RETRY, _Recovery.UNKNOWN),  # TimeoutError is an OSError
    # Once its sender has died of anything, aiokafka 0.14 says so with these.
    ((IllegalOperation, AssertionError), _Recovery.RETRY, _Recovery.UNKNOWN),
)
READ_ERRORS = (KafkaError, OSError)
COMMIT_ERRORS = (KafkaError, OSError, IllegalOperation, AssertionError)


def read_error(error: Exception) -> EbbtideError:
    """What to raise for an error of a call that changed nothing, or that may be repeated."""
    recovery = next(read for kinds, read, _ in _RECOVERIES if isinstance(error, kinds))
    return _as_recovery(recovery, _said(error), ())


def commit_error(error: Exception, died_of: BaseException | None, partition: int) -> EbbtideError:
    """What to raise for an error of a commit, where the producer's sender may have died of another one."""
    sender = [died_of, died_of.__cause__] if died_of else []
    chain = [each for each in (error, *sender) if isinstance(each, Exception)]
    for kinds, _, recovery in _RECOVERIES:
        if found := next((each for each in chain if isinstance(each, kinds)), None):
            return _as_recovery(recovery, _said(found), [partition])
    raise AssertionError(f"not an error of Kafka: {error!r}") from error


def _as_recovery(recovery: _Recovery, said: str, partitions: list[int] | tuple[()]) -> EbbtideError:
    if recovery is _Recovery.ENLARGE:
        return ConfigurationError(
            f"Kafka refuses a record for its size ({said}): raise max.message.bytes of the outgoing topics to "
            f"{MAX_MESSAGE_BYTES}, as `ebbtide topics create` does"
        )
    if recovery is _Recovery.ALLOW:
        return ConfigurationError(f"Kafka does not let us: {said}")
    if recovery is _Recovery.RETRY:
        return UnavailableError("kafka", said)
    if recovery is _Recovery.FENCED:
        return LostPartitionError(f"another process writes partitions {[*partitions]} now", partitions, "fenced")
    return LostPartitionError(f"a commit of partitions {[*partitions]} failed: {said}", partitions, "unknown")


def _said(error: BaseException) -> str:
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


@contextmanager
def translated() -> Iterator[None]:
    """Kafka's errors become what to do about them, where nothing is committed."""
    try:
        yield
    except READ_ERRORS as error:
        raise read_error(error) from error


async def start_client(start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
    """Connect, leaving nothing open on failure; raises `UnavailableError` when no broker answers.

    aiokafka 0.14 loses the connection that it was making when it is cancelled: it is let come to an end before.
    """
    starting = asyncio.ensure_future(start())
    unasked(starting)
    try:
        with translated():
            await asyncio.shield(starting)
    except BaseException:
        await asyncio.wait([starting], timeout=STOP_TIMEOUT_S)
        starting.cancel()
        await stopped(stop)
        raise


async def stopped(stop: Callable[[], Awaitable[None]]) -> None:
    """Disconnect: without a broker it may take for ever, or end in a stray cancellation (aiokafka 0.14)."""
    stopping = asyncio.ensure_future(stop())
    unasked(stopping)
    await asyncio.wait([stopping], timeout=STOP_TIMEOUT_S)
