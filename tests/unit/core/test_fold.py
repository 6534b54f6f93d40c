"""What each event does to its user's state."""

import numpy as np
import pytest

from consumer.core.events import rounds
from consumer.core.fold import Fate, fold, target_count
from consumer.core.state import MAX_DAYS, NO_DAY, NO_TIME, RECENT_IDS, empty_states
from histories import DAY_0, HOUR_MS, MINUTE_MS, Happened, columns, day, fold_rules, folded, user_days
from schemas.event import EventType

VIEW, BUY = EventType.VIEW_ITEM, EventType.PURCHASE


def fates(*history: Happened, users: int = 1) -> list[Fate]:
    return [Fate(each) for each in fold(empty_states(users), columns(history), fold_rules()).tolist()]


COUNTED = {
    EventType.VIEW_ITEM: "views",
    EventType.SEARCH: "searches",
    EventType.ADD_TO_CART: "cart_adds",
    EventType.REMOVE_FROM_CART: "cart_removals",
    EventType.BEGIN_CHECKOUT: "checkouts",
    EventType.PURCHASE: "purchases",
    EventType.REFUND: "refunds",
    EventType.SESSION_START: None,
    EventType.REVIEW: "reviews",
    EventType.SUPPORT_TICKET: "tickets",
    EventType.EMAIL_OPEN: "email_opens",
    EventType.EMAIL_CLICK: None,
    EventType.CAMPAIGN_RECEIVED: "campaign_contacts",
    EventType.COUPON_REDEMPTION: "coupons",
    EventType.UNSUBSCRIBE: "unsubscribes",
}


@pytest.mark.parametrize("kind", EventType)
def test_an_event_is_counted_as_what_it_is(kind: EventType) -> None:
    """Every event counts once as an event, and once under its own name if it has one."""
    [only] = user_days(folded([Happened(kind, day(0))]))
    counted = {name: count for name, count in only.items() if count and name not in ("day", "first_ms", "last_ms")}
    assert counted == {"events": 1, "sessions": 1} | ({COUNTED[kind]: 1} if COUNTED[kind] else {})


def test_only_purchases_are_spend() -> None:
    """The value of a purchase is spend, of a refund refunded, of anything else neither."""
    [only] = user_days(folded([Happened(kind, day(0), value=7.0) for kind in EventType]))
    assert (only["spend"], only["refunded"]) == (7.0, 7.0)


def test_discounts_and_dwell_times_add_up() -> None:
    """Discounts and browsing seconds are summed over the day, whatever the event."""
    [only] = user_days(folded([Happened(VIEW, day(0), dwell_s=1.5), Happened(BUY, day(0), dwell_s=2.0, discount=3.0)]))
    assert (only["dwell_s"], only["discount"]) == (3.5, 3.0)


def test_a_coupon_counts_where_it_is_used() -> None:
    """A purchase with a coupon and a redemption count as coupons; a view that names one does not."""
    history = [Happened(kind, day(0), coupon=True) for kind in (BUY, EventType.COUPON_REDEMPTION, VIEW)]
    [only] = user_days(folded(history))
    assert only["coupons"] == 2


def test_no_opinion_is_not_a_neutral_one() -> None:
    """Sentiment is summed over the events that have one, and their number kept."""
    history = [Happened(EventType.REVIEW, day(0), sentiment=each) for each in (0.5, float("nan"), -0.75, 0.0)]
    [only] = user_days(folded(history))
    assert (only["opinions"], only["sentiment"], only["negative_texts"]) == (3, -0.25, 1)


def test_a_session_ends_after_half_an_hour() -> None:
    """A gap of exactly 30 minutes is the same session, a millisecond more is another."""
    [only] = user_days(
        folded(
            [
                Happened(VIEW, day(0)),
                Happened(VIEW, day(0) + 30 * MINUTE_MS),
                Happened(VIEW, day(0) + 60 * MINUTE_MS + 1),
            ]
        )
    )
    assert only["sessions"] == 2


