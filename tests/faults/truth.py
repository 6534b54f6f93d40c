"""What the input comes to, by the pure core alone: one fold over the whole log, in one process, without any server."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from prometheus_client import CollectorRegistry

from consumer.adapters.clock import SystemClock
from consumer.adapters.kafka import partition_of
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_rules, build_worker
from consumer.core.decode import decode
from consumer.core.fold import Fate
from consumer.core.packing import pack
from consumer.core.state import NO_TIME, empty_states
from consumer.messages import Origin
from consumer.records import NOT_BEGUN_MS, Record
from consumer.settings import Settings
from faults.history import Truth, name_of
from schemas.dead_letter import RejectCode
from support import watermarks_of


def truth_of(settings: Settings, log: Mapping[int, Sequence[Record]]) -> Truth:
    """Fold every partition's records, then let silence count up to each partition's watermark."""
    worker = build_worker(settings, Metrics(CollectorRegistry()))
    origins = [Origin(partition, record) for partition, records in log.items() for record in records]
    pairs = [(each.record.key, each.record.value) for each in origins]
    decoded = decode(pairs, SystemClock().now_ms(), build_rules(settings).limits)
    users, events = decoded.users, decoded.events
    of_event = [origins[index] for index in decoded.index.tolist()]
    states = empty_states(len(users))
    partitions = np.array([partition_of(user.encode(), settings.partitions) for user in users], np.int64)
    before_ms, watermarks_ms = watermarks_of(settings, events, partitions[events.row])
    fate, found = worker.engine.on_events(states, events, before_ms)
    found += worker.engine.on_silence(states, np.arange(len(users)), watermarks_ms[partitions])
    messages = worker.messages.alerts(found.alerts, users, partitions.tolist(), of_event, 0)
    others = [each for part in messages.values() for each in part if each.topic != settings.alerts_topic]
    others += [each for outcomes in found.outcomes for each in worker.messages.outcomes(outcomes, users)]
    packed = pack(states)
    due_ms = states.header["due_ms"].tolist()
    timers = {user: due for user, value, due in zip(users, packed, due_ms, strict=True) if value and due != NO_TIME}
    return Truth(
        alerts=[
            json.loads(each.value or b"")
            for part in messages.values()
            for each in part
            if each.topic == settings.alerts_topic
        ],
        states={user: value for user, value in zip(users, packed, strict=True) if value},
        timers=timers,
        dead_letters=_dead_letters(origins, decoded.rejected, of_event, fate),
        watermarks_ms=dict(enumerate(watermarks_ms.tolist())),
        counts=_counts(settings.partitions, users, packed, timers),
        others=Counter(name_of(each.topic, each.value or b"") for each in others),
    )


def _dead_letters(
    origins: Sequence[Origin], rejected: Sequence, of_event: Sequence[Origin], fate: np.ndarray
) -> dict[tuple[int, int], str]:
    codes = [(origins[each.index], str(each.code)) for each in rejected]
    codes += [(of_event[index], str(RejectCode.TOO_LATE)) for index in np.flatnonzero(fate == Fate.TOO_LATE).tolist()]
    return {(origin.partition, origin.record.offset): code for origin, code in codes}


def _counts(
    partitions: int, users: Sequence[str], packed: Sequence[bytes], timers: Mapping[str, int]
) -> dict[int, tuple[int, int]]:
    """By partition, how many users and timers there are."""
    counts = dict.fromkeys(range(partitions), (0, 0))
    for user, value in zip(users, packed, strict=True):
        if value:
            partition = partition_of(user.encode(), partitions)
            known, waiting = counts[partition]
            counts[partition] = known + 1, waiting + (user in timers)
    return counts


def disorder_s(log: Mapping[int, Sequence[Record]]) -> float:
    """By how much event time goes back within a partition: a sound load stays below the watermark's delay."""
    worst_ms = 0
    for records in log.values():
        reached_ms = NOT_BEGUN_MS
        for record in records:
            at_ms = _occurred_ms(record)
            if at_ms is not None:
                worst_ms = max(worst_ms, reached_ms - at_ms)
                reached_ms = max(reached_ms, at_ms)
    return worst_ms / 1000


def _occurred_ms(record: Record) -> int | None:
    """Of records that the load means to be usable."""
    if record.value is None or record.key is None or not record.key.startswith(b"user-"):
        return None
    return int(json.loads(record.value)["occurred_at"])
