"""Topics: what `ebbtide topics create` makes, and what is said of topics that do not fit."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumer.adapters.kafka_topic_rules import TopicFacts, plan, problems
from consumer.adapters.topics import create_topics, partition_count, topic_problems
from consumer.embedded import KafkaServer, RedisServer
from consumer.settings import Settings
from support import shop_settings, until


@pytest.fixture
def settings(kafka: KafkaServer, valkey: RedisServer) -> Settings:
    """A shop that has no topics."""
    return shop_settings(kafka, valkey, partitions=1)


async def create(settings: Settings, name: str, configs: Mapping[str, str], partitions: int = 1) -> None:
    """A topic as somebody else may have made it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(configs))])

        async def is_known() -> bool:  # a broker learns of a new topic a little later than it says
            return name in await admin.list_topics()

        await until(is_known, f"{name} is known")
    finally:
        await admin.close()


async def test_what_is_created_fits(settings: Settings) -> None:
    """Topics that were made by the command are those that the service needs; a second call makes none."""
    assert await topic_problems(settings) == [
        f"there is no {', '.join(topic.name for topic in plan(settings))}: "
        "make what is missing with `ebbtide topics create`"
    ]
    assert await create_topics(settings) == [topic.name for topic in plan(settings)]
    assert await topic_problems(settings) == []
    assert await create_topics(settings) == []


async def test_what_is_missing_gets_the_partitions_of_the_input(settings: Settings) -> None:
    """An input topic that is already there decides, not the setting."""
    await create(settings, settings.events_topic, {}, partitions=3)
    await create_topics(settings)
    assert await partition_count(settings, settings.state_topic) == 3
    assert await topic_problems(settings) == []


@pytest.mark.parametrize(("input_has", "state_has"), [(1, 3), (3, 1)])
async def test_another_number_of_partitions_is_named(settings: Settings, input_has: int, state_has: int) -> None:
    """More or fewer than the input: both topics, both counts, and what to do."""
    await create(settings, settings.events_topic, {}, input_has)
    await create(settings, settings.state_topic, {"cleanup.policy": "compact"}, state_has)
    await create_topics(settings)
    [problem] = await topic_problems(settings)
    assert problem.startswith(
        f"{settings.state_topic} has {state_has} partitions and {settings.events_topic} has {input_has}"
    )
    assert "ebbtide repartition" in problem


@pytest.mark.parametrize(
    ("configs", "cure"),
    [
        ({}, "cleanup.policy=compact"),
        ({"cleanup.policy": "compact,delete"}, "cleanup.policy=compact"),
        (
            {"cleanup.policy": "compact", "unclean.leader.election.enable": "true"},
            "unclean.leader.election.enable=false",
        ),
        ({"cleanup.policy": "compact", "max.message.bytes": "100000"}, "max.message.bytes=524288"),
        ({"cleanup.policy": "compact", "min.insync.replicas": "2"}, "min.insync.replicas=1"),
    ],
)
async def test_a_state_topic_that_loses_states_is_named(settings: Settings, configs: dict[str, str], cure: str) -> None:
    """Each with the command that mends it."""
    await create(settings, settings.state_topic, configs)
    await create_topics(settings)
    [problem] = await topic_problems(settings)
    assert problem.startswith(settings.state_topic)
    assert problem.endswith(f"--entity-name {settings.state_topic} --add-config {cure}`")


async def test_scores_are_compacted(settings: Settings) -> None:
    """So the topic is made where scores are wanted, and one that was made otherwise is named, with what mends it."""
    settings = settings.model_copy(update={"scores_topic": f"{settings.group_id}.scores"})
    await create_topics(settings.model_copy(update={"scores_topic": None}))
    assert await create_topics(settings) == [settings.scores_topic]
    assert await topic_problems(settings) == []
    aged = settings.model_copy(update={"scores_topic": f"{settings.group_id}.aged-scores"})
    assert aged.scores_topic
    await create(aged, aged.scores_topic, {"cleanup.policy": "delete"})
    [problem] = await topic_problems(aged)
    assert problem.startswith(f"{aged.scores_topic} has cleanup.policy=delete")
    assert problem.endswith(f"--entity-name {aged.scores_topic} --add-config cleanup.policy=compact`")


async def test_a_dead_letter_topic_without_room_is_named(settings: Settings) -> None:
    """A dead letter carries the whole original."""
    await create(settings, settings.dead_letters_topic, {"max.message.bytes": "1048588"})
    await create_topics(settings)
    [problem] = await topic_problems(settings)
    assert problem.startswith(f"{settings.dead_letters_topic} has max.message.bytes=1048588")


def test_with_three_replicas_two_must_be_in_sync() -> None:
    """Topics are made so, and those that are not are named: one replica in sync may lose acknowledged records."""
    settings = Settings(replication_factor=3)
    facts = {
        topic.name: TopicFacts(
            topic.name,
            topic.partitions,
            3,
            {"max.message.bytes": "4194304", "min.insync.replicas": "1"} | topic.configs,
        )
        for topic in plan(settings)
    }
    assert problems(settings, facts) == []
    alerts = settings.alerts_topic
    facts[alerts] = replace(facts[alerts], configs={"max.message.bytes": "4194304", "min.insync.replicas": "1"})
    [problem] = problems(settings, facts)
    assert problem.startswith(f"{alerts} has 3 replicas, but min.insync.replicas=1")


def test_what_may_not_be_read_is_named() -> None:
    """Without the right to read the configuration nobody knows whether states are safe."""
    settings = Settings()
    facts = {topic.name: TopicFacts(topic.name, topic.partitions, 1, None) for topic in plan(settings)}
    assert problems(settings, facts) == [
        f"the configuration of {topic.name} cannot be read: allow this client DescribeConfigs on it"
        for topic in plan(settings)
        if topic.name != settings.events_topic
    ]
