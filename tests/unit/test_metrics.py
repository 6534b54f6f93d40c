"""Metrics against their definitions, and their bootstrap against resampling by hand."""

import numpy as np
import pytest

from consumer.core.quality import auroc
from model_export.metrics import ECE_BINS, METRICS, Ranked, Sample, measure, reliability


@pytest.fixture
def foretold() -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and calibrated probabilities with many ties."""
    rng = np.random.default_rng(0)
    probability = np.round(rng.beta(2, 1, 400), 2)
    return rng.random(400) < probability, probability


def figures(outcome: np.ndarray, probability: np.ndarray, budget: float = 0.1) -> dict[str, float]:
    found = Ranked(outcome, probability, budget).figures(np.ones((1, len(outcome))))
    return {name: float(value[0]) for name, value in found.items()}


def test_auroc_counts_pairs(foretold: tuple[np.ndarray, np.ndarray]) -> None:
    """It is the share of pairs in the right order, ties counting half; both implementations agree."""
    outcome, probability = foretold
    pairs = probability[outcome][:, None] - probability[~outcome]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert figures(outcome, probability)["auroc"] == pytest.approx(expected)
    assert auroc(outcome, probability) == pytest.approx(expected)


def test_pr_auc_is_the_average_precision(foretold: tuple[np.ndarray, np.ndarray]) -> None:
    """Precision at each threshold, weighted by the recall that it adds; a tie is one threshold."""
    outcome, probability = foretold
    expected, recall_before = 0.0, 0.0
    for threshold in np.unique(probability)[::-1]:
        alerted = probability >= threshold
        recall = (alerted & outcome).sum() / outcome.sum()
        expected += (recall - recall_before) * outcome[alerted].mean()
        recall_before = recall
    assert figures(outcome, probability)["pr_auc"] == pytest.approx(expected)


def test_errors_follow_their_definitions(foretold: tuple[np.ndarray, np.ndarray]) -> None:
    """Brier is the mean square, log-loss the mean surprise, accuracy the share right at one half."""
    outcome, probability = foretold
    found = figures(outcome, probability)
    likelihood = np.clip(np.where(outcome, probability, 1 - probability), 1e-7, 1)
    assert found["brier"] == pytest.approx(np.mean((probability - outcome) ** 2))
    assert found["log_loss"] == pytest.approx(-np.mean(np.log(likelihood)))
    assert found["accuracy"] == pytest.approx(np.mean((probability >= 0.5) == outcome))


def test_ece_bins_hold_equally_many_rows() -> None:
    """Without ties there are 15 bins of the same size, and ECE is the mean distance over them."""
    rng = np.random.default_rng(1)
    probability, outcome = rng.random(1500), rng.random(1500) < 0.3
    mean_probability, share, rows = reliability(outcome, probability)
    assert rows.tolist() == [100] * ECE_BINS
    assert figures(outcome, probability)["ece"] == pytest.approx(np.abs(mean_probability - share).mean())


def test_equal_probabilities_share_a_bin() -> None:
    """One probability for everyone is one bin: calibration is that of the mean."""
    outcome = np.arange(100) < 30
    assert figures(outcome, np.full(100, 0.4))["ece"] == pytest.approx(0.1)


def test_the_budget_takes_the_riskiest_and_shares_a_tie() -> None:
    """Of a tie at the edge of the budget the expected part counts."""
    outcome = np.array([1, 0, 1, 1, 0, 0, 0, 0, 0, 0], np.bool_)
    probability = np.array([0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.1, 0.1, 0.1, 0.1])
    found = figures(outcome, probability, budget=0.4)
    assert found["precision_at_budget"] == pytest.approx((1 + 2 * 2 / 4) / 4)
    assert found["recall_at_budget"] == pytest.approx(2 / 3)
    assert found["lift_at_10pct"] == pytest.approx(1 / 0.3)


def test_weights_are_repetitions() -> None:
    """A row of weight 3 counts as three rows, and one of weight 0 as none (bins of ECE stay as they were)."""
    rng = np.random.default_rng(2)
    outcome, probability = rng.random(60) < 0.6, np.round(rng.random(60), 1)
    weights = rng.integers(0, 4, 60)
    weighted = Ranked(outcome, probability, 0.25).figures(weights[None])
    repeated = figures(np.repeat(outcome, weights), np.repeat(probability, weights), 0.25)
    for name in set(METRICS) - {"ece"}:
        assert weighted[name][0] == pytest.approx(repeated[name]), name


def test_a_user_is_drawn_with_all_rows() -> None:
    """Rows of one user have the same weight in every draw, and each draw has as many users as there are."""
    user = np.repeat(np.arange(20), 3)
    weights = np.concatenate(list(Sample(user % 2 == 0, user, resamples=10).weights()))
    assert weights.shape == (10, 60)
    assert (weights.reshape(10, 20, 3).std(axis=2) == 0).all()
    assert (weights[:, ::3].sum(axis=1) == 20).all()


def test_intervals_cover_the_truth() -> None:
    """The interval of a mean squared error is about ±1.96 standard errors."""
    rng = np.random.default_rng(3)
    outcome, probability = rng.random(3000) < 0.5, rng.random(3000)
    found = measure(Sample(outcome, np.arange(3000), resamples=500), probability).figure("brier")
    standard_error = np.std((probability - outcome) ** 2) / np.sqrt(3000)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * standard_error, rel=0.15)
    assert found.low < found.value < found.high


def test_differences_are_paired() -> None:
    """Competitors that err alike differ by far less than either is uncertain."""
    rng = np.random.default_rng(4)
    truth = rng.random(2000)
    sample = Sample(rng.random(2000) < truth, np.arange(2000), resamples=200)
    one, other = measure(sample, truth), measure(sample, np.clip(truth + 0.05, 0, 1))
    alone, difference = one.figure("brier"), other.minus(one, "brier")
    assert 0 < difference.low < difference.high
    assert difference.high - difference.low < (alone.high - alone.low) / 2


def test_one_kind_of_outcome_leaves_ranking_undefined() -> None:
    """If everybody stays away, AUROC is not defined, and nothing fails."""
    found = measure(Sample(np.ones(10, np.bool_), np.arange(10), resamples=5), np.linspace(0, 1, 10))
    assert np.isnan(found.figure("auroc").value)
    assert found.figure("brier").value > 0