def test_the_first_and_last_time_of_day_are_kept() -> None:
    """Times are milliseconds since the day began, also when events come out of order."""
    history = [Happened(VIEW, day(0) + hour * HOUR_MS) for hour in (9, 17, 8, 12)]
    [only] = user_days(folded(history))
    assert (only["first_ms"], only["last_ms"]) == (8 * HOUR_MS, 17 * HOUR_MS)


def test_the_header_spans_all_events() -> None:
    """First, last and last target time, and the numbers of events, survive events out of order."""
    history = [Happened(VIEW, day(1)), Happened(BUY, day(0.5)), Happened(VIEW, day(0.7))]
    header = folded(history).header[0]
    assert (header["first_ms"], header["last_ms"], header["last_target_ms"]) == (day(0.5), day(1), day(0.5))
    assert (header["events"], header["target_events"]) == (3, 1)


def test_whoever_unsubscribes_stays_unsubscribed() -> None:
    """Later events do not take an unsubscription back."""
    states = folded([Happened(EventType.UNSUBSCRIBE, day(0)), Happened(BUY, day(1))])
    assert states.header["unsubscribed"].tolist() == [1]


def test_a_repeated_id_is_a_duplicate() -> None:
    """A second event with the same id changes nothing, whatever it says."""
    states = folded([Happened(BUY, day(0), event_id=5)])
    before = states.header.tobytes(), states.days.tobytes()
    again = columns([Happened(VIEW, day(9), event_id=5)])
    assert fold(states, again, fold_rules()).tolist() == [Fate.DUPLICATE]
    assert (states.header.tobytes(), states.days.tobytes()) == before


@pytest.mark.parametrize(("between", "fate"), [(RECENT_IDS - 1, Fate.DUPLICATE), (RECENT_IDS, Fate.FOLDED)])
def test_the_last_ids_are_remembered(between: int, fate: Fate) -> None:
    """A duplicate is noticed among a user's last 16 events."""
    others = [Happened(VIEW, day(0)) for _ in range(between)]
    assert fates(Happened(VIEW, day(0), event_id=5), *others, Happened(VIEW, day(0), event_id=5))[-1] == fate


def test_two_users_may_share_an_id() -> None:
    """Duplicates are looked for among the same user's events."""
    history = [Happened(VIEW, day(0), user, event_id=5) for user in (0, 1)]
    assert fates(*history, users=2) == [Fate.FOLDED, Fate.FOLDED]


def test_a_late_event_counts_on_its_own_day() -> None:
    """An event of yesterday that arrives today is added to yesterday, and starts no session."""
    history = [Happened(VIEW, day(0.9)), Happened(VIEW, day(1.1)), Happened(VIEW, day(0.95))]
    assert [(each["day"], each["events"], each["sessions"]) for each in user_days(folded(history))] == [
        (DAY_0, 2, 1),
        (DAY_0 + 1, 1, 1),
    ]


def test_a_late_event_may_open_a_day_between() -> None:
    """A late event of a day without any gets a user-day in order."""
    rules = fold_rules(max_lateness_ms=10 * 86_400_000)
    states = folded([Happened(VIEW, day(number)) for number in (0, 5, 9, 3, 1)], rules)
    assert [each["day"] - DAY_0 for each in user_days(states)] == [0, 1, 3, 5, 9]


def test_lateness_is_measured_from_the_last_event() -> None:
    """An event exactly as late as allowed is folded; a millisecond later is too late, and changes nothing."""
    assert fates(Happened(VIEW, day(5)), Happened(VIEW, day(4)), Happened(VIEW, day(4) - 1)) == [
        Fate.FOLDED,
        Fate.FOLDED,
        Fate.TOO_LATE,
    ]


def many_days(count: int) -> list[Happened]:
    return [Happened(BUY if number < 2 else VIEW, day(2 * number)) for number in range(count)]


def test_the_oldest_day_leaves_when_64_are_full() -> None:
    """The 65th active day pushes out the first; what left is remembered as a day and a purchase day."""
    states = folded(many_days(MAX_DAYS + 3))
    kept = [each["day"] - DAY_0 for each in user_days(states)]
    assert kept == [2 * number for number in range(3, MAX_DAYS + 3)]
    header = states.header[0]
    assert (header["evicted_day"] - DAY_0, header["evicted_purchase_day"] - DAY_0) == (4, 2)


