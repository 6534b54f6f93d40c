"""Batch scoring: every customer known at a time, from nothing but what happened before it, whatever the machinery."""

import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.decode import id_hash
from consumer.core.risk import churn_probability, expected_events
from consumer.core.state import BINS, States
from model_export.score import COLUMNS, Question, ShopSample, score
from schemas.files import EventFileError

JUNE_MS = 1_748_736_000_000  # 2025-06-01, 00:00 UTC
HOUR_MS = 3_600_000
H = 30.0
Row = dict[str, Any]


class Counting:
    """A stand-in model: the hazard grows with a customer's events and spending, and with the shop's token."""

    def __init__(self, shop: float = 0.0) -> None:
        self.shop = shop

    def with_shop(self, shop: np.ndarray) -> Self:
        """See `Model.with_shop`."""
        return type(self)(float(shop.sum()))

    def log_hazards(self, states: States) -> np.ndarray:
        """See `Model.log_hazards`."""
        spend = states.days["spend"].sum(axis=1)
        level = -4.0 + 0.05 * states.header["events"] + 0.01 * np.log1p(spend) + self.shop
        return np.repeat(level.astype(np.float32)[:, None, None], BINS, axis=2) - np.linspace(0, 1, BINS, dtype="f4")


def row(user: str, at_ms: int, event_type: str = "purchase", **fields: Any) -> Row:
    event_id = f"{user}-{event_type}-{at_ms}"
    return {"event_id": event_id, "user_id": user, "event_type": event_type, "occurred_at": at_ms, **fields}


