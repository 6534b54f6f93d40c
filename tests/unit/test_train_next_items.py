"""What is bought next, counted over a log."""

import json
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from model_export.next_items import LEAST_SUPPORTERS, MOST_A_DAY, MOST_NEXT, next_items, write_next_items
from schemas.files import EventFileError
from schemas.read_report import ReadReport

Bought = list[tuple[int, int, str]]  # user, day, item


def table(bought: Bought) -> dict[str, list[str]]:
    return next_items(pl.DataFrame(bought, schema=["user", "day", "item"], orient="row"))


def each_of(users: int, *items: tuple[int, str], first: int = 0) -> Bought:
    """So many users, all of whom buy the same."""
    return [(user, day, item) for user in range(first, first + users) for day, item in items]


def test_the_next_purchase_day_counts() -> None:
    """Not the same day, not the day after the next, and not the item itself."""
    bought = each_of(5, (1, "lamp"), (1, "bulb"), (4, "lamp"), (4, "desk"), (9, "chair"))
    assert table(bought) == {
        "bulb": ["desk", "lamp"],
        "lamp": ["chair", "desk"],
        "desk": ["chair"],
    }


def test_few_customers_make_no_rule() -> None:
    """A pair needs five customers; one customer who does it ten times is one."""
    habit = [(99, day, "lamp" if day % 2 else "bulb") for day in range(20)]
    bought = each_of(LEAST_SUPPORTERS - 1, (1, "lamp"), (2, "bulb"))
    assert table(bought + habit) == {"lamp": ["bulb"]}
    assert table(bought) == {}


def test_the_most_frequent_come_first() -> None:
    """At most five, by number of customers; ties in order of name."""
    bought: Bought = []
    for count, name in ((6, "e"), (9, "c"), (6, "a"), (7, "b"), (6, "d"), (5, "f")):
        bought += each_of(count, (1, "x"), (2, name), first=len(bought) * 10)
    assert table(bought) == {"x": ["c", "b", "a", "d", "e"]}
    assert len(table(bought)["x"]) == MOST_NEXT


def test_a_bulk_buyer_does_not_blow_it_up() -> None:
    """Of a day with thousands of items some are looked at."""
    bought = each_of(5, *[(day, f"item-{each:04}") for day in (1, 2) for each in range(2_000)])
    assert len(table(bought)) == MOST_A_DAY


def written(path: Path, events: list[dict[str, object]]) -> Path:
    lines = [json.dumps({"event_id": str(number)} | event) for number, event in enumerate(events)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_log_becomes_a_file(tmp_path: Path) -> None:
    """From events in any order to the JSON object that the service loads; days are the shop's."""
    events: list[dict[str, object]] = [
        {"user_id": str(user), "event_type": "purchase", "occurred_at": at, "item_id": item}
        for at, item in (("2026-03-04T23:30:00Z", "été"), ("2026-03-04T22:30:00Z", "lamp"))
        for user in range(5)
    ]
    log = written(tmp_path / "log.jsonl", events)
    assert write_next_items(log, tmp_path / "next.json", "UTC", ReadReport()) == {}
    found = write_next_items(log, tmp_path / "next.json", "Europe/Berlin", ReadReport())
    assert found == json.loads((tmp_path / "next.json").read_text()) == {"lamp": ["été"]}


def test_a_log_without_items_is_refused(tmp_path: Path) -> None:
    """Nothing can be said of what is bought next: the file and the reason are named."""
    log = written(tmp_path / "log.jsonl", [{"user_id": "a", "event_type": "purchase", "occurred_at": 1_000}])
    with pytest.raises(EventFileError, match=r"log.jsonl has no purchase with an item_id"):
        write_next_items(log, tmp_path / "next.json", "UTC", ReadReport())


def test_ties_and_threads_do_not_change_it() -> None:
    """The same purchases in another order give the same table."""
    bought = [(user, day, f"i{(user * 7 + day * day) % 11}") for user in range(200) for day in range(8)]
    first = table(bought)
    assert first == table(bought[::-1])
    assert all(a != b for items in first.values() for a, b in pairwise(items))
