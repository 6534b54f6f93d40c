"""The embedded servers are real, private and leave nothing behind, however their owner ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from waiting import DEADLINE_S, wait_until

from consumer.embedded import (
    EmbeddedKafka,
    EmbeddedServerError,
    EmbeddedValkey,
    kafka_server,
    redis_server,
)
from consumer.embedded_kafka import kafka_distribution
from consumer.embedded_process import ServerProcess

OWNER = """
import time
from consumer.embedded import EmbeddedKafka, EmbeddedValkey
with EmbeddedValkey() as valkey, EmbeddedKafka() as kafka:
    print(valkey.url.split(":")[2].split("/")[0], kafka.bootstrap_servers.split(":")[1], flush=True)
    time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("not yet", flush=True))
print("ready", flush=True)
while True:
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def kafka() -> Iterator[EmbeddedKafka]:
    """One Kafka for the tests that only use it."""
    with EmbeddedKafka() as server:
        yield server


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temp folder that only this test's servers use, in this process and in those it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def start_owner() -> subprocess.Popen[str]:
    """A Python process that holds both servers and prints their ports once they are up."""
    return subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def create_topic(servers: str, topic: str, replicas: int) -> list[int]:
    """Create a topic of one partition and return its in-sync replicas, once the asked broker knows of it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=replicas)])
        async with asyncio.timeout(DEADLINE_S):
            while not (partitions := (await admin.describe_topics([topic]))[0]["partitions"]):  # noqa: ASYNC110 only Kafka knows when
                await asyncio.sleep(0.02)
        return sorted(partitions[0]["isr"])
    finally:
        await admin.close()


async def send(servers: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=len(value) + 1024) as producer:
        await producer.send_and_wait(topic, value)


async def first_value(servers: str, topic: str) -> bytes | None:
    async with AIOKafkaConsumer(bootstrap_servers=servers, max_partition_fetch_bytes=8 * 1024 * 1024) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        value: bytes | None = (await consumer.getone()).value
        return value


async def test_kafka_gives_back_what_it_was_sent(kafka: EmbeddedKafka) -> None:
    """A record of almost 4 MiB comes back as it was sent."""
    value = b"x" * (4 * 1024 * 1024 - 1024)
    await create_topic(kafka.bootstrap_servers, "large", replicas=1)
    await send(kafka.bootstrap_servers, "large", value)
    assert await first_value(kafka.bootstrap_servers, "large") == value


async def test_valkey_answers() -> None:
    """Valkey answers a PING at its URL."""
    with EmbeddedValkey() as valkey:
        async with Redis.from_url(valkey.url) as client:
            assert await client.ping()


def test_two_at_once_have_their_own_ports(kafka: EmbeddedKafka) -> None:
    """A second Kafka and a second Valkey start beside the first ones, elsewhere."""
    with EmbeddedKafka() as other, EmbeddedValkey() as first, EmbeddedValkey() as second:
        assert other.bootstrap_servers != kafka.bootstrap_servers
        assert first.url != second.url


async def test_three_brokers_replicate() -> None:
    """Three brokers hold a copy each, and a write that waits for all of them succeeds."""
    with EmbeddedKafka(brokers=3) as cluster:
        assert len(cluster.bootstrap_servers.split(",")) == 3
        assert await create_topic(cluster.bootstrap_servers, "copied", replicas=3) == [1, 2, 3]
        await send(cluster.bootstrap_servers, "copied", b"value")
        assert await first_value(cluster.bootstrap_servers, "copied") == b"value"


def test_nothing_is_left_after_use(temporary: Path) -> None:
    """Leaving the `with` block removes the servers and their files."""
    with EmbeddedKafka() as kafka, EmbeddedValkey():
        port = int(kafka.bootstrap_servers.rpartition(":")[2])
        assert is_listening(port)
        assert not is_empty(temporary)
    assert not is_listening(port)
    assert is_empty(temporary)


def test_nothing_is_left_after_an_exception(temporary: Path) -> None:
    """An exception in the `with` block passes through and the server and its files go all the same."""
    with pytest.raises(LookupError), EmbeddedValkey():
        raise LookupError
    assert is_empty(temporary)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_owner_is_killed(ending: signal.Signals, temporary: Path) -> None:
    """Both servers and their files go when their owner is interrupted, terminated or killed."""
    with start_owner() as owner:
        assert owner.stdout is not None
        ports = [int(port) for port in owner.stdout.readline().split()]
        assert [is_listening(port) for port in ports] == [True, True]
        owner.send_signal(ending)
    wait_until(lambda: is_empty(temporary), "no files")
    assert [is_listening(port) for port in ports] == [False, False]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_owner_is_killed_while_starting(ending: signal.Signals, temporary: Path) -> None:
    """Ending the owner while Kafka is still starting leaves no files, hence no guard and no server."""
    with start_owner() as owner:
        wait_until(lambda: any(temporary.glob("ebbtide-embedded-kafka-*/server.log")), "Kafka is being started")
        owner.send_signal(ending)
    wait_until(lambda: is_empty(temporary), "no files")


def test_a_failing_start_keeps_its_log(temporary: Path) -> None:
    """A broker that refuses its configuration raises an error with the reason and the kept log."""
    with pytest.raises(EmbeddedServerError, match=r"Invalid value none for configuration num\.io\.threads") as failure:
        EmbeddedKafka(config={"num.io.threads": "none"}).__enter__()
    (kept,) = temporary.iterdir()
    assert str(kept) in str(failure.value)
    assert "num.io.threads" in kept.read_text()


def test_an_early_end_is_told(temporary: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that ends while it is in use is reported on stderr when it is left, with its kept log."""
    with EmbeddedValkey() as valkey:
        with SyncRedis.from_url(valkey.url) as client:
            process_id = client.info("server")["process_id"]
        os.kill(process_id, signal.SIGTERM)
        wait_until(lambda: not is_alive(process_id), "the server has ended")
    (kept,) = temporary.iterdir()
    assert f"valkey ended by itself. Its log is kept at {kept}" in capfd.readouterr().err


