"""Is the alert budget spent? (`make bench-spent`; needs ../shared/data.)

The shipped model is told of each real log up to some days (with --finetune also fine-tuned up to the last of them), all
within the part that the back-test does not judge, and the policy runs on for a month that the model has not seen.
Counted is who was alerted at a tier in that month, as a share of those who bought within the year before; beside it,
who was silent through the grace at all, which no threshold can exceed.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from bench.backtest import KNOWN_UNTIL, NOT_TUNED, PATIENT
from bench.machine import RESULTS, write_results
from consumer.adapters.metrics import Metrics
from consumer.assembly import build_worker
from consumer.core.calendar import DAY_MS
from consumer.core.policy import Policy
from consumer.policy_tape import Tape, TapeAlerts, record_tapes
from consumer.settings import DEFAULT_MODEL_DIR, Settings
from model_export.finetune import FineTuneRecipe
from model_export.folder import HORIZON_DAYS, ShopLog, run_calibration
from model_export.tasks import Past
from model_export.thresholds import ACTIVE_DAYS, DEFAULT_BUDGET, Budget
from model_export.train import run_finetuning
from schemas.manifest import Manifest

FILE: Final = RESULTS / "spent.json"
MONTHS: Final = 3  # at most, the last ones of the part that is not judged
SHORTEST_DAYS: Final = 60  # of a log to be told of
_LOWEST: Final = 0.02


@dataclass(frozen=True)
class Month:
    """A log told up to a day, all curves of it and of the month that follows, and who was active."""

    log: str
    known: Past
    tapes: list[Tape]
    policy: Policy

    @property
    def active(self) -> int:
        """Customers who have bought within a year."""
        row, day = self.known.purchase_days
        return len(np.unique(row[day >= self.known.until_day - ACTIVE_DAYS]))

    def alerted(self, threshold: float, grace_days: float) -> float:
        """Share of the active who were alerted in the month, under a policy of one tier."""
        rules = replace(
            self.policy.rules,
            thresholds=(threshold,),
            rearm=max(threshold - 0.05, 0.0),
            grace_days=grace_days,
            complaints_at_once=grace_days == DEFAULT_BUDGET.grace_days,
        )
        begin_ms = self.known.until_day * DAY_MS
        until_ms = begin_ms + HORIZON_DAYS * DAY_MS - 1
        alerts = TapeAlerts.joined([each.alerts(Policy(rules, self.policy.calendar), until_ms) for each in self.tapes])
        return len(np.unique(alerts.user[alerts.at_ms >= begin_ms])) / self.active


def months(log: str, data: Path) -> Iterator[tuple[ShopLog, date, Past]]:
    """Days up to which a model is told of the log."""
    shop = ShopLog(data / log / "events.csv.xz", log)
    for number in range(1, MONTHS + 1):
        until = KNOWN_UNTIL[log] - timedelta(days=number * HORIZON_DAYS)
        past = shop.past(until)
        if past.until_day - past.first_day < SHORTEST_DAYS:
            return
        yield shop, until, past


def told(shop: ShopLog, until: date, how: str, budget: Budget, out: Path) -> Manifest:
    """A folder of the shipped model, told of a log."""
    if how == "calibrated":
        return run_calibration(shop, until, DEFAULT_MODEL_DIR, out, budget)
    return run_finetuning(shop, until, DEFAULT_MODEL_DIR, out, FineTuneRecipe(), budget)


def measured(shop: ShopLog, until: date, past: Past, how: str) -> Iterator[dict[str, Any]]:
    """Under the default policy, and under that which waits for a horizon."""
    month = None
    for budget in (DEFAULT_BUDGET, PATIENT):
        with TemporaryDirectory(prefix="ebbtide-model-") as folder:
            manifest = told(shop, until, how, budget, Path(folder))
            month = month or followed(shop, until, past, Path(folder))
        tiers, grace_days = manifest.thresholds, budget.grace_days
        yield {
            "log": shop.source,
            "model": f"{how} until {until}",
            "days": past.until_day - past.first_day,
            "grace_days": grace_days,
            "thresholds": [tiers.at_risk, tiers.critical],
            "at_risk": round(month.alerted(tiers.at_risk, grace_days), 4),
            "critical": round(month.alerted(tiers.critical, grace_days), 4),
            "silent": round(month.alerted(_LOWEST, grace_days), 4),
        }


def followed(shop: ShopLog, until: date, past: Past, model: Path) -> Month:
    """The log up to the end of the month after, scored by a model that knows it until then."""
    later = shop.past(until + timedelta(days=HORIZON_DAYS))
    engine = build_worker(Settings(model_dir=model), Metrics()).engine
    return Month(shop.source, past, list(record_tapes(engine, later.events, len(later.users))), engine.policy)


def row(found: dict[str, Any]) -> str:
    """Of a table in Markdown."""
    named = f"{found['log']}, {found['model']}".replace("_", " ")
    at_risk, critical = found["thresholds"]
    return (
        f"| {named} | {found['days']} | {found['grace_days']:g} | {at_risk:.2f}, {critical:.2f} "
        f"| {found['at_risk']:.1%} | {found['critical']:.1%} | {found['silent']:.1%} |"
    )


def main() -> None:
    """Measure, print, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder for each log")
    parser.add_argument("--finetune", action="store_true", help="also with weights fitted to the log: minutes")
    arguments = parser.parse_args()
    print(
        "| log, model | days of log | grace | thresholds | at risk | critical | silent |\n|---|---|---|---|---|---|---|"
    )
    results: list[dict[str, Any]] = []
    for log in KNOWN_UNTIL:
        for number, (shop, until, past) in enumerate(months(log, arguments.data)):
            is_tuned = arguments.finetune and log not in NOT_TUNED and not number
            for how in ("calibrated", "fine-tuned") if is_tuned else ("calibrated",):
                for found in measured(shop, until, past, how):
                    results.append(found)
                    print(row(found), flush=True)
    write_results(FILE, "make bench-spent", results)


if __name__ == "__main__":
    main()
