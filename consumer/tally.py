"""What people want to know of a replayed log: how many events and alerts, and what became of the customers."""

from datetime import UTC, date, datetime, time

import numpy as np
from pydantic import AwareDatetime, BaseModel, ValidationError

from consumer.backtest.findings import Alerts, Findings, examine
from consumer.backtest.history import Chronicle
from consumer.backtest.judging import Window
from consumer.backtest.recording import Curves
from consumer.backtest.wording import target_types
from consumer.core.actions import TIERS
from consumer.core.calendar import DAY_MS
from consumer.core.fold import Target
from consumer.core.policy import Policy
from consumer.outcomes import FollowUp
from schemas.alert import Cause, Tier
from schemas.event import MAX_TIME_MS, ShopEvent
from schemas.manifest import Manifest


class AlertLine(BaseModel):
    """What a tally needs of a `RetentionAlert`: reading the rest would take longer than all that is done with it."""

    user_id: str
    tier: Tier
    cause: Cause
    churn_probability: float
    expected_spend: float | None
    decided_at: AwareDatetime


class Tally:
    """Filled from the records that go in and the alerts that come out, in any order; judges by `target`."""

    def __init__(self, manifest: Manifest, target: Target = "purchase") -> None:
        self._target, self._targets = target, target_types(target)
        self.events = 0
        self.dead_letters = 0
        self.alerts = {str(tier): 0 for tier in Tier}
        self.chronicle = Chronicle()
        self.currencies: set[str] = set()
        self._first_ms: int | None = None
        self._last_ms = 0
        self._follow_up = FollowUp(manifest.horizon_days)
        self._told: list[tuple[int, int, int, bool, float, float]] = []
        self._adapted_until_ms = _midnight_ms(manifest.shop.until) if manifest.shop else 0

    def event(self, value: bytes, latest_ms: int = MAX_TIME_MS) -> ShopEvent | None:
        """A record goes in; returns its event.

        Of one that is no valid event, or after `latest_ms`, nothing but the count is kept.
        """
        self.events += 1
        try:
            event = ShopEvent.model_validate_json(value)
        except ValidationError:
            return None
        time_ms = event.time_ms
        if time_ms > latest_ms:
            return None
        self.chronicle.user(event.user_id)
        self._first_ms = time_ms if self._first_ms is None else min(self._first_ms, time_ms)
        self._last_ms = max(self._last_ms, time_ms)
        if event.event_type in self._targets:
            self._follow_up.stayed(event.user_id, time_ms)
            self.chronicle.stayed(event.user_id, time_ms)
        if event.currency and event.value is not None:
            self.currencies.add(event.currency)
        return event

    @property
    def users(self) -> int:
        """How many there are."""
        return len(self.chronicle.users)

    def alert(self, value: bytes) -> None:
        """A `RetentionAlert` came out."""
        alert = AlertLine.model_validate_json(value)
        self.alerts[alert.tier] += 1
        decided_ms = round(alert.decided_at.timestamp() * 1000)
        self._follow_up.alert(alert.user_id, decided_ms, alert.tier)
        user, tier = self.chronicle.user(alert.user_id), TIERS.index(alert.tier)
        spend = float("nan") if alert.expected_spend is None else alert.expected_spend
        by_silence = alert.cause is Cause.SILENCE
        self._told.append((user, decided_ms, tier, by_silence, alert.churn_probability, spend))

    @property
    def window(self) -> Window:
        """What is judged: from one horizon after the first event on, and only after what the model was adapted to."""
        horizon_ms = int(self._follow_up.horizon_days * DAY_MS)
        return Window(max((self._first_ms or 0) + horizon_ms, self._adapted_until_ms), self._last_ms, horizon_ms)

    def findings(self, curves: Curves, policy: Policy) -> Findings:
        """The back-test. `curves` number their users as `chronicle` does.

        Amounts of several currencies cannot be added up: then nothing is known of spend.
        """
        columns = [np.array(column) for column in zip(*self._told, strict=True)] or [np.zeros(0, np.int64)] * 6
        if len(self.currencies) > 1:
            columns[-1] = np.full(len(self._told), np.nan)
        return examine(self.chronicle.history(), self.window, Alerts(*columns), curves, policy, self._target)

    def summary(self) -> dict[str, object]:
        """As `summary.json` has it; outcomes count within `window`."""
        window = self.window
        outcomes = self._follow_up.outcomes(window.from_ms, window.until_ms)
        return {
            "events": self.events,
            "users": self.users,
            "dead_letters": self.dead_letters,
            "alerts": self.alerts,
            "target": self._target,
            "horizon_days": self._follow_up.horizon_days,
            "judged_from": datetime.fromtimestamp(window.from_ms / 1000, UTC).date().isoformat(),
            "judged_dates": max(0, (window.until_ms - window.from_ms) // window.horizon_ms),
            "stayed_within_horizon": {
                group: {"customers": each.customers, "stayed": each.stayed, "share": round(each.share, 4)}
                for group, each in outcomes.items()
            },
        }


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp() * 1000)
