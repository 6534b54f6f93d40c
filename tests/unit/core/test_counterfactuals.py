"""What each group replaces, and what it leaves as it was."""

from collections.abc import Sequence

import numpy as np
import pytest

from consumer.core.counterfactuals import GROUPS, Finding, replaced
from consumer.core.past import Past
from consumer.core.state import NO_DAY
from histories import Happened, day, folded, user_days
from schemas.alert import ReasonCode
from schemas.event import EventType

FIND = dict(GROUPS)
VIEW, SEARCH, CART, BUY = EventType.VIEW_ITEM, EventType.SEARCH, EventType.ADD_TO_CART, EventType.PURCHASE
REVIEW, REFUND, TICKET = EventType.REVIEW, EventType.REFUND, EventType.SUPPORT_TICKET
MAIL = EventType.CAMPAIGN_RECEIVED


def past_of(history: Sequence[Happened], silence_days: float = 5.0) -> Past:
    states = folded(history)
    as_of_day = states.last_day(np.array([0])).astype(np.int64) + int(silence_days)
    return Past(states, as_of_day, np.array([silence_days]))


def found(code: ReasonCode, history: Sequence[Happened], silence_days: float = 5.0) -> Finding:
    return FIND[code](past_of(history, silence_days))


def without(code: ReasonCode, history: Sequence[Happened]) -> list[dict[str, float]]:
    """The user-days of a history, one group replaced."""
    past = past_of(history)
    finding = FIND[code](past)
    assert finding.affected.all()
    return user_days(replaced(past.states, np.array([0]), [finding]))


def fact(finding: Finding, name: str) -> float:
    return float(finding.facts[name][0])


def column(days: list[dict[str, float]], name: str) -> list[float]:
    return [each[name] for each in days]


def buys(*at: float, **given: float) -> list[Happened]:
    return [Happened(BUY, day(each), **given) for each in at]


def opinion(at: float, sentiment: float) -> Happened:
    return Happened(REVIEW, day(at), sentiment=sentiment)


@pytest.mark.parametrize("code", FIND)
def test_a_steady_customer_has_no_reason(code: ReasonCode) -> None:
    """Somebody who buys, looks and spends as ever is affected by no group: nothing is scored for them."""
    history = [each for at in range(0, 90, 9) for each in (Happened(VIEW, day(at)), *buys(at + 0.1, value=20.0))]
    assert not found(code, history).affected.any()


def test_bad_opinions_become_the_usual_ones() -> None:
    """A negative review is replaced by the mean of the customer's other opinions; the good ones stay."""
    history = [*buys(0), opinion(1, 0.8), opinion(2, 0.4), *buys(20), opinion(22, -0.9)]
    days = without(ReasonCode.SENTIMENT_FALLING, history)
    assert column(days, "sentiment") == pytest.approx([0.0, 0.8, 0.4, 0.0, 0.6])
    assert column(days, "negative_texts") == [0] * 5
    assert column(days, "reviews") == [0, 1, 1, 0, 1]


def test_a_bad_opinion_that_is_the_only_one_was_never_given() -> None:
    """Where nothing is known of how the customer judges otherwise, there is neither opinion nor review."""
    history = [*buys(0), opinion(2, -0.9)]
    days = without(ReasonCode.SENTIMENT_FALLING, history)
    assert [column(days, name) for name in ("sentiment", "negative_texts", "reviews", "events")] == [
        [0.0, 0.0],
        [0, 0],
        [0, 0],
        [1, 1],
    ]
    finding = found(ReasonCode.SENTIMENT_FALLING, history)
    assert np.isnan(fact(finding, "before"))
    assert (fact(finding, "count"), fact(finding, "now"), fact(finding, "ago_days")) == (1.0, -0.9, 5.0)


def test_lukewarm_opinions_of_an_enthusiast_count() -> None:
    """An opinion that is not negative, but far below the customer's usual ones, is replaced as well."""
    enthusiast = [opinion(at, 0.9) for at in range(4)]
    assert found(ReasonCode.SENTIMENT_FALLING, [*buys(0), *enthusiast, opinion(8, 0.1)]).affected.all()
    assert not found(ReasonCode.SENTIMENT_FALLING, [*buys(0), *enthusiast, opinion(8, 0.8)]).affected.any()


def test_refunds_and_tickets_never_happened() -> None:
    """Refunds, what was refunded and tickets are removed; the day stays, and counts so many events fewer."""
    history = [*buys(0, value=30.0), Happened(REFUND, day(4), value=30.0), Happened(TICKET, day(4.1)), *buys(4.2)]
    days = without(ReasonCode.REFUNDS_OR_TICKETS, history)
    assert [column(days, name) for name in ("refunds", "refunded", "tickets")] == [[0, 0]] * 3
    assert column(days, "events") == [1, 1]
    assert column(days, "spend") == [30.0, 0.0]


def test_a_day_of_nothing_but_a_ticket_stays_a_day() -> None:
    """What is replaced is the complaint, not that the customer was there."""
    days = without(ReasonCode.REFUNDS_OR_TICKETS, [*buys(0), Happened(TICKET, day(4))])
    assert column(days, "events") == [1, 1]


@pytest.mark.parametrize("code", [ReasonCode.SENTIMENT_FALLING, ReasonCode.REFUNDS_OR_TICKETS])
def test_old_grievances_are_history(code: ReasonCode) -> None:
    """A bad experience of more than three months ago is no reason any more."""
    history = [*buys(0), opinion(1, -0.9), Happened(TICKET, day(1.1))]
    assert found(code, history, silence_days=88.0).affected.all()
    assert not found(code, history, silence_days=91.0).affected.any()


