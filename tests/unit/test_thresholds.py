"""Thresholds: as low as an alert budget allows."""

import numpy as np
import pytest

from consumer.core.risk import churn_probability
from consumer.core.state import BINS
from histories import DAY_0, Happened, day, folded, random_states
from model_export.thresholds import CRITICAL_SHARE, GRACE_DAYS, MOST_OF_SILENT, Budget, after_purchases, thresholds
from schemas.event import EventType

BUY, VIEW = EventType.PURCHASE, EventType.VIEW_ITEM
H = 30
GRID_STEP, LOWEST = 0.01, 0.02


def constant(per_day: float, customers: int = 3) -> np.ndarray:
    return np.full((customers, BINS), np.log(per_day), np.float32)


def random_hazards(seed: int, customers: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    falling = np.linspace(0.5, -2.5, BINS) * rng.random((customers, 1))
    return (rng.normal(-3.5, 0.8, (customers, 1)) + falling).astype(np.float32)


def alerts_of(log_hazards: np.ndarray, threshold: float, grace_days: float = GRACE_DAYS) -> float:
    """Mean chance of an alert after a purchase, by looking at every tenth of a day of silence."""
    silence = np.concatenate((np.arange(grace_days, 400, 0.1), np.arange(400, 3650, 10)))
    chances = []
    for row in log_hazards:
        curve = np.repeat(row[None], len(silence), axis=0)
        reached = churn_probability(curve, silence, H) >= threshold
        if reached.any():
            at = silence[np.argmax(reached)]
            chances.append(float(churn_probability(row[None], np.zeros(1), at)[0]))
    return sum(chances) / len(log_hazards)


def test_a_constant_hazard_by_hand() -> None:
    """The risk is exp(-30 h) at any silence: at lower thresholds everyone is alerted after a week, above it nobody."""
    risk = np.exp(-30 * 0.02)  # 0.549
    assert 2.0 * np.exp(-7 * 0.02) > 0.05
    found = thresholds(constant(0.02), purchases_share=2.0, horizon_days=H, budget=Budget(0.05))
    assert found.at_risk == 0.55 == np.ceil(risk * 100) / 100
    assert found.critical > found.at_risk


def test_customers_all_alike_leave_nothing_to_choose() -> None:
    """If the budget allows everyone and all have one risk, nobody is picked rather than all."""
    found = thresholds(constant(0.02), purchases_share=0.1, horizon_days=H, budget=Budget(0.5))
    assert (found.at_risk, found.critical) == (0.55, 0.56)


def test_the_worse_half_and_two_thirds_of_it() -> None:
    """Of customers of six hazards, half of those who are silent through the grace are at risk where the budget allows
    all, and two thirds of these critical."""
    per_day = np.array([0.05, 0.05, 0.05, 0.03, 0.02, 0.01])
    found = thresholds(np.concatenate([constant(each, 1) for each in per_day]), 1.0, H, budget=Budget(1.0))
    risk, silent = np.exp(-H * per_day), np.exp(-7 * per_day)
    assert silent[4:].sum() < silent.sum() * MOST_OF_SILENT < silent[3:].sum()
    assert silent[5] < silent.sum() * MOST_OF_SILENT * CRITICAL_SHARE < silent[4:].sum()
    assert risk[3] < found.at_risk <= risk[3] + GRID_STEP
    assert risk[4] < found.critical <= risk[4] + GRID_STEP


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("share", "grace_days"), [(0.1, 7.0), (0.3, 7.0), (2.0, 7.0), (2.0, 30.0)])
def test_the_budget_is_kept_and_used(seed: int, share: float, grace_days: float) -> None:
    """At the thresholds alerts are within the budget, or half of all who are silent where that is less, and within two
    thirds of it, and one step lower they would not be."""
    log_hazards, budget = random_hazards(seed), 0.15
    found = thresholds(log_hazards, share, H, Budget(budget, grace_days))
    most = min(budget, share * alerts_of(log_hazards, LOWEST, grace_days) * MOST_OF_SILENT)
    for threshold, allowed in ((found.at_risk, most), (found.critical, most * CRITICAL_SHARE)):
        assert share * alerts_of(log_hazards, threshold + 1e-4, grace_days) <= allowed * 1.01
        step = GRID_STEP if threshold <= 0.98 else 0.001
        one_above = threshold == found.critical and threshold - 1.5 * step < found.at_risk  # as low as it can be
        assert one_above or share * alerts_of(log_hazards, threshold - step, grace_days) > allowed * 0.99


@pytest.mark.parametrize("seed", range(4))
def test_a_smaller_budget_has_higher_thresholds(seed: int) -> None:
    """Thresholds never fall when fewer may be alerted or more buy; at risk is always below critical."""
    log_hazards = random_hazards(seed)
    by_budget = [thresholds(log_hazards, 1.0, H, Budget(budget)) for budget in (0.5, 0.2, 0.1, 0.05, 0.01, 0.001)]
    by_share = [thresholds(log_hazards, share, H, Budget(0.1)) for share in (0.1, 0.5, 1.0, 4.0)]
    for found in (by_budget, by_share):
        assert [each.at_risk for each in found] == sorted(each.at_risk for each in found)
        assert [each.critical for each in found] == sorted(each.critical for each in found)
        assert all(each.at_risk < each.critical for each in found)


@pytest.mark.parametrize("seed", range(4))
def test_more_patience_has_lower_thresholds(seed: int) -> None:
    """Whoever comes back in a longer grace uses up nothing of the budget: thresholds never rise with it."""
    log_hazards = random_hazards(seed)
    found = [thresholds(log_hazards, 1.0, H, Budget(grace_days=days)) for days in (0.0, 7.0, 14.0, 30.0, 60.0)]
    assert [each.at_risk for each in found] == sorted((each.at_risk for each in found), reverse=True)
    assert found[-1].at_risk < found[0].at_risk


@pytest.mark.parametrize("per_day", [1e-6, 0.02, 5.0])
@pytest.mark.parametrize("share", [0.0, 1.0, 1e3])
def test_extremes_have_thresholds_in_order(per_day: float, share: float) -> None:
    """Nobody ever comes back, or everyone every day: at risk stays below critical, and both below one."""
    found = thresholds(constant(per_day), share, H)
    assert 0 < found.at_risk < found.critical < 1


def test_states_are_cut_right_after_purchases() -> None:
    """One state per purchase day from the day given on, with nothing after it."""
    history = [
        Happened(BUY, day(0)),
        Happened(BUY, day(3)),
        Happened(VIEW, day(5)),
        Happened(BUY, day(9)),
        Happened(VIEW, day(10)),
    ]
    cut, count = after_purchases(folded(history), DAY_0 + 1, 100, np.random.default_rng(0))
    assert (count, cut.last_day(np.arange(2)).tolist()) == (2, [DAY_0 + 3, DAY_0 + 9])
    assert cut.header["days"].tolist() == [2, 4]


def test_a_sample_of_purchases_is_enough() -> None:
    """At most so many states, and how many purchases there were all the same."""
    states = random_states()
    whole, count = after_purchases(states, 0, 10**6, np.random.default_rng(0))
    cut, again = after_purchases(states, 0, 7, np.random.default_rng(0))
    assert (len(whole), len(cut), again) == (count, 7, count)
