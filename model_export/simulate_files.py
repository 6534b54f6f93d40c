"""Simulated logs as files: the events, and apart from them when each customer left."""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from model_export.results import open_compressing, results, whole_file
from model_export.simulate import Simulated
from model_export.simulate_events import EventColumns
from model_export.simulate_rows import Naming, event_rows, json_values, user_id
from schemas.compressed import kind_of

_TEXTS: Final = ("event_id", "user_id", "event_type", "occurred_at", "item_id", "category", "currency", "coupon",
                 "campaign_id", "channel", "text")  # fmt: skip
_NUMBERS: Final = ("value", "discount", "dwell_ms", "rating", "sentiment")
_SCHEMA: Final = dict.fromkeys(_TEXTS, pl.String()) | dict.fromkeys(_NUMBERS, pl.Float64())


def write_events(
    path: Path, parts: Iterable[EventColumns], naming: Naming, on_written: Callable[[int], object]
) -> None:
    """All events into a .jsonl, .csv or .parquet file, part by part; `on_written` is told how many more there are.

    Raises `EventFileError` for a name that says no such format.
    """
    suffix, compression = kind_of(path)
    if suffix in (".jsonl", ".ndjson"):
        with whole_file(path) as partial, open_compressing(partial, compression) as file:
            for columns in parts:
                file.write(b"".join(value + b"\n" for _, value in json_values(columns, naming)))
                on_written(len(columns))
        return
    with results(path) as (append, _):
        for columns in parts:
            append(pl.DataFrame(list(event_rows(columns, naming)), schema=_SCHEMA))
            on_written(len(columns))


def write_truth(path: Path, simulated: Simulated, start: date) -> None:
    """The latent truth, for evaluation only: the day each customer left, or none for those who had not yet."""
    left_day = np.where(simulated.left_day < simulated.end_day, simulated.left_day, simulated.end_day).tolist()
    left_on = [start + timedelta(days=day) if day < simulated.end_day else None for day in left_day]
    rows = {"user_id": [user_id(number) for number in range(simulated.users)], "left_on": left_on}
    with results(path) as (append, _):
        append(pl.DataFrame(rows, schema={"user_id": pl.String(), "left_on": pl.Date()}))
