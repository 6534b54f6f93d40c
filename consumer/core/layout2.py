"""States as layout 2 stored them: the raw header, then a raw record per user-day. They are still read."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from consumer.core.state import HEADER, USER_DAY, garbled

VERSION: Final = 2
DUE_MS_AT: Final = 62  # where a value holds its timer, int64


def unpack(values: Sequence[bytes], header: np.ndarray) -> np.ndarray:
    """Sets `header` (U,) and returns the days (N,) of all users; raises `UnreadableStateError`."""
    for value in values:
        if len(value) < HEADER.itemsize or len(value) != HEADER.itemsize + value[1] * USER_DAY.itemsize:
            raise garbled(value)
    header[:] = np.frombuffer(b"".join([value[: HEADER.itemsize] for value in values]), HEADER)
    return np.frombuffer(b"".join([value[HEADER.itemsize :] for value in values]), USER_DAY)
