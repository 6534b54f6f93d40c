"""The input topic as Kafka really delivers it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import CorruptRecordException
from kafka_members import member, take

from consumer.adapters import kafka_source
from consumer.adapters.kafka import partition_of
from consumer.adapters.kafka_source import KafkaSource
from consumer.adapters.topics import create_topics
from consumer.embedded import KafkaServer, RedisServer
from consumer.errors import LostPartitionError, UnavailableError
from consumer.settings import Settings
from support import Shop, shop_settings, until


@pytest.fixture
async def settings(kafka: KafkaServer, valkey: RedisServer) -> Settings:
    """A shop of two partitions in which nothing has happened."""
    settings = shop_settings(kafka, valkey, partitions=2)
    await create_topics(settings)
    return settings


@pytest.fixture
async def source(settings: Settings) -> AsyncIterator[KafkaSource]:
    """The only member of its group."""
    async with member(settings) as source:
        yield source


async def produce(settings: Settings, partition: int, values: list[bytes], codec: str | None = None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, compression_type=codec) as producer:
        for value in values:
            await producer.send(settings.events_topic, value, b"user", partition=partition)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_every_compression_is_read(codec: str, settings: Settings, source: KafkaSource) -> None:
    """What a producer has compressed arrives as it was, whatever the codec."""
    sent = [f"value {number}".encode() for number in range(100)]
    await produce(settings, 1, sent, codec)
    await source.seek(1, 0)
    assert [record.value for record in (await take(source, 100))[1]] == sent


async def test_a_partition_is_on_hold_until_it_is_sought(settings: Settings, source: KafkaSource) -> None:
    """What nobody has claimed is not read; a claimed one flows from where it was sought, the others stay on hold."""
    for partition in (0, 1):
        await produce(settings, partition, [b"a", b"b", b"c"])
    assert await source.poll(1_000, 300) == {}
    await source.seek(1, 1)
    assert {part: [each.offset for each in records] for part, records in (await take(source, 2)).items()} == {1: [1, 2]}
    assert await source.poll(1_000, 300) == {}


async def test_a_held_partition_gives_nothing_that_was_fetched_before(settings: Settings, source: KafkaSource) -> None:
    """Neither what is already in the client's buffer, nor what comes; after a seek all of it from there on."""
    await source.seek(0, 0)
    await produce(settings, 0, [b"a", b"b", b"c"])
    [first] = (await take(source, 1))[0][:1]
    source.hold(0)
    await produce(settings, 0, [b"d"])
    assert await source.poll(1_000, 300) == {}
    assert source.lag(0, 0) is not None
    await source.seek(0, first.offset)
    assert [record.value for record in (await take(source, 4))[0]] == [b"a", b"b", b"c", b"d"]


