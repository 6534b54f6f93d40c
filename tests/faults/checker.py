"""Histories in, violations out. Pure: no servers, no files, no clock. The names follow Jepsen's."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from faults.history import (
    ABORTED_READ,
    CRASHED,
    DANGLING,
    DUPLICATE,
    LOST,
    NON_MONOTONIC,
    PHANTOM,
    STATE_DIVERGED,
    STUCK,
    Alert,
    History,
    SeenAlert,
    SeenPosition,
    Violation,
)


def check(history: History) -> list[Violation]:
    """Every violation, the gravest kinds of evidence first."""
    return [violation for look in CHECKS for violation in look(history)]


def _alert_counts(history: History) -> Iterator[Violation]:
    expected = Counter(str(alert["alert_id"]) for alert in history.truth.alerts)
    seen: dict[str, list[SeenAlert]] = defaultdict(list)
    for each in history.alerts:
        seen[each.alert_id].append(each)
    truth = {str(alert["alert_id"]): alert for alert in history.truth.alerts}
    for alert_id, count in expected.items():
        if len(seen[alert_id]) < count:
            user = truth[alert_id]["user_id"]
            yield Violation(LOST, f"alert {alert_id} of {user}", {"expected": dict(truth[alert_id])})
        if len(seen[alert_id]) > count:
            told = [each.told() for each in seen[alert_id]]
            yield Violation(DUPLICATE, f"alert {alert_id}, {len(told)} times instead of {count}", {"seen": told})
    for alert_id in seen.keys() - expected.keys():
        told = [each.told() for each in seen[alert_id]]
        yield Violation(PHANTOM, f"alert {alert_id}", {"seen": told})


def _others(history: History) -> Iterator[Violation]:
    seen, expected = Counter(history.others), Counter(history.truth.others)
    for name, count in (expected - seen).items():
        yield Violation(LOST, f"{name}, {count} times")
    for name, count in (seen - expected).items():
        yield Violation(DUPLICATE if expected[name] else PHANTOM, f"{name}, {count} times too often")


def _alert_contents(history: History) -> Iterator[Violation]:
    expected: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for alert in history.truth.alerts:
        expected[str(alert["alert_id"])].append(_comparable(alert))
    for each in history.alerts:
        candidates = expected.get(each.alert_id)
        content = _comparable(each.content)
        if candidates and content not in candidates:
            differs = {
                name: {"seen": content.get(name), "expected": candidates[0].get(name)}
                for name in sorted(content.keys() | candidates[0].keys())
                if content.get(name) != candidates[0].get(name)
            }
            yield Violation(PHANTOM, f"alert {each.alert_id} has other content", {**each.told(), "differs": differs})


def _comparable(alert: Alert) -> dict[str, Any]:
    """Without what depends on when it was published."""
    return {name: value for name, value in alert.items() if name != "emitted_at"}


def _alert_order(history: History) -> Iterator[Violation]:
    seen, expected = _orders([each.content for each in history.alerts]), _orders(history.truth.alerts)
    for user, order in seen.items():
        both = set(order) & set(expected.get(user, ()))
        seen_order = [each for each in order if each in both]
        true_order = [each for each in expected.get(user, ()) if each in both]
        if seen_order != true_order:
            evidence = {"seen": seen_order, "expected": true_order}
            yield Violation(NON_MONOTONIC, f"alerts of {user} are out of order", evidence)


def _orders(alerts: Sequence[Alert]) -> dict[str, list[str]]:
    """By user, alert ids in order of their first occurrence."""
    orders: dict[str, dict[str, None]] = defaultdict(dict)
    for alert in alerts:
        orders[str(alert["user_id"])][str(alert["alert_id"])] = None
    return {user: list(order) for user, order in orders.items()}


def _positions(history: History) -> Iterator[Violation]:
    before: dict[int, SeenPosition] = {}
    for each in history.positions:
        last = before.get(each.partition)
        before[each.partition] = each
        if last is None:
            continue
        old, new = last.position, each.position
        evidence = {"before": f"{old} @{last.offset}", "after": f"{new} @{each.offset}"}
        if new.genesis != old.genesis:
            yield Violation(NON_MONOTONIC, f"partition {each.partition} began anew", evidence)
        elif new.next_offset < old.next_offset or new.watermark_ms < old.watermark_ms:
            yield Violation(NON_MONOTONIC, f"partition {each.partition} went back", evidence)


def _dead_letters(history: History) -> Iterator[Violation]:
    seen = Counter(each.source for each in history.dead_letters)
    codes = {each.source: each.code for each in history.dead_letters}
    for source, code in history.truth.dead_letters.items():
        if seen[source] == 0:
            yield Violation(LOST, f"dead letter of {source}, {code}")
        elif codes[source] != code:
            yield Violation(PHANTOM, f"dead letter of {source}: {codes[source]} instead of {code}")
        if seen[source] > 1:
            yield Violation(DUPLICATE, f"dead letter of {source}, {code}: {seen[source]} times")
    for source in seen.keys() - history.truth.dead_letters.keys():
        yield Violation(PHANTOM, f"dead letter of {source}, {codes[source]}")


def _reads(history: History) -> Iterator[Violation]:
    for where, digest in history.read_during.items():
        if history.read.get(where) != digest:
            now = "is not there any more" if where not in history.read else "is another one now"
            topic, partition, offset = where
            yield Violation(ABORTED_READ, f"a record that was read during the run {now}: {topic} {partition}@{offset}")


def _states(history: History) -> Iterator[Violation]:
    truth, view = history.truth, history.view
    yield from _compared("state", "the changelog", history.logged_states, truth.states)
    yield from _compared("timer", "the changelog", history.logged_timers, truth.timers)
    yield from _compared("state", "Redis", view.states, history.logged_states)
    yield from _compared("timer", "Redis", view.timers, history.logged_timers)


def _compared(
    what: str, where: str, found: Mapping[str, object], expected: Mapping[str, object]
) -> Iterator[Violation]:
    """What `where` holds, against what it follows from."""
    for user in sorted(found.keys() | expected.keys()):
        if found.get(user) != expected.get(user):
            how = "too much" if user not in expected else "missing" if user not in found else "another one"
            evidence = {"found": _short(found.get(user)), "expected": _short(expected.get(user))}
            yield Violation(STATE_DIVERGED, f"{what} of {user} in {where}: {how}", evidence)


def _short(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _headers(history: History) -> Iterator[Violation]:
    last = {each.partition: each for each in history.positions}
    for partition, end in history.input_ends.items():
        header, logged = history.view.headers.get(partition), last.get(partition)
        if logged is None or header is None:
            if end > 0:
                where = "changelog" if logged is None else "Redis"
                yield Violation(STATE_DIVERGED, f"partition {partition} has no position in {where}")
            continue
        position, truth = logged.position, history.truth
        found = (header.genesis, header.offset, header.users, header.timers, header.next_offset, header.watermark_ms)
        told = (position.genesis, logged.offset, position.users, position.timers)
        told += (position.next_offset, position.watermark_ms)
        if found != told:
            evidence = {"header": str(header), "changelog": f"{position} @{logged.offset}"}
            yield Violation(STATE_DIVERGED, f"the header of partition {partition} is not the last position", evidence)
        if position.watermark_ms != truth.watermarks_ms[partition]:
            evidence = {"found": position.watermark_ms, "expected": truth.watermarks_ms[partition]}
            yield Violation(STATE_DIVERGED, f"the watermark of partition {partition}", evidence)
        if (position.users, position.timers) != truth.counts[partition]:
            evidence = {"found": (position.users, position.timers), "expected": truth.counts[partition]}
            yield Violation(STATE_DIVERGED, f"the counts of partition {partition}", evidence)


def _stuck(history: History) -> Iterator[Violation]:
    for what in history.unsettled:
        yield Violation(STUCK, what)
    last = {each.partition: each.position for each in history.positions}
    for partition, end in history.input_ends.items():
        reached = last[partition].next_offset if partition in last else 0
        if reached != end:
            yield Violation(STUCK, f"partition {partition} stands at {reached}, its input ends at {end}")


def _dangling(history: History) -> Iterator[Violation]:
    for (topic, partition), (stable, end) in history.log_ends.items():
        if stable != end:
            yield Violation(DANGLING, f"an open transaction in {topic} {partition}: stable to {stable}, ends at {end}")


def _crashed(history: History) -> Iterator[Violation]:
    for what in history.exits:
        yield Violation(CRASHED, what)


CHECKS: tuple[Callable[[History], Iterator[Violation]], ...] = (
    _alert_counts,
    _alert_contents,
    _alert_order,
    _others,
    _dead_letters,
    _reads,
    _positions,
    _headers,
    _states,
    _stuck,
    _dangling,
    _crashed,
)
