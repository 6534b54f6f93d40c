"""Drift: figures that can be worked out by hand, and counts that fade and do not grow."""

import numpy as np
import pytest

from consumer.core.drift import FEATURES, SCORE, Drift, DriftRules, binned, features_of, psi
from consumer.core.state import States
from histories import DAY_MS, Happened, Moody, day, engine, folded, random_states, told
from histories import columns as events_of
from model_export.drift_reference import distribution_of
from schemas.event import EventType
from schemas.reference import Distribution, Reference

BUY, VIEW, REVIEW = EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REVIEW
ALL = DriftRules(half_life_days=7.0, fewest=1.0)
NEVER_FADING = DriftRules(half_life_days=1e9, fewest=1.0)
HALVES = Distribution(edges=(0.5,), shares=(0.5, 0.5, 0.0))


def reference(scores: Distribution = HALVES, **features: Distribution) -> Reference:
    known = {"purchase": scores, "activity": HALVES}
    return Reference(source="log", days=90, observations=1_000, churn_probability=known, features=features)


def drift(rules: DriftRules = ALL, **features: Distribution) -> Drift:
    return Drift(reference(**features), "purchase", 30.0, rules)


def bought(at_ms: int, users: int = 1) -> States:
    """Everybody has bought once; the hazard is 1 a day."""
    return folded([Happened(BUY, at_ms, user) for user in range(users)], users=users)


def see(watched: Drift, states: States) -> None:
    every = np.arange(len(states))
    watched.add(states, every, states.last_id(every))
    watched.count()


@pytest.mark.parametrize(
    ("expected", "actual", "index"),
    [
        ((0.5, 0.5), (0.5, 0.5), 0.0),
        ((0.5, 0.5), (0.6, 0.4), 0.1 * np.log(1.2) - 0.1 * np.log(0.8)),
        ((0.2, 0.3, 0.5), (0.4, 0.3, 0.3), 0.2 * np.log(2) - 0.2 * np.log(0.6)),
        ((1.0, 0.0), (0.9, 0.1), -0.1 * np.log(0.9) + 0.0999 * np.log(1_000)),
    ],
)
def test_the_index_is_what_it_is_by_hand(expected: tuple[float, ...], actual: tuple[float, ...], index: float) -> None:
    """Differences of shares times differences of their logarithms; an empty bin counts as 0.0001."""
    assert psi(np.array(expected), np.array(actual)) == pytest.approx(index)
    assert psi(np.array(actual), np.array(expected)) == pytest.approx(index)


def test_values_fall_into_bins() -> None:
    """An edge belongs to the bin below it; what is not defined has a bin of its own."""
    values = np.array([-3.0, 1.0, 1.5, 2.0, 2.1, np.inf, np.nan, np.nan])
    assert binned(values, (1.0, 2.0)).tolist() == [2, 2, 2, 2]
    assert binned(np.array([np.nan, 4.0]), ()).tolist() == [1, 1]


def test_features_are_those_of_the_last_day() -> None:
    """Of a customer who bought twice, with a discount once, and said something; and of one who only looked."""
    states = folded(
        [
            Happened(BUY, day(0), value=30.0, discount=10.0),
            Happened(BUY, day(20), value=10.0),
            Happened(VIEW, day(40)),
            Happened(REVIEW, day(45), sentiment=0.5),
            Happened(VIEW, day(3), user=1),
        ],
        users=2,
    )
    found = {name: values.tolist() for name, values in features_of(states).items()}
    nan = pytest.approx(np.nan, nan_ok=True)
    assert tuple(found) == FEATURES
    assert found == {
        "days_since_last_purchase": [25.0, nan],
        "purchases_30d": [1.0, 0.0],
        "purchases_90d": [2.0, 0.0],
        "purchase_gap_mean_days": [20.0, nan],
        "views_30d": [1.0, 1.0],
        "mean_sentiment_90d": [0.5, nan],
        "spend_per_purchase_90d": [20.0, nan],
        "discount_share_90d": [pytest.approx(10 / 50), nan],
    }


def test_a_score_and_each_feature_are_compared() -> None:
    """Two customers who are sure to buy: all scores are below 0.5, and each bought for the first time."""
    watched = drift(purchases_30d=Distribution(edges=(0.0, 1.0), shares=(0.2, 0.4, 0.4, 0.0)))
    see(watched, bought(day(0), users=2))
    assert watched.psi() == {
        SCORE: pytest.approx(psi(np.array([0.5, 0.5]), np.array([1.0, 0.0]))),
        "purchases_30d": pytest.approx(psi(np.array([0.2, 0.4, 0.4]), np.array([0.0, 1.0, 0.0]))),
    }


def test_a_feature_that_is_not_known_here_is_left_out() -> None:
    """A reference may come from a version with others."""
    watched = drift(purchases_7d=HALVES)
    see(watched, bought(day(0)))
    assert watched.psi().keys() == {SCORE}


