"""A replay of a log gives the same files, byte by byte, however its micro-batches are cut; and a budget is kept."""

import gzip
import json
import lzma
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from consumer.replay import replay
from consumer.settings import Settings
from shop_logs import Row, shop_rows, write_rows

CDNOW = Path(__file__).parents[2] / "data" / "cdnow" / "events.csv.xz"
ROWS = 4_000
WRITTEN = ("alerts.jsonl", "triggers.jsonl", "outcomes.jsonl")
BUDGETS = {"everybody": 1e9, "one a day": 1.0}
BUDGET = """
[[tiers]]
name = "at_risk"
threshold = "model"

[budget]
alerts_per_day = {0}
"""
LOW = "grace_days = 2.5" + BUDGET.replace('"model"', "0.4")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every customer's purchases, of the first customers of CDNOW, in order of time."""
    path = tmp_path_factory.mktemp("log") / "cdnow.csv.gz"
    with lzma.open(CDNOW, "rt") as rows, gzip.open(path, "wt") as out:
        header, *lines = rows
        user = header.strip().split(",").index("user_id")
        out.writelines([header, *[line for line in lines if int(line.split(",")[user]) % 16 == 0][:ROWS]])
    return path


def replayed(
    log: Path, out: Path, budget: float | None, max_batch_records: int, max_due_users: int = 2_000, low: bool = False
) -> dict[str, bytes]:
    """What is written, by file."""
    chosen: dict[str, Any] = {
        "max_batch_records": max_batch_records,
        "max_due_users": max_due_users,
        "watermark_delay_s": 0.0,
    }
    if budget is not None:
        out.mkdir()
        policy = out / "policy.toml"
        policy.write_text((LOW if low else BUDGET).format(budget))
        chosen["policy_file"] = policy
    replay(log, out, Settings(**chosen), partitions=2)
    return {name: (out / name).read_bytes() for name in WRITTEN}


@pytest.mark.parametrize("budget", [None, 2.0])
def test_cuts_between_batches_change_no_byte(log: Path, tmp_path: Path, budget: float | None) -> None:
    """Alerts, triggers and outcomes of batches of 2,000, 150 and 31 records are the same files."""
    first, *others = (replayed(log, tmp_path / str(size), budget, size) for size in (2_000, 150, 31))
    assert all(len(content) > 1_000 for content in first.values())
    for other in others:
        assert other == first


def test_a_budget_is_spent_by_the_day_in_which_each_timer_falls_due(tmp_path: Path) -> None:
    """With times of day too: batches of one record or of all, or one timer at a look, give the same files."""
    log = write_rows(tmp_path / "log.csv", through_the_day(shop_rows(customers=80, days=90)))
    first, *others = (
        replayed(log, tmp_path / f"{records}-{timers}", 1.0, records, timers, low=True)
        for records, timers in ((1, 2_000), (2_000, 2_000), (25, 1))
    )
    assert len(alerts(first)) > 50
    for other in others:
        assert other == first


def through_the_day(rows: list[Row]) -> list[Row]:
    """The rows of each day spread evenly over it."""
    of_day, seen = Counter(day for _, _, day, _ in rows), Counter[str]()
    spread = []
    for user, kind, day, value in rows:
        seen[day] += 1
        minutes = 24 * 60 * seen[day] // (of_day[day] + 1)
        spread.append((user, kind, f"{day}T{minutes // 60:02}:{minutes % 60:02}:00Z", value))
    return spread


def test_a_budget_is_spent_evenly_on_those_of_whom_most_is_at_stake(log: Path, tmp_path: Path) -> None:
    """In the mean it is kept, the alerts come day by day, and those passed over were worth less."""
    everybody, chosen = (alerts(replayed(log, tmp_path / name, budget, 2_000)) for name, budget in BUDGETS.items())
    assert len(everybody) > 3 * len(chosen)
    learnt = [each for each in chosen if each["decided_at"] >= "1997-04-01"]
    days = (date.fromisoformat(learnt[-1]["decided_at"][:10]) - date(1997, 4, 1)).days
    assert 0.8 < len(learnt) / days < 1.2
    assert max(Counter(each["decided_at"][:10] for each in learnt).values()) < 12
    at_risk = [sum(each["value_at_risk"] or 0.0 for each in of) / len(of) for of in (chosen, everybody)]
    assert at_risk[0] > 1.4 * at_risk[1]


def alerts(written: dict[str, bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written["alerts.jsonl"].splitlines()]
