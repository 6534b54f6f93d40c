"""Simulated events fold to the user-days that they were made from: what is learnt is what the service sees."""

import json
from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.day_sums import SESSION_GAP_MS
from consumer.core.decode import Decoded, decode
from consumer.core.events import KIND_OF, Events
from consumer.core.features import TOKEN_NAMES, rolling, tokens
from consumer.core.fold import Fate, FoldRules, fold
from consumer.core.state import COUNTS, MAX_DAYS, NO_DAY, SUMS, States, empty_states
from model_export.shops import Shop, draw_shop
from model_export.simulate import Simulated, simulate
from model_export.simulate_events import events_by_time
from model_export.simulate_rows import Naming, json_values, user_id
from model_export.simulated_states import states_at
from schemas.event import EventType, ShopEvent

START_DAY = 19_726  # Thursday, 2024-01-04: its weekday number is that of day 0
NAMING = Naming(seed=7)
FAR_MS = 2**52
SENTIMENT_SLACK = 5e-4  # the fold rounds sums to 1e-4 with each event; simulated sentiments alone have more digits


def lively(seed: int, **habits: object) -> Simulated:
    """A shop in which everything happens, often enough for more days than a state keeps."""
    rng = np.random.default_rng(seed)
    everything = {
        "rate_per_day": 0.3, "rate_family": "gamma", "rate_shape": 2.0, "aging": 0.0, "lifetime_days": 1e5,
        "one_timers": 0.0, "quit_mean": 1e-3, "bad_quits": 0.02, "bad_share": 0.3, "comebacks": 0.3, "browsing": 2.0,
        "looks_first": 0.4, "refunds": 0.5, "tickets": 0.5, "reviews": 0.6, "unsubscribes": 0.4, "coupons": 0.3,
        "more_orders": 0.4, "campaign_every_days": 9, "observed_days": 200, "future_days": 60, "burn_in_days": 0,
        "panel_min_purchases": 0, "cohort_days": 0,
    }  # fmt: skip
    return simulate(replace(draw_shop(rng), **(everything | habits)), 40, rng)


def drawn(seed: int) -> Simulated:
    """A shop as it comes, but no longer than a test takes."""
    rng = np.random.default_rng(seed)
    return simulate(replace(draw_shop(rng), observed_days=150, future_days=60), 40, rng)


def records(simulated: Simulated, timezone: str = "UTC") -> list[tuple[bytes, bytes]]:
    """All events as Kafka records."""
    chunks = events_by_time(simulated, START_DAY, Calendar(timezone), np.random.default_rng(1))
    return [record for columns in chunks for record in json_values(columns, NAMING)]


def decoded(simulated: Simulated, timezone: str = "UTC") -> Decoded:
    """All events as the service decodes them; none is rejected."""
    result = decode(records(simulated, timezone), FAR_MS)
    assert result.rejected == []
    return result


def folded(simulated: Simulated, until_day: int, timezone: str = "UTC") -> States:
    """States from the events before day `until_day` of the log, one per simulated user; every event is used."""
    found, calendar = decoded(simulated, timezone), Calendar(timezone)
    numbers = {user_id(number).encode().decode(): number for number in range(simulated.users)}
    row = np.array([numbers[name] for name in found.users], np.int64)[found.events.row]
    events = replace(found.events, row=row)
    events = events.take(np.flatnonzero(calendar.day_of(events.time_ms) < START_DAY + until_day))
    states = empty_states(simulated.users)
    assert set(fold(states, events, FoldRules(calendar)).tolist()) <= {Fate.FOLDED}
    return states


def direct(simulated: Simulated, until_day: int) -> States:
    """The states that training sees, moved to the same days."""
    users = np.arange(simulated.users)
    states = states_at(simulated, users, np.full(simulated.users, until_day))
    present = np.arange(MAX_DAYS) < states.header["days"][:, None]
    states.days["day"][present] += START_DAY
    for name in ("evicted_day", "evicted_purchase_day"):
        moved = states.header[name] != NO_DAY
        states.header[name][moved] += START_DAY
    for name in ("first_ms", "last_ms", "last_target_ms"):
        known = states.header[name] >= 0
        states.header[name][known] += START_DAY * DAY_MS
    return states


def assert_same(ours: States, theirs: States, timezone: str = "UTC") -> None:
    """Equal in all that a user-day can tell: counts exactly, sums nearly."""
    for name in ("days", "evicted_day", "evicted_purchase_day", "target_events", "events", "unsubscribed"):
        np.testing.assert_array_equal(ours.header[name], theirs.header[name], name)
    np.testing.assert_allclose(ours.header["evicted_trends"], theirs.header["evicted_trends"], rtol=1e-6)
    present = np.arange(MAX_DAYS) < ours.header["days"][:, None]
    for name in ("day", *COUNTS):
        np.testing.assert_array_equal(ours.days[name][present], theirs.days[name][present], name)
    for name in SUMS:
        slack = SENTIMENT_SLACK if name == "sentiment" else 1e-9
        np.testing.assert_allclose(ours.days[name][present], theirs.days[name][present], 1e-6, slack, err_msg=name)
    for name in ("first_ms", "last_ms", "last_target_ms"):
        day = Calendar(timezone).day_of(ours.header[name])
        known = theirs.header[name] >= 0
        np.testing.assert_array_equal(day[known], theirs.header[name][known] // DAY_MS, name)
        np.testing.assert_array_equal(ours.header[name] >= 0, known, name)


def assert_same_features(ours: States, theirs: States, as_of_day: int) -> None:
    """Model inputs and rolling features are the same."""
    slack = np.where(np.array(TOKEN_NAMES) == "mean_sentiment", SENTIMENT_SLACK, 1e-6)
    difference = np.abs(tokens(ours) - tokens(theirs))
    assert (difference <= slack + 1e-5 * np.abs(tokens(theirs))).all()
    as_of = np.full(len(ours), as_of_day)
    expected = rolling(theirs, as_of)
    for name, values in rolling(ours, as_of).items():
        slack_of_name = SENTIMENT_SLACK if name.startswith("mean_sentiment") else 1e-9
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, atol=slack_of_name, err_msg=name)


