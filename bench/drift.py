"""Does drift show what has changed, and only that, and what does it cost per event (`make bench-drift`)?

The shipped model is calibrated on each real log up to 90 days before its end, and the service's engine then runs over
all of it; drift is measured on the last 90 days as they were, and with every second purchase of them left out. Alerts
are left out of it: they cost what they cost without drift.
"""

import argparse
import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

import numpy as np

from bench.machine import RESULTS, write_results
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.core.calendar import DAY_MS
from consumer.core.drift import Drift, DriftRules
from consumer.core.events import PURCHASE, Events
from consumer.core.outcomes import is_drawn
from consumer.core.policy import Policy
from consumer.core.state import NO_TIME, States, empty_states
from consumer.scoring import Engine
from consumer.settings import DEFAULT_MODEL_DIR, Settings
from model_export.artefact import Artefact
from model_export.corpus import at_events
from model_export.folder import ShopLog, run_calibration
from model_export.tasks import Past, read_past
from model_export.thresholds import DEFAULT_BUDGET

LOGS = ("cdnow", "online_retail", "complete_journey")
AFTER_DAYS, LOOK_DAYS, BATCH = 90, 15, 2_000
FIRST_SHOP, SHOPS, EVENTS_OF_A_SHOP = 1_000, 20, 2_000  # not among those of the reference
_HALF = 0.5


@dataclass
class Timed(Drift):
    """Knows what it has cost."""

    spent_s: float = 0.0

    def add(self, states: States, rows: np.ndarray, ids: np.ndarray) -> None:
        """See `Drift.add`."""
        before_s, began = self.spent_s, thread_time()
        super().add(states, rows, ids)
        self.spent_s = before_s + thread_time() - began  # with what `count` took within it

    def count(self) -> None:
        """See `Drift.count`."""
        began = thread_time()
        super().count()
        self.spent_s += thread_time() - began


def calibrated(log: Path, until: date) -> tuple[Engine, Drift]:
    """The service's engine after calibration, but nobody is alerted; and the drift that it would be told of."""
    with TemporaryDirectory() as folder:
        run_calibration(ShopLog(log, log.parent.name), until, DEFAULT_MODEL_DIR, Path(folder), DEFAULT_BUDGET)
        engine = build_worker(Settings(model_dir=Path(folder)), Metrics()).engine
    assert engine.drift
    nobody = Policy(replace(engine.policy.rules, thresholds=(1 - 1e-9,)), engine.policy.calendar)
    return replace(engine, policy=nobody, drift=None), engine.drift


def through(engine: Engine, states: States, events: Events) -> float:
    """Micro-batches of the users concerned, as the service has them; seconds of processor time."""
    spent_s = 0.0
    for first in range(0, len(events), BATCH):
        batch = events.take(np.arange(first, min(first + BATCH, len(events))))
        users, row = np.unique(batch.row, return_inverse=True)
        part = states.take(users)
        began = thread_time()
        engine.on_events(part, replace(batch, row=row), np.full(len(batch), NO_TIME))
        spent_s += thread_time() - began
        states.header[users], states.days[users] = part.header, part.days
    return spent_s


def halved(events: Events) -> Events:
    """Without every second purchase."""
    return events.take(np.flatnonzero((events.kind != PURCHASE) | is_drawn(events.id_hash ^ np.uint64(1), _HALF)))


def looks(engine: Engine, before: States, events: Events, begin_ms: int, drift: Timed) -> dict[str, object]:
    """PSI after every few days of the events, and what it cost."""
    states, watched = States(before.header.copy(), before.days.copy()), replace(engine, drift=drift)
    spent_s, found = 0.0, {}
    for day in range(LOOK_DAYS, AFTER_DAYS + 1, LOOK_DAYS):
        from_ms, until_ms = (begin_ms + each * DAY_MS for each in (day - LOOK_DAYS, day))
        within = np.flatnonzero((events.time_ms >= from_ms) & (events.time_ms < until_ms))
        spent_s += through(watched, states, events.take(within))
        figures = {name: round(value, 3) for name, value in drift.psi().items()}
        found[day] = {"observations": round(drift.observations()), "share": round(drift.share, 3), "psi": figures}
    return {
        "drift_us": round(drift.spent_s / len(events) * 1e6, 2),
        "engine_us": round(spent_s / len(events) * 1e6, 1),
        "after_days": found,
    }


def measured(log: Path, past: Past) -> dict[str, object]:
    """One log, as it was and with a planted shift."""
    begin_day = past.until_day - AFTER_DAYS
    engine, drift = calibrated(log, date(1970, 1, 1) + timedelta(days=begin_day))
    begin_ms = int(past.rules.calendar.start_of(np.array([begin_day]))[0])
    later = past.events.time_ms >= begin_ms
    states = empty_states(len(past.users))
    through(engine, states, past.events.take(np.flatnonzero(~later)))
    after = past.events.take(np.flatnonzero(later))

    def of(events: Events, enough: float = DriftRules.enough) -> dict[str, object]:
        rules = DriftRules(enough=enough)
        timed = Timed(drift.reference, drift.target, drift.horizon_days, rules)
        return looks(engine, states, events, begin_ms, timed)

    return {
        "as it was": of(after),
        "half the purchases": of(halved(after)),
        "at the share of a shop a hundred times as large": of(after, DriftRules.enough / 100),
    }


def unlike_the_average() -> dict[str, float]:
    """Median over simulated shops of the PSI of one shop against the shipped model's reference, which is of many."""
    model = Artefact.load(DEFAULT_MODEL_DIR)
    assert model.manifest.reference
    found: dict[str, list[float]] = {}
    for number in range(FIRST_SHOP, FIRST_SHOP + SHOPS):
        states = at_events(model.manifest.pretraining.seed, number, EVENTS_OF_A_SHOP, AFTER_DAYS)
        states.header["log_hazards"] = model.log_hazards(states)[:, 0]
        drift = Drift(model.manifest.reference, "purchase", model.manifest.horizon_days, DriftRules(1e9))
        every = np.arange(len(states))
        drift.add(states, every, states.last_id(every))
        drift.count()
        for name, value in drift.psi().items():
            found.setdefault(name, []).append(value)
    return {name: round(float(np.median(values)), 2) for name, values in found.items()}


def main() -> None:
    """Measure, print, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the logs")
    parser.add_argument("--out", type=Path, default=RESULTS / "drift.json")
    options = parser.parse_args()
    result: dict[str, object] = {"one simulated shop against many": unlike_the_average()}
    print(json.dumps(result, indent=1), flush=True)
    for name in LOGS:
        log = options.data / name / "events.csv.xz"
        if log.exists():
            past = read_past(log, build_worker(Settings(), Metrics()).engine.fold_rules)
            result[name] = measured(log, past)
            print(name, json.dumps(result[name], indent=1), sep="\n", flush=True)
    write_results(options.out, "make bench-drift", result)


if __name__ == "__main__":
    main()
