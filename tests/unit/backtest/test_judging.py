"""When an alert is right, and which alerts are judged at all."""

import numpy as np
import pytest

from consumer.backtest.judging import first_alerts, lost_stretches
from consumer.core.calendar import DAY_MS
from pasts import history, raised, window


@pytest.mark.parametrize(("bought", "right"), [(39.99, False), (40.0, False), (40.01, True), (None, True)])
def test_an_alert_is_right_if_nothing_is_bought_within_the_horizon(bought: float | None, right: bool) -> None:
    """A purchase on the last instant of the horizon still makes it wrong."""
    past = history({0: [0] if bought is None else [0, bought]})
    assert raised(past, [(0, 10)]).are_right(past, window(0, 400)).tolist() == [right]


def test_only_the_first_alert_of_a_stretch_counts() -> None:
    """Alerts in any order; those before any purchase count for none."""
    stretch, at_ms = np.array([4, -1, 4, 2, 4]), np.array([30, 1, 10, 50, 20])
    assert first_alerts(stretch, at_ms).tolist() == [3, 2]


def test_stretches_are_followed_for_equally_long() -> None:
    """Three horizons after each purchase, where all of them can be judged; nothing begun earlier or later counts."""
    judged = window(100, 400)
    assert judged.follow_ms == 90 * DAY_MS
    past = history({0: [99], 1: [100], 2: [280], 3: [281]})
    assert raised(past, [(0, 110), (1, 110), (2, 370), (3, 290)]).within(past, judged).stretch.tolist() == [1, 2]
    assert len(raised(past, [(1, 190.1)]).within(past, judged)) == 0


def test_a_short_log_is_followed_for_less() -> None:
    """Half of what can be judged; nothing where nothing can."""
    assert window(100, 150).follow_ms == 10 * DAY_MS
    assert window(100, 120).follow_ms == 0
    past = history({0: [100, 110]})
    assert len(raised(past, [(0, 105), (0, 112)]).within(past, window(100, 120))) == 0


def test_a_customer_is_lost_after_a_horizon_without_a_purchase() -> None:
    """Exactly one horizon later is not lost; every such stretch counts."""
    past = history({0: [0, 30, 61], 1: [0, 40, 80]})
    assert lost_stretches(past, window(0, 400)).tolist() == [1, 2, 3, 4, 5]
