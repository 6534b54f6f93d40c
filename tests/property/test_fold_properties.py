"""The vectorised fold against a plain one, and what must not depend on how events are cut into batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from itertools import pairwise
from math import isnan
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.events import KINDS
from consumer.core.features import tokens
from consumer.core.fold import Fate, Target, fold
from consumer.core.packing import pack, unpack
from consumer.core.state import (
    COUNTS,
    MAX_DAYS,
    NO_DAY,
    NO_TIME,
    RECENT_IDS,
    SUM_DECIMALS,
    SUMS,
    States,
    empty_states,
)
from histories import HOUR_MS, MINUTE_MS, Happened, Moody, Run, columns, day, engine, fold_rules
from schemas.event import EventType

DAY_MS = 24 * HOUR_MS
USERS = 3
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"]
)

# The plain fold: one event at a time, dictionaries, the standard library's calendar.

NAMED = {
    "view_item": "views",
    "search": "searches",
    "add_to_cart": "cart_adds",
    "remove_from_cart": "cart_removals",
    "begin_checkout": "checkouts",
    "purchase": "purchases",
    "refund": "refunds",
    "review": "reviews",
    "support_ticket": "tickets",
    "email_open": "email_opens",
    "campaign_received": "campaign_contacts",
    "unsubscribe": "unsubscribes",
}


@dataclass
class Plain:
    """What is known of one user."""

    days: dict[int, dict[str, float]] = field(default_factory=dict)
    recent: list[int] = field(default_factory=list)
    first_ms: int = NO_TIME
    last_ms: int = NO_TIME
    last_target_ms: int = NO_TIME
    events: int = 0
    targets: int = 0
    unsubscribed: bool = False
    evicted_day: int = NO_DAY
    evicted_purchase_day: int = NO_DAY


class PlainFold:
    """Folds events one by one."""

    def __init__(self, zone: str, target: Target, max_lateness_ms: int) -> None:
        self.zone, self.target, self.max_lateness_ms = ZoneInfo(zone), target, max_lateness_ms
        self.users: dict[int, Plain] = {}

    def fold(self, event: Happened) -> Fate:
        """Take one event in."""
        if event.kind is None:
            self.users[event.user] = Plain()
            return Fate.ERASED
        user = self.users.setdefault(event.user, Plain())
        if event.event_id in user.recent[-RECENT_IDS:]:
            return Fate.DUPLICATE
        if user.events and event.at_ms < user.last_ms - self.max_lateness_ms:
            return Fate.TOO_LATE
        local = datetime.fromtimestamp(event.at_ms / 1000, UTC).astimezone(self.zone)
        number = local.date().toordinal() - datetime(1970, 1, 1).toordinal()
        if number not in user.days and len(user.days) == MAX_DAYS:
            oldest = min(user.days)
            if number < oldest:
                return Fate.TOO_LATE
            user.evicted_day = oldest
            if user.days.pop(oldest)["purchases"]:
                user.evicted_purchase_day = oldest
        midnight = datetime.combine(local.date(), time(), self.zone).timestamp()
        self.add(user, user.days.setdefault(number, {}), event, event.at_ms - int(midnight) * 1000)
        return Fate.FOLDED

    def add(self, user: Plain, today: dict[str, float], event: Happened, since_midnight: int) -> None:
        """Count and sum."""
        if not today:
            today |= dict.fromkeys((*COUNTS, *SUMS), 0) | {"first_ms": since_midnight, "last_ms": since_midnight}
        kind = str(event.kind)
        today["events"] += 1
        today["sessions"] += user.last_ms == NO_TIME or event.at_ms - user.last_ms > 30 * MINUTE_MS
        if kind in NAMED:
            today[NAMED[kind]] += 1
        today["coupons"] += kind == "coupon_redemption" or (kind == "purchase" and event.coupon)
        if not isnan(event.sentiment):
            today["opinions"] += 1
            today["sentiment"] = round(today["sentiment"] + event.sentiment, SUM_DECIMALS)
            today["negative_texts"] += event.sentiment < -0.2
        amounts = {"purchase": "spend", "refund": "refunded"}
        for name, added in ((amounts.get(kind), event.value), ("discount", event.discount), ("dwell_s", event.dwell_s)):
            if name:
                today[name] = round(today[name] + added, SUM_DECIMALS)
        today["first_ms"] = min(today["first_ms"], since_midnight)
        today["last_ms"] = max(today["last_ms"], since_midnight)
        user.first_ms = event.at_ms if user.first_ms == NO_TIME else min(user.first_ms, event.at_ms)
        user.last_ms = max(user.last_ms, event.at_ms)
        user.events += 1
        if kind == "purchase" if self.target == "purchase" else kind not in ("campaign_received", "unsubscribe"):
            user.targets += 1
            user.last_target_ms = max(user.last_target_ms, event.at_ms)
        user.unsubscribed |= kind == "unsubscribe"
        assert event.event_id is not None
        user.recent.append(event.event_id)


def as_plain(states: States, row: int) -> Plain:
    """A vectorised state as a plain one."""
    header, days = states.header[row], states.days[row]
    names = [name for name in days.dtype.names if name != "day"]
    ids, latest = header["recent_ids"].tolist(), int(header["next_id"])
    return Plain(
        {int(each["day"]): {name: each[name].item() for name in names} for each in days[: int(header["days"])]},
        [each for each in ids[latest:] + ids[:latest] if each],
        *(int(header[name]) for name in ("first_ms", "last_ms", "last_target_ms", "events", "target_events")),
        bool(header["unsubscribed"]),
        int(header["evicted_day"]),
        int(header["evicted_purchase_day"]),
    )


# Random histories.

STEPS = st.sampled_from(
    [0, 1_000, 29 * MINUTE_MS, 31 * MINUTE_MS, 5 * HOUR_MS, 13 * HOUR_MS, DAY_MS, 3 * DAY_MS, 40 * DAY_MS]
)
BACK = st.sampled_from([0] * 6 + [20 * MINUTE_MS, 7 * HOUR_MS, 23 * HOUR_MS, DAY_MS, 2 * DAY_MS, 30 * DAY_MS])
KIND = st.sampled_from([*KINDS, *KINDS, *[EventType.PURCHASE] * 9, None])  # None: the user is erased
AMOUNT = st.sampled_from([0.0, 0.1, 7.25, 1e9])
MOMENT = st.tuples(
    st.integers(0, USERS - 1),
    STEPS,
    BACK,
    KIND,
    st.sampled_from([0] * 8 + [1, 2, RECENT_IDS, RECENT_IDS + 1]),  # 0: a new id, else that of so many events ago
    AMOUNT,
    st.sampled_from([float("nan"), float("nan"), -1.0, -0.2, 0.3]),
    st.booleans(),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Happened]:
    """Events of three users: repeated ids, late and much too late ones, tombstones, through both clock changes."""
    now_ms = day(draw(st.sampled_from([0, 60, 75, 270, 285])))
    history: list[Happened] = []
    size = draw(st.integers(0, 60))
    moments = draw(st.lists(MOMENT, min_size=size, max_size=size))
    for position, (user, step, back, kind, again, amount, sentiment, coupon) in enumerate(moments):
        now_ms += step
        event_id = 1_000 + position
        if 0 < again <= len(history):
            event_id = history[-again].event_id or event_id
        history.append(Happened(kind, now_ms - back, user, event_id, amount, amount / 2, amount / 4, sentiment, coupon))
    return history


def cut(history: Sequence[Happened], at: Sequence[int]) -> list[Sequence[Happened]]:
    places = sorted({min(each, len(history)) for each in at} | {0, len(history)})
    return [history[begin:end] for begin, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 60), max_size=8)


def assert_folds_alike(history: Sequence[Happened], zone: str, target: Target, lateness_ms: int) -> None:
    """The same fates and the same states as the plain fold."""
    plain = PlainFold(zone, target, lateness_ms)
    expected = [plain.fold(each) for each in history]
    states = empty_states(USERS)
    fates = fold(states, columns(history), fold_rules(zone, target, lateness_ms))
    assert [Fate(each) for each in fates.tolist()] == expected
    for user in range(USERS):
        known = plain.users.get(user, Plain())
        found = as_plain(states, user)
        assert found == replace(known, recent=known.recent[-RECENT_IDS:])
        assert list(found.days) == sorted(known.days)


@given(
    histories(), ZONES, st.sampled_from(["purchase", "activity"]), st.sampled_from([0, HOUR_MS, DAY_MS, 45 * DAY_MS])
)
@settings(max_examples=150)
def test_the_fold_does_what_the_plain_one_does(
    history: list[Happened], zone: str, target: Target, lateness_ms: int
) -> None:
    """Any history leaves the same days, header and fates as folding it event by event into dictionaries."""
    assert_folds_alike(history, zone, target, lateness_ms)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("zone", ["UTC", "America/Santiago"])
def test_long_histories_fold_as_the_plain_one_does(seed: int, zone: str) -> None:
    """Far more than 64 active days, with late events that open, join and miss days: alike as well."""
    generator = np.random.default_rng(seed)
    now_ms, history = day(0), []
    for position in range(600):
        now_ms += int(generator.choice([0, HOUR_MS, 9 * HOUR_MS, DAY_MS, 2 * DAY_MS, 3 * DAY_MS]))
        late_ms = int(generator.choice([0, 0, 0, HOUR_MS, DAY_MS, 20 * DAY_MS, 150 * DAY_MS]))
        kind = KINDS[int(generator.integers(len(KINDS)))]
        user = int(generator.integers(USERS)) if seed % 2 else 0
        history.append(Happened(kind, now_ms - late_ms, user, 1_000 + position, float(generator.integers(50))))
    assert_folds_alike(history, zone, "purchase", 200 * DAY_MS)


@given(histories(), CUTS, ZONES)
@settings(max_examples=75)
def test_batch_cuts_change_nothing(history: list[Happened], at: list[int], zone: str) -> None:
    """However the events are cut into batches, with states stored in between, states are equal to the bit and every
    user gets the same alerts."""
    whole = Run(engine(scorer=Moody(), timezone=zone), USERS)
    pieces = Run(engine(scorer=Moody(), timezone=zone), USERS)
    whole.events(*history)
    for piece in cut(history, at):
        pieces.events(*piece)
    assert pieces.packed == whole.packed
    for user in range(USERS):
        assert [each for each in pieces.alerts if each.user == user] == [
            each for each in whole.alerts if each.user == user
        ]


@given(histories(), ZONES)
@settings(max_examples=50)
def test_other_users_change_nothing(history: list[Happened], zone: str) -> None:
    """A user's state and alerts are the same bits alone as among others."""
    together = Run(engine(scorer=Moody(), timezone=zone), USERS)
    together.events(*history)
    for user in range(USERS):
        alone = Run(engine(scorer=Moody(), timezone=zone))
        alone.events(*(replace(each, user=0) for each in history if each.user == user))
        assert alone.packed == [together.packed[user]]
        assert alone.alerts == [replace(each, user=0) for each in together.alerts if each.user == user]