def test_the_end_frees_who_waits_for_a_clean_stop(temporary: Path) -> None:
    """A thread that waits for a server which will not stop gets an error when the server is ended for good."""
    process, told = ServerProcess("stubborn"), []

    def stop_cleanly() -> None:
        try:
            process.terminate()
        except EmbeddedServerError as error:
            told.append(str(error))

    process.launch([sys.executable, "-c", STUBBORN])
    process.wait_ready("ready", DEADLINE_S)
    waiting = threading.Thread(target=stop_cleanly)
    waiting.start()
    wait_until(lambda: "not yet" in process.log.read_text(), "it was asked to stop")
    process.stop()
    waiting.join(DEADLINE_S)
    assert told == ["stubborn is no longer in use."]
    assert is_empty(temporary)


def test_abandoned_folders_are_removed(temporary: Path) -> None:
    """A folder whose owner and guard are both gone is removed by the next start."""
    abandoned = temporary / "ebbtide-embedded-kafka-1-0123456789ab"
    abandoned.mkdir()
    (abandoned / "owned").touch()
    os.utime(abandoned, (0, 0))
    with EmbeddedValkey():
        assert not abandoned.exists()


def test_folders_in_use_are_kept(temporary: Path) -> None:
    """A folder of a server that runs is not taken for abandoned, however old it is."""
    with EmbeddedValkey():
        (in_use,) = temporary.iterdir()
        os.utime(in_use, (0, 0))
        with EmbeddedValkey():
            assert in_use.exists()


def test_servers_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both variables set, the helpers start nothing and name the servers that are already there."""
    monkeypatch.setenv("EBBTIDE_KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    monkeypatch.setenv("EBBTIDE_REDIS_URL", "redis://cache:6379/1")
    with kafka_server() as kafka, redis_server() as redis:
        assert (kafka.bootstrap_servers, redis.url) == ("broker:9092", "redis://cache:6379/1")


def test_a_second_start_needs_no_network(kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once Kafka has started here, it is complete without asking the repository, which is unreachable."""
    use_repository("http://127.0.0.1:1", tmp_path, monkeypatch)
    assert len(kafka_distribution().jars) > 40


def test_a_jar_that_differs_from_the_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository that hands out other bytes is refused with an error, and no jar enters the cache."""

    class WrongBytes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"not a jar")

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("EBBTIDE_CACHE_DIR", str(tmp_path / "cache"))
    with HTTPServer(("127.0.0.1", 0), WrongBytes) as repository:
        threading.Thread(target=repository.serve_forever, daemon=True).start()
        use_repository(f"http://127.0.0.1:{repository.server_port}", tmp_path, monkeypatch)
        with pytest.raises(EmbeddedServerError, match=r"kafka_2\.13:4\.2\.0 differs from the SHA-256"):
            kafka_distribution()
        repository.shutdown()
    assert not any(tmp_path.rglob("*.jar"))


def use_repository(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make jgo download from `url`, as a user with a mirror would, without any proxy."""
    (folder / "jgo.conf").write_text(f"[repositories]\ncentral = {url}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(folder / "jgo.conf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
