"""The topics that the service needs: what is missing, and making them."""

from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumer.adapters.kafka import MAX_MESSAGE_BYTES, connection, start_client, translated
from consumer.errors import ConfigurationError
from consumer.settings import Settings

_OK, _ALREADY_EXISTS = 0, 36  # Kafka's error codes


@dataclass(frozen=True)
class TopicPlan:
    """A topic as `ebbtide topics create` makes it."""

    name: str
    partitions: int
    configs: dict[str, str]


def plan(settings: Settings) -> list[TopicPlan]:
    """Every topic that the service reads or writes."""
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    return [
        TopicPlan(settings.events_topic, settings.partitions, {}),
        TopicPlan(settings.state_topic, settings.partitions, {"cleanup.policy": "compact"}),
        TopicPlan(settings.alerts_topic, settings.partitions, {}),
        TopicPlan(settings.dead_letters_topic, settings.partitions, large),
    ]


async def topic_problems(settings: Settings) -> list[str]:
    """Sentences about topics that are missing or do not fit; raises `UnavailableError` when no broker answers."""
    async with _Admin(settings) as admin:
        existing = await admin.existing()
        missing = [topic.name for topic in plan(settings) if topic.name not in existing]
        if missing:
            return [f"there is no {', '.join(missing)}: make what is missing with `ebbtide topics create`"]
        events, state = [await admin.partitions(name) for name in (settings.events_topic, settings.state_topic)]
    if state < events:
        return [
            f"{settings.state_topic} has {state} partitions and {settings.events_topic} has {events}: "
            f"give {settings.state_topic} as many"
        ]
    return []


async def create_topics(settings: Settings) -> list[str]:
    """Make those that are missing; returns their names."""
    async with _Admin(settings) as admin:
        existing = await admin.existing()
        if settings.events_topic in existing:  # the changelog must have as many partitions as the input
            partitions = await admin.partitions(settings.events_topic)
            settings = settings.model_copy(update={"partitions": partitions})
        wanted = [topic for topic in plan(settings) if topic.name not in existing]
        await admin.create(wanted, settings.replication_factor)
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
        await self._client.close()

    async def existing(self) -> set[str]:
        with translated():
            return set(await self._client.list_topics())

    async def partitions(self, topic: str) -> int:
        with translated():
            [description] = await self._client.describe_topics([topic])
        return len(description["partitions"])

    async def create(self, topics: list[TopicPlan], replication_factor: int) -> None:
        with translated():
            new = [NewTopic(t.name, t.partitions, replication_factor, topic_configs=t.configs) for t in topics]
            response = await self._client.create_topics(new)
        refused = [
            f"{row[0]}: {row[2] or row[1]}" for row in response.topic_errors if row[1] not in (_OK, _ALREADY_EXISTS)
        ]
        if refused:
            raise ConfigurationError("Kafka refuses to create topics: " + "; ".join(refused))
