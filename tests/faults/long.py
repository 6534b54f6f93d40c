"""`python -m faults.long`: rounds until so many faults were inflicted; goes on where it was interrupted.

Every finished round is a line in the checkpoint. In the end the last part of `docs/faults.md` says what came of it.
"""

import argparse
import asyncio
import json
import logging
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.machine import facts
from faults import report
from faults.nemesis import schedule
from faults.rounds import run_round
from faults.world import Plan

_FAULTS_PER_ROUND, _SPAN_S = 100, 420.0
_DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
_MOST_ABORTED = 3
_HEADING = "## The long run"
_CHECKPOINT = Path(tempfile.gettempdir()) / "ebbtide-faults" / "long.jsonl"

Round = dict[str, Any]


def finished(checkpoint: Path) -> list[Round]:
    """The rounds so far."""
    return [json.loads(line) for line in checkpoint.read_text().splitlines()] if checkpoint.exists() else []


def inflicted(rounds: list[Round]) -> list[dict[str, Any]]:
    """The faults that were what they should be: there was something to do it to, and it came back."""
    return [fault for each in rounds for fault in each["faults"] if fault["error"] is None]


def plan_of(seed: int, number: int, folder: Path) -> Plan:
    """Round `number`, from 0: worlds differ in how many services share the work."""
    return Plan(seed * 1_000 + number, folder / f"round-{number:03}", services=2 + number % 2, block_s=40.0)


def run(seed: int | None, wanted: int, checkpoint: Path, console: Console) -> list[Round]:
    """Rounds until the checkpoint has as many faults as wanted, or one has found a violation."""
    rounds = finished(checkpoint)
    seed = rounds[0]["run_seed"] if rounds else secrets.randbelow(1_000_000) if seed is None else seed
    console.print(f"seed {seed}, {len(rounds)} rounds done, checkpoint {checkpoint}", highlight=False, soft_wrap=True)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    while len(inflicted(rounds)) < wanted and not any(each["violations"] for each in rounds):
        plan = plan_of(seed, len(rounds), checkpoint.parent / f"long-{seed}")
        rounds.append({"run_seed": seed} | _round(plan, console))
        with checkpoint.open("a") as lines:
            lines.write(json.dumps(rounds[-1], default=str) + "\n")
        if sum(each["aborted"] is not None for each in rounds) > _MOST_ABORTED:
            raise RuntimeError(f"too many rounds could not be judged: {checkpoint}")
    return rounds


def _round(plan: Plan, console: Console) -> Round:
    """One round; what kept it from being judged, if anything did, is told as well."""
    try:
        result = asyncio.run(run_round(plan, schedule(plan.seed, _FAULTS_PER_ROUND, _SPAN_S)))
    except Exception as error:
        console.print_exception()
        nothing: Round = {"faults": [], "violations": {}, "counts": {}, "times_s": {}}
        return {"aborted": f"{type(error).__name__}: {error}"} | nothing
    report.show(result, console)
    report.write(result)
    return {"aborted": None} | report.as_json(result)


def chapter(rounds: list[Round]) -> str:
    """What `docs/faults.md` says of the run."""
    faults, judged = inflicted(rounds), [each for each in rounds if each["aborted"] is None]
    missed = Counter(fault["error"].split(":")[0] for each in judged for fault in each["faults"] if fault["error"])
    violations = sum((Counter(each["violations"]) for each in rounds), Counter())
    sums = sum((Counter(each["counts"]) for each in rounds), Counter())
    hours = sum(sum(each["times_s"].values()) for each in rounds) / 3600
    told = ("records", "alerts", "alerts of silence", "triggers and outcomes", "dead letters", "commits")
    return "\n".join(
        [
            _HEADING,
            "",
            f'`make faults-long ARGS="--seed {rounds[0]["run_seed"]}"`: {len(rounds)} rounds of {_FAULTS_PER_ROUND}'
            f" faults in {_SPAN_S:.0f} s, of which {len(rounds) - len(judged)} could not be judged;"
            f" {len(faults):,} faults in {hours:.1f} hours, **{sum(violations.values())} violations**."
            f" Not counted: {missed.total()} faults for which nothing was there to do them to ({_told(missed)})."
            f" {facts()['machine']}",
            "",
            *_rows("violation", {name: violations[name] for name in report.NAMES}),
            "",
            *_rows("went through", {name: sums[name] for name in told}),
            "",
            *_rows("fault", dict(sorted(Counter(fault["kind"] for fault in faults).items()))),
            "",
        ]
    )


def _told(errors: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in errors.most_common()) or "none"


def _rows(title: str, numbers: dict[str, int]) -> list[str]:
    return [f"| {title} | times |", "|---|---:|", *(f"| {name} | {number:,} |" for name, number in numbers.items())]


def main() -> int:
    """Exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m faults.long", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--faults", type=int, default=1_000)
    parser.add_argument("--checkpoint", type=Path, default=_CHECKPOINT)
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers go away all the time
    rounds = run(given.seed, given.faults, given.checkpoint, Console())
    before = _DOCUMENT.read_text().partition(_HEADING)[0].rstrip()
    _DOCUMENT.write_text(f"{before}\n\n{chapter(rounds)}")
    return 1 if any(each["violations"] for each in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
