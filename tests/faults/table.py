"""The faults, one table: what is done, to what, for how long, and how often it is chosen."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.structs import OffsetAndMetadata

from consumer.embedded import KafkaNode
from faults.fleet import Service
from faults.wire import Wire
from faults.world import SESSION_TIMEOUT_MS, World
from support import until

Chance = random.Random
Inflict = Callable[[World, Chance, float], Awaitable[str]]  # for so many seconds; what it was done to
_IN_SYNC_DEADLINE_S = 90.0


@dataclass(frozen=True)
class Fault:
    """One kind."""

    kind: str
    inflict: Inflict
    duration_s: tuple[float, float] = (0.0, 0.0)
    weight: float = 1.0


# Services.


async def kill_service(world: World, chance: Chance, duration_s: float) -> str:
    """`kill -9`, and a new one after a while."""
    async with world.fleet.taken(chance) as service:
        await service.kill()
        await asyncio.sleep(duration_s)
        await world.fleet.start()
    return service.name


async def crash_service(world: World, chance: Chance, duration_s: float) -> str:
    """A machine loses one broker, then dies: of what it sent, some has arrived and the rest never will."""
    async with world.fleet.taken(chance) as service:
        lost = chance.choice(world.kafka_wires)
        lost.silence(service.pid)
        await asyncio.sleep(duration_s)
        for wire in world.wires:
            await wire.cut(service.pid)
        await service.kill()
        await world.fleet.start()
    return f"{service.name}, {lost.name} lost before"


async def freeze_service(world: World, chance: Chance, duration_s: float) -> str:
    """SIGSTOP past the session timeout, then SIGCONT: a zombie that does not know it."""
    async with world.fleet.taken(chance) as service:
        service.hit(signal.SIGSTOP)
        try:
            await asyncio.sleep(SESSION_TIMEOUT_MS / 1000 + duration_s)
        finally:
            service.send(signal.SIGCONT)
    return service.name


async def block_service(world: World, chance: Chance, duration_s: float) -> str:
    """The event loop stands still; connections and worker threads do not."""
    async with world.fleet.taken(chance) as service:
        service.hit(signal.SIGUSR1)
        await asyncio.sleep(duration_s)
    return service.name


async def rebalance_storm(world: World, chance: Chance, duration_s: float) -> str:
    """A service and some bare members join and leave in quick succession."""
    extra = await world.fleet.start()
    extra.is_taken = True
    joins = 4
    for _ in range(joins):
        async with _member(world):
            await asyncio.sleep(duration_s / joins)
    if chance.random() < 0.5:
        await extra.kill()
    else:
        await extra.stop()
    return f"{joins} members and {extra.name}"


@asynccontextmanager
async def _member(world: World) -> AsyncIterator[None]:
    """Of the group, who reads nothing."""
    settings = world.shop.settings
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=settings.group_id,
        enable_auto_commit=False,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
    )
    consumer.subscribe([settings.events_topic])
    starting = asyncio.create_task(consumer.start())  # waits for the rebalance, which services may hold up
    try:
        yield
    finally:
        await asyncio.wait([starting], timeout=30)
        starting.cancel()
        await asyncio.wait([starting])
        await asyncio.wait([asyncio.ensure_future(consumer.stop())], timeout=30)


# Brokers.


@asynccontextmanager
async def _broker(world: World, chance: Chance) -> AsyncIterator[KafkaNode]:
    """One that may go away: all replicas are in sync, before and after."""
    async with world.broker_lock:
        await until(lambda: _in_sync(world), "all replicas in sync", _IN_SYNC_DEADLINE_S)
        yield chance.choice(world.brokers)
        await until(lambda: _in_sync(world), "all replicas in sync again", _IN_SYNC_DEADLINE_S)


async def _in_sync(world: World) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.shop.settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    parts = [part for topic in topics for part in topic["partitions"]]
    return all(part["leader"] >= 0 and len(part["isr"]) == len(part["replicas"]) for part in parts)


async def kill_broker(world: World, chance: Chance, duration_s: float) -> str:
    """`kill -9`, and the same one again after a while."""
    async with _broker(world, chance) as broker:
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(duration_s)
        await asyncio.to_thread(broker.start)
    return broker.name


async def bounce_broker(world: World, chance: Chance, duration_s: float) -> str:
    """A clean stop, and the same one again."""
    async with _broker(world, chance) as broker:
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(duration_s)
        await asyncio.to_thread(broker.start)
    return broker.name


async def freeze_broker(world: World, chance: Chance, duration_s: float) -> str:
    """SIGSTOP, then SIGCONT: a leader that does not know that it is none any more."""
    async with _broker(world, chance) as broker:
        await asyncio.to_thread(broker.pause)
        await asyncio.sleep(duration_s)
        await asyncio.to_thread(broker.resume)
    return broker.name


# Valkey.


async def kill_valkey(world: World, chance: Chance, duration_s: float) -> str:
    """`kill -9`; it comes back with what it had some seconds before."""
    async with world.valkey_lock:
        await world.snapshot()
        await asyncio.sleep(duration_s)
        await asyncio.to_thread(world.valkey.kill)
        await asyncio.to_thread(world.valkey.start)
    return f"the last {duration_s:.1f} s lost"


async def bounce_valkey(world: World, chance: Chance, duration_s: float) -> str:
    """A clean stop, and with all it had again."""
    async with world.valkey_lock:
        await asyncio.to_thread(world.valkey.stop)
        await asyncio.sleep(duration_s)
        await asyncio.to_thread(world.valkey.start)
    return "nothing lost"


async def roll_valkey_back(world: World, chance: Chance, duration_s: float) -> str:
    """Somebody puts an older RDB back."""
    async with world.valkey_lock:
        if not world.snapshots:
            await world.snapshot()
        older = chance.choice(world.snapshots)
        await asyncio.to_thread(world.valkey.kill)
        content = await asyncio.to_thread(older.read_bytes)
        await asyncio.to_thread(world.valkey.rdb_path.write_bytes, content)
        await asyncio.to_thread(world.valkey.start)
    return older.name


async def flush_valkey(world: World, chance: Chance, duration_s: float) -> str:
    """FLUSHALL."""
    async with world.valkey_lock:
        await world.redis(lambda redis: redis.flushall())
    return "everything"


async def pause_valkey(world: World, chance: Chance, duration_s: float) -> str:
    """SIGSTOP, then SIGCONT."""
    async with world.valkey_lock:
        await asyncio.to_thread(world.valkey.pause)
        await asyncio.sleep(duration_s)
        await asyncio.to_thread(world.valkey.resume)
    return "valkey"


def delete(name: str) -> Inflict:
    """Of a partition, lose the header, all states, all timers, or one user's state or timer."""

    async def inflict(world: World, chance: Chance, duration_s: float) -> str:
        async with world.valkey_lock:
            headers = {each: header for each, header in (await world.shop.headers()).items() if header is not None}
            if not headers:
                raise LookupError("no partition has a header to lose anything of")
            partition, header = chance.choice(sorted(headers.items()))
            users, due = (world.shop.key(partition, f"{each}:{header.generation}") for each in ("users", "due"))
            whole = {"header": world.shop.key(partition, "header"), "users": users, "due": due}
            if name in whole:
                if not await world.redis(lambda redis: redis.delete(whole[name])):
                    raise LookupError(f"{whole[name]} is not there")
            elif name == "state":
                await world.redis(lambda redis: _lose_one(redis.hrandfield(users), redis.hdel, users))
            else:
                await world.redis(lambda redis: _lose_one(redis.zrandmember(due), redis.zrem, due))
        return f"partition {partition}"

    return inflict


