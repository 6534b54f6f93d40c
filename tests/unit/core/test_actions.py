"""Which action an alert leads to, and when it leads to none."""

from dataclasses import replace

import numpy as np
import pytest

from consumer.core.actions import ACTIONS, TRIGGERED, leading, wanted
from consumer.core.alerts import Evidence
from consumer.core.conduct import ActionCaps, Conduct
from consumer.core.packing import pack, unpack
from consumer.core.state import NO_DAY, empty_states
from histories import DAY_0, Happened, columns, day, engine
from schemas.alert import Action, Tier
from schemas.event import EventType

BUY, VIEW, REFUND, UNSUBSCRIBE = EventType.PURCHASE, EventType.VIEW_ITEM, EventType.REFUND, EventType.UNSUBSCRIBE
CALL, RECOMMEND, WIN_BACK = Action.CUSTOMER_SERVICE_CALLBACK, Action.RECOMMENDATION, Action.WIN_BACK_MESSAGE
CONDUCT = Conduct()


def actions(evidence: list[Evidence]) -> list[Action]:
    """Of every alert, in order."""
    return [action for part in evidence for action in part.actions]


def run(*history: Happened, until: float, conduct: Conduct = CONDUCT, cuts: bool = False) -> list[Action]:
    """Actions of one user's history and the silence after it; every event is a batch of its own if it is cut."""
    machine = replace(engine(), conduct=conduct)
    states, chosen = empty_states(1), []
    events = columns(history)
    for part in range(len(events)) if cuts else [slice(None)]:
        states = unpack(pack(states))
        chosen += actions(machine.on_events(states, events.take(np.atleast_1d(np.arange(len(events))[part])))[1])
    return chosen + actions(machine.on_silence(states, np.array([0]), np.array([day(until)])))


@pytest.mark.parametrize(
    ("code", "at_risk", "critical"),
    [
        ("discount_dependence", Action.COUPON, Action.COUPON),
        ("spend_falling", Action.COUPON, Action.COUPON),
        ("browsing_falling", RECOMMEND, RECOMMEND),
        ("cart_abandoned", RECOMMEND, RECOMMEND),
        ("frequency_falling", RECOMMEND, RECOMMEND),
        ("sentiment_falling", CALL, CALL),
        ("refunds_or_tickets", CALL, CALL),
        ("rhythm_broken", RECOMMEND, WIN_BACK),
        ("history", RECOMMEND, WIN_BACK),
        ("newcomer", RECOMMEND, WIN_BACK),
    ],
)
def test_the_leading_reason_decides(code: str, at_risk: Action, critical: Action) -> None:
    """What adds most to the risk leads to its row of the table, whatever the base rate and the lesser reasons are."""
    lesser = "history" if code == "spend_falling" else "spend_falling"
    reasons = [("base_rate", 0.5), (lesser, 0.1), (code, 0.2), ("refunds_or_tickets", -0.3)]
    assert wanted(reasons, Tier.AT_RISK, is_complaint=False) is at_risk
    assert wanted(reasons, Tier.CRITICAL, is_complaint=False) is critical


def test_every_action_can_be_reached() -> None:
    """The table leads to each action that has a topic."""
    assert {action for of_tier in ACTIONS.values() for action in of_tier} == set(TRIGGERED)


def test_a_complaint_is_called_about() -> None:
    """Whatever leads, somebody who has just complained is called."""
    assert wanted([("spend_falling", 0.9)], Tier.AT_RISK, is_complaint=True) is CALL


def test_the_first_of_equal_reasons_leads() -> None:
    """Ties go by order, and what lowers the risk does not lead."""
    assert leading([("base_rate", 0.9), ("newcomer", 0.1), ("spend_falling", 0.1)]) == "newcomer"
    assert leading([("base_rate", 0.9), ("history", -0.1)]) == "base_rate"


def test_who_has_unsubscribed_is_left_alone() -> None:
    """An unsubscribed customer is alerted, and nothing is done; unless the policy does not ask for consent."""
    history = (Happened(BUY, day(0)), Happened(UNSUBSCRIBE, day(1)))
    assert set(run(*history, until=100)) == {Action.NONE}
    assert Action.NONE not in run(*history, until=100, conduct=Conduct(requires_consent=False))


@pytest.mark.parametrize(("days", "again"), [(13, Action.NONE), (14, RECOMMEND), (15, RECOMMEND)])
def test_the_same_action_waits_for_its_cap(days: int, again: Action) -> None:
    """A second episode's action is the first one's again: it is left out if that was fewer than 14 days ago."""
    history = (Happened(BUY, day(0)), Happened(BUY, day(days)))
    assert run(*history, until=days + 6) == [RECOMMEND, WIN_BACK, again]


def test_caps_are_by_action() -> None:
    """A cap of one action leaves the others alone, and a cap of 0 days is none."""
    history = (Happened(BUY, day(0)), Happened(BUY, day(8)))
    twice = [RECOMMEND, WIN_BACK, RECOMMEND, WIN_BACK]
    assert run(*history, until=100, conduct=Conduct(caps=ActionCaps(0.0))) == twice
    capped = Conduct(caps=ActionCaps(0.0, (("win_back_message", 30.0),)))
    assert run(*history, until=100, conduct=capped) == [*twice[:3], Action.NONE]


def test_what_was_done_is_remembered() -> None:
    """The state keeps the local day of each action, and of no other."""
    machine, states = engine(), empty_states(1)
    machine.on_events(states, columns([Happened(BUY, day(0.5))]))
    machine.on_silence(states, np.array([0]), np.array([day(7)]))
    triggered = dict(zip(TRIGGERED, states.header["triggered_day"][0].tolist(), strict=True))
    assert triggered == {Action.COUPON: NO_DAY, CALL: NO_DAY, WIN_BACK: NO_DAY, RECOMMEND: DAY_0 + 5}


def test_an_erased_user_has_no_caps() -> None:
    """What was done before a tombstone does not count after it, in one batch or in several."""
    life = (Happened(BUY, day(0)), Happened(REFUND, day(1)))
    history = (*life, Happened(None, day(2)), Happened(BUY, day(2)), Happened(REFUND, day(3)))
    assert run(*history, until=3) == run(*history, until=3, cuts=True) == [CALL, CALL]


def test_actions_do_not_depend_on_how_batches_are_cut() -> None:
    """Many episodes in one batch get the same actions as one by one."""
    rng = np.random.default_rng(5)
    at = np.cumsum(rng.uniform(0.5, 9.0, 60)).tolist()
    kinds = rng.choice([BUY, BUY, BUY, VIEW, REFUND], 60)
    history = [Happened(EventType(kind), day(each)) for kind, each in zip(kinds, at, strict=True)]
    chosen = run(*history, until=1_000)
    assert chosen == run(*history, until=1_000, cuts=True)
    assert {*chosen} > {Action.NONE, RECOMMEND, CALL}
    assert len(chosen) > 20
