"""The shop token, on logs whose answers can be counted by hand."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from consumer.core.calendar import DAY_MS
from consumer.core.state import MAX_DAYS, States, empty_states
from histories import DAY_0, Happened, day, folded, random_states
from model_export.folder import ShopLog
from model_export.shop import SHOP_SIZE, SHOP_TOKEN_NAMES, shop_token
from schemas.event import EventType
from shop_logs import FIRST_DAY, Row, shop_rows, write_rows

BUY, VIEW = EventType.PURCHASE, EventType.VIEW_ITEM


def told(states: States, until: int) -> dict[str, float]:
    """The token by name, as of so many days after the start."""
    token = shop_token(states, DAY_0 + until)
    assert token.shape == (SHOP_SIZE,)
    assert token.dtype == np.float32
    assert np.isfinite(token).all()
    return dict(zip(SHOP_TOKEN_NAMES, token.tolist(), strict=True))


def shop(purchase_days: Sequence[Sequence[int]], value: float = 0.0) -> States:
    """Customers by the days on which they bought."""
    happened = [
        Happened(BUY, day(at + 0.5), user, value=value) for user, days in enumerate(purchase_days) for at in days
    ]
    return folded(sorted(happened, key=lambda each: each.at_ms), users=len(purchase_days))


def chance(hits: int, known: int, all_hits: int, all_known: int) -> float:
    """The log cumulative hazard of a group, leaning towards all groups like five customers."""
    overall = (all_hits + 0.5) / (all_known + 1)
    return float(np.log(-np.log(1 - (hits + 5 * overall) / (known + 5))))


def test_names_are_distinct() -> None:
    """Every value has a name of its own."""
    assert len(set(SHOP_TOKEN_NAMES)) == len(SHOP_TOKEN_NAMES) == SHOP_SIZE


def test_gaps_are_pooled() -> None:
    """Quantiles are over the gaps of all customers: 10, 20, 30 and 40 days here."""
    found = told(shop([[0, 10, 30], [5, 35, 75]]), 100)
    for q in (10, 25, 50, 75, 90):
        assert found[f"log1p_gap_q{q}"] == pytest.approx(np.log1p(np.quantile([10, 20, 30, 40], q / 100)))


def test_gaps_over_days_that_have_left_count() -> None:
    """The oldest kept purchase still has its gap, to one that left the 64 days."""
    history = [Happened(BUY, day(3 * number)) for number in range(MAX_DAYS + 1)]
    assert told(folded(history), 3 * MAX_DAYS + 1)["log1p_gap_q10"] == pytest.approx(np.log1p(3))


def test_the_span_is_from_the_first_event_on() -> None:
    """Whole days from the first event of any user to the cut-off."""
    assert told(shop([[7], [20]]), 47)["log1p_span_days"] == pytest.approx(np.log1p(40))


def test_customers_are_grouped_by_their_silence() -> None:
    """As of 30 days ago: silences of 0, 29, 30, 179 and 365 days; whoever came later is not counted."""
    last_bought = [369 - silence for silence in (0, 29, 30, 179, 365)]
    found = told(shop([*([at] for at in last_bought), [380]]), 400)
    shares = [found[f"recency_share_{name}"] for name in ("0_30", "30_90", "90_180", "180_365", "365_on")]
    assert shares == pytest.approx([0.4, 0.2, 0.2, 0.0, 0.2])


def test_returns_are_counted_by_silence_before_the_window() -> None:
    """Of three who were silent for under 30 days one came back within the last 30, of two others none."""
    found = told(shop([[60, 75], [61], [62], [0], [1]]), 100)
    assert found["returned_30d_after_0_30"] == pytest.approx(chance(1, 3, 1, 5), rel=1e-5)
    assert found["returned_30d_after_30_90"] == pytest.approx(chance(0, 2, 1, 5), rel=1e-5)
    assert found["returned_30d_after_365_on"] == pytest.approx(chance(0, 0, 1, 5), rel=1e-5)


def test_repeats_are_counted_by_order() -> None:
    """Of first purchases with 30 days to follow two in three are repeated in time, of second ones the one."""
    found = told(shop([[0, 30, 40, 95], [0, 31], [0, 1, 99]]), 100)
    # first: 0 -> 30 yes, 0 -> 31 no, 0 -> 1 yes; second and third: 30 -> 40 yes, 40 -> 95 no, 31 no, 1 -> 99 no
    assert found["repeated_30d_after_1st"] == pytest.approx(chance(2, 3, 3, 7), rel=1e-5)
    assert found["repeated_30d_after_2nd_3rd"] == pytest.approx(chance(1, 4, 3, 7), rel=1e-5)
    assert found["repeated_30d_after_4th_on"] == pytest.approx(chance(0, 0, 3, 7), rel=1e-5)


def test_trend_and_newcomers() -> None:
    """Purchase days of the last 30 days against the 30 before, and how many customers are new."""
    found = told(shop([[0, 45, 80], [75], [90, 95]]), 100)
    assert found["purchases_trend_30d"] == pytest.approx(np.log((4 + 5) / (1 + 5)), rel=1e-6)
    assert found["new_share_30d"] == pytest.approx(2 / 3)
    assert found["new_share_90d"] == pytest.approx(2 / 3)
    assert found["first_days_share"] == pytest.approx(1 / 3)


def test_how_often_customers_have_bought() -> None:
    """Shares of those who bought on one day, and on five and more; browsers are no customers."""
    states = folded(
        [Happened(BUY, day(at), user) for user, days in enumerate([[0], [0, 1], [0, 1, 2, 3, 4]]) for at in days]
        + [Happened(VIEW, day(9), 3)],
        users=4,
    )
    found = told(states, 10)
    assert (found["once_share"], found["five_share"]) == pytest.approx((1 / 3, 1 / 3))
    assert found["mean_log1p_purchase_days"] == pytest.approx(np.mean(np.log1p([1, 2, 5])))
    assert found["active_without_purchase"] == pytest.approx(1 / 9)


def test_spend_is_per_purchase_day() -> None:
    """Mean and spread of log(1 + spend) over purchase days."""
    states = folded([Happened(BUY, day(0), value=np.expm1(1.0)), Happened(BUY, day(1), value=np.expm1(3.0))])
    found = told(states, 10)
    assert (found["mean_log1p_spend"], found["std_log1p_spend"]) == pytest.approx((2.0, 1.0), abs=1e-4)
    assert found["mean_log1p_events"] == pytest.approx(np.log(2))


POOR: dict[str, Callable[[], States]] = {
    "nobody": lambda: empty_states(0),
    "one customer": lambda: shop([[0]]),
    "one day": lambda: shop([[0]] * 20),
    "no purchases": lambda: folded([Happened(VIEW, day(number), number) for number in range(5)], users=5),
    "one busy customer": lambda: shop([range(300)]),
}


@pytest.mark.parametrize("states", POOR.values(), ids=POOR)
@pytest.mark.parametrize("until", [1, 30, 400, 4000])
def test_it_is_defined_for_any_log(states: Callable[[], States], until: int) -> None:
    """However little there is, every value is a finite number, and no warning is raised."""
    made = states()
    if len(made) == 0 or int(made.last_day(np.arange(len(made))).max()) < DAY_0 + until:
        assert len(told(made, until)) == SHOP_SIZE


def test_the_order_of_customers_does_not_matter() -> None:
    """Shuffled, they make the same shop, but for the last bits of means."""
    states = random_states()
    shuffled = states.take(np.random.default_rng(0).permutation(len(states)))
    assert shop_token(shuffled, 200) == pytest.approx(shop_token(states, 200), rel=1e-6)


def shop_before(rows: Sequence[Row], until: date, folder: Path) -> bytes:
    past = ShopLog(write_rows(folder / "log.csv", rows), "log").past(until)
    return shop_token(past.log.states, past.until_day).tobytes()


def test_what_comes_after_the_cut_off_does_not_matter(tmp_path: Path) -> None:
    """Later events, other ones or none: the token is the same to the bit, and not if one of the day before goes."""
    rows = shop_rows(80, 200)
    until = FIRST_DAY + timedelta(days=120)
    before = [row for row in rows if row[2] < str(until)]
    token = shop_before(rows, until, tmp_path)
    assert shop_before(before, until, tmp_path) == token
    assert shop_before([*rows, ("new", "purchase", str(until), 9.0)], until, tmp_path) == token
    eve = str(until - timedelta(days=1))
    assert shop_before([*before, ("new", "purchase", eve, 9.0)], until, tmp_path) != token


def test_times_within_a_day_do_not_matter() -> None:
    """Only days count, as in logs that have dates alone."""
    morning = shop([[0, 10], [5]])
    evening = morning.take(np.arange(2))
    evening.header["first_ms"] += DAY_MS // 3
    assert shop_token(evening, DAY_0 + 30).tobytes() == shop_token(morning, DAY_0 + 30).tobytes()
