"""What drift is measured against: scores and features right after events, in a shop's latest days or simulated shops.

They are seen as the service sees them: the state that the fold leaves after an event, on that same day.
"""

from dataclasses import replace
from typing import Final, Literal

import numpy as np

from consumer.core.drift import binned, features_of
from consumer.core.events import Events, rounds
from consumer.core.fold import Fate, fold_round
from consumer.core.outcomes import is_drawn
from consumer.core.risk import calibrated, churn_probability
from consumer.core.state import States, empty_states, joined
from model_export.artefact import Scorer, raw_log_hazards
from model_export.calibrate import window_days
from model_export.corpus import at_events
from model_export.data import HEADS
from model_export.tasks import Past
from schemas.manifest import Calibration
from schemas.reference import Distribution, Reference

_OBSERVATIONS: Final = 6_000  # about as many
_FEWEST: Final = 500  # fewer say too little
_QUANTILES: Final = np.arange(1, 10) / 10  # ten bins, fewer where many values are equal
_DAYS: Final = 90  # of a simulated shop
SHOPS: Final = 200
_DECIMALS: Final = 6


def log_reference(
    past: Past, scorer: Scorer, shop: np.ndarray, calibration: Calibration, horizon_days: int
) -> Reference | None:
    """Of the last days of a log, those that it is calibrated on; None where there are too few events."""
    days = window_days(past)
    states = states_at_events(past, past.until_day - days)
    if len(states) < _FEWEST:
        return None
    log_hazards = calibrated(raw_log_hazards(states, scorer, shop), calibration.offset)
    return _reference("log", days, states, log_hazards, horizon_days)


def simulated_reference(
    seed: int, scorer: Scorer, shop: np.ndarray, horizon_days: int, shops: int = SHOPS
) -> Reference:
    """Of shops that no training step has seen; `shop` is the token of a shop of which nothing is known."""
    states = joined([at_events(seed, number, _OBSERVATIONS // shops, _DAYS) for number in range(shops)])
    return _reference("simulated", _DAYS, states, raw_log_hazards(states, scorer, shop), horizon_days)


def states_at_events(past: Past, from_day: int) -> States:
    """States right after some of the events from day `from_day` on, drawn as the service draws them."""
    recent = past.events.time_ms >= past.rules.calendar.start_of(np.array([from_day]))[0]
    drawn = recent & is_drawn(past.events.id_hash, _OBSERVATIONS / max(_OBSERVATIONS, int(recent.sum())))
    users = np.unique(past.events.row[drawn])
    kept = np.flatnonzero(np.isin(past.events.row, users))
    return _after(_renumbered(past.events.take(kept), users), drawn[kept], empty_states(len(users)), past)


def _renumbered(events: Events, users: np.ndarray) -> Events:
    return replace(events, row=np.searchsorted(users, events.row))


def _after(events: Events, drawn: np.ndarray, states: States, past: Past) -> States:
    """Copies of the states after those of `events` that are drawn and not dropped."""
    found = [empty_states(0)]
    for index in rounds(events.row):
        part = events.take(index)
        folded = fold_round(states, part, past.rules) == Fate.FOLDED
        found.append(states.take(part.row[folded & drawn[index]]))
    return joined(found)


def _reference(
    source: Literal["log", "simulated"], days: int, states: States, log_hazards: np.ndarray, horizon_days: int
) -> Reference:
    """`log_hazards` (U, heads, BINS)."""
    silence = np.zeros(len(states))
    scores = {
        head: churn_probability(log_hazards[:, position], silence, horizon_days) for position, head in enumerate(HEADS)
    }
    return Reference(
        source=source,
        days=days,
        observations=len(states),
        churn_probability={head: distribution_of(values) for head, values in scores.items()},
        features={name: distribution_of(values) for name, values in features_of(states).items()},
    )


def distribution_of(values: np.ndarray) -> Distribution:
    """Of at least one value; bins hold about a tenth each of those that are defined."""
    edges = _edges(values[~np.isnan(values)])
    shares = np.round(binned(values, edges) / len(values), _DECIMALS)
    return Distribution(edges=edges, shares=tuple(shares.tolist()))


def _edges(known: np.ndarray) -> tuple[float, ...]:
    if not len(known):
        return ()
    if known.min() == known.max():  # so that both smaller and larger ones are something new
        return float(np.nextafter(known[0], -np.inf)), float(known[0])
    found = np.unique(np.quantile(known, _QUANTILES, method="inverted_cdf"))
    return tuple(found[found < known.max()].tolist())
