"""How the service needs its topics to be, and what it says of those that are not: no client, no I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consumer.adapters.kafka import MAX_BATCH_BYTES, MAX_MESSAGE_BYTES
from consumer.settings import Settings

_HOUR_MS = 3_600_000
_SAFE = {"unclean.leader.election.enable": "false"}
_CHANGELOG = {
    "cleanup.policy": "compact",
    # A restore reads what is not compacted yet, too: the segment in use, and less than a third of the rest.
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(6 * _HOUR_MS),
    "min.cleanable.dirty.ratio": "0.3",
    "max.compaction.lag.ms": str(7 * 24 * _HOUR_MS),  # how long a user who was erased is still found in old records
}


@dataclass(frozen=True)
class TopicPlan:
    """A topic as `ebbtide topics create` makes it."""

    name: str
    partitions: int
    configs: Mapping[str, str]


@dataclass(frozen=True)
class TopicFacts:
    """A topic as it is."""

    name: str
    partitions: int
    replicas: int  # of the partition that has the fewest
    configs: Mapping[str, str] | None  # None: we may not read them

    def number(self, config: str) -> int | None:
        """A configuration that is a number, if it is known."""
        value = (self.configs or {}).get(config)
        return int(value) if value else None


def plan(settings: Settings) -> list[TopicPlan]:
    """Every topic that the service reads or writes."""
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    safe = _SAFE | ({"min.insync.replicas": "2"} if settings.replication_factor >= 3 else {})
    return [
        TopicPlan(settings.events_topic, settings.partitions, {}),
        TopicPlan(settings.state_topic, settings.partitions, _CHANGELOG | safe),
        TopicPlan(settings.alerts_topic, settings.partitions, safe),
        TopicPlan(settings.outcomes_topic, settings.partitions, safe),
        TopicPlan(settings.dead_letters_topic, settings.partitions, large | safe),
        *(TopicPlan(name, settings.partitions, safe) for name in settings.trigger_topics),
        *_scores(settings, safe),
    ]


def _scores(settings: Settings, safe: Mapping[str, str]) -> list[TopicPlan]:
    compacted = {"cleanup.policy": "compact"} | dict(safe)
    return [TopicPlan(settings.scores_topic, settings.partitions, compacted)] if settings.scores_topic else []


def problems(settings: Settings, facts: Mapping[str, TopicFacts]) -> list[str]:
    """Sentences about what does not fit, given all topics of the plan."""
    state = facts[settings.state_topic]
    outgoing = [facts[topic.name] for topic in plan(settings) if topic.name != settings.events_topic]
    return [
        *_of_partitions(facts[settings.events_topic], state),
        *_of_state(state, settings),
        *(_of_scores(facts[settings.scores_topic], settings) if settings.scores_topic else ()),
        *(problem for topic in outgoing for problem in _of_outgoing(topic, settings)),
    ]


def _of_partitions(events: TopicFacts, state: TopicFacts) -> Iterator[str]:
    if state.partitions != events.partitions:
        yield (
            f"{state.name} has {state.partitions} partitions and {events.name} has {events.partitions}: the input's "
            "partition count has changed, and users live in other partitions now; run `ebbtide repartition`"
        )


def _of_state(state: TopicFacts, settings: Settings) -> Iterator[str]:
    if state.configs is None:
        return
    if (policy := state.configs.get("cleanup.policy", "compact")) != "compact":
        yield (
            f"{state.name} has cleanup.policy={policy}, by which states of users are lost or never tidied up: "
            + _alter(state, settings, "cleanup.policy=compact")
        )


def _of_scores(scores: TopicFacts, settings: Settings) -> Iterator[str]:
    policy = (scores.configs or {}).get("cleanup.policy")
    if policy and policy != "compact":
        yield (
            f"{scores.name} has cleanup.policy={policy}: scores are written when they change, so the latest one of a "
            "quiet customer would be deleted by age: " + _alter(scores, settings, "cleanup.policy=compact")
        )


def _of_outgoing(topic: TopicFacts, settings: Settings) -> Iterator[str]:
    in_sync, room = topic.number("min.insync.replicas"), topic.number("max.message.bytes")
    if in_sync is None or room is None:
        yield f"the configuration of {topic.name} cannot be read: allow this client DescribeConfigs on it"
        return
    if (topic.configs or {}).get("unclean.leader.election.enable") == "true":
        yield (
            f"{topic.name} allows unclean leader election, which loses acknowledged records: "
            + _alter(topic, settings, "unclean.leader.election.enable=false")
        )
    if in_sync > topic.replicas:
        yield (
            f"{topic.name} has min.insync.replicas={in_sync} and {topic.replicas} replicas, so nothing can be written: "
            + _alter(topic, settings, f"min.insync.replicas={max(topic.replicas - 1, 1)}")
        )
    if topic.replicas >= 3 and in_sync < 2:
        yield (
            f"{topic.name} has {topic.replicas} replicas, but min.insync.replicas={in_sync}, by which acknowledged "
            "records can be lost: " + _alter(topic, settings, "min.insync.replicas=2")
        )
    needed = MAX_MESSAGE_BYTES if topic.name == settings.dead_letters_topic else MAX_BATCH_BYTES
    if room < needed:
        yield (
            f"{topic.name} has max.message.bytes={room}, too few for what is written there: "
            + _alter(topic, settings, f"max.message.bytes={needed}")
        )


def _alter(topic: TopicFacts, settings: Settings, config: str) -> str:
    return (
        f"`kafka-configs --bootstrap-server {settings.kafka_bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {topic.name} --add-config {config}`"
    )
