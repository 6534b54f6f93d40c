"""From the reasons of an alert to what marketing should do about it: one table, consent, and a cap on repetition."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from consumer.core.conduct import Conduct
from consumer.core.policy import BY_COMPLAINT, Decisions
from consumer.core.state import NO_DAY, TRIGGER_ACTIONS
from schemas.alert import Action, Tier

Contributions = Sequence[tuple[str, float]]  # reason code, signed share of the churn probability

TRIGGERED: Final = tuple(action for action in Action if action is not Action.NONE)  # in the order of `triggered_day`
TIERS: Final = tuple(Tier)

# What the leading reason asks for: (at risk, critical).
_CALL = (Action.CUSTOMER_SERVICE_CALLBACK, Action.CUSTOMER_SERVICE_CALLBACK)
_COUPON = (Action.COUPON, Action.COUPON)
_RECOMMEND = (Action.RECOMMENDATION, Action.RECOMMENDATION)
LAPSED: Final = (Action.RECOMMENDATION, Action.WIN_BACK_MESSAGE)
ACTIONS: Final = {
    "sentiment_falling": _CALL,
    "refunds_or_tickets": _CALL,
    "discount_dependence": _COUPON,
    "spend_falling": _COUPON,
    "browsing_falling": _RECOMMEND,
    "cart_abandoned": _RECOMMEND,
    "frequency_falling": _RECOMMEND,
    "rhythm_broken": LAPSED,
    "newcomer": LAPSED,
    "history": LAPSED,
}
_NOBODY_S: Final = "base_rate"  # says nothing of this customer


def leading(reasons: Contributions) -> str:
    """The reason that adds most to the risk, the base rate aside; of equal ones the first."""
    own = [(code, contribution) for code, contribution in reasons if code != _NOBODY_S and contribution > 0]
    return max(own, key=lambda each: each[1])[0] if own else _NOBODY_S


def wanted(reasons: Contributions, tier: Tier, is_complaint: bool) -> Action:
    """What the table says, whether the customer may be contacted or not."""
    of_tier = _CALL if is_complaint else ACTIONS.get(leading(reasons), LAPSED)
    return of_tier[TIERS.index(tier)]


def choose(
    header: np.ndarray,
    decisions: Decisions,
    has_consent: np.ndarray,
    day: np.ndarray,
    reasons: Sequence[Contributions],
    conduct: Conduct,
) -> list[Action]:
    """The action of each decision (no user twice), on local days `day` (M,); noted in `header`, in place.

    It counts towards the cap of users in the control group as well, so that both groups are decided about alike.
    """
    chosen = []
    for index, row in enumerate(decisions.row.tolist()):
        tier = TIERS[int(decisions.tier[index]) - 1]
        action = wanted(reasons[index], tier, decisions.cause[index] == BY_COMPLAINT)
        if conduct.requires_consent and not has_consent[index]:
            action = Action.NONE
        chosen.append(_capped(header["triggered_day"][row], action, int(day[index]), conduct))
    return chosen


def _capped(triggered_day: np.ndarray, action: Action, today: int, conduct: Conduct) -> Action:
    """The action, noted in one user's `triggered_day`, or none if it is too soon after the last of the same."""
    if action is Action.NONE:
        return action
    slot = TRIGGERED.index(action)
    last = int(triggered_day[slot])
    if last != NO_DAY and today - last < conduct.caps.days(action):
        return Action.NONE
    triggered_day[slot] = today
    return action


assert len(TRIGGERED) == TRIGGER_ACTIONS
