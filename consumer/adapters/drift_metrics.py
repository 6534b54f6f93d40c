"""Drift as Prometheus gauges, worked out when they are asked for."""

from collections.abc import Iterator

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.core.drift import Drift


class DriftMetrics(Collector):
    """Figures of the scores that this process has sampled lately; absent while there is nothing to compare."""

    def __init__(self) -> None:
        self.watched: Drift | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Called by the registry."""
        psi = GaugeMetricFamily(
            "ebbtide_drift_psi",
            "How far scores and features are from the model's reference, as population stability index.",
            labels=["of", "reference"],
        )
        observations = GaugeMetricFamily("ebbtide_drift_observations", "Sampled scores behind them, by what is left.")
        if self.watched:
            for name, value in self.watched.psi().items():
                psi.add_metric([name, self.watched.reference.source], value)
            observations.add_metric([], self.watched.observations())
        yield psi
        yield observations
