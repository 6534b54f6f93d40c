"""What the model remembers of users' past days, within a bound of bytes: the least recently scored users leave.

An entry says after which event it was made. It holds for a state that ends with that event, whatever happened to the
partition meanwhile: nobody has to tell the cache when states are given up or rolled back.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from consumer.core.state import MAX_DAYS, TRENDS
from consumer.ports import MemoryShape

CAPACITIES: Final = (4, 8, 16, 32, 64)  # days; an entry lies in the smallest that holds it
NOWHERE: Final = -1

ENTRY: Final = np.dtype(
    [
        ("events", "<u4"),  # of the user, when it was made; 0: an empty entry
        ("last_id", "<u8"),  # id hash of the last of them
        ("first_day", "<i4"),  # the first that the model reads
        ("last_day", "<i4"),  # the open one; its memory may change
        ("days", "<i4"),  # from the first to the last
        ("purchase_before", "<i4"),  # the last purchase day before the open one; NO_DAY: none
        ("purchase_through", "<i4"),  # … up to the open one
        ("trends_before", "<f4", (TRENDS,)),  # see consumer.core.trends
        ("trends_through", "<f4", (TRENDS,)),
        ("pool", "<i4"),  # which of CAPACITIES
        ("slot", "<i4"),
        ("used", "<i8"),  # when it was last asked for, in calls
    ]
)
_NAME_BYTES: Final = 150  # of an entry's name and its place in the index, roughly


class _Pool:
    """Slots of one capacity. What is not written yet is zero: of a NaN, no softmax makes nothing."""

    def __init__(self, shape: MemoryShape, capacity: int) -> None:
        self.memory = np.zeros((0, shape.layers, capacity, shape.width), shape.dtype)
        self._free: list[int] = []

    def take(self, count: int) -> np.ndarray:
        """Slots for so many entries."""
        if len(self._free) < count:
            size = len(self.memory)
            more = max(count - len(self._free), size // 8, 64)
            grown = np.zeros((size + more, *self.memory.shape[1:]), self.memory.dtype)
            grown[:size] = self.memory
            self.memory = grown
            self._free += range(size, size + more)
        taken = self._free[len(self._free) - count :]
        del self._free[len(self._free) - count :]
        return np.array(taken, np.int64)

    def give_back(self, slots: np.ndarray) -> None:
        """They are free again."""
        self._free += slots.tolist()

    def shrink(self, held: np.ndarray) -> np.ndarray:
        """Let go of the slots that nobody has; those that are `held` move, and where to is returned."""
        kept = np.zeros((len(held) * 9 // 8 + 1, *self.memory.shape[1:]), self.memory.dtype)
        kept[: len(held)] = self.memory[held]
        self.memory, self._free = kept, [*range(len(held), len(kept))]
        return np.arange(len(held))

    @property
    def slot_bytes(self) -> int:
        """Of one slot."""
        return self.memory.itemsize * int(np.prod(self.memory.shape[1:]))

    @property
    def held(self) -> int:
        """How many slots are taken."""
        return len(self.memory) - len(self._free)


class PrefixCache:
    """Entries by user; a name is asked for once per micro-batch, and addressed by number from then on."""

    def __init__(self, shape: MemoryShape, max_bytes: int) -> None:
        self.shape, self._max_bytes = shape, max_bytes
        self.table = np.zeros(64, ENTRY)
        self.hits = self.prefills = self.evictions = 0  # so far
        self._number: dict[str, int] = {}
        self._names: list[str | None] = [None] * len(self.table)
        self._free = list(range(len(self.table)))
        self._pools = [_Pool(shape, capacity) for capacity in CAPACITIES]
        self._calls = 0

    @property
    def bytes(self) -> int:
        """How much is held, roughly."""
        held = sum(pool.held * pool.slot_bytes for pool in self._pools)
        return held + len(self._number) * (ENTRY.itemsize + _NAME_BYTES)

    def __len__(self) -> int:
        return len(self._number)

    def entries(self, names: Sequence[str]) -> np.ndarray:
        """The number of each user's entry, int64 (U,); one that is not there yet is empty."""
        self._calls += 1
        numbers = [self._number.get(name, NOWHERE) for name in names]
        known = np.array(numbers, np.int64)
        self.table["used"][known[known >= 0]] = self._calls
        if self.bytes > self._max_bytes:
            self._evict()
        if sum(pool.memory.nbytes for pool in self._pools) > self._max_bytes * 5 // 4:
            self._shrink()
        for position in np.flatnonzero(known < 0).tolist():
            known[position] = self._add(names[position])
        return known

    def memory(self, numbers: np.ndarray, days: int) -> np.ndarray:
        """What is kept of the first `days` days of some entries: (R, layers, days, width); zero beyond an entry's."""
        pool, slot = self.table["pool"][numbers], self.table["slot"][numbers]
        if pool[0] >= 0 and days <= CAPACITIES[pool[0]] and (pool == pool[0]).all():
            kept: np.ndarray = self._pools[pool[0]].memory[slot, :, :days]
            return kept
        result = np.zeros((len(numbers), self.shape.layers, days, self.shape.width), self.shape.dtype)
        for index in np.unique(pool[pool >= 0]).tolist():
            rows, held = np.flatnonzero(pool == index), min(days, CAPACITIES[index])
            result[rows, :, :held] = self._pools[index].memory[slot[rows], :, :held]
        return result

    def append(self, numbers: np.ndarray, memory: np.ndarray, days: np.ndarray) -> None:
        """Keep `memory` (R, layers, width) as that of the last of `days` (R,) days; the earlier ones are there."""
        self._make_room(numbers, days, keeps=True)
        pool, slot = self.table["pool"][numbers], self.table["slot"][numbers]
        for index in np.unique(pool).tolist():
            rows = np.flatnonzero(pool == index)
            self._pools[index].memory[slot[rows], :, days[rows] - 1] = memory[rows]

    def replace(self, numbers: np.ndarray, memory: np.ndarray, days: np.ndarray) -> None:
        """Keep `memory` (R, layers, L, width), of which the first `days` (R,) days count, in place of what was kept."""
        self._make_room(numbers, days, keeps=False)
        pool, slot = self.table["pool"][numbers], self.table["slot"][numbers]
        for index in np.unique(pool).tolist():
            rows, held = np.flatnonzero(pool == index), min(memory.shape[2], CAPACITIES[index])
            self._pools[index].memory[slot[rows], :, :held] = memory[rows, :, :held]

    def _make_room(self, numbers: np.ndarray, days: np.ndarray, keeps: bool) -> None:
        """Move entries to slots that hold so many days."""
        needed = np.searchsorted(CAPACITIES, days)
        old_pool, old_slot = self.table["pool"][numbers], self.table["slot"][numbers]
        moves = np.flatnonzero(needed != old_pool)
        for index in np.unique(needed[moves]).tolist():
            rows = moves[needed[moves] == index]
            slots = self._pools[index].take(len(rows))
            for before in np.unique(old_pool[rows]).tolist() if keeps else ():
                part = np.flatnonzero(old_pool[rows] == before)
                if before >= 0:
                    held = min(CAPACITIES[before], CAPACITIES[index])
                    kept = self._pools[before].memory[old_slot[rows[part]], :, :held]
                    self._pools[index].memory[slots[part], :, :held] = kept
            self.table["pool"][numbers[rows]], self.table["slot"][numbers[rows]] = index, slots
        self._give_back(old_pool[moves], old_slot[moves])

    def _give_back(self, pool: np.ndarray, slot: np.ndarray) -> None:
        for index in np.unique(pool[pool >= 0]).tolist():
            self._pools[index].give_back(slot[pool == index])

    def _add(self, name: str) -> int:
        if not self._free:
            size = len(self.table)
            self.table = np.concatenate((self.table, np.zeros(size, ENTRY)))
            self._names += [None] * size
            self._free += range(size, 2 * size)
        number = self._number[name] = self._free.pop()
        self._names[number] = name
        entry = self.table[number : number + 1]
        entry["events"] = entry["days"] = 0
        entry["pool"] = NOWHERE
        entry["used"] = self._calls
        return number

    def _shrink(self) -> None:
        """Histories grow, so that entries move on to larger slots: the smaller ones must not be kept for nobody."""
        numbers = np.fromiter(self._number.values(), np.int64, len(self._number))
        for index, pool in enumerate(self._pools):
            if pool.held < len(pool.memory) * 3 // 4:
                inside = numbers[self.table["pool"][numbers] == index]
                self.table["slot"][inside] = pool.shrink(self.table["slot"][inside])

    def _evict(self) -> None:
        """Those who were not asked for now, the least recently used first, until an eighth is free again."""
        held = np.fromiter(self._number.values(), np.int64, len(self._number))
        idle = held[self.table["used"][held] < self._calls]
        idle = idle[np.argsort(self.table["used"][idle], kind="stable")]
        slot_bytes = np.array([*(pool.slot_bytes for pool in self._pools), 0])  # the last is that of NOWHERE
        freed = np.cumsum(slot_bytes[self.table["pool"][idle]] + ENTRY.itemsize + _NAME_BYTES)
        leaving = idle[: np.searchsorted(freed, self.bytes - self._max_bytes * 7 // 8) + 1]
        self._give_back(self.table["pool"][leaving], self.table["slot"][leaving])
        for number in leaving.tolist():
            name = self._names[number]
            assert name is not None
            del self._number[name]
            self._names[number] = None
        self._free += leaving.tolist()
        self.evictions += len(leaving)


assert CAPACITIES[-1] == MAX_DAYS
