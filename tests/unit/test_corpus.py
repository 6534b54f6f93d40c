"""Simulated shops as training examples: what is known at a moment, and what came after it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from consumer.core.calendar import DAY_MS
from consumer.core.fold import target_count
from consumer.core.state import COUNTS, MAX_DAYS, NO_DAY, SUMS, States, empty_states
from consumer.core.trends import advanced, increments
from model_export.corpus import _drawn, _thin_last_day, examples
from model_export.data import HEADS
from model_export.panel import Panel, Targets, panel_of
from model_export.shop import SHOP_SIZE
from model_export.shops import FAMILIES, draw_shop
from model_export.simulate import Simulated, simulate
from model_export.simulated_states import states_at


def busy_shop(seed: int = 1) -> Simulated:
    """Customers with more active days than a state keeps."""
    rng = np.random.default_rng(seed)
    shop = replace(
        draw_shop(rng), rate_per_day=0.3, rate_family="gamma", rate_shape=1.0, aging=0.0, lifetime_days=1e5,
        one_timers=0.0, quit_mean=1e-3, browsing=0.5, bad_share=0.2, bad_quits=0.05, reviews=0.7, refunds=0.5,
        coupons=0.3, unsubscribes=0.3, burn_in_days=0, observed_days=250, future_days=100,
        panel_min_purchases=0, cohort_days=0,
    )  # fmt: skip
    return simulate(shop, 60, rng)


def days_of(simulated: Simulated, user: int, until_day: int) -> np.ndarray:
    """All of a customer's user-days before a day."""
    days = simulated.days[simulated.user == user]
    return days[days["day"] < until_day]


def test_states_hold_the_last_days_and_remember_the_others() -> None:
    """As the fold would leave them, worked out one day after the other."""
    simulated = busy_shop()
    users = np.arange(simulated.users)
    until = np.where(users % 2 == 0, 250, 180)
    states = states_at(simulated, users, until)
    assert (states.header["evicted_day"] != NO_DAY).sum() > 5
    for user in users:
        days = days_of(simulated, user, until[user])
        gone, header = days[:-MAX_DAYS], states.header[user]
        kept = states.days[user, : header["days"]]
        assert kept.tobytes() == days[-MAX_DAYS:].tobytes()
        assert header["events"] == days["events"].sum()
        assert header["target_events"] == days["purchases"].sum()
        assert header["unsubscribed"] == (days["unsubscribes"] > 0).any()
        trends, previous = np.zeros((1, header["evicted_trends"].shape[0]), np.float32), 0
        for day in gone:
            trends = advanced(trends, np.array([day["day"] - previous]), increments(day[None]))
            previous = day["day"]
        assert trends[0].tobytes() == header["evicted_trends"].tobytes()
        assert header["evicted_day"] == (gone["day"][-1] if len(gone) else NO_DAY)
        bought = gone["day"][gone["purchases"] > 0]
        assert header["evicted_purchase_day"] == (bought[-1] if len(bought) else NO_DAY)
        for name, seen in (("last_ms", days), ("last_target_ms", days[days["purchases"] > 0])):
            assert header[name] == (int(seen["day"][-1]) * DAY_MS if len(seen) else -1)


def test_what_comes_after_each_day_is_found() -> None:
    """Gaps and censoring equal a search through every later day; the silence at the moment is counted too."""
    simulated = busy_shop(2)
    moment = 200
    users = np.array([user for user in range(simulated.users) if len(days_of(simulated, user, moment))])
    states = states_at(simulated, users, np.full(len(users), moment))
    hits = [target_count(simulated.days, head) > 0 for head in HEADS]
    targets = Targets.of([(simulated.user[hit], simulated.days["day"][hit]) for hit in hits], 0, simulated.end_day)
    panel = panel_of(states, users, np.full(len(users), moment), targets, np.zeros(SHOP_SIZE, np.float32))
    for index, user in enumerate(users):
        days = days_of(simulated, user, moment)[-MAX_DAYS:]
        assert panel.length[index] == len(days)
        assert panel.entry_days[index] == moment - 1 - days["day"][-1]
        every = simulated.days[simulated.user == user]
        for offset, day in enumerate(days["day"].tolist()):
            row = panel.start[index] + offset
            for head, target in enumerate(HEADS):
                later = every["day"][(target_count(every, target) > 0) & (every["day"] > day)]
                assert panel.observed[row, head] == (len(later) > 0)
                known = later[0] if len(later) else simulated.end_day - 1
                assert panel.gap_days[row, head] == known - day


