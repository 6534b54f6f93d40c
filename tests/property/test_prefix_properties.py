"""What is remembered of past days makes no difference to a score, whatever happens to users, states and the cache."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.core.calendar import DAY_MS
from consumer.core.context import BLOCK_DAYS, first_read
from consumer.core.events import ERASE, KINDS, Events
from consumer.core.features import tokens
from consumer.core.fold import Opened, fold_round, open_runs
from consumer.core.packing import pack, unpack
from consumer.core.runs import Runs, Schedule
from consumer.core.state import MAX_DAYS, NO_DAY, States, empty_states
from consumer.ports import MemoryShape
from consumer.prefix_cache import PrefixCache
from consumer.prefix_scorer import PrefixScorer
from histories import Moody, fold_rules
from support import remembering

USERS = 6
RULES = fold_rules()


def random_events(seed: int, count: int, days: int) -> Events:
    """Mostly in order, some late, some repeated, now and then somebody erased."""
    rng = np.random.default_rng(seed)
    time_ms = np.sort(rng.integers(0, days * DAY_MS, count)) - (rng.random(count) < 0.1) * rng.integers(
        0, 2 * DAY_MS, count
    )
    ids = rng.integers(1, 2**63, count).astype(np.uint64)
    again = rng.random(count) < 0.05
    ids[again] = ids[np.maximum(np.flatnonzero(again) - 1, 0)]
    kind = rng.integers(0, len(KINDS), count).astype(np.int8)
    kind[rng.random(count) < 0.01] = ERASE
    nothing = np.zeros(count, "S32")
    return Events(
        row=rng.choice(USERS, count, p=np.array([8, 4, 2, 1, 1, 1]) / 17),
        time_ms=np.maximum(time_ms, 0),
        kind=kind,
        id_hash=ids,
        value=rng.gamma(1.0, 30.0, count),
        discount=np.zeros(count),
        dwell_s=rng.gamma(1.0, 60.0, count),
        sentiment=np.where(rng.random(count) < 0.9, np.nan, rng.uniform(-1, 1, count)),
        coupon=rng.random(count) < 0.1,
        item=nothing,
        category=nothing,
        language=np.zeros(count, "S4"),
    )


def scored(scorer: PrefixScorer, events: Events, batch: int, seed: int) -> int:
    """Fold events in batches and score each; every score must be that of the whole history. Returns the hits.

    Between batches states are stored and read, some are given back their older selves, and others score the users too.
    """
    rng, states, older = np.random.default_rng(seed), empty_states(USERS), empty_states(USERS)
    names = [f"user-{number}" for number in range(USERS)]
    for begin in range(0, len(events), batch):
        part = events.take(np.arange(begin, min(begin + batch, len(events))))
        entries = scorer.cache.entries(names)
        never = np.full(USERS, np.iinfo(np.int64).max)
        schedule = Schedule(states, part, part.time_ms, np.zeros(len(part), np.bool_), RULES.calendar)
        while runs := schedule.next(never):
            opened = open_runs(states, part, runs, RULES)
            if len(opened.events):
                found = scorer.score_runs(states, opened, entries[opened.rows])
                closed_in_parts(scorer, states, opened, found.hazards, rng)
                found.remember(states, opened.runs.last)
        states = unpack(pack(states))
        if rng.random() < 0.2:
            rolled_back = rng.random(USERS) < 0.5
            states.header[rolled_back], states.days[rolled_back] = older.header[rolled_back], older.days[rolled_back]
        if rng.random() < 0.3:
            older = States(states.header.copy(), states.days.copy())
        if rng.random() < 0.3:
            scorer.cache.entries([f"somebody-{number}" for number in range(rng.integers(1, 300))])
    return scorer.cache.hits


def closed_in_parts(
    scorer: PrefixScorer, states: States, opened: Opened, hazards: np.ndarray, rng: np.random.Generator
) -> None:
    """Each part ends with the score that was given for its last event."""
    place = np.arange(len(hazards))
    while len(opened.events):
        count = rng.integers(1, opened.runs.count + 1)
        opened.close(states, count, RULES)
        last = opened.runs.first + count - 1
        assert hazards[place[last]].tobytes() == scorer.score(states, opened.rows).tobytes()
        left, opened = opened.rest(count)
        place = place[left]


@given(st.integers(0, 10**6), st.integers(1, 300), st.sampled_from([1, 7, 50]), st.sampled_from([3, 100, 400]))
@settings(max_examples=40)
def test_remembering_changes_no_score(seed: int, count: int, batch: int, days: int) -> None:
    """Whatever order events come in, and however states and cache are lost, rolled back or evicted."""
    scored(remembering(Moody(), max_bytes=60_000), random_events(seed, count, days), batch, seed)


@pytest.mark.parametrize("seed", range(4))
def test_remembering_changes_no_bit_of_the_models_scores(tiny_model: Path, seed: int) -> None:
    """So it is with the exported graphs, over long histories: most scores are steps."""
    scorer = remembering(OnnxScorer(tiny_model, "purchase"))
    events = random_events(seed, 2_000, 300)
    hits = scored(scorer, events, 40, seed)
    assert hits > 1_000


def daily(days: int) -> Events:
    """One event a day."""
    events = random_events(1, days, 1)
    return Events(
        **{name: getattr(events, name) for name in ("value", "discount", "dwell_s", "sentiment", "coupon")},
        item=events.item, category=events.category, language=events.language,
        row=np.zeros(days, np.int64), time_ms=np.arange(days) * DAY_MS, kind=np.zeros(days, np.int8),
        id_hash=np.arange(1, days + 1).astype(np.uint64),
    )  # fmt: skip


def score_one(scorer: PrefixScorer, states: States, events: Events, number: int, name: str) -> None:
    """Fold and score one event, and remember the user."""
    opened = open_runs(states, events, Runs.singles(np.array([number])), RULES)
    found = scorer.score_runs(states, opened, scorer.cache.entries([name]))
    opened.close(states, opened.runs.count, RULES)
    found.remember(states, np.array([0]))


def test_a_long_history_is_mostly_stepped() -> None:
    """Also once every new day pushes one out: all days are read again once in 32 days."""
    days = 300
    scorer, states, events = remembering(Moody()), empty_states(1), daily(days)
    for number in range(days):
        score_one(scorer, states, events, number, "u")
    assert scorer.cache.prefills == 1 + (days - MAX_DAYS) // BLOCK_DAYS


def test_customers_of_other_first_days_are_read_again_on_other_days() -> None:
    """Or a shop whose customers come daily would pay for all of them on one day in 32."""
    users, days = BLOCK_DAYS, MAX_DAYS + 2 * BLOCK_DAYS
    scorer, states = remembering(Moody()), empty_states(users)
    events, again = daily(days), []
    for number in range(days):
        before = scorer.cache.prefills
        for user in range(min(users, number + 1)):  # the n-th comes from the n-th day on
            events.row[number] = user
            score_one(scorer, states, events, number, f"u{user}")
        again.append(scorer.cache.prefills - before)
    assert set(again[MAX_DAYS:]) == {1}


def test_who_gets_a_number_of_somebody_forgotten_today_is_scored() -> None:
    """Nothing of the entry's last user counts, also for a user who has had as many days as are kept."""
    scorer, states, events = remembering(Moody(), max_bytes=1), empty_states(2), daily(MAX_DAYS)
    for number in range(MAX_DAYS):
        for row, name in enumerate(("u", "v")):  # each call forgets the other
            events.row[number] = row
            score_one(scorer, states, events, number, name)
    assert states.header["days"].tolist() == [MAX_DAYS, MAX_DAYS]
    assert scorer.cache.evictions > MAX_DAYS


