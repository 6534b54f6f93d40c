"""Which node of an embedded Kafka cluster listens where, and the files that tell it."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from consumer.embedded_base import HOST, free_ports
from consumer.embedded_kafka import KafkaDistribution

_MESSAGE_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class ClusterLayout:
    """Ports and identity of a cluster that is about to start; `nodes` are numbered from 1.

    With `advertised_ports`, clients are told these in place of `client_ports`, and brokers reach each other at
    `broker_ports`, which are `client_ports` otherwise.
    """

    identity: str
    client_ports: tuple[int, ...]
    broker_ports: tuple[int, ...]
    controller_ports: tuple[int, ...]
    advertised_ports: tuple[int, ...] | None

    @classmethod
    def choose(cls, brokers: int, advertised_ports: Sequence[int] | None = None) -> Self:
        """Free ports and a new identity."""
        client, broker, controller = (free_ports(3 * brokers)[part::3] for part in range(3))
        advertised = None if advertised_ports is None else tuple(advertised_ports)
        return cls(secrets.token_urlsafe(16), client, broker if advertised else client, controller, advertised)

    @property
    def nodes(self) -> range:
        """Their numbers."""
        return range(1, len(self.client_ports) + 1)

    @property
    def told_ports(self) -> tuple[int, ...]:
        """Where clients are told that nodes listen."""
        return self.advertised_ports or self.client_ports

    @property
    def bootstrap_servers(self) -> str:
        """For clients."""
        return ",".join(f"{HOST}:{port}" for port in self.told_ports)

    def files(self, node: int, distribution: KafkaDistribution, config: Mapping[str, str]) -> dict[str, bytes]:
        """What a node finds in its folder: configuration, and data as `StorageTool format` leaves it."""
        identity = {
            "version": "1",
            "cluster.id": self.identity,
            "node.id": str(node),
            "directory.id": secrets.token_urlsafe(16),
        }
        settings = self._roles(node) | self._listeners(node) | self._test_settings() | dict(config)
        return {
            "server.properties": _properties(settings),
            "data/meta.properties": _properties(identity),
            "data/bootstrap.checkpoint": distribution.bootstrap_checkpoint,
        }

    def _roles(self, node: int) -> dict[str, str]:
        controllers = zip(self.nodes, self.controller_ports, strict=True)
        return {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": ",".join(f"{number}@{HOST}:{port}" for number, port in controllers),
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": "data",
        }

    def _listeners(self, node: int) -> dict[str, str]:
        """BROKER serves clients too unless they are to come another way."""
        listeners = {"BROKER": self.broker_ports[node - 1], "CONTROLLER": self.controller_ports[node - 1]}
        advertised = {"BROKER": self.broker_ports[node - 1]}
        if self.advertised_ports:
            listeners["CLIENT"] = self.client_ports[node - 1]
            advertised["CLIENT"] = self.told_ports[node - 1]
        return {"listeners": _addresses(listeners), "advertised.listeners": _addresses(advertised)}

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
            "broker.session.timeout.ms": "5000",  # how long a killed one stays leader, and cannot come back
            "broker.heartbeat.interval.ms": "500",
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # default: 128 MiB
        }


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{listener}://{HOST}:{port}" for listener, port in ports.items())


def _properties(settings: Mapping[str, str]) -> bytes:
    return "".join(f"{key}={value}\n" for key, value in settings.items()).encode()
