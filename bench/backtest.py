"""Are the alerts more precise than a rule of thumb, on real logs? (`make backtest`; needs ../shared/data.)

Each log is replayed with the shipped model as it is, calibrated on the first third of the log, fine-tuned on it, and
under a policy that waits for a whole horizon, complaints too. CDNOW is split as the demo does; fine-tuning would keep
its weights. Pages and alerts go into a folder of their own, figures into bench/results/backtest.json; the logs are in
neither.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, Final

from bench.machine import RESULTS, write_results
from bench.waiting import waits
from consumer.logs import configure_logging
from consumer.replay import replay
from consumer.settings import DEFAULT_MODEL_DIR, DEFAULT_POLICY_FILE, load_settings
from model_export.finetune import FineTuneRecipe
from model_export.folder import HORIZON_DAYS, ShopLog, run_calibration
from model_export.thresholds import DEFAULT_BUDGET, GRACE_DAYS, Budget
from model_export.train import run_finetuning

KNOWN_UNTIL = {"complete_journey": date(2017, 4, 1), "online_retail": date(2010, 7, 1), "cdnow": date(1997, 10, 1)}
NOT_TUNED: Final = {"cdnow"}
PARTITIONS = 4
FILE: Final = RESULTS / "backtest.json"
PATIENT: Final = Budget(grace_days=HORIZON_DAYS)


@dataclass(frozen=True)
class Trial:
    """A log, and how the model came to know its shop."""

    log: str
    model: str
    model_dir: Path
    grace_days: float = GRACE_DAYS


def trials(data: Path, folder: Path, known: dict[str, date]) -> Iterator[Trial]:
    """Of every log, with the shipped model and with those told of the shop."""
    for log, until in known.items():
        shop, told = ShopLog(data / log / "events.csv.xz", log), folder / log
        yield Trial(log, "as shipped", DEFAULT_MODEL_DIR)
        for budget, waiting in ((DEFAULT_BUDGET, ""), (PATIENT, f", {PATIENT.grace_days:g} days of grace")):
            out = told / f"{budget.grace_days:g}"
            if budget == DEFAULT_BUDGET or log in NOT_TUNED:
                run_calibration(shop, until, DEFAULT_MODEL_DIR, out / "calibrated", budget)
                yield Trial(log, f"calibrated until {until}{waiting}", out / "calibrated", budget.grace_days)
            if log not in NOT_TUNED:
                run_finetuning(shop, until, DEFAULT_MODEL_DIR, out / "tuned", FineTuneRecipe(), budget)
                yield Trial(log, f"fine-tuned until {until}{waiting}", out / "tuned", budget.grace_days)


def run(trial: Trial, data: Path, out: Path) -> dict[str, Any]:
    """Replay it; returns what was found, and how long that took."""
    settings = load_settings(clock="watermark", model_dir=trial.model_dir, policy_file=policy(trial, out))
    configure_logging(settings.model_copy(update={"log_level": "warning"}))
    began_s, cpu_s = perf_counter(), process_time()
    folder = out / f"{trial.log}-{trial.model.replace(',', '').replace(' ', '-')}"
    done, _ = replay(data / trial.log / "events.csv.xz", folder, settings, PARTITIONS)
    took = {"wall_s": round(perf_counter() - began_s, 1), "cpu_s": round(process_time() - cpu_s, 1)}
    print(f"{trial.log}, {trial.model}: {took['cpu_s']} s of CPU, {took['wall_s']} s; {done.page}")
    found = {"log": trial.log, "model": trial.model, **took, **done.summary}
    return found if trial.grace_days != GRACE_DAYS else found | {"by_grace_days": list(waits(done.findings))}


def policy(trial: Trial, out: Path) -> Path:
    """The shipped policy; where it waits longer, complaints wait as well."""
    text = DEFAULT_POLICY_FILE.read_text(encoding="utf-8")
    shipped = f"grace_days = {GRACE_DAYS:g} "
    assert shipped in text
    patient = f"complaints_at_once = false\ngrace_days = {trial.grace_days:g} "
    waiting = shipped if trial.grace_days == GRACE_DAYS else patient
    path = out / f"policy-{trial.grace_days:g}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace(shipped, waiting), encoding="utf-8")
    return path


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


def waiting_rows(results: list[dict[str, Any]]) -> Iterator[str]:
    """The same for what waiting buys."""
    yield "| log, model | grace, from a risk of | precision | in time | rule | more precise by | earlier by |"
    yield "|---|---|---|---|---|---|---|"
    for result in results:
        for each in result.get("by_grace_days", ()):
            named, rule = f"{result['log']}, {result['model']}".replace("_", " "), each["rule"]
            less = _interval(rule["ours_less_theirs"]["precision"], 100, "points")
            yield (
                f"| {named} | {each['grace_days']} days, {each['threshold']:.3f} | {each['precision']['value']:.1%} "
                f"| {each['recall_in_time']['value']:.0%} | {rule['title']}: {rule['precision']['value']:.1%} | {less} "
                f"| {_interval(rule['ours_earlier_days'], 1, 'days')} |"
            )


def _interval(figure: dict[str, float | None], scale: float, unit: str) -> str:
    if figure["value"] is None or figure["low"] is None or figure["high"] is None:
        return "–"
    value, low, high = (figure[name] * scale for name in ("value", "low", "high"))  # type: ignore[operator]
    return f"{value:+.1f} {unit} ({low:+.1f} – {high:+.1f})"


def main() -> None:
    """Run all, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder for each log")
    parser.add_argument("--out", type=Path, default=Path("backtest"), help="folder for the pages")
    parser.add_argument("--log", choices=list(KNOWN_UNTIL), help="this one alone; the others' figures stay")
    arguments = parser.parse_args()
    known = {log: until for log, until in KNOWN_UNTIL.items() if arguments.log in (None, log)}
    missing = [log for log in known if not (arguments.data / log / "events.csv.xz").is_file()]
    if missing:
        parser.error(f"{arguments.data} has no {' and no '.join(missing)}: this needs ../shared/data (make DATA=…)")
    with TemporaryDirectory(prefix="ebbtide-models-") as folder:
        results = [run(trial, arguments.data, arguments.out) for trial in trials(arguments.data, Path(folder), known)]
    if arguments.log:
        measured = json.loads(FILE.read_text(encoding="utf-8"))["measured"]
        results += [each for each in measured if each["log"] not in known]
    write_results(FILE, "make backtest", results)
    print("\n".join((*rows(results), "", *waiting_rows(results))))


if __name__ == "__main__":
    main()
