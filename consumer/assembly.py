"""Settings to the pure engine and its messages: the same for the service and for replay."""

from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.batch import Worker
from consumer.catalogues import load_languages
from consumer.commit import ClaimRules
from consumer.core.alerts import AlertContext
from consumer.core.baseline import baseline_of
from consumer.core.calendar import Calendar
from consumer.core.decode import Limits
from consumer.core.fold import FoldRules
from consumer.core.policy import Policy, PolicyRules
from consumer.errors import ConfigurationError
from consumer.messages import Messages, Topics
from consumer.owner import CommitPace
from consumer.pipeline import Rules
from consumer.ports import Telemetry
from consumer.scoring import Engine
from consumer.settings import Settings


def build_worker(settings: Settings, telemetry: Telemetry) -> Worker:
    """Loads and verifies the model; raises `ConfigurationError`."""
    scorer = OnnxScorer(settings.model_dir, settings.target)
    calendar = Calendar(settings.timezone)
    fold_rules = FoldRules(calendar, settings.target, int(settings.max_lateness_s * 1000))
    policy = Policy(_policy_rules(settings, scorer), calendar)
    context = AlertContext(
        scorer.version, policy.rules.horizon_days, settings.control_share, settings.target, load_languages()
    )
    topics = Topics(settings.events_topic, settings.alerts_topic, settings.dead_letters_topic)
    return Worker(
        Engine(fold_rules, policy, scorer, baseline_of(_shop(scorer), settings.target, policy.rules.horizon_days)),
        Messages(topics, context, telemetry),
        telemetry,
        int(settings.watermark_delay_s * 1000),
    )


def _shop(scorer: OnnxScorer) -> dict[str, float]:
    return dict(zip(scorer.manifest.shop_token_names, scorer.manifest.shop_token, strict=True))


def _policy_rules(settings: Settings, scorer: OnnxScorer) -> PolicyRules:
    at_risk = settings.at_risk_probability or scorer.manifest.thresholds.at_risk
    critical = settings.critical_probability or scorer.manifest.thresholds.critical
    if at_risk >= critical:
        raise ConfigurationError(
            f"at_risk_probability ({at_risk}) must be below critical_probability ({critical}); "
            "the one that is not set comes from the model's manifest"
        )
    return PolicyRules(
        thresholds=(at_risk, critical),
        rearm=max(at_risk - settings.rearm_margin, 0.0),
        horizon_days=scorer.manifest.horizon_days,
        grace_days=settings.grace_days,
        min_target_events=settings.min_target_events,
    )


def build_rules(settings: Settings) -> Rules:
    """How the pipeline batches and waits."""
    return Rules(
        limits=Limits(settings.max_record_bytes, int(settings.max_future_s * 1000)),
        max_batch_records=settings.max_batch_records,
        poll_timeout_ms=settings.poll_timeout_ms,
        max_due_users=settings.max_due_users,
        watermark_delay_ms=int(settings.watermark_delay_s * 1000),
        wall_clock_when_idle=settings.clock == "wall",
        drain_timeout_s=settings.drain_timeout_s,
        retry_max_s=settings.retry_max_s,
        pace=CommitPace(settings.commit_interval_ms, max_users=settings.max_uncommitted_users),
        claims=ClaimRules(
            settings.wipe_foreign_state, settings.skip_lost_input, recounts=settings.delivery == "at_least_once"
        ),
    )
