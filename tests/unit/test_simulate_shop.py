"""A simulated shop of any size from one seed."""

import numpy as np

from consumer.adapters.paced_feed import Pace
from model_export import simulate_shop
from model_export.simulate_shop import customers_of, shop_of


def test_as_many_customers_as_asked_for() -> None:
    """Each with something in the log, numbered without gaps."""
    for seed in range(6):
        simulated = customers_of(shop_of(seed), 120, seed)
        assert simulated.users <= 120
        np.testing.assert_array_equal(np.unique(simulated.user), np.arange(simulated.users))
        assert (np.diff(simulated.user) >= 0).all()
    assert simulated.users == 120


def test_more_customers_are_the_same_shop() -> None:
    """Parts of a shop share its calendar, and the days of its log."""
    shop = shop_of(3, "browsing", 90)
    simulated = customers_of(shop, 900, 3)
    assert simulated.users == 900
    assert simulated.end_day == 90
    assert simulated.days["day"].max() < 90


def test_a_kind_of_shop_is_of_that_kind() -> None:
    """Whatever the seed."""
    for seed in range(20):
        assert shop_of(seed, "browsing").browsing > 0
        bought = shop_of(seed, "purchases")
        assert {bought.browsing, bought.campaign_every_days, bought.reviews, bought.refunds} == {0}
        assert shop_of(seed, days=77).total_days == 77 + shop_of(seed, days=77).burn_in_days


def test_no_generator_is_one_that_models_are_trained_on() -> None:
    """A simulated log can be used to judge a model: its shop is none of the corpus."""
    ours = {simulate_shop._generator(seed, part).random() for seed in range(50) for part in (1, 2, 3, 4)}
    corpus = {np.random.default_rng((seed, number)).random() for seed in range(50) for number in range(50)}
    assert not ours & corpus


def test_a_pace_says_when_an_event_is_due() -> None:
    """By its number, by when it happened, or at once."""
    assert Pace(rate_per_s=50).due_s(100, 7) == 2
    assert Pace(speed_up=60).due_s(100, 120_000) == 2
    assert Pace().due_s(100, 120_000) == 0