@given(histories(), st.lists(st.sampled_from([0, DAY_MS, 9 * DAY_MS, 35 * DAY_MS]), max_size=60))
@settings(max_examples=50)
def test_ticks_between_events_change_nothing(history: list[Happened], waits: list[int]) -> None:
    """Looking at the timers between events, or only when the next event comes, gives the same alerts and states; as
    long as no event comes that is older than the tick."""
    in_order = sorted(history, key=lambda each: each.at_ms)
    ticked, unticked = (Run(engine(scorer=Moody()), USERS) for _ in range(2))
    for position, event in enumerate(in_order):
        ticked.events(event)
        unticked.events(event)
        if position < len(waits) and position + 1 < len(in_order):
            ticked.silence(min(event.at_ms + waits[position], in_order[position + 1].at_ms))
    until_ms = day(1_000)
    ticked.silence(until_ms)
    unticked.silence(until_ms)
    assert ticked.packed == unticked.packed
    for user in range(USERS):
        assert [each for each in ticked.alerts if each.user == user] == [
            each for each in unticked.alerts if each.user == user
        ]


@given(histories(), ZONES)
@settings(max_examples=75)
def test_an_episode_alerts_each_tier_at_most_once(history: list[Happened], zone: str) -> None:
    """Of any history and the silence after it, no user, episode and tier is alerted twice, nor an id used twice."""
    run = Run(engine(scorer=Moody(), timezone=zone), USERS)
    run.events(*history)
    run.silence(day(2_000))
    for user in range(USERS):
        alerts = [each for each in run.alerts if each.user == user]
        assert len({(each.anchor_id, each.tier) for each in alerts}) == len(alerts)
        assert len({(each.anchor_id, each.episode_ms, each.tier) for each in alerts}) == len(alerts)


