"""Ready and healthy: what the endpoints answer, and what the metrics show."""

import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.metrics import Metrics
from consumer.health import Health


class Service:
    """A Health with metrics to read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.health = Health(Metrics(self.registry))

    def connect(self) -> None:
        """Both servers answer."""
        self.health.up("kafka")
        self.health.up("redis")

    def sample(self, name: str, **labels: str) -> float | None:
        """A metric's value."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def service() -> Service:
    """Just started."""
    return Service()


def test_at_the_start_nothing_is_connected(service: Service) -> None:
    """Before the first answer of both servers the service is not ready, and says which it waits for."""
    assert service.health.why_not_ready() == ["kafka: not connected yet", "redis: not connected yet"]
    service.health.up("kafka")
    assert service.health.why_not_ready() == ["redis: not connected yet"]


def test_connected_is_ready(service: Service) -> None:
    """Once both have answered it is ready and healthy."""
    service.connect()
    assert (service.health.why_not_ready(), service.health.why_not_healthy()) == ([], [])
    assert [service.sample("ebbtide_dependency_up", dependency=name) for name in ("kafka", "redis")] == [1.0, 1.0]


def test_a_server_that_goes_away_makes_it_unready(service: Service) -> None:
    """The latest reason is given, until the server answers again."""
    service.connect()
    service.health.down("redis", "timed out")
    service.health.down("redis", "connection refused")
    assert service.health.why_not_ready() == ["redis: connection refused"]
    assert service.health.away() == {"redis"}
    assert service.sample("ebbtide_dependency_up", dependency="redis") == 0.0
    service.health.up("redis")
    assert service.health.why_not_ready() == []
    assert service.sample("ebbtide_dependency_up", dependency="redis") == 1.0


def test_input_that_cannot_be_read_is_no_server_away(service: Service) -> None:
    """It makes the service unready, but excuses nothing: Kafka may well answer."""
    service.connect()
    service.health.down("input", "no leader")
    assert service.health.why_not_ready() == ["input: no leader"]
    assert (service.health.away(), service.health.input_failure()) == (set(), "no leader")


def test_a_held_partition_makes_it_unready(service: Service) -> None:
    """Its reason is given until it is released; it is no server that is away."""
    service.connect()
    service.health.hold(3, "records are gone")
    assert service.health.why_not_ready() == ["partition 3: records are gone"]
    assert (service.health.away(), service.health.held()) == (set(), {3: "records are gone"})
    service.health.release(3)
    assert (service.health.why_not_ready(), service.health.held()) == ([], {})


def test_it_is_as_healthy_as_the_watchdog_finds(service: Service) -> None:
    """The latest look counts."""
    service.health.found(["the main loop has not come round for 60 s"])
    assert service.health.why_not_healthy() == ["the main loop has not come round for 60 s"]
    service.health.found([])
    assert service.health.why_not_healthy() == []


def test_the_summary_tells_partitions_and_lag(service: Service) -> None:
    """Both endpoints show how much is owned and how much waits."""
    service.health.progress(live_partitions=3, lag=17)
    assert service.health.summary() == {"partitions_live": 3, "lag_records": 17}
    assert service.sample("ebbtide_partitions_live") == 3.0
