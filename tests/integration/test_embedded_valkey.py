"""An embedded Valkey can be taken away and given back, with all, some or none of its data."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from waiting import wait_until

from consumer.embedded import EmbeddedServerError, EmbeddedValkey

ON_REQUEST = {"save": ""}  # a snapshot only by SAVE
EACH_WRITE = {"appendonly": "yes", "appendfsync": "always"}
OWNER = """
import time
from redis import Redis
from consumer.embedded import EmbeddedValkey
with EmbeddedValkey() as paused, EmbeddedValkey() as killed, EmbeddedValkey() as stopped:
    process_id = Redis.from_url(paused.url).info("server")["process_id"]
    paused.pause(), killed.kill(), stopped.stop()
    print(process_id, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temp folder that only this test's servers use, in this process and in those it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """One that keeps what it is told to SAVE."""
    with EmbeddedValkey(ON_REQUEST) as server:
        yield server


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def put(valkey: EmbeddedValkey, value: str) -> None:
    with Redis.from_url(valkey.url) as client:
        client.set("key", value)


def save(valkey: EmbeddedValkey) -> None:
    with Redis.from_url(valkey.url) as client:
        client.save()


def value(valkey: EmbeddedValkey) -> str | None:
    with Redis.from_url(valkey.url, decode_responses=True) as client:
        found: str | None = client.get("key")
        return found


def test_a_kill_loses_what_was_not_saved(valkey: EmbeddedValkey) -> None:
    """After kill -9 it comes back at the same URL with its last snapshot."""
    put(valkey, "saved")
    save(valkey)
    put(valkey, "lost")
    url = valkey.url
    valkey.kill()
    assert not valkey.is_running
    valkey.start()
    assert (valkey.is_running, valkey.url, value(valkey)) == (True, url, "saved")


def test_without_persistence_a_kill_loses_all() -> None:
    """By default nothing is saved."""
    with EmbeddedValkey() as valkey:
        put(valkey, "lost")
        valkey.kill()
        valkey.start()
        assert value(valkey) is None


def test_an_append_only_file_survives_a_kill() -> None:
    """With `appendonly` what was acknowledged is there after kill -9."""
    with EmbeddedValkey(EACH_WRITE) as valkey:
        put(valkey, "kept")
        valkey.kill()
        valkey.start()
        assert value(valkey) == "kept"


def test_a_clean_stop_saves() -> None:
    """With a `save` schedule SIGTERM writes a snapshot first, and the configuration holds after the start too."""
    with EmbeddedValkey({"save": "3600 1"}) as valkey:
        put(valkey, "kept")
        valkey.stop()
        assert (valkey.is_running, valkey.rdb_path.exists()) == (False, True)
        valkey.start()
        assert value(valkey) == "kept"
        with Redis.from_url(valkey.url) as client:
            assert client.config_get("save") == {"save": "3600 1"}


def test_an_older_snapshot_can_be_put_back(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """A copy of `rdb_path` put back while it is down takes it back in time."""
    put(valkey, "old")
    save(valkey)
    shutil.copy(valkey.rdb_path, tmp_path / "old.rdb")
    put(valkey, "new")
    save(valkey)
    valkey.kill()
    shutil.copy(tmp_path / "old.rdb", valkey.rdb_path)
    valkey.start()
    assert value(valkey) == "old"


def test_a_data_folder_outlives_the_server(tmp_path: Path) -> None:
    """With a folder of the caller's the next server finds what the last one saved."""
    folder = tmp_path / "a folder"
    with EmbeddedValkey(data_folder=folder) as first:
        put(first, "kept")
        save(first)
    with EmbeddedValkey(data_folder=folder) as second:
        assert value(second) == "kept"


def test_a_paused_one_answers_when_it_goes_on(valkey: EmbeddedValkey) -> None:
    """While it is paused a request waits; it is answered after `resume()`."""
    put(valkey, "value")
    valkey.pause()
    assert valkey.is_running
    answers: list[str | None] = []
    request = threading.Thread(target=lambda: answers.append(value(valkey)))
    request.start()
    request.join(timeout=0.5)  # that nothing comes can only be seen by waiting for it
    assert answers == []
    valkey.resume()
    request.join(timeout=60)
    assert answers == ["value"]


def test_a_paused_one_can_be_stopped(valkey: EmbeddedValkey) -> None:
    """A clean stop resumes it for that."""
    valkey.pause()
    valkey.stop()
    assert not valkey.is_running


def test_asking_twice_is_asking_once(valkey: EmbeddedValkey) -> None:
    """`kill`, `stop` and `start` do nothing where there is nothing to do."""
    valkey.start()
    valkey.kill()
    valkey.kill()
    valkey.stop()
    valkey.start()
    valkey.start()
    put(valkey, "value")
    assert value(valkey) == "value"


def test_memory_that_is_full_refuses_writes(valkey: EmbeddedValkey) -> None:
    """Nothing is ever evicted."""
    with Redis.from_url(valkey.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_start_that_fails_says_why(temporary: Path) -> None:
    """A damaged snapshot makes `start()` raise, with the server's own words and its kept log."""
    with EmbeddedValkey(ON_REQUEST) as valkey:
        valkey.kill()
        valkey.rdb_path.write_bytes(b"VALKEY-no-snapshot")
        with pytest.raises(EmbeddedServerError, match="valkey ended while starting"):
            valkey.start()
        assert not valkey.is_running
    assert len(list(temporary.glob("ebbtide-valkey-*.log"))) == 1


def test_one_that_is_left_cannot_be_used(valkey: EmbeddedValkey) -> None:
    """After the block its methods raise rather than do nothing."""
    with EmbeddedValkey() as left:
        pass
    for request in (left.kill, left.pause):
        with pytest.raises(EmbeddedServerError):
            request()


def test_nothing_is_left_of_servers_that_were_taken_away(temporary: Path) -> None:
    """Leaving the block removes the files of paused, killed and stopped servers, and says nothing of an early end."""
    with EmbeddedValkey() as paused, EmbeddedValkey() as killed, EmbeddedValkey() as stopped:
        paused.pause()
        killed.kill()
        stopped.stop()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_owner_is_killed(ending: signal.Signals, temporary: Path) -> None:
    """Paused servers and the files of all go when their owner is terminated or killed."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        process_id = int(owner.stdout.readline())
        owner.send_signal(ending)
    wait_until(lambda: not any(temporary.iterdir()), "no files")
    wait_until(lambda: not is_alive(process_id), "no process")
