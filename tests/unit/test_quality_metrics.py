"""Live quality is shown as soon as there are outcomes, and never keeps the other metrics from being shown."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest

from consumer.adapters.metrics import Metrics
from schemas.alert import Tier
from schemas.outcome import OutcomeRecord, Prediction

WHEN = datetime(2026, 3, 4, tzinfo=UTC)


def outcome(
    probability: float, is_lost: bool, tier: Tier | None = None, control: bool = False, days: float | None = None
) -> OutcomeRecord:
    return OutcomeRecord(
        user_id="a",
        prediction=Prediction.ALERT if tier else Prediction.SAMPLE,
        tier=tier,
        churn_probability=probability,
        is_lost=is_lost,
        was_alerted=tier is not None,
        control_group=control,
        silence_days=days,
        horizon_days=30.0,
        model_version="m",
        predicted_at=WHEN,
        known_at=WHEN,
    )


def test_figures_that_are_not_known_are_absent() -> None:
    """Without outcomes, after samples alone and after one alert, everything can be scraped."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    assert registry.get_sample_value("ebbtide_live_auroc") is None
    metrics.outcome(outcome(0.2, False))
    assert registry.get_sample_value("ebbtide_live_auroc") is None
    metrics.outcome(outcome(1.0, True))
    assert registry.get_sample_value("ebbtide_live_auroc") == 1.0
    metrics.outcome(outcome(0.9, False, Tier.AT_RISK))
    assert b"ebbtide_live_precision" in generate_latest(registry)
    assert registry.get_sample_value("ebbtide_retention_uplift", {"bound": "estimate"}) is None


def test_what_is_known_is_shown_with_its_labels() -> None:
    """Precision by tier, calibration by band, retained shares by group, and the uplift with its bounds."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for control, lost in ((False, 2), (True, 3)):
        for number in range(4):
            metrics.outcome(outcome(0.9, number < lost, Tier.CRITICAL, control, days=20.0 if number < lost else None))
    metrics.outcome(outcome(0.25, True))
    assert registry.get_sample_value("ebbtide_live_precision", {"tier": "critical"}) == 5 / 8
    assert registry.get_sample_value("ebbtide_live_alert_silence_days") == 20.0
    assert registry.get_sample_value("ebbtide_live_observed", {"band": "0.2"}) == 1.0
    assert registry.get_sample_value("ebbtide_live_predicted", {"band": "0.2"}) == 0.25
    assert registry.get_sample_value("ebbtide_retained_share", {"group": "control"}) == 0.25
    assert registry.get_sample_value("ebbtide_retention_uplift", {"bound": "estimate"}) == 0.25
    labels = {"prediction": "alert", "tier": "critical", "group": "control", "lost": "true"}
    assert registry.get_sample_value("ebbtide_outcomes_total", labels) == 3


def test_outcomes_come_while_metrics_are_asked_for() -> None:
    """From another thread, without an error or a figure of half an outcome."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    with ThreadPoolExecutor() as threads:
        coming = threads.submit(lambda: [metrics.outcome(outcome(0.5, number % 2 == 0)) for number in range(3_000)])
        while not coming.done():
            generate_latest(registry)
        coming.result()
    assert registry.get_sample_value("ebbtide_live_brier") == 0.25
