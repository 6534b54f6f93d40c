"""What a trigger carries, and when it may be sent."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.catalogues import load_languages
from consumer.core.actions import TRIGGERED
from consumer.core.alerts import AlertContext, build_alert, instant
from consumer.core.conduct import Conduct, ControlGroup, QuietHours
from consumer.core.state import NO_TIME, empty_states
from consumer.core.triggers import VALID_DAYS, NextItems, also_bought, build_trigger, send_after
from histories import Happened, columns, day, engine
from schemas.alert import Action, Provenance
from schemas.event import EventType
from schemas.trigger import MarketingTrigger

BUY, VIEW, UNSUBSCRIBE = EventType.PURCHASE, EventType.VIEW_ITEM, EventType.UNSUBSCRIBE
SOURCE = Provenance(topic="shop.events", partition=0, offset=None)
NIGHT = QuietHours(time(21), time(8), "Europe/Berlin")
NOON = QuietHours(time(12), time(14), "UTC")
PUBLISHED_MS = day(500)


def triggers(
    *history: Happened, conduct: Conduct | None = None, next_items: NextItems | None = None
) -> list[MarketingTrigger]:
    """Triggers of one user's history and of the silence after it."""
    machine, states = replace(engine(), conduct=conduct or Conduct()), empty_states(1)
    context = AlertContext("m1", 30.0, machine.conduct, languages=load_languages())
    _, decided = machine.on_events(states, columns(history), np.full(len(history), NO_TIME))
    decided += machine.on_silence(states, np.array([0]), np.array([day(100)]))
    found = [
        build_trigger(
            build_alert(part, index, "Zoë", SOURCE, context, PUBLISHED_MS),
            part.header[index],
            machine.conduct,
            next_items or {},
        )
        for part in decided.alerts
        for index in range(len(part.decisions))
    ]
    return [each for each in found if each]


def test_a_trigger_says_what_a_template_needs() -> None:
    """Favourites and language of the moment of decision, the reason in words, and the numbers that are known."""
    history = [
        Happened(BUY, day(0), value=30.0, item="lamp", category="light", language="de"),
        Happened(VIEW, day(0.1), item="chair", category="seats"),
    ]
    first, second = triggers(*history, next_items={"lamp": ("bulb", "chair")})
    assert (first.action, second.action) == (Action.RECOMMENDATION, Action.WIN_BACK_MESSAGE)
    assert first.user_id == "Zoë"
    assert first.favourite_categories == ["light", "seats"]
    assert first.favourite_items == ["lamp", "chair"]
    assert first.also_bought == ["bulb"]
    assert first.language == "de"
    told = first.parameters
    assert (told["favourite_item"], told["favourite_category"], told["total_target_events"]) == ("lamp", "light", 1.0)
    assert told["reason_text"]
    assert "purchase_gap_mean_days" not in told


def test_what_comes_later_in_the_batch_is_not_in_it() -> None:
    """A purchase after the decision, in the same batch, changes no favourite of the trigger."""
    bought = [Happened(BUY, day(each), item=f"item-{each}", language="de" if each else "en") for each in (0, 50)]
    first, *_ = triggers(*bought)
    assert (first.favourite_items, first.language) == (["item-0"], "en")


def test_the_language_may_be_the_policy_s() -> None:
    """A customer whose locale was never told gets the policy's language."""
    assert {each.language for each in triggers(Happened(BUY, day(0)), conduct=Conduct(language="zh"))} == {"zh"}


@pytest.mark.parametrize(("language", "is_english"), [("zh", False), ("zh-CN", False), ("de", True), ("en", True)])
def test_the_reason_is_in_the_customer_s_language(language: str, is_english: bool) -> None:
    """In Chinese for whoever reads it, in English for whom there is no catalogue."""
    for each in triggers(Happened(BUY, day(0)), conduct=Conduct(language=language)):
        assert str(each.parameters["reason_text"]).isascii() == is_english


