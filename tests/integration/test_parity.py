"""Serving and training see the same state and features, to the bit, over a whole real log."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from consumer.core.calendar import Calendar
from consumer.core.decode import decode
from consumer.core.features import rolling, tokens
from consumer.core.fold import Fate, FoldRules, fold
from consumer.core.packing import pack, unpack
from consumer.core.state import States
from model_export.artefact import LENGTHS
from model_export.calibrate import targets_of
from model_export.data import Log
from model_export.folder import ShopLog
from model_export.panel import panel_of
from model_export.shop import SHOP_SIZE
from model_export.tasks import Past
from schemas.files import read_events

CDNOW = Path(__file__).parents[2] / "data" / "cdnow" / "events.csv.xz"
UNTIL = date(1998, 7, 1)  # the day after the log's last
RULES = FoldRules(Calendar())
END_MS = (UNTIL - date(1970, 1, 1)).days * 86_400_000


@pytest.fixture(scope="module")
def past() -> Past:
    """The log as training reads it."""
    return ShopLog(CDNOW, "cdnow").past(UNTIL)


@pytest.fixture(scope="module")
def trained_on(past: Past) -> Log:
    """The log as training sees it: folded in one go."""
    return past.log


@pytest.fixture(scope="module")
def served() -> dict[str, bytes]:
    """The log as the service sees it: micro-batches of random sizes, states packed and unpacked in between."""
    stored: dict[str, bytes] = {}
    records = list(read_events(CDNOW))
    for batch in _random_cuts(len(records)):
        decoded = decode(records[batch], now_ms=END_MS)
        assert not decoded.rejected
        states = unpack([stored.get(user) for user in decoded.users])
        assert (fold(states, decoded.events, RULES) == Fate.FOLDED).all()
        stored |= zip(decoded.users, pack(states), strict=True)
    return stored


def _random_cuts(count: int) -> Iterator[slice]:
    rng = np.random.default_rng(11)
    start = 0
    while start < count:
        size = int(rng.choice([1, 2, 10, 100, 1_000, 3_000]))
        yield slice(start, start + size)
        start += size


def _in_random_batches(states: States) -> Iterator[tuple[np.ndarray, States]]:
    rows = np.random.default_rng(12).permutation(len(states))
    for batch in _random_cuts(len(rows)):
        yield rows[batch], states.take(rows[batch])


@pytest.fixture(scope="module")
def served_states(trained_on: Log, served: dict[str, bytes]) -> States:
    """The service's states in training's order of users."""
    return unpack([served[user] for user in trained_on.users])


def test_every_event_counts(trained_on: Log, served: dict[str, bytes]) -> None:
    """All 69,404 purchases of 23,570 customers are folded."""
    assert (len(trained_on.users), trained_on.events, trained_on.dropped) == (23_570, 69_404, 0)
    assert served.keys() == set(trained_on.users)


def test_packed_states_are_equal(trained_on: Log, served: dict[str, bytes]) -> None:
    """A state does not depend on how the log was cut into batches, nor on having been stored in between."""
    assert pack(trained_on.states) == [served[user] for user in trained_on.users]


def test_a_state_takes_less_than_a_kibibyte(served_states: States) -> None:
    """Over all customers, each with a risk curve of incompressible numbers, packed states average 1 KiB at most."""
    states = served_states.take(np.arange(len(served_states)))
    states.header["log_hazards"] = np.random.default_rng(13).normal(-4.0, 1.0, states.header["log_hazards"].shape)
    sizes = [len(value) for value in pack(states)]
    assert min(sizes) > 0
    assert np.mean(sizes) <= 1_024


def test_serving_tokens_are_training_tokens(past: Past, trained_on: Log, served_states: States) -> None:
    """Tokens made in batches of any size and padded to any length are the training panel's, to the bit."""
    rows, moment = np.arange(len(trained_on.users)), np.full(len(trained_on.users), trained_on.until_day)
    panel = panel_of(trained_on.states, rows, moment, targets_of(past), np.zeros(SHOP_SIZE, np.float32))
    for rows, states in _in_random_batches(served_states):
        count = states.header["days"].astype(np.int64)
        length = next(length for length in LENGTHS if length >= count.max())
        present = np.arange(length) < count[:, None]
        index = (panel.start[rows][:, None] + np.arange(length))[present]
        trained = panel.tokens[index].tobytes()
        assert tokens(states, length)[present].tobytes() == trained
        cut = States(states.header, states.days[:, :length])  # as the service passes them
        assert tokens(cut, length)[present].tobytes() == trained


def test_serving_features_are_training_features(trained_on: Log, served_states: States) -> None:
    """Rolling features made in batches of any size are those of the whole log, to the bit."""
    as_of_day = np.full(len(trained_on.users), trained_on.until_day - 1)
    whole = rolling(trained_on.states, as_of_day)
    for rows, states in _in_random_batches(served_states):
        for name, values in rolling(states, as_of_day[rows]).items():
            assert values.tobytes() == whole[name][rows].tobytes(), name
