"""Were the alerts right? Counted on small histories that can be worked out."""

import pytest

from consumer.core.calendar import DAY_MS
from consumer.outcomes import GROUPS, NOT_ALERTED, FollowUp, Outcome
from schemas.alert import Tier

H = 30


def days(number: float) -> int:
    return round(number * DAY_MS)


def follow_up(purchases: dict[str, list[float]], alerts: dict[str, list[tuple[float, Tier]]]) -> FollowUp:
    result = FollowUp(float(H))
    for user, times in purchases.items():
        for at in times:
            result.stayed(user, days(at))
    for user, raised in alerts.items():
        for at, tier in raised:
            result.alert(user, days(at), tier)
    return result


def counts(known: FollowUp, first: float, last: float) -> dict[str, tuple[int, int]]:
    """Customers and buyers by group, groups without customers left out."""
    outcomes = known.outcomes(days(first), days(last))
    return {name: (each.customers, each.stayed) for name, each in outcomes.items() if each.customers}


def test_every_group_is_named() -> None:
    """Groups without customers are there, with a share of 0."""
    outcomes = FollowUp(30.0).outcomes(0, days(365))
    assert list(outcomes) == list(GROUPS)
    assert {each.share for each in outcomes.values()} == {0.0}


def test_a_share_is_of_the_customers() -> None:
    """Two of eight are a quarter."""
    assert Outcome(8, 2).share == 0.25


def test_an_alerted_customer_who_stays_away() -> None:
    """Counted at the tier alerted, as one who did not buy."""
    assert counts(follow_up({"a": [0]}, {"a": [(5, Tier.AT_RISK)]}), 10, 40) == {"at_risk": (1, 0)}


def test_a_customer_who_was_not_alerted_and_buys() -> None:
    """Counted among the not alerted, as one who bought."""
    assert counts(follow_up({"a": [0, 20]}, {}), 10, 40) == {NOT_ALERTED: (1, 1)}


def test_the_highest_open_tier_counts() -> None:
    """Alerted at both tiers, in whatever order they are learnt, a customer is critical."""
    for raised in ([(5.0, Tier.AT_RISK), (8.0, Tier.CRITICAL)], [(8.0, Tier.CRITICAL), (5.0, Tier.AT_RISK)]):
        assert counts(follow_up({"a": [0]}, {"a": raised}), 10, 40) == {"critical": (1, 0)}


def test_an_alert_ends_with_the_next_purchase() -> None:
    """An alert before the last purchase says nothing any more."""
    assert counts(follow_up({"a": [0, 8]}, {"a": [(5, Tier.AT_RISK)]}), 10, 40) == {NOT_ALERTED: (1, 0)}


def test_a_later_alert_does_not_count_yet() -> None:
    """At a moment only the alerts raised until then are known."""
    assert counts(follow_up({"a": [0]}, {"a": [(10.1, Tier.AT_RISK)]}), 10, 40) == {NOT_ALERTED: (1, 0)}


@pytest.mark.parametrize(("bought", "counted"), [(10.0, 0), (10.01, 1), (40.0, 1), (40.01, 0)])
def test_a_purchase_counts_within_the_horizon(bought: float, counted: int) -> None:
    """After the moment, and up to the end of the horizon."""
    assert counts(follow_up({"a": [0, bought]}, {}), 10, 40) == {NOT_ALERTED: (1, counted)}


def test_whoever_has_not_bought_yet_is_no_customer() -> None:
    """A customer is counted from the first purchase on."""
    assert counts(follow_up({"a": [20]}, {}), 10, 40) == {}
    assert counts(follow_up({}, {"a": [(5, Tier.AT_RISK)]}), 10, 40) == {}


def test_moments_are_a_horizon_apart() -> None:
    """From the first moment on, as long as a whole horizon lies ahead."""
    known = follow_up({"a": [0, 15, 75]}, {})
    assert counts(known, 10, 40) == {NOT_ALERTED: (1, 1)}
    assert counts(known, 10, 99) == {NOT_ALERTED: (2, 1)}
    assert counts(known, 10, 100) == {NOT_ALERTED: (3, 2)}
    assert counts(known, 10, 39) == {}


def test_purchases_may_be_learnt_in_any_order() -> None:
    """The same purchases the other way round give the same outcomes."""
    assert counts(follow_up({"a": [75, 0, 15]}, {}), 10, 100) == {NOT_ALERTED: (3, 2)}
