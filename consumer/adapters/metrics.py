"""What Prometheus scrapes; names are part of the contract with the rules and dashboards in deploy/."""

from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RECORDS = (1, 10, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The `Telemetry` of a running service."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry = registry or CollectorRegistry()
        self._records = Counter(
            "ebbtide_records", "Input records, by what became of them.", ["result"], registry=registry
        )
        self._rejects = Counter("ebbtide_rejects", "Dead letters, by code.", ["code"], registry=registry)
        self._alerts = Counter("ebbtide_alerts", "Alerts published.", ["tier", "cause"], registry=registry)
        self._timers = Counter(
            "ebbtide_timers_fired",
            "Silence timers fired by time passing, rather than just before an event.",
            registry=registry,
        )
        self._due = Gauge("ebbtide_timers_due", "Users whose timer was found due in the last look.", registry=registry)
        self._restores = Counter("ebbtide_restores", "Partitions rebuilt from the changelog.", registry=registry)
        self._stages = Histogram(
            "ebbtide_stage_seconds",
            "Time per micro-batch and stage.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "ebbtide_batch_records", "Records per micro-batch.", buckets=_RECORDS, registry=registry
        )
        self._delays = Histogram(
            "ebbtide_event_to_alert_seconds", "From an event's Kafka timestamp to its alert.", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._lag = Gauge("ebbtide_lag_records", "Records waiting.", ["partition"], registry=registry)
        self._watermark = Gauge(
            "ebbtide_watermark_delay_seconds",
            "Wall clock less event time reached.",
            ["partition"],
            registry=registry,
        )
        self._up = Gauge("ebbtide_dependency_up", "1: it answers.", ["dependency"], registry=registry)
        self._live = Gauge("ebbtide_partitions_live", "Partitions being processed.", registry=registry)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def stage(self, name: str) -> AbstractContextManager[object]:
        """See `Telemetry.stage`."""
        return self._stages.labels(name).time()

    def batch(self, records: int) -> None:
        """See `Telemetry.batch`."""
        self._batches.observe(records)

    def records(self, result: str, count: int) -> None:
        """See `Telemetry.records`."""
        self._records.labels(result).inc(count)

    def reject(self, code: str) -> None:
        """See `Telemetry.reject`."""
        self._rejects.labels(code).inc()

    def alert(self, tier: str, cause: str, delay_s: float | None) -> None:
        """See `Telemetry.alert`."""
        self._alerts.labels(tier, cause).inc()
        if delay_s is not None:
            self._delays.observe(delay_s)

    def timers(self, count: int) -> None:
        """See `Telemetry.timers`."""
        self._timers.inc(count)

    def timers_due(self, users: int) -> None:
        """See `Telemetry.timers_due`."""
        self._due.set(users)

    def partition(self, partition: int, lag: int, watermark_delay_s: float) -> None:
        """See `Telemetry.partition`."""
        self._lag.labels(str(partition)).set(lag)
        self._watermark.labels(str(partition)).set(watermark_delay_s)

    def released(self, partition: int) -> None:
        """See `Telemetry.released`."""
        for gauge in (self._lag, self._watermark):
            gauge.remove_by_labels({"partition": str(partition)})

    def partitions_live(self, count: int) -> None:
        """See `Telemetry.partitions_live`."""
        self._live.set(count)

    def restored(self) -> None:
        """See `Telemetry.restored`."""
        self._restores.inc()

    def dependency(self, name: str, up: bool) -> None:
        """See `Telemetry.dependency`."""
        self._up.labels(name).set(up)
