"""Every setting of the service, in one place: environment (EBBTIDE_…) over a TOML file over these defaults."""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, Secret, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from consumer.core.actions import TRIGGERED
from consumer.core.fold import Target
from consumer.errors import ConfigurationError

DEFAULT_MODEL_DIR = Path(__file__).parent / "model"
DEFAULT_POLICY_FILE = Path(__file__).parent / "policy.toml"
DEFAULT_FILE = Path("ebbtide.toml")
MAX_S = 10 * 365 * 86_400
_NO_ZONES = ("localtime", "posixrules")
_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")  # org.apache.kafka.common.internals.Topic


class SecretUrl(Secret[str]):
    """A URL that is shown without user and password, which may stand before an @ or among the parameters."""

    def _display(self) -> str:
        scheme, is_url, rest = self.get_secret_value().partition("://")
        _, at, where = rest.rpartition("@")
        server, query, _ = where.partition("?")
        return f"{scheme}://{'***@' if at else ''}{server}{'?***' if query else ''}" if is_url else "***"


class Settings(BaseSettings):
    """Names say the unit. Secrets are masked wherever settings are shown."""

    model_config = SettingsConfigDict(env_prefix="EBBTIDE_", extra="forbid", frozen=True, allow_inf_nan=False)

    kafka_bootstrap_servers: str = Field("localhost:9092", description="Comma-separated host:port of some brokers.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    kafka_ca_file: Path | None = Field(None, description="CA certificates for SSL; the system's if unset.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="For the SASL protocols."
    )
    kafka_sasl_username: str | None = Field(None, description="For the SASL protocols.")
    kafka_sasl_password: SecretStr | None = Field(None, description="For the SASL protocols.")
    kafka_session_timeout_ms: int = Field(45_000, ge=6_000, description="Silence after which a member is dead.")
    kafka_group_instance_id: str | None = Field(
        None, min_length=1, description="Static membership: a name that this process keeps over restarts."
    )
    kafka_transaction_timeout_ms: int = Field(
        30_000, ge=1_000, le=900_000, description="A transaction that takes longer is aborted."
    )
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once", description="at_least_once is for brokers without transactions: a crash may repeat alerts."
    )
    commit_interval_ms: int = Field(
        100, ge=0, le=60_000, description="How long changes gather before they are committed; alerts do not wait."
    )
    wipe_foreign_state: bool = Field(
        False, description="States in Redis of which the state topic knows nothing: start afresh (else: wait)."
    )
    skip_lost_input: bool = Field(
        False, description="Records that were deleted before they were read: go on without them (else: wait)."
    )
    max_uncommitted_users: int = Field(
        10_000, ge=1, description="Changed users per partition held in memory; then processing waits for the commit."
    )

    redis_url: SecretUrl = Field(
        SecretUrl("redis://localhost:6379/0"),
        description=(
            "redis://host:port/db, redis+sentinel://host:port,host:port/master/db, redis+cluster://host:port; "
            "rediss… with TLS; may hold user:password@."
        ),
    )
    redis_timeout_s: float = Field(10.0, gt=0, le=MAX_S, description="For connecting and for every call.")

    events_topic: str = Field("shop.events", description="Input; a record's key must be its user id.")
    alerts_topic: str = Field("retention.alerts", description="Output: RetentionAlert records, keyed by user id.")
    dead_letters_topic: str = Field("shop.dead-letters", description="Records that cannot be used.")
    outcomes_topic: str = Field("retention.outcomes", description="Output: what became of alerts and sampled scores.")
    triggers_prefix: str = Field(
        "marketing.triggers", description="Output: MarketingTrigger records, one topic for each action: PREFIX.ACTION."
    )
    scores_topic: str | None = Field(
        None, description="Output for other teams: every user's latest score, compacted; unset: not written."
    )
    score_step: float = Field(0.05, ge=0, le=1, description="A score is written again when it changed by more.")
    state_topic: str = Field("ebbtide.state", description="Compacted changelog; as many partitions as the input.")
    partitions: int = Field(4, ge=1, description="For `ebbtide topics create`.")
    replication_factor: int = Field(1, ge=1, description="For `ebbtide topics create`.")
    group_id: str = Field("ebbtide", description="Consumer group, and the prefix of all keys in Redis.")
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a partition starts that was never processed."
    )

    timezone: str = Field("UTC", description="The shop's time zone: where a day begins.")
    target: Target = Field("purchase", description="What counts as staying: a purchase, or any activity.")
    clock: Literal["wall", "watermark"] = Field(
        "wall",
        description="What makes timers fire while no event comes: the wall clock, or nothing (replays).",
    )
    watermark_delay_s: float = Field(
        60.0, ge=0, le=MAX_S, description="How far out of order events may arrive between users."
    )
    late_after_s: float = Field(
        300.0,
        ge=0,
        le=MAX_S,
        description="Silence noticed so much later than it could have been is marked late (clock = wall).",
    )
    max_lateness_s: float = Field(
        86_400.0,
        ge=0,
        le=MAX_S,
        description="An event older than the user's last one by more is a dead letter.",
    )
    max_future_s: float = Field(
        300.0, ge=0, le=MAX_S, description="An event further ahead of the clock is a dead letter."
    )
    max_record_bytes: int = Field(65_536, ge=256, description="A larger record is a dead letter.")

    model_dir: Path = Field(DEFAULT_MODEL_DIR, description="Folder with manifest.json and the ONNX graph.")
    policy_file: Path = Field(
        DEFAULT_POLICY_FILE, description="Who is alerted, and what may be done; a change is taken up while running."
    )
    outcome_sample_share: float = Field(
        0.02, ge=0, le=1, description="Share of all scores whose outcome is followed, besides all alerts."
    )

    next_items_file: Path | None = Field(
        None, description="Of `ebbtide train next-items`: what triggers name as bought next by others."
    )

    max_batch_records: int = Field(
        10_000, ge=1, description="Records per micro-batch, when so many wait; it begins with whatever has come."
    )
    poll_timeout_ms: int = Field(
        100, ge=1, description="How long to wait for records; how often to look at timers while they keep coming."
    )
    prefix_cache_mb: int = Field(
        256, ge=1, description="For what the model remembers of users' past days; the least recently seen leave."
    )
    max_due_users: int = Field(2_000, ge=1, description="Timers fired per tick and partition.")
    drain_timeout_s: float = Field(
        20.0, gt=0, le=MAX_S, description="How long a stop may take to finish what is in flight."
    )
    retry_max_s: float = Field(
        10.0, gt=0, le=MAX_S, description="Longest pause between two attempts at a server that is away."
    )

    http_host: str = Field("127.0.0.1", description="Where /metrics, /healthz and /readyz listen.")
    http_port: int = Field(8000, ge=0, le=65_535, description="0 picks a free port and logs it.")
    stall_s: float = Field(
        60.0, gt=0, le=MAX_S, description="/healthz fails when records wait and nothing was processed so long."
    )
    loop_lag_max_s: float = Field(
        5.0, gt=0, le=MAX_S, description="/healthz fails when the event loop was later; beyond it the log shows why."
    )
    loop_block_exit_s: float = Field(
        300.0, gt=0, le=MAX_S, description="The process ends itself when its event loop was blocked so long."
    )
    assignment_max_s: float = Field(
        180.0, gt=0, le=MAX_S, description="/healthz fails when the group has given this process no share so long."
    )
    claim_max_s: float = Field(
        900.0, gt=0, le=MAX_S, description="/healthz fails when claiming a partition, with any restore, takes longer."
    )
    open_transaction_max_s: float = Field(
        300.0, gt=0, le=MAX_S, description="/healthz fails when a producer's transaction hides input for so long."
    )
    log_format: Literal["text", "json"] = Field("text", description="For people, or for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug adds what the client libraries say."
    )

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for address in value.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ValueError(f"{address!r} is not host:port, such as broker:9092")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from error
        if value in _NO_ZONES:
            raise ValueError(f"{value!r} is another zone on another machine: name one such as Europe/Berlin")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        for topic in self.topics:
            if not _TOPIC.fullmatch(topic):
                raise ValueError(f"{topic!r} is no name of a topic: 1 to 249 letters, digits and . _ -")
        if len(set(self.topics)) < len(self.topics):
            raise ValueError(f"the topics must differ: {', '.join(self.topics)}")
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError("SASL needs kafka_sasl_username and kafka_sasl_password")
        return self

    @property
    def trigger_topics(self) -> tuple[str, ...]:
        """One for each action."""
        return tuple(f"{self.triggers_prefix}.{action}" for action in TRIGGERED)

    @property
    def topics(self) -> tuple[str, ...]:
        """All that are read or written."""
        own = (
            self.events_topic, self.alerts_topic, self.dead_letters_topic, self.outcomes_topic, self.state_topic,
        )  # fmt: skip
        return own + self.trigger_topics + ((self.scores_topic,) if self.scores_topic else ())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, cls._toml_file())

    @staticmethod
    def _toml_file() -> Path:
        return Path(os.environ.get("EBBTIDE_CONFIG", DEFAULT_FILE))


# What is no setting: where they are, where the embedded Kafka's jars are, and what Kubernetes sets for a Service.
_NO_SETTING = re.compile(r"EBBTIDE_(CONFIG|CACHE_DIR|(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_.*)?))")


def _refuse_unknown_variables() -> None:
    known = {f"EBBTIDE_{name.upper()}" for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith("EBBTIDE_") and name not in known and not _NO_SETTING.fullmatch(name):
            nearest = get_close_matches(name, known, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ConfigurationError(f"{name} is no setting{hint} (`ebbtide config` lists them)")


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process; raises `ConfigurationError` naming every wrong one and what is wrong with it."""
    chosen = os.environ.get("EBBTIDE_CONFIG")
    if chosen and not Path(chosen).is_file():
        raise ConfigurationError(f"EBBTIDE_CONFIG names {chosen}, which is not a file")
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = [
            f"  {'.'.join(map(str, detail['loc'])) or 'settings'}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigurationError(
            "\n".join([f"wrong settings, in EBBTIDE_… variables or {Settings._toml_file()}:", *problems])
        ) from error
    except (ValueError, OSError) as error:  # the file is no TOML, or not ours to read
        raise ConfigurationError(f"cannot read {Settings._toml_file()}: {error}") from error
