"""JSON events to the columns of a micro-batch, parsed in one go."""

from collections.abc import Sequence

import msgspec
import numpy as np
import xxhash

from bench.rivals.layout import KIND_OF, Batch, added_by


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


_decoder = msgspec.json.Decoder(list[Event])


def decode(values: Sequence[bytes]) -> Batch:
    """JSON events to columns; all are parsed in one go."""
    events = _decoder.decode(b"[%b]" % b",".join(values))
    row_of: dict[str, int] = {}
    row = np.array([row_of.setdefault(event.user_id, len(row_of)) for event in events], np.int64)
    kind = np.array([KIND_OF[event.event_type] for event in events], np.int64)
    time_ms = np.array([event.occurred_at for event in events], np.int64)
    hashes = np.array([xxhash.xxh3_64_intdigest(event.event_id.encode()) for event in events], np.uint64)
    numbers = np.array([(event.value, event.discount, event.dwell_ms) for event in events]).reshape(-1, 3)
    opinion, coupon = np.full(len(events), np.nan), np.zeros(len(events), np.bool_)
    for index, event in enumerate(events):  # few have either
        if event.rating is not None or event.sentiment is not None:
            opinion[index] = opinion_of(event)
        if event.coupon is not None:
            coupon[index] = True
    added = added_by(kind, numbers[:, 0], numbers[:, 1], numbers[:, 2] / 1000.0, opinion, coupon)
    return Batch(list(row_of), row, time_ms, kind, hashes, added)


def opinion_of(event: Event) -> float:
    """The given sentiment, else the stars, mapped to [-1, 1]."""
    return event.sentiment if event.sentiment is not None else max(-1.0, ((event.rating or 0.0) - 3.0) / 2.0)
