"""Reasons of any history: they add up, and are the same to the byte however alerts and batches are put together."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.core.alerts import AlertContext, build_alert
from consumer.core.counterfactuals import GROUPS, replaced
from consumer.core.past import Past
from consumer.core.policy import PolicyRules
from consumer.core.reasons import Contribution, Moments, explain, shared_out
from consumer.core.risk import churn_probability
from consumer.core.state import States, empty_states
from consumer.ports import Scorer
from consumer.scoring import Engine
from consumer.settings import DEFAULT_MODEL_DIR
from histories import BASELINE, Happened, Moody, columns, day, engine, on_events, on_silence, random_states
from schemas.alert import Provenance
from schemas.event import EventType

HORIZON_DAYS = 30.0
SOURCE = Provenance(topic="shop.events", partition=0, offset=None)
CONTEXT = AlertContext("m1", HORIZON_DAYS)
EAGER = PolicyRules(thresholds=(0.15, 0.6), rearm=0.1, horizon_days=HORIZON_DAYS, grace_days=0.0)
USERS = 8

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def shipped() -> Scorer:
    """The shipped model."""
    return OnnxScorer(DEFAULT_MODEL_DIR, "purchase")


def moments(seed: int, machine: Engine, users: int = 24) -> Moments:
    """Users at some silence each, with curves of the engine's model."""
    rng = np.random.default_rng(seed)
    states = random_states(users=users, events=30 * users, seed=seed)
    rows = np.arange(len(states))
    states.header["log_hazards"] = machine.scorer.score(states, rows)
    silence_days = np.where(rng.random(len(states)) < 0.3, 0.0, rng.exponential(40.0, len(states)))
    probability = churn_probability(states.header["log_hazards"], silence_days, HORIZON_DAYS)
    day_of = states.last_day(rows).astype(np.int64) + np.ceil(silence_days).astype(np.int64)
    return Moments(states, day_of, silence_days, probability)


def reasons(of: Moments, machine: Engine) -> list[list[Contribution]]:
    def score(states: States) -> np.ndarray:
        return machine.scorer.score(states, np.arange(len(states)))

    return explain(of, BASELINE, score, HORIZON_DAYS, "purchase")


@given(seeds)
@profile(max_examples=25)
def test_contributions_add_up(seed: int) -> None:
    """All of an alert's contributions, base rate included, are its churn probability to six digits."""
    machine = engine(scorer=Moody())
    of = moments(seed, machine)
    for probability, told in zip(of.probability, reasons(of, machine), strict=True):
        assert sum(each.contribution for each in told) == pytest.approx(round(float(probability), 6), abs=1e-9)


@given(seeds)
@profile(max_examples=25)
def test_reasons_are_in_order(seed: int) -> None:
    """The largest comes first, whatever its sign, the base rate last; no code comes twice, and no group is tiny."""
    machine = engine(scorer=Moody())
    for told in reasons(moments(seed, machine), machine):
        *others, base = told
        assert base.code == "base_rate"
        assert all(abs(one.contribution) >= abs(next_.contribution) for one, next_ in pairwise(others))
        assert max(Counter(each.code for each in told).values()) == 1
        assert [each.code for each in others if abs(each.contribution) < 0.005] in ([], ["newcomer"], ["history"])


@pytest.mark.parametrize("seed", range(6))
def test_an_alert_is_explained_alone_as_among_others(shipped: Scorer, seed: int) -> None:
    """With the shipped model, reasons are equal to the last bit whichever alerts are explained together."""
    machine = engine(scorer=shipped)
    of = moments(seed, machine)
    alone = [reasons(of.part(slice(row, row + 1)), machine)[0] for row in range(len(of))]
    halves = reasons(of.part(slice(0, 7)), machine) + reasons(of.part(slice(7, None)), machine)
    together = reasons(of, machine)
    assert repr(alone) == repr(together) == repr(halves)
    assert len({each.code for told in together for each in told}) > 5


