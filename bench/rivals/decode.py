"""JSON events to the columns of a micro-batch, parsed in one go."""

from collections.abc import Sequence

import msgspec
import numpy as np
import xxhash

from bench.rivals.job import (
    AT,
    COUNTED_AS,
    COUNTS,
    KIND_OF,
    KINDS,
    NEGATIVE_SENTIMENT,
    PURCHASE,
    REFUND,
    SUMS,
    Batch,
)  # fmt: skip


class Event(msgspec.Struct, gc=False):
    """What the job reads of a record."""

    user_id: str
    event_id: str
    event_type: str
    occurred_at: int
    value: float = 0.0
    discount: float = 0.0
    dwell_ms: float = 0.0
    rating: float | None = None
    sentiment: float | None = None
    coupon: str | None = None


def _counted_by_kind() -> np.ndarray:
    """What an event of each kind adds to the counts: float64 (kinds, counts)."""
    added = np.zeros((len(KINDS), len(COUNTS)))
    added[:, AT["events"]] = 1
    for kind, name in COUNTED_AS.items():
        if name:
            added[KIND_OF[kind], AT[name]] = 1
    return added


_COUNTED = _counted_by_kind()
_decoder = msgspec.json.Decoder(list[Event])


def decode(values: Sequence[bytes]) -> Batch:
    """JSON events to columns; all are parsed in one go."""
    events = _decoder.decode(b"[%b]" % b",".join(values))
    row_of: dict[str, int] = {}
    row = np.array([row_of.setdefault(event.user_id, len(row_of)) for event in events], np.int64)
    kind = np.array([KIND_OF[event.event_type] for event in events], np.int64)
    time_ms = np.array([event.occurred_at for event in events], np.int64)
    hashes = np.array([xxhash.xxh3_64_intdigest(event.event_id.encode()) for event in events], np.uint64)
    return Batch(list(row_of), row, time_ms, kind, hashes, _added(events, kind))


def _added(events: list[Event], kind: np.ndarray) -> np.ndarray:
    sums = np.array([(event.value, event.discount, event.dwell_ms) for event in events]).reshape(len(events), 3)
    added = np.zeros((len(events), len(COUNTS) + len(SUMS)))
    added[:, : len(COUNTS)] = _COUNTED[kind]
    added[:, -5] = np.where(kind == PURCHASE, sums[:, 0], 0.0)
    added[:, -4] = np.where(kind == REFUND, sums[:, 0], 0.0)
    added[:, -3] = sums[:, 1]
    added[:, -2] = sums[:, 2] / 1000.0
    for index, event in enumerate(events):  # few have an opinion or a coupon
        if event.rating is not None or event.sentiment is not None:
            opinion = event.sentiment if event.sentiment is not None else max(-1.0, ((event.rating or 0.0) - 3.0) / 2.0)
            added[index, -1] = opinion
            added[index, AT["opinions"]] = 1
            added[index, AT["negative_texts"]] = opinion < NEGATIVE_SENTIMENT
        if event.coupon is not None and kind[index] == PURCHASE:
            added[index, AT["coupons"]] += 1
    return added
