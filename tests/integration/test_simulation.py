"""`ebbtide simulate`: a shop as a file, or on a topic at a pace."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from consumer.adapters.paced_feed import Pace, feed
from consumer.adapters.topics import create_topics, topic_problems
from consumer.cli import app
from consumer.core.decode import decode
from consumer.embedded import KafkaServer
from consumer.errors import ConfigurationError
from consumer.settings import Settings
from schemas.files import read_events
from support import Shop, event, unique, until

SMALL = ("--users", "40", "--days", "60", "--seed", "5")
DAY = timedelta(days=1)


def simulate(*arguments: object) -> Result:
    """The command's result; whatever fails is an exit code."""
    result = CliRunner().invoke(app, ["simulate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def summary(*arguments: object) -> dict[str, Any]:
    """What a run that succeeds says."""
    result = simulate(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def events_in(path: Path) -> list[dict[str, Any]]:
    """The events of a file, every one of them fit for the service."""
    records = list(read_events(path))
    assert decode(records, 2**52).rejected == []
    return [json.loads(value) for _, value in records]


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.zst", "log.csv", "log.csv.gz", "log.csv.xz", "log.parquet"])
def test_every_format_holds_the_same_events(tmp_path: Path, name: str) -> None:
    """One shop, whatever it is written as."""
    said = summary(*SMALL, "--out", tmp_path / name)
    summary(*SMALL, "--out", tmp_path / "plain.jsonl")
    events = events_in(tmp_path / name)
    assert events == events_in(tmp_path / "plain.jsonl")
    assert said["events"] == len(events)
    assert said["customers"] == len({each["user_id"] for each in events}) == 40
    assert said["first_day"] == "2024-01-01"
    assert events[-1]["occurred_at"][:10] <= said["last_day"] == "2024-02-29"


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    """And another seed another shop."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        summary("--users", 30, "--days", 50, "--seed", seed, "--out", tmp_path / f"{name}.jsonl")
    a, b, c = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "abc")
    assert a == b != c


def test_a_kind_of_shop_can_be_chosen(tmp_path: Path) -> None:
    """Purchases alone, or visits too."""
    summary(*SMALL, "--kind", "purchases", "--out", tmp_path / "bought.jsonl")
    summary(*SMALL, "--kind", "browsing", "--out", tmp_path / "browsed.jsonl")
    assert {each["event_type"] for each in events_in(tmp_path / "bought.jsonl")} == {"purchase"}
    assert "view_item" in {each["event_type"] for each in events_in(tmp_path / "browsed.jsonl")}


def test_days_begin_in_the_shops_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log starts on the day that was asked for, as the shop's clocks have it."""
    monkeypatch.setenv("EBBTIDE_TIMEZONE", "Asia/Shanghai")
    summary(*SMALL, "--start", "2025-03-01", "--out", tmp_path / "log.jsonl")
    first = datetime.fromisoformat(events_in(tmp_path / "log.jsonl")[0]["occurred_at"])
    assert first >= datetime(2025, 2, 28, 16, tzinfo=UTC)


def test_the_truth_is_kept_apart(tmp_path: Path) -> None:
    """Who left when: in a file of its own, one row for every customer of the log."""
    said = summary(*SMALL, "--out", tmp_path / "log.jsonl", "--truth", tmp_path / "truth.csv")
    truth = pl.read_csv(tmp_path / "truth.csv", try_parse_dates=True)
    assert truth.columns == ["user_id", "left_on"]
    assert set(truth["user_id"]) == {each["user_id"] for each in events_in(tmp_path / "log.jsonl")}
    assert said["left"] == pytest.approx(truth["left_on"].is_not_null().mean())
    assert "left_on" not in (tmp_path / "log.jsonl").read_text()


def test_a_person_is_told_what_shop_it_is(tmp_path: Path) -> None:
    """And that nobody in it is real."""
    result = simulate(*SMALL, "--out", tmp_path / "log.jsonl")
    assert "no real customers" in result.stdout
    assert "typical gap between purchases" in result.stdout
    assert "simulated events of 40 customers" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "either --out FILE or --topic NAME"),
        (("--out", "a.jsonl", "--topic", "b"), "either --out FILE or --topic NAME"),
        (("--out", "a.txt"), "unknown format '.txt'"),
        (("--out", "a.parquet.gz"), "use .parquet"),
        (("--out", "a.jsonl", "--truth", "b.txt"), "unknown format '.txt'"),
        (("--out", "a.jsonl", "--rate", "5"), "for a --topic"),
        (("--topic", "a", "--rate", "5", "--speed-up", "5"), "either --rate or --speed-up"),
        (("--out", "a.jsonl", "--start", "tomorrow"), "no day such as"),
        (("--out", "a.jsonl", "--start", "1960-01-01"), "not between"),
        (("--topic", "a", "--start", "2999-01-01"), "has not happened yet"),
    ],
)
def test_wrong_use_is_explained(arguments: tuple[str, ...], told: str) -> None:
    """In a sentence, with exit code 2, and before anything is written."""
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not Path("a.jsonl").exists()