def test_the_control_group_is_never_triggered() -> None:
    """Nobody gets anything if everybody is held out."""
    assert triggers(Happened(BUY, day(0)), conduct=Conduct(control=ControlGroup(1.0))) == []


def test_who_has_unsubscribed_is_never_triggered() -> None:
    """Without consent there is an alert, and no trigger."""
    assert triggers(Happened(BUY, day(0)), Happened(UNSUBSCRIBE, day(1))) == []


def test_ids_are_of_alert_and_action() -> None:
    """The same decision has the same trigger id; another tier's has another."""
    first, second = triggers(Happened(BUY, day(0)))
    assert first.trigger_id != second.trigger_id
    assert [each.trigger_id for each in triggers(Happened(BUY, day(0)))] == [first.trigger_id, second.trigger_id]


def test_quiet_hours_postpone_and_expiry_counts_from_their_end() -> None:
    """Published at midnight, a recommendation may be sent at eight, and is valid for a week from then on."""
    first, _ = triggers(Happened(BUY, day(0)), conduct=Conduct(quiet_hours=QuietHours(time(21), time(8), "UTC")))
    assert first.created_at == instant(PUBLISHED_MS)
    assert first.send_after == first.created_at + timedelta(hours=8)
    assert first.expires_at == first.send_after + timedelta(days=7)


@pytest.mark.parametrize("action", TRIGGERED)
def test_every_action_expires(action: Action) -> None:
    """No trigger is valid for ever."""
    assert VALID_DAYS[action] > 0


@pytest.mark.parametrize(
    ("quiet", "now", "expected"),
    [
        (None, "2026-03-04T23:00+00:00", "2026-03-04T23:00+00:00"),
        (NOON, "2026-03-04T11:59+00:00", "2026-03-04T11:59+00:00"),
        (NOON, "2026-03-04T12:00+00:00", "2026-03-04T14:00+00:00"),
        (NOON, "2026-03-04T14:00+00:00", "2026-03-04T14:00+00:00"),
        (NIGHT, "2026-03-04T19:59+00:00", "2026-03-04T19:59+00:00"),
        (NIGHT, "2026-03-04T20:00+00:00", "2026-03-05T07:00+00:00"),
        (NIGHT, "2026-03-05T06:00+00:00", "2026-03-05T07:00+00:00"),
        (NIGHT, "2026-03-28T22:00+00:00", "2026-03-29T06:00+00:00"),  # clocks go forward
        (NIGHT, "2026-10-24T22:00+00:00", "2026-10-25T07:00+00:00"),  # clocks go back
        (QuietHours(time(8), time(8), "UTC"), "2026-03-04T08:00+00:00", "2026-03-04T08:00+00:00"),
    ],
)
def test_quiet_hours_end_in_local_time(quiet: QuietHours | None, now: str, expected: str) -> None:
    """Within them it is their end, over midnight and changes of clocks; outside it is now."""
    assert send_after(datetime.fromisoformat(now), quiet) == datetime.fromisoformat(expected)


MINUTES = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))


@given(MINUTES, MINUTES, st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]), st.data())
def test_nothing_is_sent_in_quiet_hours(start: time, end: time, zone: str, data: st.DataObject) -> None:
    """Never before now, never more than a day and an hour later, and its own moment needs no more waiting."""
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=data.draw(st.integers(0, 366 * 24 * 60)))
    quiet = QuietHours(start, end, zone)
    sent = send_after(now, quiet)
    assert now <= sent <= now + timedelta(hours=25)
    assert send_after(sent, quiet) == sent


def test_what_others_bought_next_is_nothing_of_one_s_own() -> None:
    """Of the dearest item first, nothing twice, none of the favourites themselves, and five at most."""
    table = {"a": ("b", "x", "y"), "b": ("y", "z"), "c": ("1", "2", "3")}
    assert also_bought(["a", "b", "c"], table) == ["x", "y", "z", "1", "2"]
    assert also_bought(["unknown"], table) == []
