"""What is usual in a shop, from its shop token."""

import pytest

from consumer.core.baseline import Baseline, baseline_of
from consumer.settings import DEFAULT_MODEL_DIR
from model_export.shop import SHOP_TOKEN_NAMES
from schemas.manifest import load_manifest


def shop(**given: float) -> dict[str, float]:
    """A shop token in which nothing stands out."""
    return {**dict.fromkeys(SHOP_TOKEN_NAMES, 0.0), **given}


def test_the_share_of_those_who_stay_away_is_that_of_all_groups() -> None:
    """Each recency's chance of staying away counts by its share of the customers: exp(-hazard)."""
    half = {"recency_share_0_30": 0.5, "recency_share_365_on": 0.5}
    token = shop(**half, returned_30d_after_0_30=0.0, returned_30d_after_365_on=-1.0)
    expected = 0.5 * 2.718281828**-1.0 + 0.5 * 2.718281828**-0.36787944
    assert baseline_of(token, "purchase", 30.0).churn_probability == pytest.approx(expected, abs=1e-6)


def test_a_longer_horizon_brings_more_customers_back() -> None:
    """Between the windows that the token knows, and beyond them, the share falls as the horizon grows."""
    manifest = load_manifest(DEFAULT_MODEL_DIR)
    token = dict(zip(manifest.shop_token_names, manifest.shop_token, strict=True))
    shares = [baseline_of(token, "purchase", days).churn_probability for days in (7, 30, 60, 90, 150, 180, 365)]
    assert shares == sorted(shares, reverse=True)
    assert shares[1] == pytest.approx(0.75, abs=0.005)


def test_activity_is_more_frequent_than_purchases() -> None:
    """Where half of the active days are without a purchase, gaps are half as long, and more customers come back."""
    token = shop(recency_share_0_30=1.0, log1p_gap_q50=3.0, log1p_gap_q90=4.0, active_without_purchase=0.5)
    purchase, activity = baseline_of(token, "purchase", 30.0), baseline_of(token, "activity", 30.0)
    assert activity.gap_days == pytest.approx(purchase.gap_days / 2)
    assert activity.long_gap_days == pytest.approx(purchase.long_gap_days / 2)
    assert activity.churn_probability < purchase.churn_probability


def test_a_shop_without_anything_has_a_baseline() -> None:
    """No share at all, and gaps of nothing: a probability within its bounds, and gaps of a day."""
    baseline = baseline_of(shop(recency_share_0_30=-0.2), "purchase", 30.0)
    assert baseline == Baseline(pytest.approx(0.3679, abs=1e-4), 1.0, 1.0)