def test_few_observations_give_no_figure() -> None:
    """Three say nothing where four are asked for; none at all neither."""
    watched = drift(DriftRules(fewest=4.0))
    assert (watched.psi(), watched.observations()) == ({}, 0.0)
    see(watched, bought(day(0), users=3))
    assert (watched.psi(), watched.observations()) == ({}, 3.0)
    see(watched, bought(day(0)))
    assert watched.psi().keys() == {SCORE}


def test_what_was_seen_fades_with_event_time() -> None:
    """Each weighs half after a half-life, late ones from the start; as many of equal weight would say as much."""
    watched = drift()
    see(watched, bought(day(0), users=8))
    see(watched, bought(day(7)))
    assert watched.observations() == pytest.approx((8 / 2 + 1) ** 2 / (8 / 4 + 1))
    see(watched, bought(day(0)))
    assert watched.observations() == pytest.approx((9 / 2 + 1) ** 2 / (9 / 4 + 1))
    see(watched, bought(day(700)))
    assert watched.observations() == pytest.approx(1)


def test_early_ones_count_for_less() -> None:
    """Two who were sure to be lost a half-life ago and one who is sure to buy now are one of each."""
    watched, early = drift(), bought(day(0), users=2)
    early.header["log_hazards"] = -9.0
    see(watched, early)
    assert watched.psi()[SCORE] > 1.0
    see(watched, bought(day(7)))
    assert watched.psi()[SCORE] == pytest.approx(0.0)


def test_a_share_of_many_events_is_drawn() -> None:
    """By the id of each user's last event; what is drawn stands for the others, so that early ones do not prevail."""
    early, late = bought(day(0), users=2_000), bought(day(1), users=2_000)
    early.header["log_hazards"] = -9.0  # sure to be lost
    watched = drift(DriftRules(half_life_days=1e9, enough=2_000.0))
    see(watched, early)
    assert watched.share == 1.0
    see(watched, bought(day(0), users=8_000))
    assert watched.share == pytest.approx(0.2)
    seen = []
    for _ in range(5):
        see(watched, late)
        seen.append(watched.share)
    assert seen == pytest.approx([2_000 / (10_000 + 2_000 * k) for k in range(1, 6)], rel=0.06)
    lost = watched._seen.counts[SCORE] / watched._seen.total
    assert lost.tolist() == pytest.approx([0.9, 0.1, 0.0], abs=0.01)
    assert watched.observations() == pytest.approx(20_000**2 / (10_000 + 2_000 * (5 + 6 + 7 + 8 + 9)), rel=0.06)


def test_memory_does_not_grow() -> None:
    """However much was seen, there are as many counts as bins, and few states wait."""
    states = random_states()
    watched = drift(NEVER_FADING, **{name: distribution_of(values) for name, values in features_of(states).items()})
    see(watched, states)
    cells = sum(map(len, watched._seen.counts.values()))
    for _ in range(25):
        every = np.arange(len(states))
        watched.add(states, every, states.last_id(every))
        assert sum(len(each) for each, _ in watched._waiting) < 256
    watched.count()
    assert watched.observations() == pytest.approx(26 * len(states))
    assert sum(map(len, watched._seen.counts.values())) == cells
    assert watched._waiting == []


def test_nothing_depends_on_drift() -> None:
    """Alerts and states are the same with and without it, to the bit, and every event is seen where all are drawn."""
    rng = np.random.default_rng(5)
    history = [
        Happened([BUY, VIEW, EventType.REFUND][rng.integers(3)], round(day(0) + at * DAY_MS), int(rng.integers(20)))
        for at in np.sort(rng.uniform(0, 90, 600))
    ]
    plain = engine(scorer=Moody())
    watched = drift()
    outcomes = []
    for each in (plain, engine(scorer=Moody(), drift=watched)):
        states = folded([], users=20)
        _, found = each.on_events(states, events_of(history), np.full(len(history), -1))
        alerts = sorted(told(found.alerts), key=lambda alert: alert.user)  # each user's in order
        outcomes.append((alerts, states.header.tobytes(), states.days.tobytes()))
    assert outcomes[0][0]
    assert outcomes[0] == outcomes[1]
    watched.count()
    left = [0.5 ** ((history[-1].at_ms - each.at_ms) / DAY_MS / 7) for each in history]
    seen = sum(left) ** 2 / sum(each**2 for each in left)
    assert watched.observations() == pytest.approx(seen, rel=0.02)  # those of a day are seen as it ends


@pytest.mark.parametrize(
    ("edges", "shares", "told_of"),
    [
        ((1.0,), (0.5, 0.5), "1 edges need 3 shares, not 2"),
        ((2.0, 1.0), (0.5, 0.5, 0.0, 0.0), "do not ascend"),
        ((1.0,), (0.5, 0.2, 0.0), "sum to 0.7"),
        ((1.0,), (1.5, -0.5, 0.0), "less than or equal to 1"),
    ],
)
def test_a_distribution_that_is_none_is_refused(
    edges: tuple[float, ...], shares: tuple[float, ...], told_of: str
) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=told_of):
        Distribution(edges=edges, shares=shares)
