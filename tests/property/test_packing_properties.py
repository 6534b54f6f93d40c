"""Packed states: any state comes back to the bit, and whatever else is stored is refused or read, never a crash."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.bits import PADDING, Tables, read, write
from consumer.core.packing import due_ms_of, pack, unpack
from consumer.core.state import (
    COUNTS,
    FAVOURITE,
    HEADER,
    LAYOUT_VERSION,
    MAX_DAYS,
    NAME_BYTES,
    NO_TIME,
    RECENT_IDS,
    SUMS,
    States,
    UnreadableStateError,
    empty_states,
)

SEEDS = st.integers(0, 2**32 - 1)
DAY_COUNTS = st.lists(st.sampled_from([0, 1, 1, 2, 3, 7, 30, MAX_DAYS - 1, MAX_DAYS]), min_size=1, max_size=8)
LARGEST = np.iinfo(np.uint64).max
SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, -1e-4, 1e-4, 0.3, 0.1 + 0.2, 1e12, 2.0**53, 1e300])


def some_integers(rng: np.random.Generator, count: int, bits: int) -> np.ndarray:
    """Nothing, small numbers, numbers of any size, or a mixture; uint64."""
    width = rng.choice([0, 1, 3, 8, bits - 1, bits])
    numbers = rng.integers(0, LARGEST, count, np.uint64, endpoint=True)
    return numbers >> np.uint64(64 - width) if width else np.zeros(count, np.uint64)


def some_times(rng: np.random.Generator, count: int) -> np.ndarray:
    """Times of day in ms, seconds, minutes, hours, or of no sense."""
    unit = int(rng.choice([1, 1_000, 60_000, 3_600_000]))
    return rng.integers(0, 86_400_000 // unit, count) * unit if rng.random() < 0.8 else some_integers(rng, count, 32)


def some_sums(rng: np.random.Generator, count: int) -> np.ndarray:
    """Amounts of any precision and size, of either sign, or any bits at all."""
    sizes = rng.integers(-(10 ** rng.integers(1, 18)) if rng.random() < 0.3 else 0, 10 ** rng.integers(1, 18), count)
    return (
        np.zeros(count),
        sizes / 1e4,
        sizes / 1e2,
        sizes * 1.0,
        sizes / 7.0,
        rng.choice(SPECIAL, count),
        rng.integers(0, LARGEST, count, np.uint64, endpoint=True).view(np.float64),
    )[rng.integers(7)]


def some_favourites(rng: np.random.Generator, count: int) -> np.ndarray:
    """Some without a name, which have no weight; names of 1 to 32 bytes, and weights of any bits."""
    favourites = np.zeros(count, FAVOURITE)
    named = rng.random(count) < rng.choice([0.0, 0.5, 1.0])
    names = [rng.bytes(size).rstrip(b"\0") for size in rng.integers(1, NAME_BYTES + 1, count).tolist()]
    favourites["name"] = np.where(named, np.array(names, f"S{NAME_BYTES}"), b"")
    weights = some_integers(rng, count, 32).astype(np.uint32).view(np.float32)
    favourites["weight"] = np.where(favourites["name"] != b"", weights, np.float32(0))
    return favourites


def some_states(seed: int, day_counts: list[int]) -> States:
    """Known users with so many days each; everything else is random, sensible or not."""
    rng = np.random.default_rng(seed)
    states = empty_states(len(day_counts))
    for row, count in enumerate(day_counts):
        header, days = states.header[row], states.days[row, :count]
        for name in HEADER.names or ():
            field = HEADER[name].base
            if field == FAVOURITE:
                header[name] = some_favourites(rng, header[name].size)
            elif name not in ("version", "days") and rng.random() < 0.7:
                numbers = some_integers(rng, header[name].size, field.itemsize * 8).astype(f"u{field.itemsize}")
                header[name] = numbers.view(field)[0] if header[name].size == 1 else numbers.view(field)
        header["days"], header["next_id"] = count, header["next_id"] % RECENT_IDS
        header["recent_ids"][rng.integers(RECENT_IDS + 1) :] = 0
        header["events"] = max(header["events"], 1)
        gaps = rng.integers(1, 40, count) if rng.random() < 0.8 else some_integers(rng, count, 32)
        days["day"] = gaps.astype(np.uint32).cumsum(dtype=np.uint32).view(np.int32)
        for name in ("first_ms", "last_ms"):
            days[name] = some_times(rng, count).astype(np.uint32).view(np.int32)
        for name in COUNTS:
            days[name] = some_integers(rng, count, 32)
        for name in SUMS:
            days[name] = some_sums(rng, count)
    return states


@given(SEEDS, DAY_COUNTS)
@settings(max_examples=150)
def test_any_state_comes_back_to_the_bit(seed: int, day_counts: list[int]) -> None:
    """Headers and days that count are the same bits after packing and unpacking, and so is a timer read alone."""
    states = some_states(seed, day_counts)
    values = pack(states)
    found = unpack(values)
    assert found.header.tobytes() == states.header.tobytes()
    for row, count in enumerate(day_counts):
        assert found.days[row, :count].tobytes() == states.days[row, :count].tobytes()
    assert due_ms_of(values) == [None if due == NO_TIME else due for due in states.header["due_ms"].tolist()]


@given(SEEDS, DAY_COUNTS)
@settings(max_examples=50)
def test_other_users_do_not_change_a_value(seed: int, day_counts: list[int]) -> None:
    """A user packs to the same bytes alone as among others."""
    states = some_states(seed, day_counts)
    alone = [pack(states.take(np.array([row])))[0] for row in range(len(states))]
    assert pack(states) == alone


@given(SEEDS, DAY_COUNTS, st.integers(0, 2**16), st.integers(-5, 5))
@settings(max_examples=100)
def test_a_value_of_another_length_is_refused(seed: int, day_counts: list[int], at: int, longer: int) -> None:
    """Whatever is cut off or added, at the end or by much, is noticed."""
    values = pack(some_states(seed, day_counts))
    garbled = values[-1] + bytes(longer) if longer > 0 else values[-1][: at % len(values[-1])]
    assert not garbled or is_refused([*values[:-1], garbled])


@given(SEEDS, DAY_COUNTS, st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4))
@settings(max_examples=150)
def test_garbled_bytes_are_refused_or_read(seed: int, day_counts: list[int], changes: list[tuple[int, int]]) -> None:
    """No change of bytes raises anything but `UnreadableStateError`; what is read has as many days as it says."""
    values = pack(some_states(seed, day_counts))
    garbled = bytearray(values[0])
    for at, byte in changes:
        garbled[at % len(garbled)] = byte
    if not is_refused([bytes(garbled), *values[1:]]):
        states = unpack([bytes(garbled)])
        assert states.header["days"][0] == garbled[1] <= MAX_DAYS
        assert states.header["version"][0] == LAYOUT_VERSION


def is_refused(values: list[bytes]) -> bool:
    """Whether they cannot be unpacked."""
    try:
        unpack(values)
    except UnreadableStateError:
        return True
    return False


@given(SEEDS, st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 7))
def test_tables_of_bits_are_reversible(seed: int, rows: list[int], columns: int) -> None:
    """Cells of 0 to 64 bits in any number of rows and columns read as they were written."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(0, 65, (len(rows), columns))
    tables = Tables(widths, np.array(rows))
    width = np.repeat(widths, rows, axis=0).astype(np.uint64)
    cells = rng.integers(0, LARGEST, width.shape, np.uint64, endpoint=True)
    cells = np.where(width > 0, cells >> (np.uint64(64) - np.maximum(width, 1)), np.uint64(0))
    values = write(tables, cells)
    assert [len(value) for value in values] == tables.bytes.tolist()
    content = b"".join([*values, PADDING])
    start = 8 * (np.cumsum(tables.bytes) - tables.bytes)
    assert read(tables, np.frombuffer(content, "<u8", len(content) // 8), start).tolist() == cells.tolist()
