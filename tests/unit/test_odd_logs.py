"""Logs that are in order, but unlike others: what `ebbtide replay` makes of them is sensible, and said."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.cli import app
from consumer.core.events import Events
from consumer.core.features import tokens
from consumer.core.packing import pack, unpack
from consumer.core.state import COUNTS, NO_TIME, States, empty_states
from consumer.settings import Settings
from histories import Happened, columns, day
from schemas.event import EventType
from shop_logs import Row, shop_rows, write_rows
from support import POLICIES

MILLION = 1_000_000
LOOKS = 2_100  # more than fit into one micro-batch


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("EBBTIDE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EBBTIDE_MODEL_DIR", str(tiny_model))
    monkeypatch.setenv("EBBTIDE_POLICY_FILE", str(POLICIES / "many_alerts.toml"))


def replayed(rows: list[Row], out: str = "out") -> dict[str, Any]:
    """The summary of a replay that went well, its alerts by user among it."""
    events = write_rows(Path(f"{out}.csv"), rows)
    done = CliRunner().invoke(app, ["replay", "--events", str(events), "--out", out, "--json"])
    assert done.exit_code == 0, done.output
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary == json.loads((Path(out) / "summary.json").read_text())
    alerts = [json.loads(line) for line in (Path(out) / "alerts.jsonl").read_text().splitlines()]
    return summary | {"raised": alerts}


def test_a_shop_where_nobody_has_a_timer_is_quiet() -> None:
    """Where nobody ever buys, nobody can be lost: all events are folded, and nothing is alerted or judged."""
    looks = [(user, "view_item", at, value) for user, _, at, value in shop_rows(customers=40)]
    summary = replayed(looks)
    assert (summary["events"], summary["users"], summary["dead_letters"]) == (len(looks), 41, 0)
    assert summary["raised"] == []
    assert summary["alerts"] == {"at_risk": 0, "critical": 0}
    assert summary["back_test"]["tiers"] == {}
    for written in ("alerts.jsonl", "triggers.jsonl", "outcomes.jsonl", "dead_letters.jsonl"):
        assert (Path("out") / written).read_bytes() == b""
    assert "No alert can be judged." in (Path("out") / "report.html").read_text()


def test_a_log_shorter_than_the_horizon_raises_alerts_that_nobody_can_judge() -> None:
    """Nothing after them is known for 30 days: they are counted as such, no share of them is given, and it is said."""
    rows = shop_rows(customers=60, days=21)
    summary = replayed(rows)
    assert len(summary["raised"]) == sum(summary["alerts"].values()) > 0
    assert summary["judged_dates"] == 0
    assert {each["customers"] for each in summary["stayed_within_horizon"].values()} == {0}
    assert summary["back_test"]["tiers"] == {}
    assert (Path("out") / "outcomes.jsonl").read_bytes() == b""
    page = (Path("out") / "report.html").read_text()
    assert "No alert can be judged." in page
    assert f"{len(summary['raised'])} alerts came less than 30 days before the end of the log" in page
    told = CliRunner().invoke(app, ["replay", "--events", "out.csv", "--out", "again"]).stdout
    assert "The log is too short to tell what customers did" in told


def test_a_row_of_a_later_year_changes_no_other_result() -> None:
    """A row that is ahead of the clock is a dead letter; alerts and how they are judged are as without it, always."""
    rows = shop_rows(customers=60, days=120)
    plain = replayed(rows)
    wrong = replayed([*rows, ("u000", "purchase", "9000-01-01", 1.0)], "wrong")
    assert (wrong["events"], wrong["dead_letters"]) == (plain["events"] + 1, 1)
    same = [name for name in plain if name not in ("events", "dead_letters")]
    assert {name: wrong[name] for name in same} == {name: plain[name] for name in same}
    written = [path.read_bytes() for path in sorted(Path("wrong").glob("*.jsonl"))]
    replayed([*rows, ("u000", "purchase", "9000-01-01", 1.0)], "wrong")
    assert [path.read_bytes() for path in sorted(Path("wrong").glob("*.jsonl"))] == written


def test_a_user_with_very_many_events_in_a_day_changes_nothing_for_others() -> None:
    """All of them are folded and none is a dead letter; everybody else is alerted as without them, at the same risk."""
    rows = shop_rows(customers=30, days=60)
    at = next(index for index, row in enumerate(rows) if row[2] >= "2024-02-01")
    burst = [("hot", "purchase" if look == 0 else "view_item", "2024-02-01", 1.0) for look in range(LOOKS)]
    plain, hot = replayed(rows), replayed([*rows[:at], *burst, *rows[at:]], "hot")
    assert (hot["events"], hot["dead_letters"]) == (len(rows) + LOOKS, 0)
    others = [each for each in hot["raised"] if each["user_id"] != "hot"]
    same = ("user_id", "tier", "decided_at", "churn_probability")
    assert [[each[name] for name in same] for each in others] == [
        [each[name] for name in same] for each in plain["raised"]
    ]
    theirs = [each for each in hot["raised"] if each["user_id"] == "hot"]
    assert len(theirs) == len({each["alert_id"] for each in theirs}) <= 10
    assert all(each["features"]["events_90d"] <= LOOKS for each in theirs)


def a_million(states: States) -> None:
    """As if so many events had been folded into the last day, but for two."""
    for name in ("events", "views"):
        states.days[name][0, 0] = MILLION - 2
    states.header["events"] = MILLION - 2


def test_a_million_events_of_a_day_are_counted_to_the_last() -> None:
    """Counts reach far beyond; the state is as small as others, and the shipped model's score is a probability."""
    engine = build_worker(Settings(), Metrics()).engine
    states = empty_states(1)
    look: Events = columns([Happened(EventType.VIEW_ITEM, day(0))], 1)
    engine.on_events(states, look, np.array([NO_TIME]))
    a_million(states)
    for number in (2, 3):
        more = columns([Happened(EventType.VIEW_ITEM, day(0) + number)], number)
        engine.on_events(states, more, np.array([NO_TIME]))
    assert states.days["views"][0, 0] == states.header["events"][0] == MILLION
    [value] = pack(states)
    assert len(value) < 300
    kept = unpack([value])
    assert all(np.array_equal(kept.days[name][0], states.days[name][0]) for name in COUNTS)
    assert np.isfinite(tokens(states, 1)).all()
    risk = engine.policy.probability(states, np.array([0]), states.header["last_ms"])
    assert 0 < risk[0] < 1
