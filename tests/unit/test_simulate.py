"""Simulated shops: what their habits promise is what their customers do."""

from dataclasses import replace

import numpy as np
import pytest

from model_export.shops import Shop, draw_shop
from model_export.simulate import Simulated, simulate

PLAIN = replace(
    draw_shop(np.random.default_rng(1), frozenset()),
    burn_in_days=0, observed_days=600, future_days=0, dated_only=False, cohort_days=30, sign_up_trend=0.0,
    signed_up_before=0.0, begins_with_purchase=True, rate_per_day=0.1, rate_family="gamma", rate_shape=1e4,
    regularity=1.0, lifetime_days=1e5, lifetime_shape=1.0, lifetime_spread=0.0, quit_mean=1e-4, quit_weight=1.0,
    more_orders=0.0,
)  # fmt: skip


def simulated(seed: int = 1, users: int = 400, **habits: object) -> Simulated:
    """A shop without any habit but those given."""
    return simulate(replace(PLAIN, **habits), users, np.random.default_rng(seed))  # type: ignore[arg-type]


def purchases(log: Simulated) -> tuple[np.ndarray, np.ndarray]:
    """User and day of each user-day with a purchase."""
    bought = log.days["purchases"] > 0
    return log.user[bought], log.days["day"][bought].astype(np.int64)


def gaps(log: Simulated) -> np.ndarray:
    """Days between a user's successive purchase days."""
    user, day = purchases(log)
    return np.diff(day)[user[1:] == user[:-1]]


def spread(log: Simulated) -> float:
    """Coefficient of variation of the gaps."""
    return float(gaps(log).std() / gaps(log).mean())


def per_day(log: Simulated) -> np.ndarray:
    """Purchases by day of the log."""
    return np.bincount(log.days["day"], log.days["purchases"], log.end_day)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_shop_and_customers(seed: int) -> None:
    """Everything follows from the generator."""
    first, second = (
        simulate(draw_shop(rng), 50, rng) for rng in (np.random.default_rng(seed), np.random.default_rng(seed))
    )
    assert first.shop == second.shop
    assert first.days.tobytes() == second.days.tobytes()
    assert first.user.tobytes() == second.user.tobytes()
    assert first.left_day.tobytes() == second.left_day.tobytes()


@pytest.mark.parametrize("seed", range(12))
def test_any_shop_is_consistent(seed: int) -> None:
    """User-days come by user and day, once each, inside the log; counts add up, and nothing is negative."""
    rng = np.random.default_rng(seed)
    log = simulate(draw_shop(rng), 60, rng)
    days, key = log.days, log.user * log.end_day + log.days["day"]
    assert (np.diff(key) > 0).all()
    assert ((days["day"] >= 0) & (days["day"] < log.end_day)).all()
    assert ((days["sessions"] >= 1) & (days["sessions"] <= days["events"])).all()
    for name, by in (("coupons", "purchases"), ("opinions", "reviews"), ("negative_texts", "opinions")):
        assert (days[name] <= days[by]).all()
    for name, by in (("spend", "purchases"), ("refunded", "refunds"), ("discount", "coupons"), ("dwell_s", "views")):
        assert ((days[name] >= 0) & ((days[by] > 0) | (days[name] == 0))).all()
    assert (np.abs(days["sentiment"]) <= days["opinions"]).all()


def test_customers_buy_as_often_as_the_shops_rate_says() -> None:
    """The rate is the mean over customers, whatever family they are drawn from."""
    families: tuple[tuple[str, float], ...] = (("gamma", 1.5), ("lognormal", 0.8), ("pareto", 3.0))
    for family, shape in families:
        log = simulated(rate_per_day=0.05, rate_family=family, rate_shape=shape, users=3000)
        assert per_day(log)[60:].sum() / (3000 * 540) == pytest.approx(0.05, rel=0.1)


def test_rhythms_are_as_regular_as_the_shape_says() -> None:
    """The coefficient of variation of an Erlang's gaps falls with the root of its shape."""
    spreads = [spread(simulated(regularity=shape, rate_per_day=0.03)) for shape in (0.5, 1.0, 3.0, 9.0)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] == pytest.approx(1 / 3, rel=0.15)


