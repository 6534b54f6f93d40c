"""An event log folded up to a cut-off: the decode and the fold that the service runs."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from consumer.core.fold import Target
from consumer.core.state import States

HEADS: Final[tuple[Target, Target]] = ("purchase", "activity")
PRIMARY_TARGET: Final = HEADS[0]  # what thresholds and metrics are about
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Log:
    """An event log folded up to, and without, local day `until_day`; `states` has one row per user."""

    users: list[str]
    states: States
    until_day: int
    events: int  # folded
    dropped: int  # unusable, duplicate or too late

    def silence_days(self) -> np.ndarray:
        """Days from the end of each user's last active day to the cut-off; int64 (U,)."""
        return self.until_day - 1 - self.states.last_day(np.arange(len(self.states)))


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days
