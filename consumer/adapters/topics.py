"""The topics that the service needs: what is missing or does not fit, and making them."""

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from consumer.adapters.kafka import connection, start_client, stopped, translated
from consumer.adapters.kafka_topic_rules import TopicFacts, TopicPlan, plan, problems
from consumer.errors import ConfigurationError
from consumer.settings import Settings

_OK, _ALREADY_EXISTS = 0, 36  # Kafka's error codes
_USABLE_S, _LOOK_AGAIN_S = 30.0, 0.1
_UNKNOWN: Mapping[str, Any] = {"partitions": []}


async def topic_problems(settings: Settings) -> list[str]:
    """Sentences about topics that are missing or do not fit; raises `UnavailableError` when no broker answers."""
    async with _Admin(settings) as admin:
        existing, needed = await admin.existing(), [topic.name for topic in plan(settings)]
        if missing := [name for name in needed if name not in existing]:
            return [f"there is no {', '.join(missing)}: make what is missing with `ebbtide topics create`"]
        return problems(settings, await admin.facts(needed))


async def create_topics(settings: Settings) -> list[str]:
    """Make those that are missing, and wait until they can be used; returns their names."""
    async with _Admin(settings) as admin:
        existing = await admin.existing()
        if settings.events_topic in existing:  # the changelog must have as many partitions as the input
            partitions = await admin.partitions(settings.events_topic)
            settings = settings.model_copy(update={"partitions": partitions})
        wanted = [topic for topic in plan(settings) if topic.name not in existing]
        await admin.create(wanted, settings.replication_factor)
        await admin.until_usable(wanted)
    return [topic.name for topic in wanted]


async def partition_count(settings: Settings, topic: str) -> int:
    """How many partitions a topic has."""
    async with _Admin(settings) as admin:
        if topic not in await admin.existing():
            raise ConfigurationError(f"there is no topic {topic}: make it with `ebbtide topics create`")
        return await admin.partitions(topic)


class _Admin:
    def __init__(self, settings: Settings) -> None:
        self._client = AIOKafkaAdminClient(**connection(settings))

    async def __aenter__(self) -> "_Admin":
        await start_client(self._client.start, self._client.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await stopped(self._client.close)

    async def existing(self) -> set[str]:
        with translated():
            return set(await self._client.list_topics())

    async def partitions(self, topic: str) -> int:
        with translated():
            [description] = await self._client.describe_topics([topic])
        return len(description["partitions"])

    async def facts(self, topics: Collection[str]) -> dict[str, TopicFacts]:
        """By name, topics that exist."""
        configs = await self._configs(topics)
        with translated():
            described = {each["topic"]: each["partitions"] for each in await self._client.describe_topics([*topics])}
        return {
            name: TopicFacts(
                name, len(partitions), min(len(each["replicas"]) for each in partitions), configs.get(name)
            )
            for name, partitions in described.items()
        }

    async def _configs(self, topics: Collection[str]) -> dict[str, Mapping[str, str]]:
        """By topic, those that we may read."""
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        with translated():
            responses = await self._client.describe_configs(wanted)
        return {
            name: {entry[0]: entry[1] for entry in entries}
            for response in responses
            for code, _, _, name, entries in response.resources
            if code == _OK
        }

    async def create(self, topics: list[TopicPlan], replication_factor: int) -> None:
        with translated():
            new = [NewTopic(t.name, t.partitions, replication_factor, topic_configs=dict(t.configs)) for t in topics]
            response = await self._client.create_topics(new)
        refused = [
            f"{row[0]}: {row[2] or row[1]}" for row in response.topic_errors if row[1] not in (_OK, _ALREADY_EXISTS)
        ]
        if refused:
            raise ConfigurationError("Kafka refuses to create topics: " + "; ".join(refused))

    async def until_usable(self, topics: list[TopicPlan]) -> None:
        """Brokers learn of a new topic one after the other; a client that asks too early looks again much later."""
        looking = AsyncRetrying(
            retry=retry_if_result(lambda are_usable: not are_usable),
            wait=wait_fixed(_LOOK_AGAIN_S),
            stop=stop_after_delay(_USABLE_S),
            retry_error_callback=lambda _: False,  # then the service waits for them
        )
        with translated():
            await looking(self._are_usable, topics)

    async def _are_usable(self, topics: list[TopicPlan]) -> bool:
        if not topics:
            return True
        described = {each["topic"]: each for each in await self._client.describe_topics([each.name for each in topics])}
        return all(
            len(found["partitions"]) == topic.partitions and all(each["leader"] >= 0 for each in found["partitions"])
            for topic in topics
            if (found := described.get(topic.name, _UNKNOWN))
        )
