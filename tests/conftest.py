"""What all tests share: real servers, started once, and a model with random weights, made once."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from consumer.embedded import KafkaServer, RedisServer, kafka_server, redis_server

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """A command that a test has run in this process must not decide where later tests log to."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _usual_interpreter() -> Iterator[None]:
    """Nor how often garbage is looked for, or what is left of one test is found in another; nor when threads switch."""
    thresholds, switch_s = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(switch_s)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A Kafka for the whole session; tests use topics and groups of their own."""
    with kafka_server() as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisServer]:
    """A Valkey for the whole session; tests use groups, and so keys, of their own."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights; whoever changes it takes a copy."""
    from tiny_model import random_folder

    folder = tmp_path_factory.mktemp("tiny-model")
    random_folder(folder)
    return folder