async def _lose_one(found: Awaitable[bytes | None], remove: Callable[..., Awaitable[int]], key: str) -> None:
    if (member := await found) is None:
        raise LookupError(f"{key} is empty already")
    await remove(key, member)


# Wires.


def network(wires: Callable[[World], list[Wire]], how: str) -> Inflict:
    """One service, or all of them, and one server, or all of them, hear each other badly or not at all."""

    async def inflict(world: World, chance: Chance, duration_s: float) -> str:
        services = [chance.choice(world.fleet.running)] if chance.random() < 0.7 else world.fleet.running
        affected = wires(world) if chance.random() < 0.5 else [chance.choice(wires(world))]
        delay_s = chance.uniform(0.1, 0.7)
        for wire in affected:
            for service in services:
                await _worsen(wire, service, how, delay_s)
        await asyncio.sleep(duration_s)
        for wire in affected:
            for service in services:
                wire.heal(service.pid)
        names = [each.name for each in (*services, *affected)]
        return " ".join(names) + (f" by {delay_s:.2f} s" if how == "delay" else "")

    return inflict


async def _worsen(wire: Wire, service: Service, how: str, delay_s: float) -> None:
    if how == "delay":
        wire.delay(service.pid, delay_s)
    elif how == "cut":
        await wire.cut(service.pid)
    else:
        wire.silence(service.pid)