async def test_what_has_come_since_the_last_fetch_is_read_as_well(
    settings: Settings, source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched ahead is not handed out alone while newer records are there, in order all the same."""
    await source.seek(0, 0)
    await produce(settings, 0, [b"a"])
    assert [record.value for record in (await take(source, 1))[0]] == [b"a"]
    await produce(settings, 0, [b"b"])
    part = TopicPartition(settings.events_topic, 0)
    await until(lambda: source._consumer.highwater(part) == 2, "b fetched ahead")
    await produce(settings, 0, [b"c"])
    monkeypatch.setattr(kafka_source, "NEWER_WAIT_MS", 20_000)
    assert [record.value for record in (await source.poll(1_000, 20_000))[0]] == [b"b", b"c"]


async def test_a_damaged_record_loses_nothing(settings: Settings, source: KafkaSource) -> None:
    """What the client had taken of another partition when it stumbled, and what was damaged, are read again."""
    for partition in (0, 1):
        await source.seek(partition, 0)
        await produce(settings, partition, [b"a"])
    await take(source, 2)
    for partition in (0, 1):
        await produce(settings, partition, [b"b"])
    fetched = source._consumer._fetcher._records
    parts = [TopicPartition(settings.events_topic, partition) for partition in (0, 1)]
    await until(lambda: len(fetched) == len(parts), "both fetched ahead")
    *_, last = fetched
    fetched[last]._partition_records._records_iterator = _damaged()
    with pytest.raises(UnavailableError, match="CRC"):
        await source.poll(1_000, 1_000)
    read = await take(source, 2)
    assert {part: [record.value for record in records] for part, records in read.items()} == {0: [b"b"], 1: [b"b"]}


def _damaged() -> Iterator[object]:
    raise CorruptRecordException("Invalid CRC")
    yield


async def test_no_more_than_asked_for_is_read(settings: Settings, source: KafkaSource) -> None:
    """Newer records come on top only up to the bound, and nothing is left out."""
    await produce(settings, 0, [b"%d" % number for number in range(10)])
    await source.seek(0, 0)
    read: list[int] = []
    while len(read) < 10:
        polled = (await source.poll(3, 1_000)).get(0, [])
        assert len(polled) <= 3
        read += [record.offset for record in polled]
    assert read == [*range(10)]


async def test_lag_counts_no_markers(settings: Settings, source: KafkaSource) -> None:
    """The marker that ends a transaction is an offset, but nothing waits there; before a fetch nothing is known."""
    await Shop(settings).produce([(b"user", b"{}")], transactional_id=settings.group_id)
    partition = partition_of(b"user", 2)
    assert source.lag(partition, 0) is None
    await source.seek(partition, 0)
    await take(source, 1)
    assert source.lag(partition, 1) == 0
    assert source.lag(partition, 0) == 2
    source.hold(partition)
    await source.seek(partition, 1)
    await until(lambda: _polled_lag(source, partition, 1), "known again that nothing waits")


async def _polled_lag(source: KafkaSource, partition: int, next_offset: int) -> bool:
    await source.poll(1_000, 50)
    return source.lag(partition, next_offset) == 0


async def test_it_knows_what_is_there(settings: Settings, source: KafkaSource) -> None:
    """Partitions, what is retained, and where to start by the setting."""
    await produce(settings, 0, [b"a", b"b", b"c"])
    assert await source.partitions() == 2
    assert [await source.retained(part) for part in (0, 1)] == [(0, 3), (0, 0)]
    assert await source.configured_start(0) == 0
    latest = settings.model_copy(update={"auto_offset_reset": "latest", "group_id": f"{settings.group_id}-2"})
    async with member(latest) as other:
        assert await other.configured_start(0) == 3


async def test_an_open_transaction_of_somebody_is_told(settings: Settings, source: KafkaSource) -> None:
    """While it is open nothing behind it is read, and it is known how much that is."""
    await source.seek(0, 0)
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=settings.group_id
    ) as producer:
        await producer.begin_transaction()
        for value in (b"a", b"b"):
            await producer.send_and_wait(settings.events_topic, value, b"user", partition=0)
        await until(lambda: _polled_stuck(source), "two records held back")
        assert source.lag(0, 0) == 0
        await producer.commit_transaction()
    await take(source, 2)
    assert source.stuck(0) == source.stuck(1) == 0


async def _polled_stuck(source: KafkaSource) -> bool:
    assert await source.poll(1_000, 50) == {}
    return source.stuck(0) == 2


async def test_a_partition_that_is_not_ours_is_left_alone(settings: Settings, source: KafkaSource) -> None:
    """Holding it is no error, seeking it is for later, and nothing is known of it."""
    source.hold(7)
    with pytest.raises(UnavailableError, match="not ours"):
        await source.seek(7, 0)
    assert (source.lag(7, 0), source.stuck(7)) == (None, 0)


async def test_lag_tools_are_told(settings: Settings, source: KafkaSource) -> None:
    """The group's offsets are committed, of partitions that are ours."""
    await source.tell({0: 7})
    await source.tell({0: 9})
    assert await Shop(settings).committed() == {0: 9, 1: None}
    with pytest.raises(UnavailableError, match="not assigned"):
        await source.tell({7: 1})


async def test_nobody_is_a_member_before_it_has_joined(settings: Settings) -> None:
    """A watchdog can tell a source that waits for its share from one that has it."""
    source = KafkaSource(settings)
    assert not source.is_member()
    await source.start()
    try:
        assert not source.is_member()
        assert source.why_broken() is None
    finally:
        await source.close()


async def test_a_static_member_keeps_its_place_over_a_restart(settings: Settings) -> None:
    """With a name of its own it comes back into the same generation: nobody else's partitions are revoked."""
    static = settings.model_copy(update={"kafka_group_instance_id": "consumer-0"})
    generations = []
    for _ in range(2):
        async with member(static) as source:
            generations.append(source._consumer._coordinator.generation)
            await source.seek(0, 0)
    assert generations == [1, 1]


async def test_records_that_are_gone_are_not_passed_over(settings: Settings, source: KafkaSource) -> None:
    """Where the input no longer holds what comes next, the partition comes into doubt; the others flow."""
    for partition in (0, 1):
        await produce(settings, partition, [b"a", b"b", b"c"])
    await Shop(settings).delete_input_before({0: 2, 1: 0})
    await source.seek(0, 0)
    with pytest.raises(LostPartitionError) as raised:
        await take(source, 3)
    assert raised.value.partitions == {0}
    source.hold(0)
    await source.seek(1, 0)
    assert [record.value for record in (await take(source, 3))[1]] == [b"a", b"b", b"c"]
