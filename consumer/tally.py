"""What people want to know of a replayed log: how many events and alerts, and what became of the customers."""

from datetime import UTC, date, datetime, time

from pydantic import ValidationError

from consumer.core.calendar import DAY_MS
from consumer.outcomes import FollowUp
from schemas.alert import RetentionAlert, Tier
from schemas.event import EventType, ShopEvent
from schemas.manifest import Manifest


class Tally:
    """Filled from the records that go in and the alerts that come out, in any order."""

    def __init__(self, manifest: Manifest) -> None:
        self.events = 0
        self.dead_letters = 0
        self.alerts = {str(tier): 0 for tier in Tier}
        self._users: set[str] = set()
        self._times_ms: list[int] = []
        self._follow_up = FollowUp(manifest.horizon_days)
        self._adapted_until_ms = _midnight_ms(manifest.shop.until) if manifest.shop else 0

    def event(self, value: bytes) -> ShopEvent | None:
        """A record goes in; returns its event. Of one that is no valid event nothing but the count is kept."""
        self.events += 1
        try:
            event = ShopEvent.model_validate_json(value)
        except ValidationError:
            return None
        self._users.add(event.user_id)
        self._times_ms.append(event.time_ms)
        if event.event_type is EventType.PURCHASE:
            self._follow_up.purchase(event.user_id, event.time_ms)
        return event

    @property
    def users(self) -> int:
        """How many there are."""
        return len(self._users)

    def alert(self, alert: RetentionAlert) -> None:
        """An alert came out."""
        self.alerts[alert.tier] += 1
        self._follow_up.alert(alert.user_id, round(alert.decided_at.timestamp() * 1000), alert.tier)

    def summary(self) -> dict[str, object]:
        """As `summary.json` has it.

        Outcomes count from one horizon after the first event on, and only after what the model was adapted to.
        """
        horizon_days = self._follow_up.horizon_days
        first_ms, last_ms = min(self._times_ms, default=0), max(self._times_ms, default=0)
        judged_from_ms = max(first_ms + int(horizon_days * DAY_MS), self._adapted_until_ms)
        outcomes = self._follow_up.outcomes(judged_from_ms, last_ms)
        dates = max(0, (last_ms - judged_from_ms) // int(horizon_days * DAY_MS))
        return {
            "events": self.events,
            "users": self.users,
            "dead_letters": self.dead_letters,
            "alerts": self.alerts,
            "horizon_days": horizon_days,
            "judged_from": datetime.fromtimestamp(judged_from_ms / 1000, UTC).date().isoformat(),
            "judged_dates": dates,
            "bought_within_horizon": {
                group: {"customers": each.customers, "bought": each.bought, "share": round(each.share, 4)}
                for group, each in outcomes.items()
            },
        }


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp() * 1000)
