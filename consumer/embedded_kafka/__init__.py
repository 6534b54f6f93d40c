"""Apache Kafka's jars: downloaded once into a user cache, checked against the committed lock at every start.

`jgo.toml` names what is wanted, `jgo.lock.toml` every jar's version and SHA-256. jgo downloads; where from is
the user's own affair (`[repositories]` in ~/.config/jgo.conf, proxies from the environment). We do not let it
resolve: it keeps a half-written file as if it were whole, and would fetch another Java to sort the jars.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from consumer.embedded_process import EmbeddedServerError, extra, java_command, plain_environment

_LOCK = Path(__file__).with_name("jgo.lock.toml")
_DOWNLOAD_TIMEOUT_S = 60
_FORMAT_TIMEOUT_S = 120
_FORMAT_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:1
listeners=BROKER://127.0.0.1:2,CONTROLLER://127.0.0.1:1
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs=data
"""


@dataclass(frozen=True)
class Jar:
    """One line of the lock: what to download and the SHA-256 it must have."""

    coordinate: str  # group:artifact:version
    file_name: str
    sha256: str


@dataclass(frozen=True)
class KafkaDistribution:
    """All that a start needs: jars that match the lock and the metadata of a freshly formatted cluster."""

    jars: tuple[Path, ...]
    bootstrap_checkpoint: bytes


def locked_jars() -> tuple[Jar, ...]:
    """The jars of `jgo.lock.toml`, in class path order."""
    dependencies = tomllib.loads(_LOCK.read_text("utf-8"))["dependencies"]
    return tuple(
        Jar(
            coordinate=f"{jar['groupId']}:{jar['artifactId']}:{jar['version']}",
            file_name=f"{jar['artifactId']}-{jar['version']}.jar",
            sha256=jar["sha256"],
        )
        for jar in dependencies
    )


def kafka_distribution() -> KafkaDistribution:
    """Kafka from the cache, completed first if anything is missing or damaged (that needs the network).

    Raises EmbeddedServerError if a jar cannot be had or differs from the lock.
    """
    cache = _cache_folder()
    jars = locked_jars()
    with _only_one_process(cache):
        missing = [jar for jar in jars if not _is_intact(cache / jar.file_name, jar)]
        if missing:
            _download_all(missing, cache)
        paths = tuple(cache / jar.file_name for jar in jars)
        checkpoint = cache / "bootstrap.checkpoint"
        if not checkpoint.exists():
            _format_once(paths, checkpoint)
        return KafkaDistribution(paths, checkpoint.read_bytes())


def _cache_folder() -> Path:
    """A folder per lock file, so that two versions of this project do not fight over one."""
    base = os.environ.get("EBBTIDE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    digest = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:12]
    folder = Path(base or Path.home() / ".cache").absolute() / "ebbtide" / f"kafka-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _only_one_process(cache: Path) -> Iterator[None]:
    """Let one process at a time fill the cache; the lock ends with its holder, however that ends."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_intact(path: Path, jar: Jar) -> bool:
    """Whether the file is there with the locked content (46 jars take 60 ms)."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _download_all(jars: list[Jar], cache: Path) -> None:
    """Download to a staging folder and move what is verified: an interruption costs one jar at most."""
    version = next(jar.coordinate for jar in locked_jars() if ":kafka_" in jar.coordinate).rpartition(":")[2]
    print(f"Downloading Apache Kafka {version} (45 MB, once) …", file=sys.stderr, flush=True)
    with _staging(cache) as staging:
        for jar in jars:
            _fetch(jar, staging).replace(cache / jar.file_name)


@contextlib.contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """An empty folder for unfinished work; what a killed process left in it goes first."""
    staging = cache / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fetch(jar: Jar, staging: Path) -> Path:
    """Download one jar and return its verified file."""
    context = extra("jgo.maven").MavenContext(repo_cache=staging, timeout=_DOWNLOAD_TIMEOUT_S)
    context.remote_repos.update(extra("jgo.config").GlobalSettings.load().repositories)
    try:
        path: Path = context.create_dependency(jar.coordinate).artifact.resolve()
    except (RuntimeError, OSError) as error:  # not found; everything that `requests` raises
        raise EmbeddedServerError(
            f"Could not download {jar.coordinate}: {error}\nCheck the network, or name a mirror as `central` "
            "under [repositories] in ~/.config/jgo.conf, and run this again: jars already here are kept."
        ) from error
    if not _is_intact(path, jar):
        raise EmbeddedServerError(
            f"The download of {jar.coordinate} differs from the SHA-256 in {_LOCK}, so it was thrown away.\n"
            "Run this again; if it happens again, look at the mirror or proxy that it came through."
        )
    return path


def _format_once(jars: tuple[Path, ...], checkpoint: Path) -> None:
    """Keep the feature levels that `StorageTool format` writes: alike for all clusters, a second to make."""
    with _staging(checkpoint.parent) as folder:
        (folder / "server.properties").write_text(_FORMAT_PROPERTIES)
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", "any", "--config", "server.properties"]
        done = subprocess.run(
            [*java_command(jars, folder), *tool],
            cwd=folder,
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=_FORMAT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedServerError(f"Kafka could not format its metadata:\n{(done.stderr + done.stdout)[-2000:]}")
        (folder / "data" / "bootstrap.checkpoint").replace(checkpoint)
