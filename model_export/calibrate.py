"""Calibration and thresholds on the latest days of a shop's own log. Without torch.

The last window of the log is foretold from what was known before it; the offset of all log-hazards under which what
happened was most likely says by how much the level was missed (recalibration in the large, Steyerberg 2009, section
20.2, fitted to censored times instead of labels). How much of a miss lasts into the next window differs from shop to
shop (a slow decline does, a season does not): the log's earlier windows tell, and the offset is taken by that share.
"""

from typing import Final

import numpy as np

from consumer.core.fold import FoldRules
from consumer.core.risk import exposure_days
from model_export.artefact import Scorer, raw_log_hazards
from model_export.data import HEADS, PRIMARY_TARGET
from model_export.panel import Panel, Targets, panel_of
from model_export.shop import shop_token
from model_export.tasks import Past
from schemas.manifest import Calibration

FEWEST_CUSTOMERS: Final = 100  # fewer in the window say too little
_LONGEST_WINDOW_DAYS: Final = 90
SHORTEST_WINDOW_DAYS: Final = 7
_WINDOWS: Final = 5  # how many are looked back on
_OFFSET_STD: Final = 1.0  # of the level missed, before anything is seen
_USUAL_MISS: Final = 0.3  # how large misses are that tell of themselves what lasts
_USUAL_PERSISTENCE: Final = 0.25
_NEWTON_STEPS: Final = 50
_HEAD: Final = HEADS.index(PRIMARY_TARGET)


def window_days(past: Past) -> int:
    """How many of a log's last days are held back to check on: a quarter of it, at most 90."""
    return min(_LONGEST_WINDOW_DAYS, (past.until_day - past.first_day) // 4)


def moment_panel(past: Past, day: int, targets: Targets) -> Panel:
    """The customers known before `day` as they were then, told of the shop as it was then."""
    then = past if day == past.until_day else past.earlier(day)
    states, customers = then.log.states, then.customers
    token = shop_token(states, day)
    return panel_of(states.take(customers), customers, np.full(len(customers), day), targets, token)


def targets_of(past: Past) -> Targets:
    """When every user of a log did what the heads foretell, all days, also those that the states have dropped."""
    events, calendar = past.events, past.rules.calendar
    day = calendar.day_of(events.time_ms)
    hits = [FoldRules(calendar, head).is_target(events.kind) for head in HEADS]
    return Targets.of([(events.row[hit], day[hit]) for hit in hits], int(day.min()), past.until_day)


def fit_calibration(past: Past, scorer: Scorer, base: Scorer) -> Calibration:
    """Offset for a network that has seen nothing of the last window; neutral where there is too little.

    `base` has seen nothing of the log at all: its misses tell how much of one lasts.
    """
    days = window_days(past)
    if not _is_enough(past, past.until_day - days, days):
        return Calibration()
    persistence = _persistence(_misses(past, base, days))
    offset = persistence * missed_by(past, scorer, days)
    return Calibration(offset=round(offset, 4), persistence=round(persistence, 4), window_days=days)


def _is_enough(past: Past, day: int, days: int) -> bool:
    return days >= SHORTEST_WINDOW_DAYS and len(past.customers_before(day)) >= FEWEST_CUSTOMERS


def _misses(past: Past, base: Scorer, days: int) -> list[float]:
    """By how much the level of each of the last windows was missed, the latest first."""
    ends = [past.until_day - number * days for number in range(_WINDOWS)]
    known = [end for end in ends if end - 2 * days >= past.first_day and _is_enough(past, end - days, days)]
    return [missed_by(past if end == past.until_day else past.earlier(end), base, days) for end in known]


def _persistence(misses: list[float]) -> float:
    """Which share of a miss was missed again in the next window: least squares, leaning to a quarter; in [0, 1]."""
    later, earlier = np.array(misses[:-1]), np.array(misses[1:])
    prior = _USUAL_MISS**2
    share = (later @ earlier + _USUAL_PERSISTENCE * prior) / (earlier @ earlier + prior)
    return float(np.clip(share, 0.0, 1.0))


def missed_by(past: Past, scorer: Scorer, days: int) -> float:
    """The offset of log-hazards under which the log's last `days` were most likely, foretold as of the day before."""
    day = past.until_day - days
    then = past.earlier(day)
    states = then.log.states.take(then.customers)
    log_hazards = raw_log_hazards(states, scorer, shop_token(then.log.states, day))[:, _HEAD]
    panel = moment_panel(past, day, targets_of(past))
    gap_days, observed = panel.gap_days[panel.last, _HEAD].astype(np.float64), panel.observed[panel.last, _HEAD]
    hazards = np.exp(log_hazards.astype(np.float64))
    survived = (
        hazards * (exposure_days(gap_days - observed) - exposure_days(panel.entry_days.astype(np.float64)))
    ).sum()
    in_event = (hazards * (exposure_days(gap_days) - exposure_days(gap_days - observed))).sum(axis=1)[observed]
    return _most_likely(float(survived), in_event)


def _most_likely(survived: float, in_event: np.ndarray) -> float:
    """Newton's method on the log-likelihood of an offset a, -exp(a) survived + sum log(1 - exp(-exp(a) in_event)), with
    a normal prior."""
    offset = 0.0
    for _ in range(_NEWTON_STEPS):
        scaled = np.exp(offset) * in_event
        odds = scaled / np.expm1(np.maximum(scaled, 1e-12))
        slope = -np.exp(offset) * survived + odds.sum() - offset / _OFFSET_STD**2
        bend = -np.exp(offset) * survived - (odds * (scaled + odds - 1)).sum() - 1 / _OFFSET_STD**2
        step = float(np.clip(slope / bend, -1, 1))
        offset -= step
        if abs(step) < 1e-9:
            break
    return float(offset)