@given(histories(), CUTS)
@settings(max_examples=75)
def test_packing_is_reversible(history: list[Happened], at: list[int]) -> None:
    """What is unpacked packs to the same bytes, and holds the same header and days."""
    run = Run(engine(scorer=Moody()), USERS)
    for piece in cut(history, at):
        run.events(*piece)
        states = run.states
        assert pack(states) == run.packed
        assert pack(unpack(list(pack(states)))) == pack(states)


@given(histories(), st.integers(0, 60))
@settings(max_examples=75)
def test_closed_days_never_change_their_token(history: list[Happened], at: int) -> None:
    """Events in order: the tokens of all days but the last are the same bits, whatever comes later."""
    in_order = [each for each in sorted(history, key=lambda each: each.at_ms) if each.kind]
    rules = fold_rules()
    early, late = empty_states(USERS), empty_states(USERS)
    fold(early, columns(in_order[:at]), rules)
    fold(late, columns(in_order), rules)
    assert_same_closed_tokens(early, late)


@pytest.mark.parametrize("seed", range(4))
def test_tokens_do_not_change_when_old_days_leave(seed: int) -> None:
    """Beyond 64 active days the kept days' tokens stay the same bits while the oldest leave."""
    generator = np.random.default_rng(seed)
    times = np.cumsum(generator.choice([0.3, 1.0, 2.0, 9.0], 300))
    history = [
        Happened(KINDS[int(generator.integers(len(KINDS)))], day(float(at)), event_id=position, value=3.0)
        for position, at in enumerate(times, start=1)
    ]
    for at in range(50, 300, 17):
        early, late = empty_states(1), empty_states(1)
        fold(early, columns(history[:at]), fold_rules())
        fold(late, columns(history[: at + 40]), fold_rules())
        assert_same_closed_tokens(early, late)


def assert_same_closed_tokens(early: States, late: States) -> None:
    """Of every day that both hold, but the earlier one's last."""
    before, after = by_day(early), by_day(late)
    for user, days in before.items():
        for number in list(days)[:-1]:
            if number in after[user]:
                assert days[number] == after[user][number]


def by_day(states: States) -> dict[int, dict[int, bytes]]:
    found = tokens(states)
    return {
        user: {
            int(states.days["day"][user, slot]): found[user, slot].tobytes()
            for slot in range(int(states.header["days"][user]))
        }
        for user in range(len(found))
    }
