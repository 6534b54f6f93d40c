"""The checker on hand-made histories: a good one has no violation, and every doctored one is found out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consumer.records import Header, Logged, Position
from faults.checker import check
from faults.history import (
    ABORTED_READ,
    CRASHED,
    DANGLING,
    DUPLICATE,
    LOST,
    NAMES,
    NON_MONOTONIC,
    PHANTOM,
    STATE_DIVERGED,
    STUCK,
    History,
    SeenAlert,
    SeenDeadLetter,
    SeenPosition,
    Truth,
    View,
)


def alert(number: int, user: str = "anna", **fields: Any) -> dict[str, Any]:
    return {"alert_id": f"id-{number}", "user_id": user, "tier": "at_risk", "emitted_at": "1"} | fields


def seen(number: int, offset: int, user: str = "anna", **fields: Any) -> SeenAlert:
    return SeenAlert(0, offset, alert(number, user, **({"emitted_at": "2"} | fields)))


FIRST = Position("g", 3, 100, users=1, timers=1, partitions=1)
LAST = Position("g", 9, 200, users=2, timers=1, partitions=1)
GOOD = History(
    truth=Truth(
        alerts=[alert(1), alert(2), alert(3, "bert")],
        states={"anna": b"a", "bert": b"b"},
        timers={"anna": 300},
        dead_letters={(0, 4): "invalid_json"},
        watermarks_ms={0: 200},
        counts={0: (2, 1)},
        others={"triggers.coupon 1": 1, "outcomes {}": 2},
    ),
    alerts=[seen(1, 0), seen(3, 2, "bert"), seen(2, 3)],
    dead_letters=[SeenDeadLetter((0, 4), "invalid_json")],
    positions=[SeenPosition(0, 7, FIRST), SeenPosition(0, 12, LAST)],
    logged_states={"anna": b"a", "bert": b"b"},
    logged_timers={"anna": 300},
    view=View({0: Header.of(Logged(LAST, 12), "gen")}, {"anna": b"a", "bert": b"b"}, {"anna": 300}),
    input_ends={0: 9},
    others={"triggers.coupon 1": 1, "outcomes {}": 2},
    read={("alerts", 0, 0): b"x", ("alerts", 0, 2): b"y", ("alerts", 0, 3): b"z"},
    read_during={("alerts", 0, 0): b"x", ("alerts", 0, 2): b"y"},
    log_ends={("alerts", 0): (4, 4), ("state", 0): (14, 14)},
)


def test_a_good_history_has_no_violation() -> None:
    """What is as it should be is not complained about."""
    assert check(GOOD) == []


def _with_positions(*positions: Position) -> History:
    return replace(
        GOOD, positions=[*map(SeenPosition, [0] * len(positions), range(13 - len(positions), 13), positions)]
    )


def _with_view(**changes: Any) -> History:
    return replace(GOOD, view=replace(GOOD.view, **changes))


DOCTORED: dict[str, tuple[str, Callable[[], History]]] = {
    "an alert is missing": (LOST, lambda: replace(GOOD, alerts=GOOD.alerts[:2])),
    "an alert comes twice": (DUPLICATE, lambda: replace(GOOD, alerts=[*GOOD.alerts, seen(1, 9)])),
    "an alert that should not be": (PHANTOM, lambda: replace(GOOD, alerts=[*GOOD.alerts, seen(4, 9)])),
    "an alert says something else": (
        PHANTOM,
        lambda: replace(GOOD, alerts=[*GOOD.alerts[:2], seen(2, 3, tier="critical")]),
    ),
    "an alert names another event": (
        PHANTOM,
        lambda: replace(GOOD, alerts=[*GOOD.alerts[:2], seen(2, 3, source={"offset": 5})]),
    ),
    "alerts of a user swapped": (
        NON_MONOTONIC,
        lambda: replace(GOOD, alerts=[seen(2, 0), seen(1, 1), seen(3, 2, "bert")]),
    ),
    "an outcome is missing": (LOST, lambda: replace(GOOD, others=Counter(GOOD.others) - Counter({"outcomes {}": 1}))),
    "a trigger comes twice": (
        DUPLICATE,
        lambda: replace(GOOD, others=Counter(GOOD.others) + Counter(["triggers.coupon 1"])),
    ),
    "a trigger that should not be": (PHANTOM, lambda: replace(GOOD, others={**GOOD.others, "triggers.coupon 2": 1})),
    "a dead letter is missing": (LOST, lambda: replace(GOOD, dead_letters=[])),
    "a dead letter comes twice": (DUPLICATE, lambda: replace(GOOD, dead_letters=[*GOOD.dead_letters] * 2)),
    "a dead letter of a good record": (
        PHANTOM,
        lambda: replace(GOOD, dead_letters=[*GOOD.dead_letters, SeenDeadLetter((0, 5), "null_key")]),
    ),
    "a dead letter with another code": (
        PHANTOM,
        lambda: replace(GOOD, dead_letters=[SeenDeadLetter((0, 4), "null_key")]),
    ),
    "a record that was read has gone": (
        ABORTED_READ,
        lambda: replace(GOOD, read_during={**GOOD.read_during, ("alerts", 0, 1): b"?"}),
    ),
    "a record that was read is another now": (
        ABORTED_READ,
        lambda: replace(GOOD, read_during={("alerts", 0, 0): b"?"}),
    ),
    "a position goes back": (NON_MONOTONIC, lambda: _with_positions(FIRST, replace(FIRST, next_offset=2), LAST)),
    "a watermark goes back": (NON_MONOTONIC, lambda: _with_positions(FIRST, replace(FIRST, watermark_ms=9), LAST)),
    "a partition begins anew": (NON_MONOTONIC, lambda: _with_positions(replace(FIRST, genesis="other"), LAST)),
    "a state is missing in Redis": (STATE_DIVERGED, lambda: _with_view(states={"anna": b"a"})),
    "a state is another one in Redis": (STATE_DIVERGED, lambda: _with_view(states={"anna": b"?", "bert": b"b"})),
    "a state too much in Redis": (STATE_DIVERGED, lambda: _with_view(states={**GOOD.view.states, "carl": b"c"})),
    "a timer is another one in Redis": (STATE_DIVERGED, lambda: _with_view(timers={"anna": 301})),
    "a state is another one in the changelog": (
        STATE_DIVERGED,
        lambda: replace(GOOD, logged_states={"anna": b"?", "bert": b"b"}),
    ),
    "a timer is missing in the changelog": (STATE_DIVERGED, lambda: replace(GOOD, logged_timers={})),
    "the header is not the last position": (
        STATE_DIVERGED,
        lambda: _with_view(headers={0: Header.of(Logged(FIRST, 7), "gen")}),
    ),
    "there is no header": (STATE_DIVERGED, lambda: _with_view(headers={0: None})),
    "the counts are wrong": (
        STATE_DIVERGED,
        lambda: replace(GOOD, truth=replace(GOOD.truth, counts={0: (3, 1)})),
    ),
    "the watermark is wrong": (
        STATE_DIVERGED,
        lambda: replace(GOOD, truth=replace(GOOD.truth, watermarks_ms={0: 201})),
    ),
    "something was never done": (STUCK, lambda: replace(GOOD, unsettled=["partition 0: a timer is due"])),
    "the input was not read to its end": (STUCK, lambda: replace(GOOD, input_ends={0: 10})),
    "a service ended by itself": (CRASHED, lambda: replace(GOOD, exits=["service-001 ended with code 1"])),
    "a transaction was left open": (DANGLING, lambda: replace(GOOD, log_ends={("state", 0): (13, 14)})),
}


@pytest.mark.parametrize(("name", "doctored"), DOCTORED.values(), ids=DOCTORED)
def test_a_doctored_history_is_found_out(name: str, doctored: Callable[[], History]) -> None:
    """Each kind of harm has its name, and nothing else is complained about."""
    assert {violation.name for violation in check(doctored())} == {name}


def test_every_name_is_found_somewhere() -> None:
    """No kind of violation goes untested."""
    assert {name for name, _ in DOCTORED.values()} == set(NAMES)


def test_what_happens_twice_in_truth_may_be_seen_twice() -> None:
    """A user who was forgotten and comes back may raise the same alert again."""
    twice = replace(GOOD.truth, alerts=[*GOOD.truth.alerts, alert(1)])
    assert check(replace(GOOD, truth=twice, alerts=[*GOOD.alerts, seen(1, 9)])) == []
    assert [each.name for each in check(replace(GOOD, truth=twice))] == [LOST]
