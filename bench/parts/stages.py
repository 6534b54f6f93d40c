"""The stages of the pipeline, and which functions do the work of each."""

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.producer.sender import Sender

from bench.parts.clock import Place
from consumer import batch, pipeline, scoring
from consumer.adapters.kafka_changelog import KafkaChangelog
from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.adapters.redis_store import RedisStore
from consumer.batch import Worker
from consumer.core.drift import Drift
from consumer.core.fold import Opened
from consumer.core.runs import Schedule
from consumer.messages import Messages
from consumer.prefix_cache import PrefixCache
from consumer.prefix_scorer import PrefixScorer, Scored
from consumer.scoring import Engine

READ, LOAD, CHANGELOG, STORE = "read from Kafka", "load from Redis", "write to Kafka", "write to Redis"
DECODE, LOOK, LOOP = "decode", "look for due timers", "event loop and the rest"

COMPUTED: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (DECODE, ((pipeline, "decode_slices"),)),
    ("unpack", ((batch, "unpack"),)),
    ("fold", ((Schedule, "__init__"), (Schedule, "next"), (scoring, "open_runs"), (Opened, "close"), (Opened, "rest"))),
    ("tokens, cache", ((PrefixCache, "entries"), (PrefixScorer, "score_runs"), (Scored, "remember"))),
    ("model: step", ((OnnxScorer, "step"),)),
    ("model: prefill", ((PrefixScorer, "_prefill"),)),
    ("decide, set timers", ((Engine, "_undecided"), (Engine, "_decided"), (Engine, "_fired"), (Worker, "on_silence"))),
    ("drift", ((Drift, "add"), (Drift, "count"))),
    ("alerts, reasons", ((Engine, "_told"), (Messages, "alerts"), (Messages, "outcomes"))),
    ("pack", ((batch, "pack"),)),
    ("assemble", ((Worker, "on_events"),)),
)
ON_WIRES: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (READ, ((KafkaSource, "poll"), (Fetcher, "_fetch_requests_routine"), (Fetcher, "_proc_fetch_request"))),
    (LOAD, ((RedisStore, "load"),)),
    (LOOK, ((RedisStore, "due"),)),
    (CHANGELOG, ((KafkaChangelog, "commit"), (Sender, "_sender_routine"))),
    (STORE, ((RedisStore, "step"),)),
)
ORDER = (READ, DECODE, LOAD, *(stage for stage, _ in COMPUTED[1:]), LOOK, CHANGELOG, STORE, LOOP)
