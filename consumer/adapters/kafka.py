"""What all Kafka clients of the service share: how to connect, errors, where a key goes."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from consumer.errors import ConfigurationError, UnavailableError
from consumer.settings import Settings

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
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


@contextmanager
def translated() -> Iterator[None]:
    """Kafka's errors become what to do about them."""
    try:
        yield
    except MessageSizeTooLargeError as error:
        raise ConfigurationError(
            f"Kafka refuses a record for its size ({error}): raise max.message.bytes of the outgoing topics to "
            f"{MAX_MESSAGE_BYTES}, as `ebbtide topics create` does"
        ) from error
    except (KafkaError, OSError) as error:
        raise UnavailableError("kafka", str(error) or type(error).__name__) from error


async def start_client(start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
    """Connect, leaving nothing open on failure; raises `UnavailableError` when no broker answers."""
    with translated():
        try:
            await start()
        except BaseException:
            await stop()
            raise


async def stop_client(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Without a broker this may take for ever, or end in a stray cancellation (aiokafka 0.14)."""
    await asyncio.wait([asyncio.ensure_future(client.stop())], timeout=STOP_TIMEOUT_S)
