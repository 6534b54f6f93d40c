"""Settings to the pure engine and its messages: the same for the service and for replay."""

from dataclasses import replace

from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.batch import Worker
from consumer.catalogues import load_languages
from consumer.commit import ClaimRules
from consumer.core.alerts import AlertContext
from consumer.core.baseline import baseline_of
from consumer.core.calendar import Calendar
from consumer.core.decode import Limits
from consumer.core.drift import Drift
from consumer.core.fold import FoldRules, Target
from consumer.core.outcomes import OutcomeRules
from consumer.core.policy import Policy
from consumer.messages import Messages, Topics
from consumer.next_items import load_next_items
from consumer.owner import CommitPace
from consumer.pipeline import Rules
from consumer.policy_file import PolicyInForce, load_policy
from consumer.prefix_cache import PrefixCache
from consumer.prefix_scorer import PrefixScorer
from consumer.scoring import Engine
from consumer.settings import Settings
from consumer.telemetry import Telemetry
from schemas.manifest import Manifest


def build_worker(settings: Settings, telemetry: Telemetry) -> Worker:
    """Loads and verifies model, policy and the table of next items; raises `ConfigurationError`."""
    scorer = OnnxScorer(settings.model_dir, settings.target)
    policy = load_policy(settings.policy_file, scorer.manifest, settings.timezone)
    calendar = Calendar(settings.timezone)
    fold_rules = FoldRules(calendar, settings.target, int(settings.max_lateness_s * 1000))
    context = AlertContext(
        scorer.version,
        policy.rules.horizon_days,
        policy.conduct,
        settings.target,
        load_next_items(settings.next_items_file),
        load_languages(),
        late_after_ms(settings),
    )
    engine = Engine(
        fold_rules,
        Policy(policy.rules, calendar),
        PrefixScorer(scorer, PrefixCache(scorer.memory, settings.prefix_cache_mb * 2**20)),
        OutcomeRules(policy.rules.horizon_days, settings.outcome_sample_share),
        baseline_of(_shop(scorer), settings.target, policy.rules.horizon_days),
        policy.conduct,
        settings.score_step if settings.scores_topic else None,
        drift_of(scorer.manifest, settings.target),
    )
    return Worker(
        engine,
        Messages(topics_of(settings), context),
        telemetry,
        int(settings.watermark_delay_s * 1000),
    )


def _shop(scorer: OnnxScorer) -> dict[str, float]:
    return dict(zip(scorer.manifest.shop_token_names, scorer.manifest.shop_token, strict=True))


def drift_of(manifest: Manifest, target: Target) -> Drift | None:
    """Nothing seen yet; None for a model whose reference is not known."""
    if manifest.reference is None:
        return None
    return Drift(manifest.reference, target, manifest.horizon_days)


def topics_of(settings: Settings) -> Topics:
    """Where records come from and go to."""
    return Topics(
        settings.events_topic,
        settings.alerts_topic,
        settings.dead_letters_topic,
        settings.outcomes_topic,
        settings.triggers_prefix,
        settings.scores_topic,
    )


def late_after_ms(settings: Settings) -> int | None:
    """How long after its moment silence is noticed late; None where time is not the wall clock's."""
    in_time_s = settings.watermark_delay_s + settings.late_after_s
    return int(in_time_s * 1000) if settings.clock == "wall" else None


def with_policy(worker: Worker, policy: PolicyInForce) -> Worker:
    """The same worker under another policy."""
    engine, messages = worker.engine, worker.messages
    return replace(
        worker,
        engine=replace(engine, policy=Policy(policy.rules, engine.policy.calendar), conduct=policy.conduct),
        messages=replace(messages, context=replace(messages.context, conduct=policy.conduct)),
    )


def build_rules(settings: Settings) -> Rules:
    """How the pipeline batches and waits."""
    return Rules(
        limits=Limits(settings.max_record_bytes, int(settings.max_future_s * 1000)),
        max_batch_records=settings.max_batch_records,
        poll_timeout_ms=settings.poll_timeout_ms,
        max_due_users=settings.max_due_users,
        timers_every_ms=settings.poll_timeout_ms,
        watermark_delay_ms=int(settings.watermark_delay_s * 1000),
        wall_clock_when_idle=settings.clock == "wall",
        drain_timeout_s=settings.drain_timeout_s,
        retry_max_s=settings.retry_max_s,
        pace=CommitPace(settings.commit_interval_ms, max_users=settings.max_uncommitted_users),
        claims=ClaimRules(
            settings.wipe_foreign_state, settings.skip_lost_input, recounts=settings.delivery == "at_least_once"
        ),
    )