# Input and group.


async def send_poison(world: World, chance: Chance, duration_s: float) -> str:
    """A burst of records that cannot be used."""
    count = chance.randrange(20, 80)
    world.feeder.poison(count)
    return f"{count} records"


async def move_offsets(world: World, chance: Chance, duration_s: float) -> str:
    """Somebody moves the group's offsets back, in the one way that a live group permits: in a transaction."""
    settings = world.shop.settings
    offsets = {
        TopicPartition(settings.events_topic, each): OffsetAndMetadata(chance.randrange(100), "moved")
        for each in range(settings.partitions)
    }
    async with (
        AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            transactional_id=f"somebody-{chance.randrange(2**32)}",
            transaction_timeout_ms=5_000,
        ) as producer,
        producer.transaction(),
    ):
        await producer.send_offsets_to_transaction(offsets, settings.group_id)
    return "all partitions"


_KAFKA: Callable[[World], list[Wire]] = lambda world: world.kafka_wires  # noqa: E731
_REDIS: Callable[[World], list[Wire]] = lambda world: [world.redis_wire]  # noqa: E731

FAULTS = (
    Fault("service-kill", kill_service, (0.0, 3.0), weight=4),
    Fault("service-crash", crash_service, (2.0, 4.0), weight=3),
    Fault("service-freeze", freeze_service, (1.0, 6.0), weight=2),
    Fault("service-block", block_service, (40.0, 40.0), weight=0),
    Fault("rebalance-storm", rebalance_storm, (4.0, 8.0)),
    Fault("broker-kill", kill_broker, (0.5, 6.0), weight=2),
    Fault("broker-bounce", bounce_broker, (0.0, 2.0)),
    Fault("broker-freeze", freeze_broker, (2.0, 9.0)),
    Fault("valkey-kill", kill_valkey, (0.5, 4.0), weight=2),
    Fault("valkey-bounce", bounce_valkey, (0.0, 2.0)),
    Fault("valkey-rollback", roll_valkey_back),
    Fault("valkey-flush", flush_valkey, weight=2),
    Fault("valkey-pause", pause_valkey, (0.5, 5.0)),
    Fault("valkey-delete-header", delete("header")),
    Fault("valkey-delete-users", delete("users")),
    Fault("valkey-delete-due", delete("due")),
    Fault("valkey-delete-state", delete("state")),
    Fault("valkey-delete-timer", delete("timer")),
    Fault("kafka-delay", network(_KAFKA, "delay"), (3.0, 10.0)),
    Fault("kafka-cut", network(_KAFKA, "cut"), (1.0, 10.0)),
    Fault("kafka-black-hole", network(_KAFKA, "black-hole"), (2.0, 14.0)),
    Fault("redis-delay", network(_REDIS, "delay"), (3.0, 10.0)),
    Fault("redis-cut", network(_REDIS, "cut"), (1.0, 8.0)),
    Fault("redis-black-hole", network(_REDIS, "black-hole"), (1.0, 10.0)),
    Fault("poison", send_poison),
    Fault("offsets-moved", move_offsets),
)
