"""Times, days and totals of a state's header as unsigned integers, and back to the bit.

They are mostly differences, which are zero or short for most users, and wrap around, so that none is out of range.
"""

from typing import Final

import numpy as np

from consumer.core.state import NO_DAY, NO_TIME, TRIGGER_ACTIONS

_SHORT: Final = 9 + TRIGGER_ACTIONS  # first days, totals, float32 numbers and a language
NUMBERS: Final = _SHORT + 8
NUMBER_BYTES: Final = np.array([4] * _SHORT + [8] * 7 + [1])  # at most: then times and an id, then flags
_NO_DAY: Final = np.array(NO_DAY).astype(np.uint32)


def to_numbers(header: np.ndarray, first_day: np.ndarray) -> np.ndarray:
    """Numbers, uint64 (U, NUMBERS), of headers (U,) and of the oldest kept day of each user, int32 (U,)."""
    evicted, bought = (header[name].astype(np.uint32) for name in ("evicted_day", "evicted_purchase_day"))
    first_ms, last_ms = header["first_ms"], header["last_ms"]
    columns = (
        first_day.astype(np.uint32),
        evicted - _NO_DAY,
        evicted - bought,
        header["target_events"],
        header["events"] - header["target_events"],
        header["affinity_day"].astype(np.uint32) - _NO_DAY,
        header["sample_risk"].view(np.uint32),
        header["published_risk"].view(np.uint32),
        header["language"].view(np.uint32),
        *(header["triggered_day"].astype(np.uint32) - _NO_DAY).T,
        first_ms - NO_TIME,
        last_ms - first_ms,
        last_ms - header["last_target_ms"],
        header["episode_ms"] - NO_TIME,
        header["last_alert_ms"] - header["episode_ms"],
        header["sample_ms"] - NO_TIME,
        header["anchor_id"],
        header["sample_flags"],
    )
    numbers = np.empty((len(header), NUMBERS), np.uint64)
    for position, column in enumerate(columns):
        numbers[:, position] = column
    return numbers


def from_numbers(header: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The inverse: set these fields of `header` (U,); returns the oldest kept days, uint32 (U,)."""
    short = numbers[:, :_SHORT].T.astype(np.uint32)
    first_day, since_none, since_bought, target_events, others = short[:5]
    affinity, sample_risk, published_risk, language, *triggered = short[5:]
    evicted = since_none + _NO_DAY
    header["evicted_day"] = evicted
    header["evicted_purchase_day"] = evicted - since_bought
    header["target_events"] = target_events
    header["events"] = target_events + others
    header["affinity_day"] = affinity + _NO_DAY
    header["sample_risk"], header["published_risk"] = sample_risk.view("<f4"), published_risk.view("<f4")
    header["language"] = language.view("S4")
    header["triggered_day"] = np.stack(triggered, axis=1) + _NO_DAY
    _set_times(header, numbers[:, _SHORT:-2].T.astype(np.int64))
    header["anchor_id"] = numbers[:, -2]
    header["sample_flags"] = numbers[:, -1]
    return first_day


def _set_times(header: np.ndarray, times: np.ndarray) -> None:
    first_ms, lasted_ms, since_target_ms, episode_ms, alert_ms, sample_ms = times
    header["first_ms"] = first_ms + NO_TIME
    header["last_ms"] = header["first_ms"] + lasted_ms
    header["last_target_ms"] = header["last_ms"] - since_target_ms
    header["episode_ms"] = episode_ms + NO_TIME
    header["last_alert_ms"] = header["episode_ms"] + alert_ms
    header["sample_ms"] = sample_ms + NO_TIME
