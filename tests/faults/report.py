"""What a round has come to: for people as tables, for machines as JSON."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.history import NAMES, Violation
from faults.rounds import Result

_SHOWN = 10


def as_json(result: Result) -> dict[str, Any]:
    """All of it."""
    return {
        "seed": result.plan.seed,
        "delivery": result.plan.delivery,
        "services": result.plan.services,
        "partitions": result.plan.partitions,
        "folder": str(result.plan.folder),
        "violations": dict(Counter(each.name for each in result.violations)),
        "details": [asdict(each) for each in result.violations],
        "faults": [asdict(each) for each in result.faults],
        "counts": result.counts,
        "times_s": result.times_s,
    }


def write(result: Result) -> Path:
    """Into the round's folder."""
    path = result.plan.folder / "result.json"
    path.write_text(json.dumps(as_json(result), indent=1, default=str) + "\n")
    return path


def show(result: Result, console: Console) -> None:
    """Tables."""
    console.print(_fault_table(result))
    console.print(_number_table("What went through", result.counts))
    console.print(_number_table("Seconds", result.times_s))
    console.print(_violation_table(result.violations))
    for violation in result.violations[:_SHOWN]:
        console.print(f"[red]{violation.name}[/]: {violation.what}", highlight=False)
        console.print(_cut(json.dumps(violation.evidence, default=str)), style="dim", highlight=False, markup=False)


def _fault_table(result: Result) -> Table:
    table = Table("fault", "times", "longest, s", "failed", title=f"Faults, seed {result.plan.seed}")
    by_kind: dict[str, list[Any]] = defaultdict(list)
    for fault in result.faults:
        by_kind[fault.kind].append(fault)
    for kind, faults in sorted(by_kind.items()):
        errors = [each.error for each in faults if each.error]
        longest = max(each.took_s for each in faults)
        table.add_row(kind, str(len(faults)), f"{longest:.1f}", "; ".join(errors))
    table.add_row("all", str(len(result.faults)), "", "", style="bold")
    return table


def _number_table(title: str, numbers: Mapping[str, float]) -> Table:
    table = Table("", "", title=title, show_header=False)
    for name, number in numbers.items():
        table.add_row(name, f"{number:,}")
    return table


def _violation_table(violations: Sequence[Violation]) -> Table:
    counts = Counter(each.name for each in violations)
    table = Table("violation", "times", title="What the checker says")
    for name in NAMES:
        table.add_row(name, str(counts[name]), style="red" if counts[name] else "green")
    return table


def _cut(text: str) -> str:
    return text if len(text) < 600 else text[:600] + " …"
