"""Risk and crossings over random hazards, against plain numeric integration and search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.risk import NEVER, churn_probability, crossing_days, exposure_days
from consumer.core.state import BIN_EDGES_DAYS, BINS
from support import bin_of

HORIZONS = st.sampled_from([0.5, 7.0, 14.0, 30.0, 45.5, 90.0, 400.0])
THRESHOLDS = st.floats(0.02, 0.98)
EDGES = st.sampled_from([0.0, *BIN_EDGES_DAYS.tolist()])
STARTS = st.floats(0.0, 300.0) | EDGES | st.tuples(EDGES, HORIZONS).map(lambda pair: max(pair[0] - pair[1], 0.0))
HAZARDS = (
    st.lists(st.floats(-12.0, 1.5, width=32), min_size=BINS, max_size=BINS)
    | st.lists(st.sampled_from([-9.0, -4.0, -2.0]), min_size=BINS, max_size=BINS)  # steps up and down: not monotone
    | st.floats(-8.0, 0.0, width=32).map(lambda each: [each] * BINS)
).map(lambda each: np.array([each], np.float32))

STEP_DAYS = 1 / 64  # a power of two: the grid meets every bin edge
SEARCHED_DAYS = 640.0  # beyond the last bend of every curve


def cumulative(hazards: np.ndarray, until_days: np.ndarray) -> np.ndarray:
    """L(u): the hazard of each day added up along the bins, plainly."""
    hazard = np.exp(hazards[0].astype(np.float64))
    edges = np.concatenate(([0.0], BIN_EDGES_DAYS[:-1], [1e6]))
    at_edges = np.concatenate(([0.0], np.cumsum(hazard * np.diff(edges))))
    return np.interp(until_days, edges, at_edges)


def risk(hazards: np.ndarray, silence_days: np.ndarray, horizon_days: float) -> np.ndarray:
    return np.exp(-(cumulative(hazards, silence_days + horizon_days) - cumulative(hazards, silence_days)))


@given(HAZARDS, STARTS, HORIZONS)
@settings(max_examples=150)
def test_churn_is_the_integral_of_the_hazard(hazards: np.ndarray, silence_days: float, horizon_days: float) -> None:
    """exp(-integral) with the hazard looked up at 20,000 midpoints of the window."""
    width = horizon_days / 20_000
    midpoints = silence_days + width * (np.arange(20_000) + 0.5)
    integral = np.exp(hazards[0].astype(np.float64))[bin_of(midpoints)].sum() * width
    [found] = churn_probability(hazards, np.array([silence_days]), horizon_days)
    assert -np.log(max(found, 1e-300)) == pytest.approx(min(integral, 690.7), rel=1e-3, abs=1e-2)


@given(HAZARDS, STARTS, HORIZONS, THRESHOLDS)
@settings(max_examples=400)
def test_the_crossing_is_the_first(
    hazards: np.ndarray, start_days: float, horizon_days: float, threshold: float
) -> None:
    """The threshold is reached at the crossing, and at no point of a fine grid before it."""
    [found] = crossing_days(hazards, np.array([start_days]), horizon_days, threshold)
    grid = start_days + np.arange(0.0, SEARCHED_DAYS, STEP_DAYS)
    before = grid[grid < found]
    assert (risk(hazards, before, horizon_days) < threshold + 1e-9).all()
    if found < NEVER:
        assert found >= start_days
        [reached] = churn_probability(hazards, np.array([found]), horizon_days)
        assert reached == pytest.approx(threshold, abs=1e-9) or (found == start_days and reached >= threshold)


@given(HAZARDS, STARTS, HORIZONS, THRESHOLDS)
@settings(max_examples=200)
def test_a_bisection_finds_the_same_crossing(
    hazards: np.ndarray, start_days: float, horizon_days: float, threshold: float
) -> None:
    """With hazards that only fall the risk only rises: halving the time until it reaches the threshold agrees."""
    falling = -np.sort(-hazards, axis=1)

    def reaches(at_days: float) -> bool:
        return bool(risk(falling, np.array([at_days]), horizon_days)[0] >= threshold)

    [found] = crossing_days(falling, np.array([start_days]), horizon_days, threshold)
    low, high = start_days, start_days + SEARCHED_DAYS
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    if found == NEVER or not reaches(high):  # within rounding of the highest risk either may be
        assert risk(falling, np.array([high]), horizon_days)[0] < threshold + 1e-9
    else:
        at_either = risk(falling, np.array([found, high]), horizon_days)
        assert found == pytest.approx(high, abs=1e-6) or at_either[0] == pytest.approx(at_either[1], abs=1e-9)


@given(HAZARDS, STARTS, HORIZONS)
def test_a_risk_reached_at_the_start_crosses_there(hazards: np.ndarray, start_days: float, horizon_days: float) -> None:
    """If the threshold is the very risk at the start, or less, the crossing is the start, to the bit."""
    start = np.array([start_days])
    [at_start] = churn_probability(hazards, start, horizon_days)
    for threshold in (at_start * 0.999, at_start):
        if 0.0 < threshold < 1.0:
            [found] = crossing_days(hazards, start, horizon_days, threshold * (1 - 1e-12))
            assert found == start_days


@given(HAZARDS, HORIZONS)
def test_above_the_highest_risk_nothing_is_reached(hazards: np.ndarray, horizon_days: float) -> None:
    """A threshold above the curve's peak is never reached, one at the peak is."""
    bends = np.unique(np.concatenate(([0.0], BIN_EDGES_DAYS, BIN_EDGES_DAYS - horizon_days)))
    peak = float(risk(hazards, bends[bends >= 0], horizon_days).max())
    start = np.array([0.0])
    if 1e-6 < peak < 1 - 1e-6:
        assert crossing_days(hazards, start, horizon_days, peak * (1 + 1e-9))[0] == NEVER
        assert crossing_days(hazards, start, horizon_days, peak * (1 - 1e-9))[0] < NEVER