@pytest.mark.parametrize("seed", range(6))
def test_events_of_any_shop_fold_to_its_user_days(seed: int) -> None:
    """Whatever shop the priors give, the service would see what training sees."""
    simulated = drawn(seed)
    for until_day in (100, simulated.end_day):
        ours, theirs = folded(simulated, until_day), direct(simulated, until_day)
        assert_same(ours, theirs)
        assert_same_features(ours, theirs, START_DAY + until_day - 1)


@pytest.mark.parametrize("dated_only", [False, True])
def test_what_has_left_the_64_days_is_the_same(dated_only: bool) -> None:
    """Longer histories too: the header's account of forgotten days, and everything that can happen on a day."""
    simulated = lively(3, dated_only=dated_only)
    theirs = direct(simulated, simulated.end_day)
    assert (theirs.header["evicted_day"] > 0).sum() > 10
    assert all(simulated.days[name].any() for name in (*COUNTS, *SUMS))
    ours = folded(simulated, simulated.end_day)
    assert_same(ours, theirs)
    assert_same_features(ours, theirs, START_DAY + simulated.end_day - 1)


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/St_Johns", "Asia/Shanghai"])
def test_days_are_those_of_the_shops_time_zone(timezone: str) -> None:
    """Also where clocks are changed: in none of the zones does an evening fall on the next day."""
    simulated = lively(4, observed_days=260, dated_only=False)
    assert_same(folded(simulated, simulated.end_day, timezone), direct(simulated, simulated.end_day), timezone)


def test_events_come_in_order_of_time_with_ids_of_their_own() -> None:
    """Over all users, through all parts, and nobody's id twice."""
    simulated = lively(5)
    events = [ShopEvent.model_validate_json(value) for _, value in records(simulated)]
    times = [event.time_ms for event in events]
    assert times == sorted(times)
    assert len({event.event_id for event in events}) == len(events) == simulated.days["events"].sum()
    assert date.fromtimestamp(times[0] / 1000).year == 2024


def test_events_are_made_some_days_at_a_time() -> None:
    """No part holds much more than its share, whatever the log's length; a day is never torn apart."""
    simulated = lively(5)
    parts = list(events_by_time(simulated, START_DAY, Calendar(), np.random.default_rng(1)))
    busiest = int(np.bincount(simulated.days["day"], simulated.days["events"]).max())
    assert len(parts) > 1
    assert max(map(len, parts)) <= 20_000 + busiest
    for part, following in pairwise(parts):
        assert part.day.max() < following.day.min()
        assert part.number[-1] + 1 == following.number[0]


def test_simulated_data_says_so() -> None:
    """Nobody takes a simulated customer or event for a real one."""
    for key, value in records(lively(5))[:500]:
        event = json.loads(value)
        assert key.decode() == event["user_id"]
        assert event["user_id"].startswith("sim-")
        assert event["event_id"].startswith("sim-7-")


def of_sessions(events: Events) -> list[list[str]]:
    """The event types of every session of every user, in order."""
    names = {code: str(kind) for kind, code in KIND_OF.items()}
    sessions: list[list[str]] = []
    for user in np.unique(events.row):
        mine = np.flatnonzero(events.row == user)
        pause = np.diff(events.time_ms[mine], prepend=-FAR_MS)
        for index, ms in zip(mine.tolist(), pause.tolist(), strict=True):
            if ms > SESSION_GAP_MS:
                sessions.append([])
            sessions[-1].append(names[int(events.kind[index])])
    return sessions


def test_a_session_goes_from_looking_to_buying() -> None:
    """Views before cart adds before checkouts before purchases."""
    funnel = [str(each) for each in (EventType.VIEW_ITEM, EventType.ADD_TO_CART, EventType.BEGIN_CHECKOUT,
                                     EventType.PURCHASE)]  # fmt: skip
    simulated = lively(6, dated_only=False)
    sessions = of_sessions(decoded(simulated).events)
    assert len(sessions) == simulated.days["sessions"].sum()
    for session in sessions:
        steps = [funnel.index(name) for name in session if name in funnel]
        assert steps == sorted(steps)


def test_the_same_seed_writes_the_same_bytes() -> None:
    """So that a run can be repeated."""
    assert records(lively(8)) == records(lively(8))


def test_what_customers_write_fits_what_they_feel() -> None:
    """Reviews carry a rating and a text; nobody else has an opinion."""
    events = [json.loads(value) for _, value in records(lively(9))]
    reviews = [event for event in events if event["event_type"] == "review"]
    assert reviews
    for event in reviews:
        assert event["text"]
        assert abs(event["rating"] - (3 + 2 * event["sentiment"])) <= 0.5
    assert not any("sentiment" in event or "rating" in event for event in events if event["event_type"] != "review")


def test_the_latent_truth_is_in_no_event() -> None:
    """When a customer left is for evaluation only: moving it changes no event."""
    simulated = lively(10)
    moved = replace(simulated, left_day=simulated.left_day + 17)
    assert records(moved) == records(simulated)


def test_a_shop_without_events_gives_none() -> None:
    """Nothing in, nothing out."""
    shop: Shop = draw_shop(np.random.default_rng(1))
    nobody = simulate(replace(shop, panel_min_purchases=10_000), 5, np.random.default_rng(1))
    assert records(nobody) == []
