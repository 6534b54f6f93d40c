"""What the faults happen to: three brokers, a Valkey, wires to them, services, and somebody who keeps shopping."""

import asyncio
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from redis.asyncio import Redis

from consumer.embedded import EmbeddedKafka, EmbeddedValkey, KafkaNode, free_ports
from consumer.settings import Settings
from faults.fleet import Fleet
from faults.load import WATERMARK_DELAY_S, Feeder, Log
from faults.wire import HOST, Wire, opened
from support import POLICIES, Shop

SESSION_TIMEOUT_MS = 6_000
_KAFKA = {"broker.session.timeout.ms": "6000", "broker.heartbeat.interval.ms": "1000"}
_VALKEY = {"save": "86400 1000000", "enable-debug-command": "no"}  # snapshots when asked to, and at a clean end


@dataclass(frozen=True)
class Plan:
    """What a world is made of."""

    seed: int
    folder: Path  # for the logs, which are kept
    services: int = 3
    partitions: int = 6
    rate_per_s: float = 150.0
    block_s: float = 40.0
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    settings: Mapping[str, Any] = field(default_factory=dict)  # further ones, or other ones


@dataclass
class World:
    """Everything there is, seen from outside. `shop` sees it directly, services through wires."""

    plan: Plan
    shop: Shop
    kafka: EmbeddedKafka
    valkey: EmbeddedValkey
    kafka_wires: list[Wire]
    redis_wire: Wire
    fleet: Fleet
    feeder: Feeder
    broker_lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # at most one broker is away at a time
    valkey_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    snapshots: list[Path] = field(default_factory=list)  # older RDBs

    @property
    def wires(self) -> list[Wire]:
        """All of them."""
        return [*self.kafka_wires, self.redis_wire]

    @property
    def brokers(self) -> tuple[KafkaNode, ...]:
        """The nodes."""
        return self.kafka.nodes

    async def redis(self, call: Callable[[Redis], Awaitable[Any]]) -> Any:
        """As `Shop.redis`."""
        return await self.shop.redis(call)

    async def snapshot(self) -> None:
        """Have Valkey write an RDB, and keep a copy."""
        await self.redis(lambda redis: redis.save())
        copy = self.plan.folder / f"snapshot-{len(self.snapshots)}.rdb"
        await asyncio.to_thread(shutil.copyfile, self.valkey.rdb_path, copy)
        self.snapshots.append(copy)

    async def heal(self) -> None:
        """Fair weather, all servers there, as many services as planned and all of them free to run."""
        for wire in self.wires:
            wire.heal()
        for service in self.fleet.services:
            service.send(signal.SIGCONT)
        for _ in range(self.plan.services - len(self.fleet.running)):
            await self.fleet.start()


@asynccontextmanager
async def made(plan: Plan) -> AsyncIterator[World]:
    """A world with its topics and services, and a load that has not begun; ends without a trace but for the logs."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        *kafka_ports, redis_port = free_ports(4)
        kafka = EmbeddedKafka(brokers=3, config=_KAFKA, advertised_ports=kafka_ports)
        valkey = EmbeddedValkey(_VALKEY)
        for server in (kafka, valkey):
            await asyncio.to_thread(server.__enter__)
            stack.callback(server.__exit__, None, None, None)
        direct = _settings(plan, ",".join(map(_direct_address, kafka.nodes)), valkey.url)
        wired = direct.model_copy(
            update={
                "kafka_bootstrap_servers": kafka.bootstrap_servers,
                "redis_url": type(direct.redis_url)(f"redis://{HOST}:{redis_port}/0"),
            }
        )
        fleet = Fleet(wired, plan.folder, plan.block_s)
        kafka_wires = [
            Wire(node.name, port, node.port, fleet.pids) for node, port in zip(kafka.nodes, kafka_ports, strict=True)
        ]
        redis_wire = Wire("valkey", redis_port, valkey.port, fleet.pids)
        await stack.enter_async_context(opened([*kafka_wires, redis_wire]))
        stack.push_async_callback(fleet.kill)
        shop = Shop(direct)
        await shop.create_topics()
        feeder = Feeder(direct.kafka_bootstrap_servers, direct.events_topic, Log(plan.seed), plan.rate_per_s)
        yield World(plan, shop, kafka, valkey, kafka_wires, redis_wire, fleet, feeder)


def _direct_address(node: KafkaNode) -> str:
    """Where the brokers reach each other, past the wires: the load and the checker are not what is tested."""
    lines = (node.log.parent / "server.properties").read_text().splitlines()
    [listeners] = [line.partition("=")[2] for line in lines if line.startswith("advertised.listeners=")]
    addresses = dict(each.split("://") for each in listeners.split(","))
    return addresses["BROKER"]


def _settings(plan: Plan, bootstrap_servers: str, redis_url: str) -> Settings:
    shop = f"faults-{plan.seed}-{secrets.token_hex(3)}"
    chosen: dict[str, Any] = {
        "kafka_bootstrap_servers": bootstrap_servers,
        "redis_url": redis_url,
        "events_topic": f"{shop}.events",
        "alerts_topic": f"{shop}.alerts",
        "triggers_prefix": f"{shop}.triggers",
        "dead_letters_topic": f"{shop}.dead-letters",
        "outcomes_topic": f"{shop}.outcomes",
        "state_topic": f"{shop}.state",
        "group_id": shop,
        "partitions": plan.partitions,
        "replication_factor": 3,
        "delivery": plan.delivery,
        "kafka_session_timeout_ms": SESSION_TIMEOUT_MS,
        "kafka_transaction_timeout_ms": 60_000,  # no broker tidies up before the checker has looked
        "redis_timeout_s": 2.0,
        "retry_max_s": 1.0,
        "drain_timeout_s": 5.0,
        "policy_file": POLICIES / "many_alerts.toml",
        "commit_interval_ms": 50,
        "poll_timeout_ms": 50,
        "max_batch_records": 200,
        "clock": "watermark",
        "watermark_delay_s": WATERMARK_DELAY_S,
        "http_port": 0,
    }
    return Settings(**(chosen | dict(plan.settings)))