async def _made(settings: Settings) -> None:
    """Make the topics, and wait until the broker knows of them."""
    await create_topics(settings)

    async def is_known() -> bool:
        return not await topic_problems(settings)

    await until(is_known, "the topics are known")


@pytest.fixture
def shop(kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Topics of its own, configured as a user would."""
    name = unique("simulated")
    names = ("events_topic", "alerts_topic", "dead_letters_topic", "triggers_prefix", "state_topic")
    topics = {each: f"{name}.{each}" for each in names}
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap_servers, partitions=3, **topics)
    asyncio.run(_made(settings))
    monkeypatch.setenv("EBBTIDE_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    return Shop(settings)


def test_a_topic_holds_what_a_file_would(shop: Shop, tmp_path: Path) -> None:
    """The same events, keyed by user, each user's in order."""
    start = ("--start", "2024-01-01")
    summary(*SMALL, *start, "--topic", shop.settings.events_topic)
    summary(*SMALL, *start, "--out", tmp_path / "log.jsonl")
    records = asyncio.run(shop.read(shop.settings.events_topic))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    events, expected = [json.loads(each.value) for each in records], [json.loads(line) for line in lines]
    assert len(events) == len(expected)
    assert [each.key.decode() for each in records] == [each["user_id"] for each in events]
    for user in {each["user_id"] for each in expected}:
        assert [each for each in events if each["user_id"] == user] == [e for e in expected if e["user_id"] == user]


def test_a_topic_ends_yesterday(shop: Shop) -> None:
    """All of it has happened, so that a live service takes it, and waits from there on."""
    before = datetime.now(UTC)
    said = summary(*SMALL, "--topic", shop.settings.events_topic)
    assert said["last_day"] in {str((each - DAY).date()) for each in (before, datetime.now(UTC))}
    records = asyncio.run(shop.read(shop.settings.events_topic))
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    assert decode([(each.key, each.value) for each in records], now_ms).rejected == []
    assert len(records) == said["events"]


def test_a_rate_is_kept(shop: Shop) -> None:
    """So many events a second, neither more nor much less."""
    begun = time.monotonic()
    said = summary(
        "--users", 10, "--days", 60, "--kind", "browsing", "--topic", shop.settings.events_topic, "--rate", 200
    )
    took_s = time.monotonic() - begun
    least_s = (said["events"] - 1) / 200
    assert 0.5 < least_s <= took_s <= 3 * least_s + 10


async def test_events_can_be_sent_as_fast_as_they_happened(shop: Shop) -> None:
    """Or so many times faster: an hour in a third of a second."""
    hour_ms = 3_600_000
    records = [(at, *event("sim-1", "purchase", at)) for at in (0, hour_ms, 2 * hour_ms)]
    timed = [(at, key or b"", value or b"") for at, key, value in records]
    sent: list[int] = []
    begun = time.monotonic()
    await feed(timed, shop.settings.events_topic, shop.settings, Pace(speed_up=10_800), sent.append)
    assert 2 / 3 <= time.monotonic() - begun < 20
    assert sum(sent) == 3


async def test_a_missing_topic_is_named(shop: Shop) -> None:
    """Rather than made, or waited for."""
    with pytest.raises(ConfigurationError, match="there is no topic nowhere"):
        await feed([], "nowhere", shop.settings, Pace(), print)
