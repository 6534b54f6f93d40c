"""The promises under faults; and the checker would notice a broken one. Seeds are fixed: `make faults` takes others."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from faults import report
from faults.history import DUPLICATE
from faults.nemesis import Scheduled, schedule
from faults.rounds import Result, run_round
from faults.table import FAULTS
from faults.world import Plan

SEED = 20_260
COUNT, SPAN_S, ENOUGH = 30, 200.0, 25
REPEATING = ("service-crash",)


@pytest.fixture(autouse=True)
def _calm_client() -> Iterator[None]:
    """Brokers go away all the time: what aiokafka says of it would fill the report of a failure."""
    logger = logging.getLogger("aiokafka")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


async def _round(plan: Plan, faults: list[Scheduled], settle_s: float = 120.0) -> Result:
    result = await run_round(plan, faults, settle_s)
    report.show(result, Console(width=120))
    print(f"kept: {report.write(result)}")
    return result


async def test_every_promise_holds(tmp_path: Path) -> None:
    """Thirty faults of every kind: no alert lost, doubled or invented, and all states as if nothing had happened."""
    result = await _round(Plan(SEED, tmp_path), schedule(SEED, COUNT, SPAN_S))
    assert {fault.kind for fault in result.faults} == {each.kind for each in FAULTS}
    errors = [fault.error for fault in result.faults if fault.error]
    assert all(error.startswith("LookupError") for error in errors)  # what was to be lost was lost already
    assert len(result.faults) - len(errors) >= ENOUGH
    assert result.counts["alerts of silence"] > 1_000
    assert list(result.violations) == []


async def test_the_checker_finds_what_at_least_once_repeats(tmp_path: Path) -> None:
    """Without transactions the same nemesis, by its crashes, repeats alerts, and the checker sees it."""
    repeating = [each for each in FAULTS if each.kind in REPEATING]
    plan = Plan(SEED, tmp_path, delivery="at_least_once")
    result = await _round(plan, schedule(SEED, 7, 60.0, repeating), settle_s=20.0)
    assert DUPLICATE in {violation.name for violation in result.violations}
