"""The functions of the hot path, each on the same few thousand events of a shop that has been busy for weeks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.parts.alone import Shop, warmed
from bench.parts.log import Shape
from bench.parts.references import columns, network, text
from bench.rivals.command import PARTITIONS
from bench.workload import Workload
from consumer.batch import decode_slices
from consumer.core.decode import Limits, decode
from consumer.core.fold import open_runs
from consumer.core.packing import pack, unpack
from consumer.core.runs import Runs, Schedule
from consumer.core.state import States
from consumer.records import Record
from consumer.settings import load_settings

_SHAPE = Shape("check", Workload(120_000, 10_000, 20, seed=1), warm_up=80_000, measured=4_000)
Work = Callable[[], object]


@dataclass(frozen=True)
class Benchmark:
    """Something to measure: `prepare` gives the work, and is not measured itself."""

    name: str
    reference: Work
    prepare: Callable[[], Work]


class HotPath:
    """What the functions are given."""

    def __init__(self) -> None:
        self._shop, records = warmed(_SHAPE, load_settings(clock="watermark"), size=4_000)
        self._records = [(record.key, record.value) for _, record in records]
        self._batch: dict[int, list[Record]] = {}
        for partition, record in records:
            self._batch.setdefault(partition, []).append(record)
        self._decoded = decode(self._records, self._shop.now_ms)
        known = {name: user.value for users in self._shop.users.values() for name, user in users.items()}
        self._names = self._decoded.users
        self._values = [known.get(name) for name in self._names]
        self._states = unpack(self._values)
        self._engine = self._shop.worker.engine

    def benchmarks(self) -> list[Benchmark]:
        """All of them."""
        parsing, arrays, model = text(), columns(), network()
        return [
            Benchmark("decode", parsing, lambda: lambda: decode(self._records, self._shop.now_ms)),
            Benchmark("unpack", arrays, lambda: lambda: unpack(self._values)),
            Benchmark("fold in runs", arrays, self._fold),
            Benchmark("score, remembered", model, self._step),
            Benchmark("score, all days", model, self._prefill),
            Benchmark("decide", arrays, self._decide),
            Benchmark("pack", arrays, lambda: lambda: pack(self._states)),
            Benchmark("whole batch", lambda: (arrays(), model()), self._on_events),
        ]

    def _copy(self) -> States:
        return States(self._states.header.copy(), self._states.days.copy())

    def _fold(self) -> Work:
        states, events, rules = self._copy(), self._decoded.events, self._engine.fold_rules
        none = np.zeros(len(events), np.int64)

        def run() -> None:
            schedule = Schedule(states, events, none, none > 0, rules.calendar)
            while runs := schedule.next(np.full(len(states), np.iinfo(np.int64).max)):
                opened = open_runs(states, events, runs, rules)
                opened.close(states, opened.runs.count, rules)

        return run

    def _step(self) -> Work:
        """Of the first event of every user who is remembered."""
        shop, states = self._shop.copy(), self._copy()
        scorer, events = shop.worker.engine.scorer, self._decoded.events
        first = np.unique(events.row, return_index=True)[1]
        first = first[states.header["days"][events.row[first]] > 0]
        opened = open_runs(states, events, Runs.singles(first), self._engine.fold_rules)
        entries = scorer.cache.entries(self._names)[opened.rows]
        return lambda: scorer.score_runs(states, opened, entries)

    def _prefill(self) -> Work:
        rows = np.flatnonzero(self._states.header["days"])
        return lambda: self._engine.scorer.score(self._states, rows)

    def _decide(self) -> Work:
        states = self._copy()
        rows = np.flatnonzero(states.header["days"])
        hazards, nobody = states.header["log_hazards"][rows], np.zeros(len(rows), np.bool_)
        return lambda: self._engine.policy.after_events(states, rows, hazards, nobody, nobody)

    def _on_events(self) -> Work:
        shop: Shop = self._shop.copy()
        slices = decode_slices(self._batch, dict.fromkeys(range(PARTITIONS), 0), shop.now_ms, Limits())
        stored = shop.stored({partition: part.decoded.users for partition, part in slices.items()})
        return lambda: shop.worker.on_events(slices, stored, shop.stand, shop.now_ms)
