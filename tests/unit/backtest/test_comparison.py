"""Methods at the same number of alerts, on a past that can be worked out."""

import numpy as np
import pytest

from consumer.backtest.comparison import DAILY, OURS, RULE, Contest, Method
from consumer.backtest.judging import lost_stretches
from pasts import history, raised, window

PAST = history({user: [0, 50] if user % 2 else [0] for user in range(40)})  # the odd ones come back after 50 days
JUDGED = window(0, 400)
CONTEST = Contest(PAST, JUDGED)


def method(key: str, alerts: list[tuple[int, float]]) -> Method:
    return Method(key, key, raised(PAST, alerts))


def test_the_figures_are_those_of_the_past() -> None:
    """Precision, recall, recall in time, and how early."""
    ours = method(OURS, [(0, 10), (1, 10), (1, 90), (3, 25), (2, 40)])
    [standing] = CONTEST.standings([ours])
    figures = {name: each.value for name, each in standing.figures.items()}
    # user 1 comes back 40 days after the alert, and stays away after the one on day 90; user 3 comes back after 25
    assert figures["precision"] == pytest.approx(4 / 5)
    assert figures["recall"] == pytest.approx(5 / 60)
    assert figures["recall_in_time"] == pytest.approx(3 / 60)
    assert figures["silence_days"] == pytest.approx((10 + 10 + 40 + 25 + 40) / 5)
    assert (standing.median_silence_days, standing.median_lead_days) == (25, 5)
    assert standing.ours_earlier_days is None


def test_more_alerts_than_ours_are_cut_at_random() -> None:
    """To exactly as many; fewer stay as they are."""
    ours, rule = method(OURS, [(user, 10) for user in range(10)]), method(RULE, [(user, 20) for user in range(40)])
    daily = method(DAILY, [(user, 11) for user in range(4)])
    standings = CONTEST.standings([ours, rule, daily])
    assert [(len(each.alerts), each.counted, each.share) for each in standings] == [
        (10, 10, 1),
        (40, 10, 0.25),
        (4, 4, 1),
    ]
    assert standings[1].as_json().items() >= {"alerts_raised": 40, "alerts": 10}.items()


def test_ours_can_be_cut_as_well() -> None:
    """To a number that is given: then nobody counts with more."""
    ours, rule = method(OURS, [(user, 10) for user in range(10)]), method(RULE, [(user, 20) for user in range(40)])
    assert [each.counted for each in CONTEST.standings([ours, rule], 8)] == [8, 8]


def test_what_is_cut_counts_as_the_mean_of_all_cuts() -> None:
    """Its precision is that of all its alerts, and of the lost customers it finds its share."""
    ours = method(OURS, [(user, 10) for user in range(10)])
    rule = method(RULE, [(user, 25) for user in range(0, 40, 2)] + [(user, 25) for user in range(1, 20, 2)])
    _, theirs = CONTEST.standings([ours, rule])
    rng, right, lost = np.random.default_rng(7), np.arange(30) < 20, len(lost_stretches(PAST, JUDGED))
    cuts = [rng.choice(30, 10, replace=False) for _ in range(4_000)]
    assert theirs.figures["precision"].value == pytest.approx(np.mean([right[cut].mean() for cut in cuts]), abs=0.01)
    assert theirs.figures["recall"].value == theirs.figures["recall_in_time"].value == pytest.approx(10 / lost)


def test_the_differences_are_ours_less_theirs() -> None:
    """Positive where ours is more; earlier by the mean over what both alerted."""
    ours = method(OURS, [(user, 10) for user in range(0, 40, 2)])
    rule = method(RULE, [(user, 25) for user in range(20)])
    _, theirs = CONTEST.standings([ours, rule])
    assert theirs.ours_better_by["precision"].value == pytest.approx(1.0 - 0.5)
    assert theirs.ours_better_by["precision"].verdict == "more"
    assert theirs.ours_better_by["silence_days"].value == pytest.approx(-15.0)
    assert theirs.ours_earlier_days is not None
    assert theirs.ours_earlier_days.value == pytest.approx(15.0)


def test_nothing_in_common_is_told_as_such() -> None:
    """Where no stretch was alerted by both, nobody was earlier."""
    _, theirs = CONTEST.standings([method(OURS, [(0, 10)]), method(RULE, [(2, 10)])])
    assert theirs.as_json()["ours_earlier_days"] == {"value": None, "low": None, "high": None}


def test_the_same_alerts_stand_equal() -> None:
    """Every difference is 0, and so is its interval."""
    alerts = [(user, 10.0) for user in range(10)]
    _, theirs = CONTEST.standings([method(OURS, alerts), method(DAILY, alerts)])
    assert all(np.allclose([each.value, each.low, each.high], 0) for each in theirs.ours_better_by.values())
