"""What may be done about an alert: the part of the policy beyond the decision that there is one."""

from dataclasses import dataclass, field
from datetime import time


@dataclass(frozen=True)
class QuietHours:
    """Local times between which nobody is disturbed; over midnight if it ends before it begins."""

    start: time
    end: time
    timezone: str


@dataclass(frozen=True)
class ControlGroup:
    """A fixed share of users, by a hash with the experiment's salt, who are alerted but not contacted."""

    share: float = 0.0
    salt: str = ""


@dataclass(frozen=True)
class SpendPrior:
    """Expected spend: a user's own mean per purchase, shrunk to `spend` as if that were so many more `purchases`."""

    horizon_days: float = 365.0
    spend: float | None = None  # None: nothing is known of what the shop's customers spend
    purchases: float = 3.0


@dataclass(frozen=True)
class ActionCaps:
    """Days between two triggers of the same action to the same user."""

    default_days: float = 14.0
    by_action: tuple[tuple[str, float], ...] = ()

    def days(self, action: str) -> float:
        """Of one action."""
        return dict(self.by_action).get(action, self.default_days)


@dataclass(frozen=True)
class Conduct:
    """All of it."""

    control: ControlGroup = field(default_factory=ControlGroup)
    alerts_per_day: float | None = None  # None: as many as there are
    quiet_hours: QuietHours | None = None
    requires_consent: bool = True
    value: SpendPrior = field(default_factory=SpendPrior)
    caps: ActionCaps = field(default_factory=ActionCaps)
    language: str = "en"
