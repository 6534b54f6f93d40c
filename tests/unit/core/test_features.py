"""Tokens for the model, and the named features that people ask for."""

import numpy as np
import pytest

from consumer.core.features import TOKEN_NAMES, TOKEN_SIZE, WINDOWS_DAYS, rolling, tokens
from consumer.core.state import COUNTS, MAX_DAYS, SUMS, empty_states
from consumer.core.trends import TREND_NAMES
from histories import DAY_0, Happened, day, fold_rules, folded
from schemas.event import EventType

VIEW, BUY, CART = EventType.VIEW_ITEM, EventType.PURCHASE, EventType.ADD_TO_CART
NOT_OF_THE_DAY = ("weekday", *(f"log1p_{name}" for name in TREND_NAMES))
HISTORY = [
    Happened(CART, day(0), dwell_s=30.0),
    Happened(BUY, day(0.1), value=20.0, discount=2.0),
    Happened(EventType.REVIEW, day(4), sentiment=-0.5),
    Happened(EventType.REVIEW, day(4.1), sentiment=-1.0),
    Happened(BUY, day(10), value=5.0),
    Happened(EventType.REFUND, day(12), value=5.0),
]


def named(token: np.ndarray) -> dict[str, float]:
    return dict(zip(TOKEN_NAMES, token.tolist(), strict=True))


def features(as_of: int, history: list[Happened] = HISTORY) -> dict[str, float]:
    values = rolling(folded(history), np.array([DAY_0 + as_of]))
    return {name: float(value[0]) for name, value in values.items()}


def test_every_count_and_sum_has_a_token() -> None:
    """Nothing that a user-day holds is kept from the model, but the number of opinions behind the mean."""
    for name in (*COUNTS, *SUMS):
        if name not in ("opinions", "sentiment"):
            assert f"log1p_{name}" in TOKEN_NAMES


def test_a_token_tells_the_day() -> None:
    """Counts and sums are log(1 + x), gaps count days; all that did not happen is zero, trends apart."""
    result = named(tokens(folded(HISTORY))[0, 2])
    told = {name: value for name, value in result.items() if value and not name.startswith(NOT_OF_THE_DAY)}
    expected = {
        "log1p_events": np.log(2),
        "log1p_sessions": np.log(2),
        "log1p_purchases": np.log(2),
        "log1p_spend": np.log(6),
        "log1p_gap_days": np.log(7),
        "log1p_purchase_gap_days": np.log(11),
    }
    assert told == pytest.approx(expected, rel=1e-6)


def test_a_token_tells_how_often_the_user_used_to_come() -> None:
    """Trends of three active days, of which the first and the last had a purchase, are halved every half-life."""
    result = named(tokens(folded(HISTORY))[0, 2])
    active = sum(0.5 ** (days / 14) for days in (10, 6, 0))
    bought = sum(0.5 ** (days / 240) for days in (10, 0))
    spend = np.log(21) * 0.5 ** (10 / 60) + np.log(6)
    assert result["log1p_active_days_14d"] == pytest.approx(np.log1p(active))
    assert result["log1p_purchase_days_240d"] == pytest.approx(np.log1p(bought))
    assert result["log1p_log_spend_60d"] == pytest.approx(np.log1p(spend))


def test_the_weekday_is_an_angle() -> None:
    """A week goes once around, beginning with Thursday as the epoch did."""
    week = tokens(folded([Happened(VIEW, day(number)) for number in range(8)]))[0, :8]
    angles = [(named(each)["weekday_sin"], named(each)["weekday_cos"]) for each in week]
    thursday = 3
    assert angles[thursday] == (0.0, 1.0)
    assert angles[thursday + 1] == pytest.approx((np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7)))
    assert angles[7] == angles[0]


def test_a_token_has_the_mean_opinion() -> None:
    """Sentiment is the mean over the day's opinions, zero where there is none."""
    [first, second, *_] = tokens(folded(HISTORY))[0]
    assert named(first)["mean_sentiment"] == 0.0
    assert named(second)["mean_sentiment"] == -0.75


def test_the_first_day_says_so() -> None:
    """A first day has no earlier day, and the first purchase no earlier purchase; flags tell that from a gap of 0."""
    flags = [
        (token["no_earlier_day"], token["no_earlier_purchase"])
        for token in map(named, tokens(folded([Happened(VIEW, day(0)), *HISTORY[1:]]))[0, :3])
    ]
    assert flags == [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0)]
    viewed_first = folded([Happened(VIEW, day(0)), Happened(BUY, day(3)), Happened(VIEW, day(5))])
    assert [named(each)["no_earlier_purchase"] for each in tokens(viewed_first)[0, :3]] == [1.0, 1.0, 0.0]


def test_the_gap_to_a_day_that_left_stays_known() -> None:
    """The oldest kept day still knows how long it came after the one that was pushed out."""
    history = [Happened(BUY if number == 0 else VIEW, day(3 * number)) for number in range(MAX_DAYS + 2)]
    oldest = named(tokens(folded(history))[0, 0])
    assert (oldest["no_earlier_day"], oldest["no_earlier_purchase"]) == (0.0, 0.0)
    assert oldest["log1p_gap_days"] == pytest.approx(np.log(4))
    assert oldest["log1p_purchase_gap_days"] == pytest.approx(np.log(7))


