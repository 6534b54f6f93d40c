"""Events spread over files by a hash of the user id, so that a log of any length is worked on a few users at a time.

A shard holds a contiguous range of hashes and its users are handed out in order of hash: the sequence of users does
not depend on how many shards there are, and the first K users are a random sample of K.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from consumer.core.decode import id_hash
from consumer.core.events import Events

_DTYPES = ("<i8", "<i8", "<i1", "<u8", "<f8", "<f8", "<f8", "<f8", "?", "S32", "S32", "S4")
_EVENT = np.dtype([(field.name, dtype) for field, dtype in zip(fields(Events), _DTYPES, strict=True)])
_HASH_BITS = 64


@dataclass(frozen=True)
class UserEvents:
    """Some users and all of their events, in order of time; `events.row` says whose."""

    users: list[str]
    events: Events


class Shards:
    """A folder with one file per shard: written once, then read any number of times."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        self._paths = [folder / str(shard) for shard in range(count)]
        self._files = [path.open("wb") for path in self._paths]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.finish()

    def add(self, users: list[str], events: Events) -> None:
        """Append events to their users' shards, keeping their order."""
        shard_of_user = np.array([(id_hash(user) * self.count) >> _HASH_BITS for user in users], np.int64)
        by_user = np.argsort(shard_of_user, kind="stable")
        users_end = np.cumsum(np.bincount(shard_of_user, minlength=self.count))
        position = np.empty(len(users), np.int64)  # of each user within its shard's list
        position[by_user] = np.arange(len(users)) - (users_end - np.diff(users_end, prepend=0))[shard_of_user[by_user]]
        shard = shard_of_user[events.row]
        order = np.argsort(shard, kind="stable")
        ends = np.cumsum(np.bincount(shard, minlength=self.count))
        columns = _as_array(events)
        columns["row"] = position[events.row]
        for number in np.unique(shard).tolist():
            start = ends[number - 1] if number else 0
            names = by_user[(users_end[number - 1] if number else 0) : users_end[number]]
            file = self._files[number]
            file.write(json.dumps([users[each] for each in names.tolist()]).encode() + b"\n")
            np.save(file, columns[order[start : ends[number]]], allow_pickle=False)

    def finish(self) -> None:
        """Nothing is added any more."""
        for file in self._files:
            file.close()

    def read(self, shard: int, users_at_once: int) -> Iterator[UserEvents]:
        """A shard's users in order of hash, so many at a time."""
        users, events = self._load(shard)
        ranked = sorted(range(len(users)), key=lambda row: (id_hash(users[row]), users[row]))
        rank = np.empty(len(users), np.int64)
        rank[ranked] = np.arange(len(users))
        row = rank[events["row"]]
        order = np.lexsort((events["time_ms"], row))  # stable: rows of one instant stay in the file's order
        events, row = events[order], row[order]
        for first in range(0, len(users), users_at_once):
            start, end = np.searchsorted(row, (first, first + users_at_once))
            part = events[start:end].copy()
            part["row"] = row[start:end] - first
            yield UserEvents([users[each] for each in ranked[first : first + users_at_once]], _as_events(part))

    def _load(self, shard: int) -> tuple[list[str], np.ndarray]:
        row_of: dict[str, int] = {}
        parts = [np.empty(0, _EVENT)]
        with self._paths[shard].open("rb") as file:
            while line := file.readline():
                rows = np.array([row_of.setdefault(user, len(row_of)) for user in json.loads(line)], np.int64)
                part = np.load(file, allow_pickle=False)
                part["row"] = rows[part["row"]]
                parts.append(part)
        return list(row_of), np.concatenate(parts)


def _as_array(events: Events) -> np.ndarray:
    columns = np.empty(len(events), _EVENT)
    for name in _EVENT.names or ():
        columns[name] = getattr(events, name)
    return columns


def _as_events(columns: np.ndarray) -> Events:
    return Events(*(np.ascontiguousarray(columns[field.name]) for field in fields(Events)))
