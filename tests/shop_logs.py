"""A small simulated shop as an event file: some customers leave, and the rest go on buying at their own pace."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np

FIRST_DAY = date(2024, 1, 1)
Row = tuple[str, str, str, float]  # user_id, event_type, occurred_at, value


def shop_rows(customers: int = 250, days: int = 300, seed: int = 1) -> list[Row]:
    """Purchases in order of time; a campaign reaches somebody who never buys."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, Row]] = [(3, ("nobody", "campaign_received", _day(3), 0.0))]
    for number in range(customers):
        at, gap = int(rng.integers(0, days // 3)), float(rng.gamma(2.0, 12.0)) + 1.0
        leaves = at + rng.exponential(days * 0.7)
        while at < min(leaves, days):
            rows.append((at, (f"u{number:03}", "purchase", _day(at), round(float(rng.gamma(2, 20)), 2))))
            at += 1 + int(rng.exponential(gap))
    rows.append((days - 1, ("u000", "purchase", _day(days - 1), 1.0)))  # the log ends on its last day
    return [row for _, row in sorted(rows, key=lambda each: each[0])]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """As CSV."""
    lines = ["user_id,event_type,occurred_at,value", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _day(number: int) -> str:
    return str(FIRST_DAY + timedelta(days=number))
