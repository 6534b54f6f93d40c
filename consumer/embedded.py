"""A Kafka and a Valkey of one's own, for tests, the demo and benchmarks: started, used, gone without a trace.

    with EmbeddedKafka() as kafka, EmbeddedValkey() as valkey:
        ...  # kafka.bootstrap_servers, valkey.url

Both are the real servers (no fakes), on free loopback ports, with their data in a folder that ends with them.
Meanwhile `kafka.nodes[0].kill()`, `valkey.pause()` and the like take them away and give them back.
`kafka_server()` and `redis_server()` use servers that are already there if the environment names them.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consumer.embedded_base import HOST, Embedded, Node, free_ports, new_process
from consumer.embedded_kafka import kafka_distribution
from consumer.embedded_kafka.layout import ClusterLayout
from consumer.embedded_process import EmbeddedServerError, ServerProcess, java_command
from consumer.embedded_sentinel import EmbeddedSentinel
from consumer.embedded_valkey import EmbeddedValkey, EmbeddedValkeyCluster, ValkeyNode

__all__ = [
    "EmbeddedKafka",
    "EmbeddedSentinel",
    "EmbeddedServerError",
    "EmbeddedValkey",
    "EmbeddedValkeyCluster",
    "KafkaNode",
    "ValkeyNode",
    "free_ports",
    "kafka_server",
    "redis_server",
]

_KAFKA_DEADLINE_S = 120.0  # takes 2 s on an idle machine
_HEAP_MB, _HEAP_OF_MANY_MB = 512, 256  # resident: 210 and 190 MB at first


class KafkaServer(Protocol):
    """Where a Kafka is."""

    @property
    def bootstrap_servers(self) -> str:
        """Comma-separated `host:port`."""


class RedisServer(Protocol):
    """Where a Redis or Valkey is."""

    @property
    def url(self) -> str:
        """`redis://host:port/database`."""


class KafkaNode(Node):
    """One broker and controller: `number` is its node id, `port` where it listens for clients.

    `advertised_port` is where clients are told that it listens: the same, or a proxy's.

    `stop()` needs a majority of the controllers: without one Kafka waits for five minutes, and `stop()` gives up with
    EmbeddedServerError after two. So `kill()` the last one of two, or the last two of three.
    """

    _ready_line = "Kafka Server started"
    _start_deadline_s = _KAFKA_DEADLINE_S

    def __init__(self, number: int, port: int, advertised_port: int, process: ServerProcess) -> None:
        self.number, self.port, self.advertised_port, self.process = number, port, advertised_port, process

    @property
    def address(self) -> str:
        """`host:port`, past any proxy."""
        return f"{HOST}:{self.port}"

    def controller_known(self) -> tuple[int, int]:
        """Epoch and node id of the controllers' leader, as far as this one has heard; the id is -1 during elections."""
        state = json.loads((self.process.folder / "data/__cluster_metadata-0/quorum-state").read_text())
        return state["leaderEpoch"], state["leaderId"]


class EmbeddedKafka(Embedded):
    """A Kafka cluster of `brokers` nodes, each both broker and controller.

    `config` adds to or overrides each node's `server.properties`. `bootstrap_servers` and `nodes` are there once
    it is entered. With `advertised_ports`, one per node, clients are told these ports of 127.0.0.1, where you have
    a proxy to each node's `port`; brokers reach each other directly. The first start ever downloads Kafka, later
    ones need no network. Raises EmbeddedServerError if it cannot be downloaded or started.
    """

    bootstrap_servers: str
    nodes: tuple[KafkaNode, ...]

    def __init__(
        self,
        brokers: int = 1,
        config: Mapping[str, str] | None = None,
        advertised_ports: Sequence[int] | None = None,
    ) -> None:
        super().__init__(config)
        if brokers < 1:
            raise ValueError(f"brokers must be 1 or more, not {brokers}")
        if advertised_ports is not None and len(advertised_ports) != brokers:
            raise ValueError(f"advertised_ports must be one per broker, not {len(advertised_ports)} for {brokers}")
        self.brokers = brokers
        self._advertised_ports = advertised_ports

    @property
    def controller(self) -> KafkaNode:
        """The node that leads the controllers; the last that did while there is none."""
        _, number = max(known for node in self.nodes if (known := node.controller_known())[1] > 0)
        return self.nodes[number - 1]

    def _start(self, starting: contextlib.ExitStack) -> None:
        distribution = kafka_distribution()
        layout = ClusterLayout.choose(self.brokers, self._advertised_ports)
        self.nodes = tuple(
            KafkaNode(number, port, told_port, new_process(f"kafka-{number}", starting))
            for number, port, told_port in zip(layout.nodes, layout.client_ports, layout.told_ports, strict=True)
        )
        heap_mb = _HEAP_MB if self.brokers == 1 else _HEAP_OF_MANY_MB
        for node in self.nodes:
            java = java_command(distribution.jars, node.process.folder, heap_mb)
            files = layout.files(node.number, distribution, self._config)
            node.process.launch([*java, "kafka.Kafka", "server.properties"], files)
        for node in self.nodes:
            node.wait_ready()
        self.bootstrap_servers = layout.bootstrap_servers


@contextlib.contextmanager
def kafka_server(brokers: int = 1) -> Iterator[KafkaServer]:
    """The Kafka of EBBTIDE_KAFKA_BOOTSTRAP_SERVERS if that is set, else an embedded one."""
    external = os.environ.get("EBBTIDE_KAFKA_BOOTSTRAP_SERVERS")
    if external:
        yield _ExternalKafka(external)
        return
    with EmbeddedKafka(brokers) as kafka:
        yield kafka


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """The Redis or Valkey of EBBTIDE_REDIS_URL if that is set, else an embedded Valkey."""
    external = os.environ.get("EBBTIDE_REDIS_URL")
    if external:
        yield _ExternalRedis(external)
        return
    with EmbeddedValkey() as valkey:
        yield valkey


@dataclass(frozen=True)
class _ExternalKafka:
    bootstrap_servers: str


@dataclass(frozen=True)
class _ExternalRedis:
    url: str