def test_only_carts_after_the_last_purchase_are_abandoned() -> None:
    """What was put into the cart before a purchase went well; what came after it is removed."""
    history = [Happened(CART, day(0)), *buys(1), Happened(CART, day(3)), Happened(CART, day(5)), Happened(VIEW, day(5))]
    days = without(ReasonCode.CART_ABANDONED, history)
    assert column(days, "cart_adds") == [1, 0, 0, 0]
    assert column(days, "views") == [0, 0, 0, 1]
    assert fact(found(ReasonCode.CART_ABANDONED, history), "count") == 2


def test_a_cart_that_was_bought_is_no_reason() -> None:
    """Also if the purchase came days later."""
    assert not found(ReasonCode.CART_ABANDONED, [Happened(CART, day(0)), *buys(4)]).affected.any()


def test_browsing_is_scaled_up_to_what_it_was() -> None:
    """Views and dwell time of the last 30 days rise to the mean of earlier days; earlier days stay."""
    before = [Happened(VIEW, day(at + part / 10), dwell_s=60.0) for at in (0, 10) for part in range(8)]
    after = [Happened(VIEW, day(60 + part / 10), dwell_s=15.0) for part in range(2)]
    days = without(ReasonCode.BROWSING_FALLING, [*before, *after])
    assert column(days, "views") == [8, 8, 8]
    assert column(days, "dwell_s") == pytest.approx([480.0] * 3)
    assert column(days, "events") == [8, 8, 8]


def test_browsing_that_has_stopped_is_put_back() -> None:
    """Where nothing is left to scale, each recent day gets the earlier mean."""
    before = [Happened(SEARCH, day(at + part / 10)) for at in (0, 10) for part in range(4)]
    days = without(ReasonCode.BROWSING_FALLING, [*before, *buys(60)])
    assert column(days, "searches") == [4, 4, 4]


def test_spend_of_the_latest_purchases_is_raised() -> None:
    """The later half of the purchases, three at most, costs what earlier ones did; days without one stay."""
    history = [*buys(0, 9, 18, value=60.0), Happened(VIEW, day(20)), *buys(27, 36, 45, value=20.0)]
    days = without(ReasonCode.SPEND_FALLING, history)
    assert column(days, "spend") == pytest.approx([60.0, 60.0, 60.0, 0.0, 60.0, 60.0, 60.0])


def test_coupons_and_discounts_are_removed() -> None:
    """From all purchases, if a third of them had one; what was paid stays."""
    with_coupon = [Happened(BUY, day(at), value=30.0, discount=3.0, coupon=True) for at in (0, 9)]
    days = without(ReasonCode.DISCOUNT_DEPENDENCE, [*with_coupon, *buys(18, value=30.0)])
    assert column(days, "coupons") == column(days, "discount") == [0, 0, 0]
    assert column(days, "spend") == [30.0] * 3


def test_one_coupon_makes_no_dependence() -> None:
    """A customer who used a coupon once in four purchases does not depend on them."""
    one = Happened(BUY, day(0), value=30.0, discount=3.0, coupon=True)
    assert not found(ReasonCode.DISCOUNT_DEPENDENCE, [one, *buys(9, 18, 27)]).affected.any()


def test_long_gaps_are_shortened_to_the_earlier_ones() -> None:
    """The latest gaps become as short as the earlier ones, what was before moves along, and the last day stays."""
    history = buys(0, 5, 10, 15, 35, 55, 75)
    days = without(ReasonCode.FREQUENCY_FALLING, history)
    assert np.diff(column(days, "day")).tolist() == [5] * 6
    assert days[-1]["day"] == user_days(folded(history))[-1]["day"]


def test_an_open_gap_counts_as_one() -> None:
    """Who keeps looking, but has not bought for long, has a long gap although no purchase ends it."""
    history = [*buys(0, 5, 10, 15), *(Happened(VIEW, day(at)) for at in (30, 45, 60))]
    finding = found(ReasonCode.FREQUENCY_FALLING, history)
    assert (fact(finding, "before"), fact(finding, "now")) == (5.0, 25.0)
    days = without(ReasonCode.FREQUENCY_FALLING, history)
    assert np.diff(column(days, "day")).tolist() == [5, 5, 1, 3, 3, 3]


def test_days_that_are_not_kept_any_more_move_along() -> None:
    """Where days have left the 64, the gap to the last of them stays as it was."""
    history = [*buys(*range(70)), *buys(100, 130, 160)]
    past = past_of(history)
    other = replaced(past.states, np.array([0]), [FIND[ReasonCode.FREQUENCY_FALLING](past)])
    for states in (past.states, other):
        assert states.days["day"][0, 0] - states.header["evicted_day"][0] == 1
        assert states.header["evicted_purchase_day"][0] != NO_DAY
    assert other.header["evicted_day"][0] > past.states.header["evicted_day"][0]


def test_being_written_to_is_not_an_own_day() -> None:
    """What is recent counts back from the customer's last own day, whatever was sent to them since."""
    past = past_of([*buys(0), Happened(MAIL, day(50))])
    assert past.own[0, :2].tolist() == [True, False]
    assert past.recent[0, :2].tolist() == [True, False]