def thinned(seed: int) -> tuple[States, States]:
    """States before and after part of the last day was taken away, for every customer."""
    simulated = busy_shop(seed)
    users = np.array([user for user in range(simulated.users) if len(days_of(simulated, user, 200))])
    whole = states_at(simulated, users, np.full(len(users), 200))
    part = States(whole.header.copy(), whole.days.copy())
    _thin_last_day(part, np.arange(len(users)), np.random.default_rng(seed))
    return whole, part


def last_days(states: States) -> np.ndarray:
    """Each customer's last user-day."""
    return states.days[np.arange(len(states)), states.header["days"].astype(np.int64) - 1]


@pytest.mark.parametrize("seed", range(4))
def test_part_of_a_day_is_a_day_that_could_have_been(seed: int) -> None:
    """Nothing is more than on the whole day, something is left, and counts and sums still belong together."""
    whole, part = (last_days(states) for states in thinned(seed))
    for name in COUNTS:
        assert (part[name] <= whole[name]).all()
    for name in SUMS:
        assert (np.abs(part[name]) <= np.abs(whole[name]) + 1e-9).all()
    assert (part["events"] >= 1).all()
    assert (part["events"] < whole["events"]).any()
    assert ((part["sessions"] >= 1) & (part["sessions"] <= part["events"])).all()
    for name, by in (("coupons", "purchases"), ("opinions", "reviews"), ("negative_texts", "opinions"),
                     ("spend", "purchases"), ("refunded", "refunds"), ("discount", "coupons"), ("dwell_s", "views"),
                     ("sentiment", "opinions")):  # fmt: skip
        assert ((part[by] > 0) | (part[name] == 0)).all()
    for name, by in (("coupons", "purchases"), ("opinions", "reviews"), ("negative_texts", "opinions")):
        assert (part[name] <= part[by]).all()


def test_only_the_last_day_is_thinned() -> None:
    """Closed days stay as they are."""
    whole, part = thinned(1)
    last = whole.header["days"].astype(np.int64) - 1
    closed = np.arange(MAX_DAYS) < last[:, None]
    assert whole.days[closed].tobytes() == part.days[closed].tobytes()


def as_bytes(panel: Panel) -> list[bytes]:
    """All of a panel."""
    return [getattr(panel, field.name).tobytes() for field in fields(Panel)]


@pytest.mark.parametrize("number", range(4))
def test_an_example_follows_from_seed_and_number(number: int) -> None:
    """Training can stop and go on anywhere."""
    first = examples(3, number, 30)
    assert as_bytes(first) == as_bytes(examples(3, number, 30))
    assert as_bytes(first) != as_bytes(examples(4, number, 30))


@pytest.mark.parametrize("number", range(8))
def test_examples_are_whole(number: int) -> None:
    """Every customer has a day, every gap is at least a day or censored, and no input is undefined but a shop's."""
    panel = examples(5, number, 40)
    assert (panel.length >= 1).all()
    assert panel.length.sum() == len(panel.tokens) == len(panel.gap_days) == len(panel.observed)
    assert np.isfinite(panel.tokens).all()
    assert (panel.gap_days >= panel.observed).all()
    assert (panel.gap_days[:, 1] <= panel.gap_days[:, 0]).all()  # a purchase is an activity
    assert (panel.entry_days >= 0).all()
    unknown = np.isnan(panel.shop)
    assert unknown.all() or not unknown.any()


def test_some_customers_are_seen_in_the_middle_of_a_day() -> None:
    """And most in silence."""
    entry = np.concatenate([examples(6, number, 60).entry_days for number in range(8)])
    assert 0.1 < (entry == 0).mean() < 0.6


def test_the_moment_leaves_out_what_came_later() -> None:
    """States know nothing at or after it: a leak planted there changes no state."""
    simulated, known, moment = _drawn(np.random.default_rng(2), frozenset(FAMILIES))
    until = np.full(len(known), moment)
    before = states_at(simulated, known, until)
    leaking = replace(simulated, days=simulated.days.copy())
    leaking.days["purchases"][leaking.days["day"] >= moment] += 100
    leaking.days["spend"][leaking.days["day"] >= moment] += 1e6
    after = states_at(leaking, known, until)
    assert before.header.tobytes() == after.header.tobytes()
    assert before.days.tobytes() == after.days.tobytes()


def test_customers_without_a_day_yet_are_empty() -> None:
    """As a user of whom nothing is known."""
    simulated = busy_shop()
    states = states_at(simulated, np.arange(5), np.zeros(5, np.int64))
    assert states.header.tobytes() == empty_states(5).header.tobytes()
