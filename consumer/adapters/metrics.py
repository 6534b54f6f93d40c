"""What Prometheus scrapes; names are part of the contract with the rules and dashboards in deploy/."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from consumer.adapters.drift_metrics import DriftMetrics
from consumer.adapters.quality_metrics import QualityMetrics
from consumer.core.drift import Drift
from consumer.telemetry import PrefixCounts
from consumer.watch_checks import COUNTED, LOOP_BLOCKED, LOOP_LATE, Check, Subject
from schemas.outcome import OutcomeRecord

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RECORDS = (1, 10, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The `Telemetry` of a running service."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        counter, gauge = partial(Counter, registry=self._registry), partial(Gauge, registry=self._registry)
        seconds = partial(Histogram, buckets=_SECONDS, registry=self._registry)
        self._quality, self._drift = QualityMetrics(), DriftMetrics()
        self._registry.register(self._quality)
        self._registry.register(self._drift)

        self._records = counter("ebbtide_records", "Input records, by what became of them.", ["result"])
        self._rejects = counter("ebbtide_rejects", "Dead letters committed, by code.", ["code"])
        self._alerts = counter("ebbtide_alerts", "Alerts committed.", ["tier", "cause"])
        self._triggers = counter("ebbtide_triggers", "Triggers committed.", ["action"])
        self._outcomes = counter(
            "ebbtide_outcomes",
            "Predictions of which is known what became: of alerts by tier, of sampled scores.",
            ["prediction", "tier", "group", "lost"],
        )
        self._delays = seconds(
            "ebbtide_event_to_alert_seconds", "From an event's Kafka timestamp until its alert is committed."
        )

        self._batches = Histogram(
            "ebbtide_batch_records", "Records per micro-batch.", buckets=_RECORDS, registry=self._registry
        )
        self._stages = seconds("ebbtide_stage_seconds", "Time per micro-batch and stage.", ["stage"])
        self._prefixes = counter(
            "ebbtide_scores",
            "Scores after events: of the open day after remembered ones (step), or of all days (prefill).",
            ["by"],
        )
        self._forgotten = counter("ebbtide_prefix_cache_evictions", "Users forgotten by the prefix cache for others.")
        self._remembered = gauge("ebbtide_prefix_cache_bytes", "Held by the prefix cache.")
        self._told = (0, 0, 0)
        self._timers = counter(
            "ebbtide_timers_fired", "Silence timers fired by time passing, rather than just before an event."
        )
        self._due = gauge("ebbtide_timers_due", "Users whose timer was found due in the last look.")
        self._caught_up = gauge("ebbtide_caught_up", "1: no record and no timer waits, and all is committed.")
        self._lag = gauge("ebbtide_lag_records", "Records waiting.", ["partition"])
        self._watermark = gauge("ebbtide_watermark_delay_seconds", "Wall clock less event time reached.", ["partition"])

        self._claims = counter("ebbtide_claims", "Partitions claimed, by the state they were found in.", ["outcome"])
        self._doubts = counter("ebbtide_doubts", "Partitions to be claimed again, by reason.", ["reason"])
        self._commits = counter("ebbtide_commits", "Transactions committed.")
        self._committed_users = counter("ebbtide_committed_users", "User states committed.")
        self._committed_messages = counter("ebbtide_committed_messages", "Alerts and dead letters committed.")
        self._rebuilding = gauge(
            "ebbtide_rebuild_progress_ratio",
            "How much of a restore or catch-up is done; absent when none is under way.",
            ["partition"],
        )
        self._input_lost = gauge(
            "ebbtide_position_outside_retention", "1: the input no longer holds what comes next.", ["partition"]
        )
        self._live = gauge("ebbtide_partitions_live", "Partitions being processed.")

        self._up = gauge("ebbtide_dependency_up", "1: it answers.", ["dependency"])
        self._policy = gauge("ebbtide_policy_info", "1: the policy in force.", ["hash"])
        self._policy_failures = counter("ebbtide_policy_reload_failures", "Changed policies that were refused.")
        self._loop_lag = seconds(LOOP_LATE.metric, "How late the event loop woke up, once a second.")
        self._loop_blocks = counter(
            LOOP_BLOCKED.metric.removesuffix("_total"), "Times that the event loop was blocked."
        )
        self._lasting = {
            check: gauge(
                check.metric,
                f"{'Seconds for which' if check.limit else '1:'} {check.means}.",
                ["partition"] if check.by_partition else [],
            )
            for check in COUNTED
        }

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def stage(self, name: str) -> AbstractContextManager[object]:
        """See `Telemetry.stage`."""
        return self._stages.labels(name).time()

    def batch(self, records: int) -> None:
        """See `Telemetry.batch`."""
        self._batches.observe(records)

    def remembered(self, cache: PrefixCounts) -> None:
        """See `Telemetry.remembered`."""
        counts = (cache.hits, cache.prefills, cache.evictions)
        hits, prefills, evictions = (now - before for now, before in zip(counts, self._told, strict=True))
        self._prefixes.labels("step").inc(hits)
        self._prefixes.labels("prefill").inc(prefills)
        self._forgotten.inc(evictions)
        self._remembered.set(cache.bytes)
        self._told = counts

    def caught_up(self, is_caught_up: bool) -> None:
        """See `Telemetry.caught_up`."""
        self._caught_up.set(is_caught_up)

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

    def outcome(self, record: OutcomeRecord) -> None:
        """See `Telemetry.outcome`."""
        group = "control" if record.control_group else "treated"
        self._outcomes.labels(record.prediction, record.tier or "", group, str(record.is_lost).lower()).inc()
        self._quality.add(record)

    def trigger(self, action: str) -> None:
        """See `Telemetry.trigger`."""
        self._triggers.labels(action).inc()

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
        for gauge in (self._lag, self._watermark, self._input_lost):
            gauge.remove_by_labels({"partition": str(partition)})

    def partitions_live(self, count: int) -> None:
        """See `Telemetry.partitions_live`."""
        self._live.set(count)

    def claimed(self, outcome: str) -> None:
        """See `Telemetry.claimed`."""
        self._claims.labels(outcome).inc()

    def doubted(self, reason: str) -> None:
        """See `Telemetry.doubted`."""
        self._doubts.labels(reason).inc()

    def committed(self, users: int, messages: int) -> None:
        """See `Telemetry.committed`."""
        self._commits.inc()
        self._committed_users.inc(users)
        self._committed_messages.inc(messages)

    def rebuilding(self, partition: int, share: float | None) -> None:
        """See `Telemetry.rebuilding`."""
        if share is None:
            self._rebuilding.remove_by_labels({"partition": str(partition)})
        else:
            self._rebuilding.labels(str(partition)).set(share)

    def input_lost(self, partition: int, is_lost: bool) -> None:
        """See `Telemetry.input_lost`."""
        self._input_lost.labels(str(partition)).set(is_lost)

    def watch_drift(self, drift: Drift | None) -> None:
        """Tell what this has seen from now on."""
        self._drift.watched = drift

    def loop_lag(self, late_s: float) -> None:
        """The event loop woke up so late."""
        self._loop_lag.observe(late_s)

    def loop_blocked(self) -> None:
        """It is blocked; may be called from any thread."""
        self._loop_blocks.inc()

    def policy_in_force(self, digest: str) -> None:
        """See `PolicyTelemetry.policy_in_force`."""
        self._policy.clear()
        self._policy.labels(digest).set(1)

    def policy_refused(self) -> None:
        """See `PolicyTelemetry.policy_refused`."""
        self._policy_failures.inc()

    def lasting(self, check: Check, lasting_s: Mapping[Subject, float]) -> None:
        """By partition if the check is, how long what it sees has lasted; 1 if it is wrong at once."""
        if check not in self._lasting:
            return
        values = {subject: seconds if check.limit else 1.0 for subject, seconds in lasting_s.items()}
        if check.by_partition:
            self._lasting[check].clear()
            for partition, value in values.items():
                self._lasting[check].labels(str(partition)).set(value)
        else:
            self._lasting[check].set(values.get(None, 0.0))

    def dependency(self, name: str, up: bool) -> None:
        """See `Telemetry.dependency`."""
        self._up.labels(name).set(up)
