"""Alerts to MarketingTriggers: what is triggered, for whom, with which words, and when it may be sent."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from consumer.core.actions import leading
from consumer.core.conduct import Conduct, QuietHours
from schemas.alert import Action, RetentionAlert
from schemas.trigger import MarketingTrigger

NextItems = Mapping[str, Sequence[str]]  # item to what is bought next, the most frequent first

VALID_DAYS: Final = {
    Action.CUSTOMER_SERVICE_CALLBACK: 2,  # an apology that comes late is none
    Action.RECOMMENDATION: 7,
    Action.COUPON: 14,
    Action.WIN_BACK_MESSAGE: 14,
}
MOST_ALSO_BOUGHT: Final = 5
_TOLD_FEATURES: Final = (
    "days_since_last_purchase", "total_target_events", "purchase_gap_mean_days", "spend_90d", "discount_90d",
    "cart_adds_30d", "mean_sentiment_90d",
)  # fmt: skip


def build_trigger(
    alert: RetentionAlert, header: np.void, conduct: Conduct, next_items: NextItems
) -> MarketingTrigger | None:
    """The trigger of an alert, given the header of the customer's state at its decision; None if nothing is done."""
    [action] = alert.suggested_actions
    if action is Action.NONE:
        return None
    language = header["language"].decode() or conduct.language
    categories, items = names_of(header["categories"]), names_of(header["items"])
    from_when = send_after(alert.emitted_at, conduct.quiet_hours)
    return MarketingTrigger(
        trigger_id=blake2b(f"{alert.alert_id}:{action}".encode(), digest_size=16).hexdigest(),
        alert_id=alert.alert_id,
        user_id=alert.user_id,
        action=action,
        tier=alert.tier,
        parameters=dict(_parameters(alert, categories, items, language)),
        favourite_categories=categories,
        favourite_items=items,
        also_bought=also_bought(items, next_items),
        language=language,
        decided_at=alert.decided_at,
        created_at=alert.emitted_at,
        send_after=from_when,
        expires_at=from_when + timedelta(days=VALID_DAYS[action]),
    )


def names_of(favourites: np.ndarray) -> list[str]:
    """Of one user, the best first."""
    return [name.decode() for name in favourites["name"].tolist() if name]


def _parameters(
    alert: RetentionAlert, categories: Sequence[str], items: Sequence[str], language: str
) -> Iterator[tuple[str, str | float]]:
    code = leading([(each.code, each.contribution) for each in alert.reasons])
    yield "reason", code
    spoken = language.partition("-")[0]
    yield from [("reason_text", each.texts.get(spoken, each.text)) for each in alert.reasons if each.code == code]
    yield "churn_probability", alert.churn_probability
    yield "silence_days", alert.silence_days
    for name in _TOLD_FEATURES:
        value = alert.features[name]
        if value is not None:
            yield name, value
    yield from [("favourite_category", name) for name in categories[:1]]
    yield from [("favourite_item", name) for name in items[:1]]


def also_bought(items: Sequence[str], next_items: NextItems) -> list[str]:
    """What others who bought these bought next: of the dearest item first, nothing twice, and nothing of `items`."""
    found = dict.fromkeys(each for item in items for each in next_items.get(item, ()))
    return [each for each in found if each not in items][:MOST_ALSO_BOUGHT]


def send_after(now: datetime, quiet: QuietHours | None) -> datetime:
    """`now`, or the end of the quiet hours that it falls into."""
    if quiet is None:
        return now
    zone = ZoneInfo(quiet.timezone)
    local = now.astimezone(zone)
    if not _is_quiet(local.time(), quiet):
        return now
    date = local.date() + timedelta(days=local.time() >= quiet.end)
    end = datetime.combine(date, quiet.end, zone)
    return max(end.replace(fold=fold).astimezone(UTC) for fold in (0, 1))  # where clocks change it may come twice


def _is_quiet(at: time, quiet: QuietHours) -> bool:
    if quiet.start <= quiet.end:
        return quiet.start <= at < quiet.end
    return at >= quiet.start or at < quiet.end
