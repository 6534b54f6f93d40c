"""Live figures against ones that can be worked out, and against scikit-learn and scipy."""

from math import isnan

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from consumer.core.quality import WINDOW, Quality, Resolved, difference_interval


def sampled(probability: float, is_lost: bool, was_alerted: bool = False) -> Resolved:
    return Resolved(probability, is_lost, was_alerted)


def alerted(is_lost: bool, tier: str = "at_risk", control: bool = False, silence_days: float = 20.0) -> Resolved:
    return Resolved(0.8, is_lost, True, tier, control, silence_days)


def quality(*resolved: Resolved) -> Quality:
    found = Quality()
    for each in resolved:
        found.add(each)
    return found


def test_nothing_is_known_without_outcomes() -> None:
    """Figures that cannot be computed are NaN or missing, and no error."""
    empty = Quality()
    assert all(map(isnan, (empty.auroc(), empty.brier(), empty.recall(), empty.accuracy(), empty.silence_days())))
    assert (empty.precision(), empty.calibration(), empty.uplift()) == ({}, [], None)
    assert isnan(quality(sampled(0.5, True)).auroc())
    assert quality(alerted(True)).uplift() is None


def test_scores_are_judged_as_scikit_learn_does() -> None:
    """AUROC with ties, and Brier."""
    rng = np.random.default_rng(3)
    probability = rng.random(500).round(2)
    lost = rng.random(500) < probability
    found = quality(*map(sampled, probability.tolist(), lost.tolist()))
    assert found.auroc() == pytest.approx(roc_auc_score(lost, probability))
    assert found.brier() == pytest.approx(brier_score_loss(lost, probability))


def test_alerts_are_judged_by_tier_and_by_who_was_missed() -> None:
    """Precision is of alerts; recall and accuracy are of sampled customers, alerted or not."""
    found = quality(
        alerted(True), alerted(True), alerted(False), alerted(False, "critical"),
        sampled(0.9, True, True), sampled(0.4, True), sampled(0.2, False), sampled(0.7, False, True),
    )  # fmt: skip
    assert found.precision() == {"at_risk": pytest.approx(2 / 3), "critical": 0.0}
    assert (found.recall(), found.accuracy()) == (0.5, 0.5)
    assert found.silence_days() == 20.0


def test_calibration_compares_each_band() -> None:
    """Mean prediction and share lost, of the bands that there are; 1 belongs to the last."""
    found = quality(sampled(0.12, False), sampled(0.18, True), sampled(1.0, True))
    assert found.calibration() == [(1, pytest.approx(0.15), 0.5, 2), (9, 1.0, 1.0, 1)]


def test_the_control_group_tells_what_treatment_was_worth() -> None:
    """Retained shares, their difference, and an interval that holds it."""
    treated = [alerted(number < 40) for number in range(100)]
    control = [alerted(number < 30, control=True) for number in range(50)]
    uplift = quality(*treated, *control).uplift()
    assert uplift is not None
    assert (uplift.treated, uplift.control, uplift.difference) == (0.6, 0.4, pytest.approx(0.2))
    assert 0.0 < uplift.low < 0.2 < uplift.high < 0.4


def test_the_interval_is_newcombes() -> None:
    """His example: 56 of 70 and 48 of 80 give .0524 to .3339."""
    low, high = difference_interval([True] * 56 + [False] * 14, [True] * 48 + [False] * 32)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_memory_is_bounded() -> None:
    """The oldest outcomes go."""
    found = quality(*(sampled(0.5, number == 0) for number in range(WINDOW + 1)))
    assert len(found.samples) == WINDOW
    assert isnan(found.recall())
