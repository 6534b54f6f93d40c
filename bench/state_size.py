"""How large packed states are after whole real logs, and how long packing takes (`make bench-state`).

Every state gets a risk curve of random float32 numbers, which take as much room as a model's. The logs name no items:
users with everything that a state can hold get favourites by hand.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.machine import RESULTS, write_results
from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.decode import decode
from consumer.core.fold import FoldRules, fold
from consumer.core.packing import pack, unpack
from consumer.core.state import BINS, FAVOURITE, MAX_DAYS, States, empty_states
from schemas.event import MAX_TIME_MS
from schemas.files import read_events

LOGS = ("cdnow", "complete_journey")
BATCH = 500  # users, as the service packs them
REPEATS = 50


@dataclass(frozen=True)
class Figures:
    """What was measured of some users."""

    name: str
    users: int
    mean_days: float
    bytes_mean: float
    bytes_p50: float
    bytes_p99: float
    pack_us: float  # per user, in batches of `BATCH`; the best of `REPEATS`
    unpack_us: float


def folded(path: Path) -> States:
    """The states that a log leaves, in random order."""
    rng = np.random.default_rng(1)
    decoded = decode(list(read_events(path)), now_ms=MAX_TIME_MS)
    states = empty_states(len(decoded.users))
    fold(states, decoded.events, FoldRules(Calendar()))
    states.header["log_hazards"] = rng.normal(-4.0, 1.0, (len(states), BINS))
    return states.take(rng.permutation(len(states)))


def first_days(states: States, days: int) -> States:
    """A batch of users who have all 64 days, cut to their first `days`."""
    batch = states.take(np.flatnonzero(states.header["days"] == MAX_DAYS)[:BATCH])
    batch.header["days"] = days
    return batch


def with_everything(states: States) -> States:
    """The same users with all places for favourites taken, alerted, triggered, sampled and told of."""
    rng = np.random.default_rng(2)
    full = states.take(np.arange(len(states)))
    header = full.header
    for kept, pattern in (("categories", "category-{:04d}"), ("items", "SKU-{:08d}")):
        favourites = np.empty(header[kept].shape, FAVOURITE)
        numbers = rng.integers(10_000, size=header[kept].shape)
        favourites["name"] = [[pattern.format(each) for each in row] for row in numbers.tolist()]
        favourites["weight"] = rng.exponential(5.0, header[kept].shape)
        header[kept] = favourites
    today = header["last_ms"] // DAY_MS
    header["language"], header["affinity_day"], header["triggered_day"] = b"en", today, today[:, None]
    header["last_alert_ms"] = header["sample_ms"] = header["last_ms"] + 12_345_678
    header["sample_risk"], header["published_risk"] = rng.random(len(full)), rng.random(len(full))
    header["watch_ms"], header["watch_risk"], header["watch_tier"] = header["last_ms"], 0.5, 1
    return full


def measured(name: str, states: States) -> Figures:
    """Sizes of all, and times of one batch."""
    sizes = np.array([len(value) for value in pack(states)])
    batch = states.take(np.arange(min(BATCH, len(states))))
    values = pack(batch)
    return Figures(
        name,
        len(states),
        float(states.header["days"].mean()),
        float(sizes.mean()),
        float(np.percentile(sizes, 50)),
        float(np.percentile(sizes, 99)),
        _best_s(lambda: pack(batch)) / len(batch) * 1e6,
        _best_s(lambda: unpack(values)) / len(batch) * 1e6,
    )


def _best_s(run: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        began = perf_counter()
        run()
        times.append(perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure, print a table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with cdnow/ and complete_journey/")
    parser.add_argument("--out", type=Path, default=RESULTS / "state_size.json")
    options = parser.parse_args()
    rows = []
    for log in LOGS:
        states = folded(options.data / log / "events.csv.xz")
        rows += [measured(log, states), measured(f"{log}, with everything", with_everything(states))]
    rows += [measured(f"{log}, {days} days each", first_days(states, days)) for days in (3, MAX_DAYS)]
    print(f"{'':35}{'users':>8}{'days':>7}{'mean':>7}{'p50':>7}{'p99':>7} bytes {'pack':>7}{'unpack':>8} µs/user")
    for row in rows:
        print(
            f"{row.name:35}{row.users:8,}{row.mean_days:7.1f}{row.bytes_mean:7.0f}{row.bytes_p50:7.0f}"
            f"{row.bytes_p99:7.0f}       {row.pack_us:7.1f}{row.unpack_us:8.1f}"
        )
    write_results(options.out, "make bench-state", [asdict(row) for row in rows])


if __name__ == "__main__":
    main()