def happened(seed: int, count: int = 400) -> list[Happened]:
    """Events of a few users over months."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 150, count))
    return [
        Happened(
            kind=EventType(rng.choice(list(EventType))),
            at_ms=day(float(at)),
            user=int(rng.integers(USERS)),
            event_id=number,
            value=round(float(rng.gamma(2.0, 20.0)), 2),
            dwell_s=round(float(rng.exponential(60.0)), 1),
            sentiment=float(rng.uniform(-1, 1)) if rng.random() < 0.1 else float("nan"),
            coupon=bool(rng.random() < 0.2),
        )
        for number, at in enumerate(times, start=1)
    ]


def written(machine: Engine, history: list[Happened], cuts: list[int]) -> list[str]:
    """The alerts' JSON when events come in batches that end at `cuts`, and some silence at last; by user and time."""
    states = empty_states(USERS)
    evidence = []
    for start, end in pairwise([0, *cuts, len(history)]):
        evidence += on_events(machine, states, columns(history[start:end])) if start < end else []
    evidence += on_silence(machine, states, np.arange(USERS), np.full(USERS, day(400)))
    alerts = [
        build_alert(part, index, f"u{row}", SOURCE, CONTEXT, day(500))
        for part in evidence
        for index, row in enumerate(part.decisions.row.tolist())
    ]
    return sorted(alert.model_dump_json() for alert in alerts)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["moody", "shipped"])
def test_alerts_do_not_depend_on_batch_cuts(shipped: Scorer, kind: str, seed: int) -> None:
    """Alerts with all their reasons are equal byte by byte whether events come one by one or all at once."""
    machine = engine(EAGER, shipped if kind == "shipped" else Moody())
    history = happened(seed)
    cuts = sorted(np.random.default_rng(seed).choice(len(history), 9, replace=False).tolist())
    at_once = written(machine, history, [])
    assert len(at_once) > USERS
    assert at_once == written(machine, history, cuts) == written(machine, history, list(range(1, len(history))))


@given(seeds)
@profile(max_examples=25)
def test_groups_do_not_touch_each_other(seed: int) -> None:
    """No two groups replace the same column, so that all can be replaced together."""
    of = moments(seed, engine(scorer=Moody()))
    past = Past(of.states, of.day, of.silence_days)
    touched = Counter(name for _, find in GROUPS for name in find(past).columns)
    assert max(touched.values()) == 1


@given(seeds)
@profile(max_examples=25)
def test_a_counterfactual_is_a_possible_history(seed: int) -> None:
    """With everything replaced, days still ascend, each has an event, no sum is negative, and the last day stays."""
    of = moments(seed, engine(scorer=Moody()))
    past = Past(of.states, of.day, of.silence_days)
    rows = np.arange(len(of))
    other = replaced(of.states, rows, [find(past) for _, find in GROUPS])
    assert (other.last_day(rows) == of.states.last_day(rows)).all()
    assert (other.header["days"] == of.states.header["days"]).all()
    for row, count in enumerate(other.header["days"].tolist()):
        days = other.days[row, :count]
        assert (np.diff(days["day"]) > 0).all()
        assert (days["events"] >= 1).all()
        assert (np.abs(days["sentiment"]) <= days["opinions"] + 1e-9).all()
        assert min(float(days[name].min()) for name in ("spend", "dwell_s", "discount", "refunded")) >= 0


@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=1, max_size=6),
    st.lists(st.floats(-2, 2), min_size=6, max_size=6),
)
def test_sharing_keeps_signs(rows: list[list[float]], totals: list[float]) -> None:
    """No group's contribution has another sign than its marginal, or is more than four times that."""
    marginals = np.array(rows)
    shared = shared_out(marginals, np.array(totals[: len(rows)]))
    assert (shared * marginals >= 0).all()
    assert (np.abs(shared) <= 4 * np.abs(marginals) + 1e-12).all()
