"""What reasons cost per alert, and whether a planted cause is named first (`make bench-reasons`).

Cost: microseconds of processor time to explain an alert, against those to score an event of the same customer, in
batches of 256; the best of several runs. It depends on how many groups have something to replace, so on what the shop
logs.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np

from bench.machine import RESULTS, write_results
from bench.planted_causes import PLANTS, Customers, customers, hits
from bench.state_size import folded
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.core.reasons import Moments, explain
from consumer.core.state import MAX_DAYS, States, joined
from consumer.scoring import Engine
from consumer.settings import Settings

BATCH = 256
REPEATS = 7
SHOPS, USERS = 12, 400


@dataclass(frozen=True)
class Cost:
    """Of one alert, explained in a batch, and of one event, scored in a batch."""

    name: str
    mean_days: float
    rows_scored: float  # per alert
    score_us: float
    explain_us: float


def cost(name: str, engine: Engine, states: States) -> Cost:
    """Of some users who have been silent for 30 days."""
    batch = states.take(np.random.default_rng(1).permutation(len(states))[:BATCH])
    rows = np.arange(len(batch))
    batch.header["log_hazards"] = engine.scorer.score(batch, rows)
    silence_days = np.full(len(batch), 30.0)
    day = batch.last_day(rows).astype(np.int64) + 31
    moments = Moments(batch, day, silence_days, np.full(len(batch), 0.9))
    scored: list[int] = []

    def score(trials: States) -> np.ndarray:
        scored.append(len(trials))
        return engine.scorer.score(trials, np.arange(len(trials)))

    explain_us = _best_us(
        lambda: explain(moments, engine.baseline, score, engine.policy.rules.horizon_days, engine.fold_rules.target)
    )
    score_us = _best_us(lambda: engine.scorer.score(batch, rows))
    days = float(batch.header["days"].mean())
    return Cost(name, days, sum(scored) / REPEATS / len(batch), score_us / len(batch), explain_us / len(batch))


def _best_us(run: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        began = process_time()
        run()
        times.append(process_time() - began)
    return min(times) * 1e6


def costs(engine: Engine, data: Path, shops: list[Customers]) -> list[Cost]:
    """A log of purchases alone, simulated shops in which people browse, and as much as a state can hold."""
    cdnow = folded(data / "cdnow" / "events.csv.xz")
    full = [shop.states.take(np.flatnonzero(shop.states.header["days"] == MAX_DAYS)) for shop in shops]
    return [
        cost("cdnow, purchases only", engine, cdnow.take(np.flatnonzero(cdnow.header["days"]))),
        cost("simulated, browsing", engine, joined([shop.states for shop in shops])),
        cost("simulated, 64 days each", engine, joined(full)),
    ]


def main() -> None:
    """Measure, print, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with cdnow/")
    parser.add_argument("--out", type=Path, default=RESULTS / "reasons.json")
    options = parser.parse_args()
    engine = build_worker(Settings(), Metrics()).engine
    shops = [customers(seed, USERS) for seed in range(1, SHOPS + 1)]
    measured = costs(engine, options.data, shops)
    print(f"{'':26}{'days':>6}{'rows':>6}{'score':>8}{'explain':>9} µs{'ratio':>7}")
    for row in measured:
        figures = f"{row.mean_days:6.1f}{row.rows_scored:6.1f}{row.score_us:8.1f}{row.explain_us:9.1f}"
        print(f"{row.name:26}{figures}   {row.explain_us / row.score_us:7.1f}")
    named = {}
    for name, plant in PLANTS.items():
        found = [hit for shop in shops for hit in hits(engine, shop, plant)]
        counts = Counter(hit.first_named for hit in found)
        earlier_days = float(np.median([hit.earlier_days for hit in found])) if found else 0.0
        named[name] = {
            "hit": len(found),
            "median_earlier_days": round(earlier_days, 2),
            "code": plant.code,
            "named_first": dict(counts.most_common()),
        }
        share = counts[plant.code] / max(len(found), 1)
        print(f"{name:20}{len(found):6,} hit, by {earlier_days:5.1f} days; {share:6.1%} {plant.code}; {dict(counts)}")
    result = {"cost": [asdict(row) for row in measured], "planted": named}
    write_results(options.out, "make bench-reasons", result)


if __name__ == "__main__":
    main()