@given(HAZARDS, STARTS, HORIZONS, st.floats(0.05, 0.5), st.floats(0.0, 0.45))
def test_a_higher_tier_is_reached_no_earlier(
    hazards: np.ndarray, start_days: float, horizon_days: float, low: float, more: float
) -> None:
    """Thresholds in order are crossed in order."""
    start = np.array([start_days])
    assert (
        crossing_days(hazards, start, horizon_days, low)[0]
        <= crossing_days(hazards, start, horizon_days, low + more)[0]
    )


@given(HAZARDS, STARTS, HORIZONS, THRESHOLDS, st.floats(0.0, 100.0))
def test_waiting_does_not_change_what_is_ahead(
    hazards: np.ndarray, start_days: float, horizon_days: float, threshold: float, waited_days: float
) -> None:
    """Asked later but before the crossing, the answer is the same; it is never earlier than the asking."""
    [found] = crossing_days(hazards, np.array([start_days]), horizon_days, threshold)
    asked_days = start_days + waited_days
    [later] = crossing_days(hazards, np.array([asked_days]), horizon_days, threshold)
    assert later >= asked_days
    if asked_days <= found < NEVER:
        assert later == pytest.approx(found, rel=1e-9, abs=1e-6) or risk(
            hazards, np.array([found]), horizon_days
        ) == pytest.approx(threshold, abs=1e-9)


@given(st.lists(st.floats(0.0, 2_000.0), min_size=1, max_size=20))
def test_exposure_adds_up_to_the_time(until_days: list[float]) -> None:
    """The time spent in all bins is the time that passed, and none is negative."""
    exposure = exposure_days(np.array(until_days))
    assert (exposure >= 0).all()
    assert exposure.sum(axis=1) == pytest.approx(until_days)


@given(st.lists(st.tuples(HAZARDS, STARTS), min_size=1, max_size=12), HORIZONS, THRESHOLDS)
def test_rows_do_not_know_of_each_other(
    rows: list[tuple[np.ndarray, float]], horizon_days: float, threshold: float
) -> None:
    """Solved together or one by one, crossings and risks have the same bits."""
    hazards = np.concatenate([each for each, _ in rows])
    start_days = np.array([each for _, each in rows])
    together = crossing_days(hazards, start_days, horizon_days, threshold)
    risks = churn_probability(hazards, start_days, horizon_days)
    for row in range(len(rows)):
        one = hazards[row : row + 1], start_days[row : row + 1]
        assert crossing_days(*one, horizon_days, threshold)[0] == together[row]
        assert churn_probability(*one, horizon_days)[0] == risks[row]
