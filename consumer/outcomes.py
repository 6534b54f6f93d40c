"""Were the alerts right? At regular moments, compare customers with an open alert to those without."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field

from consumer.core.calendar import DAY_MS
from schemas.alert import Tier

NOT_ALERTED = "not alerted"
GROUPS = (NOT_ALERTED, *Tier)


@dataclass
class Outcome:
    """Customers of one group, counted once at every moment of comparison, and how many of them came back."""

    customers: int = 0
    stayed: int = 0

    @property
    def share(self) -> float:
        """Share that stayed: a target event came within the horizon."""
        return self.stayed / self.customers if self.customers else 0.0


@dataclass
class FollowUp:
    """Collects target events and alerts, in any order; tells what became of the customers."""

    horizon_days: float
    _times: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _alerts: defaultdict[str, list[tuple[int, Tier]]] = field(default_factory=lambda: defaultdict(list))

    def stayed(self, user_id: str, time_ms: int) -> None:
        """A customer bought, or did what else counts as staying."""
        self._times[user_id].append(time_ms)

    def alert(self, user_id: str, decided_ms: int, tier: Tier) -> None:
        """An alert was raised about a customer."""
        self._alerts[user_id].append((decided_ms, tier))

    def outcomes(self, from_ms: int, until_ms: int) -> dict[str, Outcome]:
        """By group, over moments one horizon apart from `from_ms` on, the last one a horizon before `until_ms`.

        A customer belongs to the highest tier alerted since their last target event, or to the not alerted.
        """
        horizon_ms = int(self.horizon_days * DAY_MS)
        groups = {str(name): Outcome() for name in GROUPS}
        for user_id, times in self._times.items():
            times.sort()
            for moment in range(from_ms, until_ms - horizon_ms + 1, horizon_ms):
                before = bisect_right(times, moment)
                if before:
                    outcome = groups[self._group(user_id, times[before - 1], moment)]
                    outcome.customers += 1
                    outcome.stayed += bisect_right(times, moment + horizon_ms) > before
        return groups

    def _group(self, user_id: str, last_target_ms: int, moment: int) -> str:
        tiers = [tier for at, tier in self._alerts.get(user_id, ()) if last_target_ms < at <= moment]
        return str(max(tiers, key=list(Tier).index)) if tiers else NOT_ALERTED
