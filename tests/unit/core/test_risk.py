"""From hazards to risk and to the moment at which silence becomes telling, in cases that can be worked out."""

import numpy as np
import pytest

from consumer.core.risk import (
    NEVER,
    breakpoints_days,
    churn_probability,
    crossing_days,
    expected_events,
    exposure_days,
)
from consumer.core.state import BIN_EDGES_DAYS, BINS

H = 30.0


def constant(hazard: float) -> np.ndarray:
    return np.full((1, BINS), np.log(hazard), np.float32)


def falling(at_days: float, before: float, after: float) -> np.ndarray:
    return np.log(np.where(at_days >= BIN_EDGES_DAYS, before, after))[None].astype(np.float32)


def crossing(hazards: np.ndarray, threshold: float, start_days: float = 0.0, horizon_days: float = H) -> float:
    return float(crossing_days(hazards, np.array([start_days]), horizon_days, threshold)[0])


def risk(hazards: np.ndarray, silence_days: float, horizon_days: float = H) -> float:
    return float(churn_probability(hazards, np.array([silence_days]), horizon_days)[0])


def test_time_is_spent_bin_by_bin() -> None:
    """Six days of silence are a day in each of the first three bins, two in the fourth and one in the fifth."""
    assert exposure_days(np.array([6.0]))[0].tolist() == [1, 1, 1, 2, 1] + [0] * (BINS - 5)


def test_the_last_bin_has_no_end() -> None:
    """All the time beyond the last edge but one is spent in the last bin."""
    assert exposure_days(np.array([1_000.0]))[0, -1] == 1_000 - BIN_EDGES_DAYS[-2]
    assert exposure_days(np.array([1_000.0])).sum() == 1_000


def test_a_constant_hazard_gives_a_constant_risk() -> None:
    """Without ageing silence tells nothing: exp(-H h) whenever it is asked."""
    for silence_days in (0.0, 3.3, 500.0):
        assert risk(constant(0.02), silence_days) == pytest.approx(np.exp(-0.6), rel=1e-6)


def test_a_falling_hazard_raises_the_risk() -> None:
    """Hazard 0.2 for a week and 0.01 after: exp(-1.63) at once, exp(-0.3) after the week."""
    hazards = falling(7, 0.2, 0.01)
    assert risk(hazards, 0.0) == pytest.approx(np.exp(-1.63), rel=1e-6)
    assert risk(hazards, 7.0) == pytest.approx(np.exp(-0.3), rel=1e-6)


def test_the_crossing_is_solved_exactly() -> None:
    """Where the log-risk is -(1.63 - 0.19 s), a threshold of 0.5 is reached at (1.63 + log 0.5) / 0.19."""
    assert crossing(falling(7, 0.2, 0.01), 0.5) == pytest.approx((1.63 + np.log(0.5)) / 0.19, rel=1e-6)


def test_a_threshold_above_the_curve_is_never_reached() -> None:
    """The risk stays below exp(-0.3) = 0.74 for ever, so 0.75 is never reached and 0.74 is."""
    assert crossing(falling(7, 0.2, 0.01), 0.75) == NEVER
    assert crossing(falling(7, 0.2, 0.01), 0.74) < 7.0


def test_a_risk_that_is_high_already_crosses_at_the_start() -> None:
    """If the threshold is reached when asked, the answer is the start itself, to the bit."""
    for start_days in (0.0, 1 / 3, 8.0, 1_000.0):
        assert crossing(falling(7, 0.2, 0.001), 0.1, start_days) == start_days


def test_reaching_the_threshold_exactly_counts() -> None:
    """A curve that rises to the threshold and no further reaches it: here exp(-1), at a hazard of 1 for a day."""
    threshold = float(np.exp(-1.0))
    assert crossing(constant(1.0), threshold, 5.0, 1.0) == 5.0
    assert crossing(falling(7, 3.0, 1.0), threshold, 0.0, 1.0) == 7.0
    assert crossing(falling(7, 3.0, 1.0), np.nextafter(threshold, 1.0), 0.0, 1.0) == NEVER


def test_only_what_comes_after_the_start_counts() -> None:
    """A high risk before the start does not matter: asked once it is over, the answer is never."""
    hazards = falling(7, 0.001, 0.3)  # nothing bought for a week, then soon
    assert crossing(hazards, 0.9, 0.0, 5.0) == 0.0
    assert crossing(hazards, 0.9, 7.0, 5.0) == NEVER


def test_a_risk_that_falls_first_is_followed_to_its_second_rise() -> None:
    """With a burst of buying ahead the risk falls, then rises once the burst is over: the later crossing is found."""
    hazards = np.log(np.where((BIN_EDGES_DAYS > 7) & (BIN_EDGES_DAYS <= 14), 0.5, 0.01))[None].astype(np.float32)
    assert risk(hazards, 0.0, 5.0) > 0.9
    assert risk(hazards, 7.0, 5.0) < 0.1
    found = crossing(hazards, 0.9, 4.0, 5.0)
    assert 9.0 < found <= 14.0
    assert risk(hazards, found, 5.0) == pytest.approx(0.9)


