"""`python -m faults`: one round; exit code 1 if a promise was broken. The seed says what happens, not when exactly."""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from faults import report
from faults.nemesis import schedule
from faults.rounds import run_round
from faults.table import FAULTS
from faults.world import Plan

_OVERHEAD_S = 140.0  # starting servers and services, settling, checking


def arguments() -> argparse.ArgumentParser:
    """What may be asked for."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="another one each time, if not given")
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--budget", type=_seconds, default=360.0, help="for all of it, such as 360s")
    parser.add_argument("--delivery", choices=("exactly_once", "at_least_once"), default="exactly_once")
    parser.add_argument("--services", type=int, default=3)
    parser.add_argument("--rate", type=float, default=150.0, help="records per second")
    parser.add_argument("--only", help="kinds of faults, with commas between")
    parser.add_argument("--out", type=Path, help="folder for logs and results")
    return parser


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def new_folder(seed: int) -> Path:
    """Where a round's logs stay."""
    return Path(tempfile.gettempdir()) / "ebbtide-faults" / f"{time.strftime('%Y%m%d-%H%M%S')}-seed-{seed}"


def main() -> int:
    """Run one round."""
    given = arguments().parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    plan = Plan(seed, given.out or new_folder(seed), given.services, rate_per_s=given.rate, delivery=given.delivery)
    faults = [each for each in FAULTS if not given.only or each.kind in given.only.split(",")]
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers go away all the time
    console = Console()
    console.print(f"seed {seed}, logs in {plan.folder}", highlight=False, soft_wrap=True)
    span_s = max(given.budget - _OVERHEAD_S, 1.0)
    result = asyncio.run(run_round(plan, schedule(seed, given.faults, span_s, faults)))
    report.show(result, console)
    console.print(f"{report.write(result)}", highlight=False, soft_wrap=True)
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
