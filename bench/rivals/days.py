"""Which events count, and which days they are of."""

import numpy as np

from bench.rivals.layout import DAY, MAX_DAYS, NO_DAY, PURCHASES, RECENT_IDS, SESSION_GAP_MS, Batch, Customers
from bench.rivals.tokens import DECAYS, FARTHEST_DAYS, increments


def fresh_events(header: np.ndarray, events: Batch) -> np.ndarray:
    """Which events, sorted by customer, are no repetition of one of the customer's last 16."""
    suspect = (header["recent_ids"][events.row] == events.id_hash[:, None]).any(axis=1)
    if not suspect.any() and len(np.unique(events.id_hash)) == len(events.id_hash):
        return np.arange(len(events.row))
    rings: dict[int, list[int]] = {}
    fresh = []
    for index, (row, id_hash) in enumerate(zip(events.row.tolist(), events.id_hash.tolist(), strict=True)):
        ring = rings.get(row)
        if ring is None:
            at = int(header["next_id"][row])
            ring = rings[row] = np.roll(header["recent_ids"][row], -at).tolist()
        if id_hash not in ring:
            del ring[0]
            ring.append(id_hash)
            fresh.append(index)
    return np.array(fresh, np.int64)


def remember(header: np.ndarray, events: Batch, first: np.ndarray) -> None:
    """Note the ids of events, which are sorted by customer and begin at `first`."""
    count = np.diff(np.append(first, len(events.row)))
    place = np.arange(len(events.row)) - np.repeat(first, count)
    header["recent_ids"][events.row, (header["next_id"][events.row] + place) % RECENT_IDS] = events.id_hash
    rows = events.row[first]
    header["next_id"][rows] = (header["next_id"][rows] + count) % RECENT_IDS


def new_sessions(header: np.ndarray, events: Batch) -> np.ndarray:
    """Which events come half an hour or more after the customer's last one, or are their first."""
    before = header["last_ms"][events.row]
    same = events.row[1:] == events.row[:-1]
    before[1:][same] = np.maximum(before[1:], events.time_ms[:-1])[same]
    return (before == NO_DAY) | (events.time_ms - before > SESSION_GAP_MS)


def last_days(customers: Customers) -> np.ndarray:
    """The last active day of each customer; NO_DAY: there is none."""
    count = customers.header["days"].astype(np.int64)
    last = customers.days["day"][np.arange(len(count)), np.maximum(count - 1, 0)].astype(np.int64)
    return np.where(count > 0, last, NO_DAY)


def day_rounds(row: np.ndarray, day: np.ndarray) -> list[np.ndarray]:
    """Events by whether they are of a customer's first day of the batch, second, …"""
    new_row = np.concatenate(([True], row[1:] != row[:-1]))
    new_day = np.concatenate(([True], day[1:] != day[:-1])) & ~new_row
    turns = np.cumsum(new_day)
    turn: np.ndarray = turns - turns[np.maximum.accumulate(np.where(new_row, np.arange(len(row)), 0))]
    return [np.flatnonzero(turn == each) for each in range(int(turn.max()) + 1)]


def open_days(customers: Customers, rows: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Slot of each customer's (no one twice) day, made where missing."""
    header, days = customers.header, customers.days
    count = header["days"][rows].astype(np.int64)
    newer = (count == 0) | (day > days["day"][rows, np.maximum(count - 1, 0)])
    full = rows[newer & (count == MAX_DAYS)]
    if len(full):
        oldest = days[full, 0]
        gap = oldest["day"] - header["evicted_day"][full]
        totals = np.concatenate((oldest["counts"], oldest["sums"]), axis=1, dtype="f4")
        kept = header["evicted_trends"][full] * DECAYS[np.clip(gap, 0, FARTHEST_DAYS)]
        header["evicted_trends"][full] = kept + increments(totals)
        header["evicted_day"][full] = oldest["day"]
        bought = totals[:, PURCHASES] > 0
        header["evicted_purchase_day"][full[bought]] = oldest["day"][bought]
        days[full, :-1] = days[full, 1:]
    slot = np.where(newer, np.minimum(count, MAX_DAYS - 1), count - 1)
    blank = np.zeros(int(newer.sum()), DAY)
    blank["day"] = day[newer]
    days[rows[newer], slot[newer]] = blank
    header["days"][rows[newer]] = slot[newer] + 1
    return slot