def written(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def question(as_of_ms: int = JUNE_MS, timezone: str = "UTC", horizon_days: float = H) -> Question:
    return Question(as_of_ms, horizon_days, Calendar(timezone))


def scored(folder: Path, rows: list[Row], asked: Question | None = None, **options: Any) -> dict[str, list[Any]]:
    """The result as columns, in the file's order."""
    out = folder / "scores.csv"
    score(written(folder / "log.jsonl", rows), out, asked or question(), Counting(), **options)
    return pl.read_csv(out, schema_overrides={"user_id": pl.String}).to_dict(as_series=False)


def days_of_events(states: States, until_day: int) -> np.ndarray:
    """A stand-in shop token: mean events per day before the question's day, in which order users come matters not."""
    return np.array([states.header["events"].sum() / 100 / len(states), until_day % 7 / 10])


LOG = [row("b", JUNE_MS - 40 * DAY_MS), row("a", JUNE_MS - 12 * HOUR_MS, value=5.0), row("b", JUNE_MS - 3 * DAY_MS)]


def test_there_is_a_row_for_every_user_known_then(tmp_path: Path) -> None:
    """With the probability and the number that the user's curve gives at the silence of that moment."""
    rows = [*LOG, row("late", JUNE_MS), row("b", JUNE_MS + 1)]
    found = scored(tmp_path, rows)
    assert tuple(found) == COLUMNS
    by_user = dict(zip(found["user_id"], zip(*list(found.values())[1:], strict=True), strict=True))
    assert set(by_user) == {"a", "b"}
    curve = np.full((1, BINS), np.float32(-4.0 + 0.05 * 2)) - np.linspace(0, 1, BINS, dtype="f4")
    silence_days = np.array([2.0])  # all of the last active day is over, then two more
    assert by_user["b"] == pytest.approx(
        (churn_probability(curve, silence_days, H)[0], expected_events(curve, silence_days, H)[0], 3.0), rel=1e-6
    )
    assert by_user["a"][2] == 0.5


def test_a_question_in_the_middle_of_a_day_is_answered_as_of_then(tmp_path: Path) -> None:
    """Events of the same day before it count, silence is none during the last active day."""
    asked = question(JUNE_MS - 11 * HOUR_MS)
    found = scored(tmp_path, LOG, asked)
    rank = found["user_id"].index("a")
    assert found["days_since_last_event"][rank] == pytest.approx(1 / 24)
    curve = np.full((1, BINS), np.float32(-4.0 + 0.05 + 0.01 * np.log1p(5.0))) - np.linspace(0, 1, BINS, dtype="f4")
    assert found["churn_probability"][rank] == pytest.approx(churn_probability(curve, np.zeros(1), H)[0], rel=1e-6)


def test_days_are_the_shops(tmp_path: Path) -> None:
    """Midnight in Auckland is noon in UTC: the last active day has just ended there."""
    asked = question(JUNE_MS - 12 * HOUR_MS + 1, "Pacific/Auckland")
    mine, utc = scored(tmp_path, LOG, asked), scored(tmp_path, LOG, question(JUNE_MS - 12 * HOUR_MS + 1))
    assert mine["days_since_last_event"] == utc["days_since_last_event"]
    assert mine["churn_probability"] != utc["churn_probability"]


EVENTS = st.lists(
    st.builds(
        row,
        st.sampled_from(["anna", "bert", "Zoë 客户", "d"]),
        st.integers(JUNE_MS - 60 * DAY_MS, JUNE_MS + 20 * DAY_MS),
        st.sampled_from(["purchase", "view_item", "refund", "review"]),
        value=st.floats(0, 100),
    ),
    unique_by=lambda each: each["occurred_at"],
    max_size=30,
).map(lambda rows: [row("anna", JUNE_MS - 70 * DAY_MS), *rows])
SAMPLE = ShopSample(days_of_events, 2)


@settings(max_examples=15)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_future_and_the_machinery_do_not_matter(tmp_path_factory: Any, rows: list[Row], random: Any) -> None:
    """What is at or after the question may be absent or altered, rows in any order, shards and batches of any size."""
    folder = tmp_path_factory.mktemp("scores")
    expected = scored(folder, rows, sample=SAMPLE, shards=2)
    earlier = [each for each in rows if each["occurred_at"] < JUNE_MS]
    altered = [
        each if each["occurred_at"] < JUNE_MS else each | {"user_id": "eve", "event_type": "purchase", "value": 1e6}
        for each in rows
    ]
    shuffled = random.sample(rows, len(rows))
    for variant in (earlier, altered, shuffled):
        assert scored(folder, variant, sample=SAMPLE, shards=2) == expected
    for shards, users_at_once in ((1, 1), (3, 2), (64, 1000)):
        assert scored(folder, rows, sample=SAMPLE, shards=shards, users_at_once=users_at_once) == expected


def test_the_shop_token_is_of_a_random_sample_before_the_day(tmp_path: Path) -> None:
    """The K users with the smallest hashes, up to the last midnight; the question's own day does not count."""
    seen: list[tuple[int, int, int]] = []

    def token(states: States, until_day: int) -> np.ndarray:
        seen.append((len(states), int(states.header["last_ms"].max()), until_day))
        return np.zeros(3)

    users = [f"u{number}" for number in range(100)]
    rows = [row(user, JUNE_MS - (2 + number) * DAY_MS) for number, user in enumerate(users)]
    rows += [row(user, JUNE_MS + HOUR_MS) for user in users]
    scored(tmp_path, rows, question(JUNE_MS + 2 * HOUR_MS), sample=ShopSample(token, 7))
    smallest = sorted(users, key=id_hash)[:7]
    youngest_ms = max(each["occurred_at"] for each in rows[:100] if each["user_id"] in smallest)
    assert seen == [(7, youngest_ms, JUNE_MS // DAY_MS)]


def test_a_log_of_one_day_is_scored_on_that_day(tmp_path: Path) -> None:
    """With nothing before midnight, the shop is known by the day itself."""
    rows = [row("a", JUNE_MS + HOUR_MS)]
    asked = question(JUNE_MS + 2 * HOUR_MS)
    assert scored(tmp_path, rows, asked, sample=SAMPLE)["user_id"] == ["a"]


DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda content: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read(),
}


@pytest.mark.parametrize(
    "suffix", [*(f"{text}{packed}" for text in (".csv", ".jsonl") for packed in DECOMPRESS), ".parquet"]
)
def test_every_format_holds_the_same_rows(tmp_path: Path, suffix: str) -> None:
    """By the name's suffix; nothing but the result is left in the folder."""
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / f"scores{suffix}"
    expected = scored(tmp_path, LOG)
    score(tmp_path / "log.jsonl", out, question(), Counting(), shards=5)
    content = DECOMPRESS.get(out.suffix, bytes)(out.read_bytes())
    reader: Callable[..., pl.DataFrame] = (
        pl.read_csv if ".csv" in suffix else pl.read_ndjson if ".jsonl" in suffix else pl.read_parquet
    )
    assert reader(io.BytesIO(content)).to_dict(as_series=False) == expected
    assert [each.name for each in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("name", ["scores.txt", "scores", "scores.parquet.gz"])
def test_an_unknown_format_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    """The error names the formats."""
    with pytest.raises(EventFileError, match=r"\.parquet"):
        score(tmp_path / "missing.csv", tmp_path / name, question(), Counting())
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_older_results_as_they_were(tmp_path: Path) -> None:
    """A log without a purchase before the question is refused; the file of the last run stays, and nothing else."""
    out, log = tmp_path / "scores.csv", written(tmp_path / "log.jsonl", [row("a", 1, "view_item")])
    out.write_text("older")
    with pytest.raises(EventFileError, match="no purchase"):
        score(log, out, question(), Counting())
    assert out.read_text() == "older"
    assert sorted(tmp_path.iterdir()) == [log, out]