def test_a_horizon_longer_than_all_bins_works() -> None:
    """With a horizon beyond the last edge every window ends in the last bin."""
    assert crossing(falling(7, 0.2, 0.0001), 0.5, 0.0, 1_000.0) == pytest.approx(
        (7 * 0.2 + 993 * 0.0001 + np.log(0.5)) / (0.2 - 0.0001), rel=1e-5
    )


def test_no_horizon_means_certainty() -> None:
    """Within no time nobody buys."""
    assert risk(constant(0.5), 3.0, 0.0) == 1.0


def test_breakpoints_are_edges_and_edges_less_the_horizon() -> None:
    """The log-risk bends where either end of the window passes an edge, from 0 on."""
    points = breakpoints_days(H)
    assert points[0] == 0.0
    assert set(points) == {0.0, *BIN_EDGES_DAYS[:-1], *(edge - H for edge in BIN_EDGES_DAYS[:-1] if edge >= H)}


def test_a_users_crossing_does_not_depend_on_the_batch() -> None:
    """Alone or among others, a row's crossing has the same bits."""
    generator = np.random.default_rng(5)
    hazards = generator.normal(-4.0, 1.5, (400, BINS)).astype(np.float32)
    start_days = generator.uniform(0, 60, 400)
    together = crossing_days(hazards, start_days, H, 0.7)
    for size in (1, 3, 7):
        alone = [
            crossing_days(hazards[at : at + size], start_days[at : at + size], H, 0.7) for at in range(0, 400, size)
        ]
        assert np.concatenate(alone).tobytes() == together.tobytes()


# Expected number of target days.


def expected(hazards: np.ndarray, silence_days: float, horizon_days: float = H) -> float:
    return float(expected_events(hazards, np.array([silence_days]), horizon_days)[0])


def simulated(hazards: np.ndarray, silence_days: float, days: int, runs: int) -> np.ndarray:
    """Target days within `days` in each of many lives, day by day: (runs,)."""
    generator = np.random.default_rng(7)
    silence, count = np.full(runs, silence_days), np.zeros(runs)
    curves = np.repeat(hazards, runs, axis=0)
    for _ in range(days):
        bought = generator.random(runs) > churn_probability(curves, silence, 1.0)
        count += bought
        silence = np.where(bought, 0.0, silence + 1.0)
    return count


@pytest.mark.parametrize("horizon_days", [0.0, 0.25, 1.0, 30.0, 45.5, 400.0])
@pytest.mark.parametrize("silence_days", [0.0, 3.7, 500.0])
def test_a_constant_hazard_gives_as_many_on_every_day(silence_days: float, horizon_days: float) -> None:
    """Without memory every day has the chance 1 - exp(-h), and a part of one 1 - exp(-h f)."""
    whole, rest = divmod(horizon_days, 1.0)
    closed = whole * -np.expm1(-0.2) - np.expm1(-0.2 * rest)
    assert expected(constant(0.2), silence_days, horizon_days) == pytest.approx(closed, rel=1e-6)


@pytest.mark.parametrize(
    ("hazards", "silence_days"),
    [
        (falling(7, 0.2, 0.01), 0.0),
        (falling(7, 0.2, 0.01), 2.5),
        (falling(7, 0.2, 0.01), 100.0),
        (falling(7, 0.01, 0.5), 0.0),
        (np.random.default_rng(3).normal(-3.0, 1.5, (1, BINS)).astype(np.float32), 12.25),
    ],
    ids=["falling", "falling, silent", "falling, lost", "weekly", "any"],
)
def test_the_expected_number_is_the_mean_of_many_lives(hazards: np.ndarray, silence_days: float) -> None:
    """Forty days of 40,000 simulated customers agree within four standard errors."""
    lives = simulated(hazards, silence_days, 40, 40_000)
    error = lives.std() / np.sqrt(len(lives))
    assert expected(hazards, silence_days, 40.0) == pytest.approx(lives.mean(), abs=4 * error)


def test_a_certain_purchase_each_day_is_one_a_day() -> None:
    """With a hazard beyond all bounds there is a purchase on every day."""
    assert expected(constant(100.0), 0.0) == pytest.approx(30.0)


def test_nobody_who_never_buys_is_expected() -> None:
    """Without hazard the number is zero, and it is never below the chance of one purchase."""
    assert expected(constant(1e-12), 5.0) == pytest.approx(0.0, abs=1e-9)
    assert expected(falling(7, 0.2, 0.01), 3.0) >= 1.0 - risk(falling(7, 0.2, 0.01), 3.0)


def test_an_expected_number_does_not_depend_on_the_batch() -> None:
    """Alone or among others, a row's number has the same bits."""
    generator = np.random.default_rng(5)
    hazards = generator.normal(-4.0, 1.5, (100, BINS)).astype(np.float32)
    silence_days = generator.uniform(0, 60, 100)
    together = expected_events(hazards, silence_days, H)
    alone = [expected_events(hazards[at : at + 3], silence_days[at : at + 3], H) for at in range(0, 100, 3)]
    assert np.concatenate(alone).tobytes() == together.tobytes()
