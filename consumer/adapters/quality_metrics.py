"""Live quality as Prometheus gauges, worked out when they are asked for."""

from collections.abc import Iterator, Mapping
from math import isnan
from threading import Lock

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.core.quality import BANDS, Quality, Resolved
from schemas.outcome import OutcomeRecord

_OF_SAMPLES = {
    "auroc": "Chance that a lost customer was scored higher than one who stayed",
    "brier": "Mean squared error of predicted churn probabilities",
    "recall": "Of lost customers, the share that was alerted within the horizon",
    "accuracy": "Share of customers who were alerted and lost, or neither",
}


class QualityMetrics(Collector):
    """Figures of the latest outcomes that this process has seen; absent while there are none."""

    def __init__(self) -> None:
        self._quality = Quality()
        self._adding = Lock()  # outcomes come from the worker's thread, and are asked for in the event loop's

    def add(self, record: OutcomeRecord) -> None:
        """One more outcome."""
        resolved = Resolved(
            record.churn_probability,
            record.is_lost,
            record.was_alerted,
            record.tier or "",
            record.control_group,
            float("nan") if record.silence_days is None else record.silence_days,
        )
        with self._adding:
            self._quality.add(resolved)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Called by the registry."""
        with self._adding:
            quality = Quality(self._quality.samples.copy(), self._quality.alerts.copy())
        for name, means in _OF_SAMPLES.items():
            yield _gauge(f"ebbtide_live_{name}", f"{means}, over sampled scores.", "", {"": getattr(quality, name)()})
        means = "Share of alerted customers who were lost."
        yield _gauge("ebbtide_live_precision", means, "tier", quality.precision())
        means = "Median days of silence at which lost customers were alerted."
        yield _gauge("ebbtide_live_alert_silence_days", means, "", {"": quality.silence_days()})
        yield from _calibration(quality)
        yield from _uplift(quality)


def _calibration(quality: Quality) -> Iterator[GaugeMetricFamily]:
    bands = {f"{band / BANDS:.1f}": rest for band, *rest in quality.calibration()}
    for position, (name, means) in enumerate((("predicted", "Mean prediction"), ("observed", "Share lost"))):
        values = {band: rest[position] for band, rest in bands.items()}
        yield _gauge(f"ebbtide_live_{name}", f"{means} of sampled scores, by band from there on.", "band", values)


def _uplift(quality: Quality) -> Iterator[GaugeMetricFamily]:
    shares, bounds = {}, {}
    if uplift := quality.uplift():
        shares = {"treated": uplift.treated, "control": uplift.control}
        bounds = {"estimate": uplift.difference, "low": uplift.low, "high": uplift.high}
    yield _gauge("ebbtide_retained_share", "Share of alerted customers who stayed.", "group", shares)
    means = "Share retained by treatment: treated less control, with the bounds of a 95% interval."
    yield _gauge("ebbtide_retention_uplift", means, "bound", bounds)


def _gauge(name: str, means: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """One family with at most one label; figures that are not known are left out."""
    family = GaugeMetricFamily(name, means, labels=[label] if label else [])
    for value_of, value in values.items():
        if not isnan(value):
            family.add_metric([value_of] if label else [], value)
    return family