def test_tokens_are_padded_with_zeros_at_the_end() -> None:
    """Beyond a user's days all tokens are zero, also where days of somebody erased lie underneath."""
    states = folded([*HISTORY, Happened(None, 0), Happened(VIEW, day(20))])
    result = tokens(states)
    assert result.shape == (1, MAX_DAYS, TOKEN_SIZE)
    assert result.dtype == np.float32
    assert result[0, 0].any()
    assert not result[0, 1:].any()


@pytest.mark.parametrize("length", [4, 8, 64])
def test_the_padding_does_not_change_tokens(length: int) -> None:
    """A user's tokens are the same bits whatever length they are padded to."""
    states = folded(HISTORY)
    assert tokens(states, length)[0, :4].tobytes() == tokens(states)[0, :4].tobytes()


def test_of_nobody_there_are_no_tokens() -> None:
    """An unknown user's tokens are all zero."""
    assert not tokens(empty_states(1)).any()


def test_windows_are_exact_to_the_day() -> None:
    """A window of n days ends with the day asked for and begins n - 1 days before."""
    assert [features(16)["purchases_7d"], features(17)["purchases_7d"]] == [1.0, 0.0]
    assert [features(10)["spend_1d"], features(11)["spend_1d"]] == [5.0, 0.0]
    assert [features(29)["purchases_30d"], features(30)["purchases_30d"]] == [2.0, 1.0]


def test_what_comes_after_the_day_does_not_count() -> None:
    """Asked for a day in the past, later days are not known yet."""
    assert (features(9)["purchases_30d"], features(9)["days_since_last_purchase"]) == (1.0, 9.0)


def test_ratios_without_a_denominator_are_undefined() -> None:
    """NaN, not 0, where there were no purchases, carts or opinions."""
    empty = features(200)
    for name in ("refund_rate_30d", "cart_abandonment_30d", "mean_sentiment_30d"):
        assert np.isnan(empty[name])


def test_ratios_are_over_the_window() -> None:
    """Refunds per purchase, carts not bought, and the mean of the opinions within the window."""
    asked = features(12)
    assert (asked["refund_rate_30d"], asked["cart_abandonment_30d"], asked["mean_sentiment_30d"]) == (0.5, 0.0, -0.75)


def test_carts_that_were_not_bought_are_abandoned() -> None:
    """Abandonment is the share of cart additions without a purchase, and never negative."""
    assert features(0, [Happened(CART, day(0)), Happened(CART, day(0))])["cart_abandonment_1d"] == 1.0
    assert features(0, [Happened(CART, day(0)), Happened(BUY, day(0)), Happened(BUY, day(0))])[
        "cart_abandonment_1d"
    ] == (0.0)


def test_rhythm_is_over_purchase_days() -> None:
    """Mean and spread of the gaps between days with purchases; two purchases on a day are one day."""
    history = [Happened(BUY, day(each)) for each in (0, 0.2, 4, 6)] + [Happened(VIEW, day(7))]
    asked = features(30, history)
    assert (asked["purchase_gap_mean_days"], asked["purchase_gap_std_days"]) == (3.0, 1.0)


def test_a_single_purchase_has_no_rhythm() -> None:
    """With one purchase day mean and spread are undefined."""
    asked = features(30, [Happened(BUY, day(0))])
    assert np.isnan(asked["purchase_gap_mean_days"])
    assert np.isnan(asked["purchase_gap_std_days"])


def test_recency_and_totals() -> None:
    """Days since the last event and purchase, and the totals, at a later day."""
    asked = features(15)
    assert (asked["days_since_last_event"], asked["days_since_last_purchase"]) == (3.0, 5.0)
    assert (asked["total_events"], asked["total_target_events"], asked["unsubscribed"]) == (6.0, 2.0, 0.0)


def test_of_nobody_nothing_is_counted() -> None:
    """An unknown user has zero counts and no recency, without a warning."""
    asked = rolling(empty_states(1), np.array([DAY_0]))
    assert np.isnan(asked["days_since_last_event"][0])
    for window in WINDOWS_DAYS:
        assert asked[f"events_{window}d"].tolist() == [0.0]


def test_windows_add_up_like_days_counted_one_by_one() -> None:
    """Over a long random history, every window equals a plain sum over events."""
    generator = np.random.default_rng(3)
    times = np.sort(generator.uniform(0, 60, 120))
    kinds = generator.choice(np.array([VIEW, CART, BUY], dtype=object), 120)
    history = [
        Happened(kind, day(at), value=float(value))
        for at, kind, value in zip(times, kinds, generator.integers(1, 50, 120), strict=True)
    ]
    asked = rolling(folded(history, fold_rules()), np.array([DAY_0 + 60]))
    for window in WINDOWS_DAYS:
        inside = [each for each in history if each.at_ms >= day(61 - window)]
        assert asked[f"events_{window}d"][0] == len(inside)
        assert asked[f"spend_{window}d"][0] == sum(each.value for each in inside if each.kind is BUY)
        assert asked[f"active_days_{window}d"][0] == len({each.at_ms // 86_400_000 for each in inside})
