"""The job that rivals share is Ebbtide's: the same tokens, the same alerts."""

from dataclasses import dataclass

import numpy as np
import pytest

from bench.rivals.command import POLICY
from bench.rivals.job import Job
from bench.rivals.judging import LEVELS, TOLERANCE, compare
from bench.rivals.layout import KIND_OF, Batch, added_by, unpack
from bench.rivals.tokens import Past
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.events import KINDS, Events
from consumer.core.features import tokens
from consumer.core.fold import FoldRules, fold
from consumer.core.state import empty_states
from consumer.settings import DEFAULT_MODEL_DIR, Settings

USERS = 12
START_MS = 20_000 * DAY_MS


@dataclass(frozen=True)
class Log:
    """Events of a few customers, in order of time, some of them told twice."""

    events: Events

    @staticmethod
    def random(seed: int, count: int, days: int) -> "Log":
        """A log of so many days; the first customers are the busiest."""
        rng = np.random.default_rng(seed)
        name = np.full(count, b"", "S32")
        id_hash = rng.integers(1, 2**63, count).astype(np.uint64)
        row = np.minimum(rng.geometric(0.2, count) - 1, USERS - 1)

        events = Events(
            row=row.astype(np.int64),
            time_ms=np.sort(START_MS + rng.integers(0, days * DAY_MS, count)),
            kind=rng.integers(0, len(KINDS), count).astype(np.int8),
            id_hash=id_hash,
            value=rng.gamma(2.0, 20.0, count).round(2),
            discount=np.where(rng.random(count) < 0.1, 2.5, 0.0),
            dwell_s=rng.gamma(2.0, 10.0, count).round(3),
            sentiment=np.where(rng.random(count) < 0.2, rng.uniform(-1, 1, count).round(2), np.nan),
            coupon=rng.random(count) < 0.1,
            item=name,
            category=name,
            language=np.full(count, b"", "S4"),
        )
        return Log(events.take(_with_repetitions(rng, row)))

    def batch(self, begin: int, end: int) -> Batch:
        """Some of it, as rivals have it."""
        part = self.events.take(np.arange(begin, min(end, len(self.events))))
        kind = np.array([KIND_OF[each] for each in KINDS])[part.kind]
        added = added_by(kind, part.value, part.discount, part.dwell_s, part.sentiment, part.coupon)
        users, row = np.unique(part.row, return_inverse=True)
        return Batch([str(user) for user in users.tolist()], row, part.time_ms, kind, part.id_hash, added)


def _with_repetitions(rng: np.random.Generator, row: np.ndarray) -> np.ndarray:
    """Places of the log's events; now and then one comes again after the customer's next."""
    places: list[int] = []
    repeated: dict[int, int] = {}
    for place, user in enumerate(row.tolist()):
        places.append(place)
        if user in repeated:
            places.append(repeated.pop(user))
        elif rng.random() < 0.05:
            repeated[user] = place
    return np.array(places)


Found = dict[tuple[str, str, int, int], float]


def by_rivals(log: Log, size: int) -> tuple[dict[str, bytes], Found]:
    """Values and alerts after micro-batches of this size."""
    job, values = Job(DEFAULT_MODEL_DIR), dict[str, bytes]()
    found: Found = {}
    for begin in range(0, len(log.events), size):
        batch = log.batch(begin, begin + size)
        after, alerts = job.process(batch, [values.get(user) for user in batch.users])
        values.update(zip(batch.users, after, strict=True))
        found |= {(each.user_id, each.tier, 0, begin + each.index): each.probability for each in alerts}
    return values, found


def by_ebbtide(log: Log) -> Found:
    """Alerts of the product's engine."""
    settings = Settings(policy_file=POLICY, clock="watermark", outcome_sample_share=0.0)
    engine = build_worker(settings, Metrics()).engine
    no_watermark = np.zeros(len(log.events), np.int64)
    _, found = engine.on_events(empty_states(USERS), log.events, no_watermark)
    return {
        (str(row), ("at_risk", "critical")[tier - 1], 0, event): probability
        for each in found.alerts
        for row, tier, event, probability in zip(
            each.decisions.row.tolist(),
            each.decisions.tier.tolist(),
            each.event.tolist(),
            each.decisions.probability.tolist(),
            strict=True,
        )
    }


@pytest.mark.parametrize(("seed", "days", "size"), [(1, 30, 1), (2, 150, 37), (3, 400, 500), (4, 400, 7)])
def test_rivals_make_the_same_tokens(seed: int, days: int, size: int) -> None:
    """Whatever the micro-batches, what the job has kept of a customer becomes the tokens that Ebbtide makes."""
    log = Log.random(seed, 900, days)
    states = empty_states(USERS)
    fold(states, log.events, FoldRules(Calendar()))
    values, _ = by_rivals(log, size)
    customers = unpack([values[str(user)] for user in range(USERS)], room=0)
    count = customers.header["days"].astype(np.int64)
    assert count.tolist() == states.header["days"].tolist()
    past = Past.of(customers, np.arange(USERS), count)
    expected = tokens(states)[np.arange(64) < count[:, None]]
    np.testing.assert_allclose(past.tokens, expected, atol=1e-5)


@pytest.mark.parametrize(("seed", "size"), [(4, 7), (5, 37), (6, 500)])
def test_rivals_raise_the_same_alerts(seed: int, size: int) -> None:
    """Alerts are the same but for what rounding decides at a threshold."""
    log = Log.random(seed, 1_500, 60)
    expected = by_ebbtide(log)
    _, found = by_rivals(log, size)
    assert len(expected) >= 5
    assert compare(expected, found, LEVELS).is_same


def test_an_alert_that_rounding_decides_is_no_difference() -> None:
    """Nor is what follows from it in the same customer's episode; anybody else's is one."""
    reference = {("a", "at_risk", 0, 1): 0.7304, ("b", "at_risk", 0, 2): 0.83}
    found = {("a", "at_risk", 0, 3): 0.75, ("b", "at_risk", 0, 2): 0.83 + TOLERANCE / 2}
    assert compare(reference, found, LEVELS).is_same
    assert not compare(reference, {}, LEVELS).is_same
