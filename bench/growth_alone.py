"""The service's worker on one partition, with states in a dictionary: decode, fold, score, decide, pack."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from time import process_time

import numpy as np
from prometheus_client import CollectorRegistry

from bench.workload import Workload
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_rules, build_worker
from consumer.batch import Worker, decode_slices
from consumer.core.context import BLOCK_DAYS
from consumer.core.packing import due_ms_of, pack, unpack
from consumer.core.state import MAX_DAYS
from consumer.records import NOT_BEGUN_MS, Position, Record, UserState
from consumer.settings import Settings

BATCH = 1_000
HISTORIES = (1, 2, 4, 8, 16, 32, MAX_DAYS)  # active days
BATCHES = (1, 4, 16, 64, 256, 1_024, 4_096)
_LARGE_BATCHES, _SMALL_BATCHES = 4, 400  # how many are measured of large ones; of small ones, at most
_SETTINGS = Settings(clock="watermark")


class Alone:
    """What takes in records; one that does not remember knows nobody's past days in the next micro-batch."""

    def __init__(self, worker: Worker, now_ms: int, remembers: bool = True) -> None:
        self._worker = replace(worker, telemetry=Metrics(CollectorRegistry()))
        self._limits, self._now_ms, self._remembers = build_rules(_SETTINGS).limits, now_ms, remembers
        self._position = Position("bench", 0, NOT_BEGUN_MS, partitions=1)
        self._values: dict[str, bytes] = {}
        self._forget()

    def after(self, other: "Alone") -> "Alone":
        """With the states of another one, but nothing of what it remembers."""
        self._position, self._values = other._position, dict(other._values)
        return self

    def take(self, records: list[Record]) -> None:
        """One micro-batch."""
        if not self._remembers:
            self._forget()
        batch = decode_slices({0: records}, {0: 0}, self._now_ms, self._limits)
        stored = {0: [self._values.get(name) for name in batch[0].decoded.users]}
        [step] = self._worker.on_events(batch, stored, {0: self._position}, self._now_ms)
        self._position = step.position
        self._values.update((user.user_id, user.value) for user in step.users)

    def _forget(self) -> None:
        engine = self._worker.engine
        before, scorer = engine.scorer.cache, engine.scorer.afresh()
        scorer.cache.hits, scorer.cache.prefills = before.hits, before.prefills  # counts never fall
        self._worker = replace(self._worker, engine=replace(engine, scorer=scorer))

    def cpu_us(self, records: list[Record], batch: int) -> float:
        """Processor time for one of these records, in micro-batches of that size."""
        gc.collect()
        gc.freeze()  # the log that waits is no part of the service
        before_s = process_time()
        for begin in range(0, len(records), batch):
            self.take(records[begin : begin + batch])
        took_s = process_time() - before_s
        gc.unfreeze()
        return took_s / len(records) * 1e6

    def users(self, at_ms: int) -> list[UserState]:
        """All of them, once every timer that is due by `at_ms` has fired."""
        states = unpack([*self._values.values()])
        self._worker.engine.on_silence(states, np.arange(len(states)), np.full(len(states), at_ms))
        values = pack(states)
        return [
            UserState(name, value, due_ms)
            for name, value, due_ms in zip(self._values, values, due_ms_of(values), strict=True)
        ]


def new_worker() -> Worker:
    """As the service builds it."""
    return build_worker(_SETTINGS, Metrics(CollectorRegistry()))


def of_histories(users: int, events: int) -> Iterator[tuple[int, float, float]]:
    """Active days of everybody, and what an event of the next day costs: where they are remembered, and where not.

    Those of full histories have come on `MAX_DAYS` days or more, and their first days differ, as a shop's do: on any
    day one in `BLOCK_DAYS` is read again, since what is read of a customer's days begins elsewhere then.
    """
    worker = new_worker()
    _of_history(worker, MAX_DAYS, 0, users, events)  # once for nothing: what comes first would pay for the start
    for days in HISTORIES:
        yield days, *_of_history(worker, days, BLOCK_DAYS - 1 if days == MAX_DAYS else 0, users, events)


def of_the_dearest_day(users: int, events: int) -> tuple[int, float]:
    """As `of_histories`, remembered, on a day on which everybody is read again, as all first came on the same day."""
    return MAX_DAYS, _of_history(new_worker(), MAX_DAYS, 0, users, events)[0]


def _of_history(worker: Worker, days: int, extra_days: int, users: int, events: int) -> tuple[float, float]:
    workload = Workload(events, users, 1, seed=days, history_days=days, extra_days=extra_days)
    log = _records(workload)
    alone = Alone(worker, workload.end_ms)
    alone.cpu_us([*islice(log, workload.history_events)], BATCH)
    measured = [*log]
    forgetful = Alone(worker, workload.end_ms, remembers=False).after(alone)
    return alone.cpu_us(measured, BATCH), forgetful.cpu_us(measured, BATCH)


def of_batches(users: int, repeats: int) -> Iterator[tuple[int, float]]:
    """Sizes of micro-batches, and what an event costs in them; all sizes once, and again."""
    events = 3 * users
    workload = Workload(events + repeats * sum(map(_measured, BATCHES)), users, 60, seed=1)
    log, alone = _records(workload), Alone(new_worker(), workload.end_ms)
    alone.cpu_us([*islice(log, events)], BATCH)
    for _ in range(repeats):
        for size in BATCHES:
            yield size, alone.cpu_us([*islice(log, _measured(size))], size)


def customers(workload: Workload, at_ms: int) -> list[UserState]:
    """As its events leave them."""
    alone = Alone(new_worker(), workload.end_ms)
    alone.cpu_us([*_records(workload)], BATCH)
    return [user for user in alone.users(at_ms) if user.value]


def _measured(batch: int) -> int:
    return max(min(_SMALL_BATCHES * batch, 4_096), _LARGE_BATCHES * batch)


def _records(workload: Workload) -> Iterator[Record]:
    yield from (Record(offset, 0, key, value) for offset, (key, value) in enumerate(workload.records()))