def test_nothing_leaves_before() -> None:
    """With 64 active days all are kept."""
    states = folded(many_days(MAX_DAYS))
    assert len(user_days(states)) == MAX_DAYS
    assert states.header["evicted_day"].tolist() == [NO_DAY]


def test_a_late_event_older_than_all_kept_days_is_too_late() -> None:
    """When 64 days are full, an event before the oldest has nowhere to go, however late events may be."""
    rules = fold_rules(max_lateness_ms=1_000 * 86_400_000)
    states = folded(many_days(MAX_DAYS + 1), rules)
    before = states.header.tobytes(), states.days.tobytes()
    assert fold(states, columns([Happened(VIEW, day(0), event_id=1)]), rules).tolist() == [Fate.TOO_LATE]
    assert (states.header.tobytes(), states.days.tobytes()) == before


def test_a_late_day_between_full_ones_pushes_out_the_oldest() -> None:
    """When 64 days are full, a late event's new day makes the oldest leave, and the order holds."""
    rules = fold_rules(max_lateness_ms=1_000 * 86_400_000)
    states = folded([*many_days(MAX_DAYS), Happened(VIEW, day(7))], rules)
    kept = [each["day"] - DAY_0 for each in user_days(states)]
    assert kept == sorted({2 * number for number in range(1, MAX_DAYS)} | {7})
    assert states.header["evicted_day"].tolist() == [DAY_0]


def test_an_erased_user_is_unknown() -> None:
    """A tombstone leaves nothing of the user, the recent ids included."""
    bought = Happened(BUY, day(0), event_id=5)
    states = folded([bought, Happened(None, 0)])
    assert (states.header["events"][0], states.header["last_ms"][0]) == (0, NO_TIME)
    assert fold(states, columns([bought]), fold_rules()).tolist() == [Fate.FOLDED]


def test_erasing_an_unknown_user_does_no_harm() -> None:
    """A tombstone for nobody is taken note of, and that is all."""
    assert fates(Happened(None, 0)) == [Fate.ERASED]


def test_what_follows_an_erasure_starts_anew() -> None:
    """In one batch, events after the tombstone count and events before it do not."""
    history = [Happened(BUY, day(0)), Happened(BUY, day(1)), Happened(None, 0), Happened(VIEW, day(2))]
    states = folded(history)
    assert [(each["day"] - DAY_0, each["purchases"]) for each in user_days(states)] == [(2, 0)]
    assert (states.header["events"][0], states.header["target_events"][0]) == (1, 0)


@pytest.mark.parametrize("kind", EventType)
def test_activity_is_what_the_user_did(kind: EventType) -> None:
    """With activity as the target every event counts but what was done to the user, or means leaving."""
    rules = fold_rules(target="activity")
    states = folded([Happened(kind, day(0))], rules)
    active = int(kind not in (EventType.CAMPAIGN_RECEIVED, EventType.UNSUBSCRIBE))
    assert states.header["target_events"].tolist() == [active]
    assert target_count(states.days[:, 0], "activity").tolist() == [active]


def test_rounds_keep_each_users_order() -> None:
    """Round k holds everybody's k-th event, in the order of arrival."""
    assert [each.tolist() for each in rounds(np.array([7, 2, 7, 7, 2, 9]))] == [[0, 1, 5], [2, 4], [3]]


def test_no_events_make_no_rounds() -> None:
    """An empty batch has nothing to fold."""
    assert rounds(np.array([], np.int64)) == []
    assert fold(empty_states(0), columns([]), fold_rules()).tolist() == []


def test_days_are_those_of_the_shop() -> None:
    """Half past eleven in Berlin's evening and half an hour later are two days, though one in UTC."""
    evening = day(0) + 22 * HOUR_MS + 30 * MINUTE_MS
    states = folded([Happened(VIEW, evening), Happened(VIEW, evening + HOUR_MS)], fold_rules("Europe/Berlin"))
    assert [(each["day"] - DAY_0, each["first_ms"]) for each in user_days(states)] == [
        (0, 23 * HOUR_MS + 30 * MINUTE_MS),
        (1, 30 * MINUTE_MS),
    ]
