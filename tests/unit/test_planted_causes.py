"""The shipped model, customers of simulated shops, and something that happened to them: is it what they are told of?"""

import pytest

from bench.planted_causes import PLANTS, Customers, customers, hits
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.scoring import Engine
from consumer.settings import Settings


@pytest.fixture(scope="module")
def engine() -> Engine:
    """As the service builds it."""
    return build_worker(Settings(), Metrics()).engine


@pytest.fixture(scope="module")
def shops() -> list[Customers]:
    """Some of those that `make bench-reasons` measures."""
    return [customers(seed, 150) for seed in range(1, 7)]


@pytest.mark.parametrize("name", ["bad review", "refund and ticket", "support ticket"])
def test_a_planted_cause_is_named_first(engine: Engine, shops: list[Customers], name: str) -> None:
    """Most customers whom a bad experience hit are told of it before any other group of reasons."""
    first_named = [hit.first_named for shop in shops for hit in hits(engine, shop, PLANTS[name])]
    assert len(first_named) > 200
    assert first_named.count(PLANTS[name].code) > len(first_named) / 2