def test_nobody_buys_after_they_have_left() -> None:
    """Without comebacks the last purchase is on the day of leaving at the latest, whatever made them leave."""
    log = simulated(lifetime_days=150.0, quit_mean=0.05, bad_share=0.2, bad_quits=0.5, comebacks=0.0)
    user, day = purchases(log)
    assert (day <= log.left_day[user]).all()
    assert (log.left_day < log.end_day).mean() > 0.5


def test_those_who_left_come_back_rarely() -> None:
    """With comebacks some purchases are later, but few."""
    log = simulated(lifetime_days=150.0, comebacks=0.05)
    user, day = purchases(log)
    after = (day > log.left_day[user]).mean()
    assert 0 < after < 0.2


def test_lifetimes_and_quits_thin_out_the_customers() -> None:
    """Half of a cohort is gone after the median of an exponential lifetime; quits follow the chance per purchase."""
    log = simulated(lifetime_days=200.0, users=4000, cohort_days=1)
    assert (log.left_day < 200 * np.log(2)).mean() == pytest.approx(0.5, abs=0.03)
    quitters = simulated(quit_mean=0.25, quit_weight=1e4, users=2000)
    user, _ = purchases(quitters)
    assert np.bincount(user).mean() == pytest.approx(4.0, rel=0.1)  # geometric


def test_one_time_buyers_buy_once() -> None:
    """Their share of the customers has a single purchase day."""
    user, _ = purchases(simulated(one_timers=0.6))
    assert (np.bincount(user) == 1).mean() == pytest.approx(0.6, abs=0.08)


def test_a_closed_day_sees_no_purchase() -> None:
    """Not even the first one of those who sign up on it."""
    log = simulated(closed_weekdays=2, weekday_spread=0.3, cohort_days=120, users=3000)
    _, day = purchases(log)
    assert sorted(np.bincount(day % 7, minlength=7) == 0) == [False] * 5 + [True] * 2


def test_a_panel_holds_those_who_buy_often() -> None:
    """Nobody else is in its log."""
    log = simulated(panel_min_purchases=30, rate_shape=1.0)
    user, _ = purchases(log)
    count = np.bincount(user)
    assert count[count > 0].min() >= 30
    assert len(np.unique(log.user)) < 300


def test_a_log_that_begins_late_shows_nothing_earlier() -> None:
    """The burn-in is cut off: day 0 is when the log begins, and customers are there from then on."""
    log = simulated(burn_in_days=200, cohort_days=0, signed_up_before=1.0)
    assert log.days["day"].min() == 0
    assert log.end_day == 600
    assert per_day(log)[:50].mean() == pytest.approx(per_day(log)[50:].mean(), rel=0.15)


def test_fading_and_aging_customers_buy_less_and_less() -> None:
    """Purchases of a cohort fall with its age."""
    for habits in ({"aging": 0.8, "aging_days": 10.0}, {"fading_days": 90.0, "lifetime_days": 200.0}):
        cohort = per_day(simulated(**habits))
        assert cohort[300:400].sum() < 0.8 * cohort[30:130].sum()


def test_promotions_seasons_and_growth_are_everybodys() -> None:
    """What the calendar does shows in the sum over customers."""
    steady = per_day(simulated(users=2000, cohort_days=1))[30:]
    for habits in ({"promotions_per_year": 8.0, "promotion_lift": 3.0}, {"yearly": 0.8}, {"growth_per_year": 1.5}):
        moved = per_day(simulated(users=2000, cohort_days=1, **habits))[30:]
        assert moved.std() / moved.mean() > 1.5 * steady.std() / steady.mean()


def test_equal_shared_draws_give_parts_of_one_shop() -> None:
    """Two parts of a shop have their promotions on the same days."""
    shop = replace(PLAIN, promotions_per_year=12.0, promotion_lift=4.0, cohort_days=1)
    parts = [simulate(shop, 3000, np.random.default_rng(part), np.random.default_rng(9)) for part in (1, 2)]
    assert np.corrcoef(*(per_day(part)[1:] for part in parts))[0, 1] > 0.8
    assert parts[0].days.tobytes() != parts[1].days.tobytes()


