"""Trends: decayed sums over a whole history, what has left the 64 days included."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consumer.core.calendar import DAY_MS
from consumer.core.features import TOKEN_NAMES, tokens
from consumer.core.fold import Fate, fold
from consumer.core.packing import pack, unpack
from consumer.core.state import MAX_DAYS, TRENDS, USER_DAY, States, empty_states
from consumer.core.trends import HALF_LIVES_DAYS, SERIES, TREND_NAMES, advanced, increments, through
from histories import DAY_0, Happened, columns, day, fold_rules, folded
from schemas.event import EventType

VIEW, BUY = EventType.VIEW_ITEM, EventType.PURCHASE
RULES = fold_rules(max_lateness_ms=30 * DAY_MS)
AT = [TOKEN_NAMES.index(f"log1p_{name}") for name in TREND_NAMES]
Ledger = dict[int, tuple[int, float]]  # day to purchases and spend


def trends_of(states: States) -> np.ndarray:
    """Trends after each kept day of user 0, as in the tokens: log1p, float32 (days, TRENDS)."""
    return tokens(states)[0, : int(states.header["days"][0]), AT].T


def random_history(seed: int, active_days: int, late_share: float) -> list[Happened]:
    """Views and purchases on `active_days` days or so, some of them told up to 30 days late."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(1, 1 + int(rng.choice([1, 3, 20])), active_days)) + rng.random(active_days) * 0.5
    told = np.argsort(at + np.where(rng.random(active_days) < late_share, rng.uniform(0, 30, active_days), 0.0))
    kinds = [BUY if each else VIEW for each in rng.random(active_days) < 0.4]
    return [Happened(kinds[each], day(float(at[each])), value=float(rng.integers(1, 200))) for each in told]


def remembered(history: list[Happened]) -> tuple[States, Ledger]:
    """The state that is left, and a ledger of every day that was folded, kept or not."""
    states = empty_states(1)
    fates = fold(states, columns(history), RULES)
    ledger: defaultdict[int, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for each, fate in zip(history, fates, strict=True):
        if fate == Fate.FOLDED:
            purchases, spend = ledger[each.at_ms // DAY_MS]
            bought = each.kind is BUY
            ledger[each.at_ms // DAY_MS] = (purchases + bought, spend + bought * each.value)
    return states, dict(sorted(ledger.items()))


def whole_days(ledger: Ledger) -> np.ndarray:
    days = np.zeros((1, len(ledger)), USER_DAY)
    days["day"][0] = list(ledger)
    days["purchases"][0], days["spend"][0] = np.array(list(ledger.values())).T
    return days


histories = given(
    seed=st.integers(0, 2**32), active_days=st.integers(1, 180), late_share=st.sampled_from([0.0, 0.1, 0.5])
)


def test_trends_are_named_after_series_and_half_life() -> None:
    """Every series has every half-life, series by series."""
    assert len(TREND_NAMES) == TRENDS == len(SERIES) * len(HALF_LIVES_DAYS)
    assert TREND_NAMES[:4] == ("purchase_days_14d", "purchase_days_60d", "purchase_days_240d", "active_days_14d")


@pytest.mark.parametrize("half_life", HALF_LIVES_DAYS)
def test_a_half_life_halves(half_life: int) -> None:
    """One purchase is worth a half after a half-life and a quarter after two."""
    states = folded(
        [Happened(BUY, day(0), value=9.0), Happened(VIEW, day(half_life)), Happened(VIEW, day(2 * half_life))]
    )
    found = np.expm1(trends_of(states)[:, TREND_NAMES.index(f"purchase_days_{half_life}d")])
    assert found == pytest.approx([1.0, 0.5, 0.25], rel=1e-6)


def test_what_a_day_adds() -> None:
    """A purchase day counts once however often was bought, an active day once, and spend by log(1 + x)."""
    days = np.zeros(2, USER_DAY)
    days["purchases"], days["spend"] = [3, 0], [np.expm1(2.0), 0.0]
    assert increments(days) == pytest.approx(np.array([[1] * 3 + [1] * 3 + [2] * 3, [0] * 3 + [1] * 3 + [0] * 3]))


@pytest.mark.parametrize(("gap", "left"), [(-5, 1.0), (0, 1.0), (8192, 0.0), (10**9, 0.0)])
def test_extreme_gaps(gap: int, left: float) -> None:
    """No gap decays nothing, and one beyond every memory leaves nothing; never NaN or infinity."""
    found = advanced(np.ones((1, TRENDS), np.float32), np.array([gap]), np.zeros((1, TRENDS), np.float32))
    assert found == pytest.approx(np.full((1, TRENDS), left), abs=1e-9)
    assert found.dtype == np.float32


def test_a_first_day_has_its_own_share_alone() -> None:
    """Nothing came before: the trends of a first purchase are what it adds."""
    found = trends_of(folded([Happened(BUY, day(0), value=np.expm1(1.0))]))
    assert found == pytest.approx(np.full((1, TRENDS), np.log(2.0)), abs=1e-4)  # to which amounts are kept


@histories
@hypothesis_settings(max_examples=60)
def test_trends_are_the_sums_over_all_days(seed: int, active_days: int, late_share: float) -> None:
    """After evictions and late events they equal a plain sum of halved shares over every day ever folded."""
    states, ledger = remembered(random_history(seed, active_days, late_share))
    age = np.array(list(ledger)) - max(ledger)
    shares = increments(whole_days(ledger)[0]).astype(np.float64)
    decay = np.exp2(age[:, None] / np.tile(HALF_LIVES_DAYS, len(SERIES)))
    assert np.expm1(trends_of(states)[-1].astype(np.float64)) == pytest.approx(
        (shares * decay).sum(axis=0), rel=2e-5, abs=1e-6
    )


@histories
@hypothesis_settings(max_examples=60)
def test_evictions_do_not_change_a_bit(seed: int, active_days: int, late_share: float) -> None:
    """The kept days' trends are those of the whole history in one go, to the bit, and so after being stored."""
    states, ledger = remembered(random_history(seed, active_days, late_share))
    days = whole_days(ledger)
    gap = np.diff(days["day"].astype(np.int64), axis=1, prepend=days["day"][:, :1])
    whole = through(np.zeros((1, TRENDS), np.float32), gap, days)[0, -MAX_DAYS:]
    expected = np.log1p(whole.astype(np.float64)).astype(np.float32)
    assert trends_of(states).tobytes() == expected.tobytes()
    assert trends_of(unpack(list(pack(states)))).tobytes() == expected.tobytes()


def test_erased_users_begin_anew() -> None:
    """After an erasure nothing of the old trends is left."""
    long = [Happened(BUY, day(number), value=5.0) for number in range(MAX_DAYS + 5)]
    again = [Happened(BUY, day(100), value=5.0)]
    assert trends_of(folded([*long, Happened(None, 0), *again])).tobytes() == trends_of(folded(again)).tobytes()


def test_days_are_counted_in_the_shops_zone() -> None:
    """Two purchases on one local day, on either side of midnight UTC, are one purchase day."""
    times = [DAY_0 * DAY_MS - 3_600_000, DAY_0 * DAY_MS + 3_600_000]
    states = folded([Happened(BUY, at, value=5.0) for at in times], fold_rules("America/New_York"))
    assert np.expm1(trends_of(states)[:, :3]) == pytest.approx(np.ones((1, 3)))
