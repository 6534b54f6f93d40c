"""Settings to the pure engine and its messages: the same for the service and for replay."""

from dataclasses import replace

from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.batch import Worker
from consumer.commit import ClaimRules
from consumer.core.alerts import AlertContext
from consumer.core.calendar import Calendar
from consumer.core.decode import Limits
from consumer.core.fold import FoldRules
from consumer.core.policy import Policy
from consumer.messages import Messages, Topics
from consumer.next_items import load_next_items
from consumer.owner import CommitPace
from consumer.pipeline import Rules
from consumer.policy_file import PolicyInForce, load_policy
from consumer.ports import Telemetry
from consumer.scoring import Engine
from consumer.settings import Settings


def build_worker(settings: Settings, telemetry: Telemetry) -> Worker:
    """Loads and verifies model, policy and the table of next items; raises `ConfigurationError`."""
    scorer = OnnxScorer(settings.model_dir, settings.target)
    policy = load_policy(settings.policy_file, scorer.manifest, settings.timezone)
    calendar = Calendar(settings.timezone)
    fold_rules = FoldRules(calendar, settings.target, int(settings.max_lateness_s * 1000))
    next_items = load_next_items(settings.next_items_file)
    context = AlertContext(scorer.version, policy.rules.horizon_days, policy.conduct, settings.target, next_items)
    topics = Topics(settings.events_topic, settings.alerts_topic, settings.dead_letters_topic, settings.triggers_prefix)
    return Worker(
        Engine(fold_rules, Policy(policy.rules, calendar), scorer, policy.conduct),
        Messages(topics, context, telemetry),
        telemetry,
        int(settings.watermark_delay_s * 1000),
    )


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
        watermark_delay_ms=int(settings.watermark_delay_s * 1000),
        wall_clock_when_idle=settings.clock == "wall",
        drain_timeout_s=settings.drain_timeout_s,
        retry_max_s=settings.retry_max_s,
        pace=CommitPace(settings.commit_interval_ms, max_users=settings.max_uncommitted_users),
        claims=ClaimRules(
            settings.wipe_foreign_state, settings.skip_lost_input, recounts=settings.delivery == "at_least_once"
        ),
    )
