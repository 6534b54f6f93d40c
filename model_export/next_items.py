"""What customers who had bought an item bought next: counted over a shop's log.

An item's next ones are those of the same customer's next purchase day. A pair counts once for each customer, so that
nobody's habit makes a rule for others.
"""

import json
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from consumer.core.calendar import Calendar
from consumer.core.events import PURCHASE
from consumer.core.fold import FoldRules
from model_export.reading import read_columns
from schemas.event import MAX_TIME_MS
from schemas.files import EventFileError
from schemas.read_report import ReadReport

MOST_NEXT: Final = 5  # of an item
LEAST_SUPPORTERS: Final = 5  # customers
MOST_A_DAY: Final = 50  # items of a customer's day that are looked at, in order of name: a bulk buyer has thousands


def write_next_items(events: Path, out: Path, timezone: str, report: ReadReport) -> dict[str, list[str]]:
    """The table, also written to `out` as a JSON object; raises `EventFileError`."""
    table = next_items(bought_items(events, timezone, report))
    out.write_text(json.dumps(table, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    return table


def bought_items(path: Path, timezone: str, report: ReadReport) -> pl.DataFrame:
    """One row for each user, local day and item: columns `user` (a number), `day`, `item`."""
    rules = FoldRules(Calendar(timezone))
    _, events = read_columns(path, rules, MAX_TIME_MS + 1, report)
    purchases = events.take((events.kind == PURCHASE) & (events.item != b""))
    if not len(purchases):
        raise EventFileError(f"{path} has no purchase with an item_id of at most 32 bytes")
    names, code = np.unique(purchases.item, return_inverse=True)
    item = pl.Series([name.decode() for name in names.tolist()], dtype=pl.String)[code]
    day = rules.calendar.day_of(purchases.time_ms)
    return pl.DataFrame({"user": purchases.row, "day": day, "item": item}).unique()


def next_items(bought: pl.DataFrame) -> dict[str, list[str]]:
    """Item to at most five others, the one of most customers first, ties in order of name."""
    visits = bought.with_columns(
        visit=pl.col("day").rank("dense").over("user"), place=pl.col("item").rank("ordinal").over("user", "day")
    ).filter(pl.col("place") <= MOST_A_DAY)
    after = visits.select("user", pl.col("visit") - 1, then="item")
    supported = (
        visits.lazy()
        .join(after.lazy(), on=["user", "visit"])
        .filter(pl.col("item") != pl.col("then"))
        .group_by("item", "then")
        .agg(supporters=pl.col("user").n_unique())
        .filter(pl.col("supporters") >= LEAST_SUPPORTERS)
        .sort("item", "supporters", "then", descending=[False, True, False])
        .group_by("item", maintain_order=True)
        .agg(pl.col("then").head(MOST_NEXT))
        .collect()
    )
    return dict(supported.iter_rows())
