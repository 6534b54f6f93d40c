"""Are the alerts more precise than a rule of thumb, on real logs? (`make backtest`; needs ../shared/data.)

Each log is replayed with the shipped model, once as it is and once calibrated on the first third of the log. Pages and
alerts go into a folder of their own, figures into bench/results/backtest.json; the logs themselves are in neither.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from bench.machine import RESULTS, write_results
from consumer.logs import configure_logging
from consumer.replay import replay
from consumer.settings import DEFAULT_MODEL_DIR, load_settings
from model_export.folder import ShopLog, run_calibration
from model_export.thresholds import ALERT_BUDGET

CALIBRATED_UNTIL = {"complete_journey": date(2017, 4, 1), "online_retail": date(2010, 7, 1)}
PARTITIONS = 4


@dataclass(frozen=True)
class Trial:
    """A log, and how the model came to know its shop."""

    log: str
    model: str
    model_dir: Path


def trials(data: Path, folder: Path) -> Iterator[Trial]:
    """Both logs, with the shipped model and with one told of the shop."""
    for log, until in CALIBRATED_UNTIL.items():
        shop = ShopLog(data / log / "events.csv.xz", log)
        run_calibration(shop, until, DEFAULT_MODEL_DIR, folder / log, ALERT_BUDGET)
        yield Trial(log, f"calibrated until {until}", folder / log)
        yield Trial(log, "as shipped", DEFAULT_MODEL_DIR)


def run(trial: Trial, data: Path, out: Path) -> dict[str, Any]:
    """Replay it; returns what was found, and how long that took."""
    settings = load_settings(clock="watermark", model_dir=trial.model_dir)
    configure_logging(settings.model_copy(update={"log_level": "warning"}))
    began_s, cpu_s = perf_counter(), process_time()
    folder = out / f"{trial.log}-{trial.model.replace(' ', '-')}"
    done, _ = replay(data / trial.log / "events.csv.xz", folder, settings, PARTITIONS)
    took = {"wall_s": round(perf_counter() - began_s, 1), "cpu_s": round(process_time() - cpu_s, 1)}
    print(f"{trial.log}, {trial.model}: {took['cpu_s']} s of CPU, {took['wall_s']} s; {done.page}")
    return {"log": trial.log, "model": trial.model, **took, **done.summary}


def rows(results: list[dict[str, Any]]) -> Iterator[str]:
    """A table in Markdown."""
    yield "| log, model, tier | method | alerts | precision | in time | ours: more precise by | ours: earlier by |"
    yield "|---|---|---|---|---|---|---|"
    for result in results:
        for tier, methods in result["back_test"]["tiers"].items():
            for method in (each for key, each in methods.items() if key != "expected_spend"):
                named = f"{result['log']}, {result['model']}, {tier}".replace("_", " ")
                yield f"| {named} | {' | '.join(_cells(method))} |"


def _cells(method: dict[str, Any]) -> Iterator[str]:
    precision, in_time, less = method["precision"], method["recall_in_time"]["value"], method["ours_less_theirs"]
    yield method["title"]
    yield f"{method['alerts']:,}"
    yield f"{precision['value']:.1%} ({precision['low']:.1%} – {precision['high']:.1%})"
    yield "–" if in_time is None else f"{in_time:.0%}"
    yield _interval(less["precision"], 100, "points") if less else ""
    yield _interval(method["ours_earlier_days"], 1, "days") if less else ""


def _interval(figure: dict[str, float | None], scale: float, unit: str) -> str:
    if figure["value"] is None or figure["low"] is None or figure["high"] is None:
        return "–"
    value, low, high = (figure[name] * scale for name in ("value", "low", "high"))  # type: ignore[operator]
    return f"{value:+.1f} {unit} ({low:+.1f} – {high:+.1f})"


def main() -> None:
    """Run all, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with complete_journey/ and online_retail/")
    parser.add_argument("--out", type=Path, default=Path("backtest"), help="folder for the pages")
    arguments = parser.parse_args()
    missing = [log for log in CALIBRATED_UNTIL if not (arguments.data / log / "events.csv.xz").is_file()]
    if missing:
        parser.error(f"{arguments.data} has no {' and no '.join(missing)}: this needs ../shared/data (make DATA=…)")
    with TemporaryDirectory(prefix="ebbtide-models-") as folder:
        results = [run(trial, arguments.data, arguments.out) for trial in trials(arguments.data, Path(folder))]
    write_results(RESULTS / "backtest.json", "make backtest", results)
    print("\n".join(rows(results)))


if __name__ == "__main__":
    main()
