"""`ebbtide demo` as a person runs it: what it says, and what is left of it."""

import asyncio
import json
import lzma
import re
import signal
from pathlib import Path

import pytest
from service_process import COMMAND, ebbtide, environment

from support import DEADLINE_S, POLICIES, until

CDNOW = Path(__file__).parents[2] / "data" / "cdnow" / "events.csv.xz"


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A temp folder that only this demo and its servers use."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.fixture
def start_of_cdnow(tmp_path: Path) -> Path:
    """The first 5,000 purchases of CDNOW (January and February 1997), and a row that is no event."""
    path = tmp_path / "events.csv"
    with lzma.open(CDNOW, "rt") as log:
        path.write_text(
            "".join(line for line, _ in zip(log, range(5_001), strict=False)) + "1,nonsense,1997-03-01,,,\n"
        )
    return path


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def test_the_demo_tells_what_became_of_a_log(start_of_cdnow: Path, temporary: Path, tmp_path: Path) -> None:
    """It ends by itself with the summary, the throughput and a report of its own alerts, and leaves no other file."""
    out = tmp_path / "report"
    policy = str(POLICIES / "many_alerts.toml")  # two months are a short log
    arguments = ("--events", str(start_of_cdnow), "--out", str(out))
    done = await ebbtide("demo", *arguments, TMPDIR=str(temporary), EBBTIDE_POLICY_FILE=policy)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"5,001 events, customers: 4,\d\d\d, dead letters: 1", done.out)
    assert re.search(r"at risk +│ +[\d,]+ │", done.out)
    assert re.search(r"[\d,]+ events/s through the service", done.out)
    assert "retention.alerts, marketing.triggers.<action>, retention.outcomes, shop.dead-letters" in done.out
    assert f"Report: {out / 'report.html'}" in done.out
    alerts = (out / "alerts.jsonl").read_text().splitlines()
    assert len(alerts) == sum(json.loads((out / "summary.json").read_text())["alerts"].values()) > 100
    assert "<svg" in (out / "report.html").read_text()
    assert is_empty(temporary)


@pytest.mark.parametrize(
    ("moment", "ending"),
    [("Kafka at", signal.SIGINT), ("Service at", signal.SIGINT), ("Service at", signal.SIGTERM)],
)
async def test_nothing_is_left_once_it_is_ended(moment: str, ending: signal.Signals, temporary: Path) -> None:
    """Interrupted or terminated, it says so, ends with 130, and takes servers, service and files with it."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "demo",
        "--out",
        str(temporary.parent / "report"),
        stdout=asyncio.subprocess.PIPE,
        env=environment(TMPDIR=str(temporary)),
        start_new_session=True,
    )
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(DEADLINE_S):
        while moment.encode() not in said:
            said += await process.stdout.read(1)
        process.send_signal(ending)
        said += await process.stdout.read()
        assert await process.wait() == 130
    assert b"Stopped; servers and service are gone." in said
    await until(lambda: is_empty(temporary), "the temp folder is empty")


@pytest.mark.parametrize("content", [None, "user_id,occurred_at\n1,1997-01-01\n"], ids=["missing", "no event_type"])
async def test_an_unusable_log_is_explained(content: str | None, tmp_path: Path) -> None:
    """An event file that cannot be used is named before anything is started."""
    path = tmp_path / "log.csv"
    if content:
        path.write_text(content)
    done = await ebbtide("demo", "--events", str(path))
    assert (done.code, done.out) == (2, "")
    assert "log.csv" in done.err
