"""What counts as staying, in the words of the page: by the configured target."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from consumer.core.calendar import Calendar
from consumer.core.events import KINDS
from consumer.core.fold import FoldRules, Target
from schemas.event import EventType


@dataclass(frozen=True)
class Wording:
    """How a target event is called."""

    one: str  # "… was alerted before 30 days without … were over"
    last: str  # "days since the last …"
    none: str  # "… for 30 days"
    many: str  # "after 3 … or more"
    nothing: str  # "right: … in the 30 days after"
    stayed: str  # "customers who … within 30 days"
    came_back: str  # "… 12 days later"
    stayed_away: str  # "… in this log"


WORDINGS: Final[dict[Target, Wording]] = {
    "purchase": Wording(
        one="a purchase",
        last="purchase",
        none="no purchase",
        many="purchases",
        nothing="nothing bought",
        stayed="bought",
        came_back="bought again",
        stayed_away="did not buy again",
    ),
    "activity": Wording(
        one="any activity",
        last="activity",
        none="no activity",
        many="events",
        nothing="no activity",
        stayed="were active",
        came_back="active again",
        stayed_away="was not active again",
    ),
}


def target_types(target: Target) -> frozenset[EventType]:
    """Which event types count as staying."""
    counts = FoldRules(Calendar(), target).is_target(np.arange(len(KINDS)))
    return frozenset(kind for kind, does in zip(KINDS, counts.tolist(), strict=True) if does)
