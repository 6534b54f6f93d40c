"""Panels: user-days up to a moment, and what came after each."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consumer.core.features import TOKEN_SIZE, tokens
from histories import random_states
from model_export.calibrate import moment_panel, targets_of
from model_export.data import HEADS
from model_export.folder import ShopLog
from model_export.panel import Panel, Targets, joined, panel_of, some
from model_export.shop import SHOP_SIZE, shop_token
from model_export.tasks import Past

LOG = """user_id,event_type,occurred_at,value
ann,purchase,2024-01-01,10
ann,view_item,2024-01-02,
bob,campaign_received,2024-01-03,
ann,purchase,2024-01-05,20
ann,purchase,2024-01-09,30
cem,purchase,2024-01-09,30
"""
FIELDS = ("tokens", "gap_days", "observed", "length", "entry_days", "shop")


@pytest.fixture
def small_log(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(LOG)
    return path


def past(path: Path, until: date) -> Past:
    return ShopLog(path, "small").past(until)


def panel_at_end(path: Path, until: date) -> Panel:
    found = past(path, until)
    states, rows = found.log.states, np.arange(len(found.users))
    moment, shop = np.full(len(rows), found.until_day), np.zeros(SHOP_SIZE, np.float32)
    return panel_of(states, rows, moment, targets_of(found), shop)


def assert_equal(one: Panel, other: Panel) -> None:
    for name in FIELDS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def random_panel(seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    states = random_states(30, 300, seed)
    users = rng.permutation(1_000)[: len(states)]
    targets = Targets.of([(rng.choice(users, 200), rng.integers(0, 260, 200)) for _ in HEADS], 0, 260)
    moment = states.last_day(np.arange(len(states))) + 1 + rng.integers(0, 9, len(states))
    return panel_of(states, users, moment, targets, rng.normal(size=SHOP_SIZE).astype(np.float32))


def test_targets_are_whole_days_of_silence_until_the_next_target_day(small_log: Path) -> None:
    """A gap runs from the end of the user-day; views count as activity and messages received do not."""
    panel = panel_at_end(small_log, date(2024, 1, 10))
    assert panel.length.tolist() == [4, 1, 1]
    gaps = {head: panel.gap_days[:, at].tolist() for at, head in enumerate(HEADS)}
    assert gaps == {"purchase": [4, 3, 4, 0, 6, 0], "activity": [1, 3, 4, 0, 6, 0]}
    seen = [True, True, True, False, False, False]
    assert [panel.observed[:, at].tolist() for at in range(len(HEADS))] == [seen, seen]


def test_nothing_from_the_cut_off_on_is_looked_at(small_log: Path) -> None:
    """Users, user-days and gaps end with the day before the cut-off."""
    found = past(small_log, date(2024, 1, 9))
    assert found.users == ["ann", "bob"]
    assert (found.log.events, found.log.dropped) == (4, 0)
    assert panel_at_end(small_log, date(2024, 1, 9)).gap_days[:, 0].tolist() == [4, 3, 3, 5]


def test_a_moment_knows_of_before_and_asks_of_after(small_log: Path) -> None:
    """Seen on 4 January, Ann has two user-days, two days of silence, and buys on the second day from then on."""
    found = past(small_log, date(2024, 1, 10))
    day = found.first_day + 3
    panel = moment_panel(found, day, targets_of(found))
    assert (panel.length.tolist(), panel.entry_days.tolist()) == ([2], [1.0])
    assert (panel.gap_days[panel.last].tolist(), panel.observed[panel.last].tolist()) == ([[3.0, 3.0]], [[True, True]])
    assert panel.shop[0].tobytes() == shop_token(found.earlier(day).log.states, day).tobytes()


@given(seed=st.integers(0, 2**32), end_day=st.integers(5, 60), first_day=st.integers(-40, 4))
@hypothesis_settings(max_examples=60)
def test_what_came_after_is_what_a_search_finds(seed: int, end_day: int, first_day: int) -> None:
    """Per head the first target after each user-day and before the end, found by looking at every one."""
    rng = np.random.default_rng(seed)
    occurred = [(rng.integers(0, 6, size), rng.integers(first_day, end_day + 5, size)) for size in (40, 0)]
    targets = Targets.of(occurred, first_day, end_day)
    user, day = rng.integers(0, 8, 50), rng.integers(first_day, end_day, 50)
    gap_days, observed = targets.after(user, day)
    for head, (of_user, on_day) in enumerate(occurred):
        for at in range(50):
            later = [d for u, d in zip(of_user, on_day, strict=True) if u == user[at] and day[at] < d < end_day]
            assert observed[at, head] == bool(later)
            assert gap_days[at, head] == (min(later) if later else end_day - 1) - day[at]


def test_a_panel_is_customer_by_customer() -> None:
    """Rows are each customer's user-days, oldest first, in the order of the states."""
    states = random_states(30, 300)
    rows = np.arange(len(states))
    targets = Targets.of([(rows[:0], rows[:0])] * len(HEADS), 0, 300)
    panel = panel_of(states, rows, np.full(len(rows), 300), targets, np.zeros(SHOP_SIZE, np.float32))
    assert panel.tokens.shape == (panel.length.sum(), TOKEN_SIZE)
    assert panel.length.tolist() == states.header["days"].tolist()
    for row in rows:
        alone = tokens(states.take(np.array([row])))[0, : panel.length[row]]
        assert panel.tokens[panel.start[row] : panel.last[row] + 1].tobytes() == alone.tobytes()
        days = states.days["day"][row, : panel.length[row]]
        assert panel.gap_days[panel.start[row] : panel.last[row] + 1, 0].tolist() == (299 - days).tolist()
        assert panel.entry_days[row] == 299 - days[-1]


def test_customers_are_worked_on_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many at once changes nothing."""
    whole = random_panel(5)
    monkeypatch.setattr("model_export.panel._USERS_AT_ONCE", 4)
    assert_equal(random_panel(5), whole)


@pytest.mark.parametrize("seed", range(5))
def test_some_customers_of_joined_panels_are_those_of_their_panels(seed: int) -> None:
    """Joining and choosing move whole customers, and nothing else."""
    rng = np.random.default_rng(seed)
    parts = [random_panel(number) for number in range(3)]
    whole = joined(parts)
    ends = np.cumsum([len(part.length) for part in parts])
    assert len(whole.length) == ends[-1]
    chosen = rng.choice(ends[-1], 25)  # some twice
    part_of = np.searchsorted(ends, chosen, side="right")
    alone = [
        some(parts[part], np.array([each - (ends[part - 1] if part else 0)]))
        for part, each in zip(part_of, chosen, strict=True)
    ]
    assert_equal(some(whole, chosen), joined(alone))
    assert_equal(some(whole, np.arange(ends[-1])), whole)
