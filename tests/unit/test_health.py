"""Ready and healthy: what the endpoints answer, and what the metrics show."""

import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.clock import ManualClock
from consumer.adapters.metrics import Metrics
from consumer.health import Health

STALL_S = 60.0


class Service:
    """A Health with a clock to move and metrics to read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clock = ManualClock(1_000_000)
        self.health = Health(self.clock, Metrics(self.registry), STALL_S)

    def connect(self) -> None:
        """Both servers answer."""
        self.health.up("kafka")
        self.health.up("redis")

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.move_to(self.clock.now_ms() + round(seconds * 1000))

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
    assert service.sample("ebbtide_dependency_up", dependency="redis") == 0.0
    service.health.up("redis")
    assert service.health.why_not_ready() == []
    assert service.sample("ebbtide_dependency_up", dependency="redis") == 1.0


def test_without_progress_it_becomes_unhealthy(service: Service) -> None:
    """After the stall time without a finished step it is unhealthy, and says for how long and what waits."""
    service.connect()
    service.health.progress(live_partitions=4, lag=120, worked=True)
    service.wait(STALL_S - 0.001)
    assert service.health.why_not_healthy() == []
    service.wait(0.001)
    assert service.health.why_not_healthy() == ["no progress for 60 s with 120 records waiting"]


def test_progress_makes_it_healthy_again(service: Service) -> None:
    """A finished step starts the count anew."""
    service.connect()
    service.wait(10 * STALL_S)
    service.health.progress(live_partitions=4, lag=0, worked=False)
    assert service.health.why_not_healthy() == []


def test_a_server_away_is_no_reason_to_restart(service: Service) -> None:
    """While a server is away the service stands still and stays healthy: a restart would not help."""
    service.connect()
    service.health.down("kafka", "no route")
    service.wait(10 * STALL_S)
    assert service.health.why_not_healthy() == []


def test_the_summary_tells_partitions_and_lag(service: Service) -> None:
    """Both endpoints show how much is owned and how much waits."""
    service.health.progress(live_partitions=3, lag=17, worked=True)
    assert service.health.summary() == {"partitions_live": 3, "lag_records": 17}
    assert service.sample("ebbtide_partitions_live") == 3.0