@given(st.integers(0, 100))
@settings(max_examples=10)
def test_what_is_read_depends_on_the_days_alone(born: int) -> None:
    """All days until one has left; then whole blocks since the first, 33 to 64 days of a user who comes daily."""
    states = empty_states(1)
    events = random_events(1, 1, 1)
    for number in range(200):
        at = Events(*(getattr(events, name) for name in Events.__dataclass_fields__))
        at.time_ms[:], at.id_hash[:], at.kind[:], at.row[:] = (born + number) * DAY_MS, number + 1, 0, 0
        fold_round(states, at, RULES)
        [first] = first_read(states)
        days, evicted = states.days["day"][0, : states.header["days"][0]], states.header["evicted_day"][0]
        if evicted == NO_DAY:
            assert first == 0
        else:
            assert (days[first] - born) % BLOCK_DAYS == 0
            assert first == 0 or (days[first - 1] - born) // BLOCK_DAYS == (evicted - born) // BLOCK_DAYS
            assert 33 <= len(days) - first <= MAX_DAYS
    assert tokens(states).shape[1] == MAX_DAYS


@given(st.lists(st.sets(st.integers(0, 60), min_size=1, max_size=20), min_size=1, max_size=30))
def test_the_cache_keeps_within_its_bound(calls: list[set[int]]) -> None:
    """Whoever is asked for is there, with what was kept of them; of the others the least recent leave."""
    max_bytes, cache = 20_000, PrefixCache(MemoryShape(1, 8, np.dtype(np.float32)), 20_000)
    for call in calls:
        numbers, before = cache.entries([str(each) for each in call]), cache.bytes
        assert len(set(numbers.tolist())) == len(call)
        assert before <= max_bytes + len(call) * 1_000
        marks = np.array([*call], np.float32)
        cache.replace(numbers, np.broadcast_to(marks[:, None, None, None], (len(call), 1, 5, 8)), np.full(len(call), 5))
        cache.append(numbers, np.broadcast_to(-marks[:, None, None], (len(call), 1, 8)), np.full(len(call), 9))
        kept = cache.memory(numbers, 9)
        assert (kept[:, 0, :5] == marks[:, None, None]).all()
        assert (kept[:, 0, 8] == -marks[:, None]).all()
    assert cache.evictions > 0 or cache.bytes <= max_bytes + 20_000


def test_slots_that_nobody_has_any_more_are_let_go() -> None:
    """While everybody's history grows, what is allocated stays within the bound, but for a quarter; nothing is lost."""
    max_bytes = 2_000_000
    cache = PrefixCache(MemoryShape(1, 32, np.dtype(np.float32)), max_bytes)
    names = [str(each) for each in range(400)]
    marks = np.arange(len(names), dtype=np.float32)
    most = 0
    for days in range(1, MAX_DAYS + 1):
        people = names[: max(len(names) // days, 100)]
        numbers = cache.entries(people)
        if days > 1:
            kept = cache.memory(numbers, 1)[:, 0, 0, 0]
            assert ((kept == marks[: len(people)]) | (cache.table["days"][numbers] == 0)).all()
        cache.append(
            numbers, np.broadcast_to(marks[: len(people), None, None], (len(people), 1, 32)), np.full(len(people), days)
        )
        cache.table["days"][numbers] = days
        most = max(most, sum(pool.memory.nbytes for pool in cache._pools))
    assert most < max_bytes * 1.6