@pytest.mark.parametrize("seed", range(20))
def test_families_that_are_off_leave_no_trace(seed: int) -> None:
    """Neither in the habits nor in the user-days."""
    rng = np.random.default_rng(seed)
    shop = draw_shop(rng, frozenset())
    assert shop.rate_family == "gamma"
    off = ("aging", "mood", "own_weekday", "fading_days", "one_timers", "comebacks", "wholesale", "burn_in_days",
           "signed_up_before", "panel_min_purchases", "weekday_spread", "closed_weekdays", "yearly", "peak",
           "growth_per_year", "promotions_per_year", "browsing", "bad_share", "coupons", "refunds", "tickets",
           "reviews", "unsubscribes", "campaign_every_days")  # fmt: skip
    assert {name: getattr(shop, name) for name in off if getattr(shop, name)} == {}
    days = simulate(shop, 40, rng).days
    assert (days["events"] == days["purchases"]).all()


def test_every_family_is_drawn_somewhere() -> None:
    """The priors use all of their habits."""
    shops = [draw_shop(np.random.default_rng(seed)) for seed in range(200)]
    for name in ("aging", "mood", "one_timers", "comebacks", "wholesale", "burn_in_days", "panel_min_purchases",
                 "closed_weekdays", "yearly", "promotions_per_year", "browsing", "bad_share", "campaign_every_days",
                 "dated_only", "cohort_days", "coupons", "reviews", "refunds"):  # fmt: skip
        assert 5 < sum(bool(getattr(shop, name)) for shop in shops) < 195


def browsing_shop(**habits: object) -> Simulated:
    """A shop whose customers look around, complain and get mail."""
    return simulated(
        rate_per_day=0.05, browsing=3.0, views=4.0, bad_share=0.3, bad_quits=0.0, refunds=0.8, tickets=0.8, reviews=0.6,
        campaign_every_days=10, campaign_reach=0.5, campaign_opens=0.4, **habits,
    )  # fmt: skip


def test_visits_without_purchase_are_as_many_as_the_shop_says() -> None:
    """Per purchase day, so many days on which customers only look."""
    log = browsing_shop()
    idle = (log.days["views"] > 0) & (log.days["purchases"] == 0)
    assert idle.sum() / len(gaps(log)) == pytest.approx(3.0, rel=0.2)
    assert (log.days["views"][log.days["purchases"] > 0] > 0).all()


def test_visits_end_when_customers_leave_but_mail_does_not() -> None:
    """Browsing is a sign of life; being written to is not."""
    log = browsing_shop(lifetime_days=150.0, looks_first=0.0)
    after = log.days["day"] > log.left_day[log.user]
    assert not log.days["views"][after].any()
    assert log.days["campaign_contacts"][after].any()
    assert log.days["email_opens"][after].sum() < 0.1 * log.days["campaign_contacts"][after].sum()


def test_a_bad_experience_costs_customers() -> None:
    """Those who had one are refunded, complain, write bad reviews, and leave more often."""
    log = simulated(bad_share=0.3, bad_quits=0.9, refunds=1.0, tickets=1.0, reviews=0.8)
    happy = simulated(bad_share=0.0, bad_quits=0.9, refunds=1.0, tickets=1.0, reviews=0.8)
    assert (log.left_day < 300).mean() > 0.9 > 0.1 > (happy.left_day < 300).mean()
    assert log.days["refunds"].any()
    assert not happy.days["refunds"].any()
    assert log.days["sentiment"].sum() / log.days["opinions"].sum() < 0.45
    assert happy.days["sentiment"].sum() / happy.days["opinions"].sum() > 0.5


def test_a_log_of_dates_has_one_session_a_day() -> None:
    """Without times there is nothing to tell sessions apart."""
    assert (browsing_shop(dated_only=True).days["sessions"] == 1).all()
    assert (browsing_shop().days["sessions"] > 1).any()


def test_wholesale_buyers_spend_more() -> None:
    """A few customers spend many times as much."""
    spreads = []
    for share in (0.0, 0.1):
        log = simulated(wholesale=share, spend_spread=0.3, spend_noise=0.3)
        spend = np.bincount(log.user, log.days["spend"])
        spreads.append(np.log(spend[spend > 0]).std())
    assert spreads[1] > 2 * spreads[0]


def test_shops_are_values() -> None:
    """A shop's habits can be compared and replaced."""
    shop: Shop = replace(PLAIN, observed_days=10)
    assert shop.total_days == 10
    assert shop != PLAIN
