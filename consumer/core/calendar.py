"""Calendar days of the shop's time zone, vectorised."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

DAY_MS = 86_400_000
QUARTER_MS = 900_000  # UTC offsets change on quarter-hour boundaries at the finest


class Calendar:
    """Maps instants to local day numbers (days since 1970-01-01) and back."""

    def __init__(self, timezone: str = "UTC") -> None:
        self.timezone = timezone
        self._zone = ZoneInfo(timezone)
        self._is_utc = timezone == "UTC"

    def day_of(self, time_ms: np.ndarray) -> np.ndarray:
        """Local day number of each instant; int64 in, int64 out."""
        return (time_ms + self._offset_ms(time_ms)) // DAY_MS

    def start_of(self, day: np.ndarray) -> np.ndarray:
        """The instant (ms) at which each local day begins."""
        midnight = day.astype(np.int64) * DAY_MS
        if self._is_utc:
            return midnight
        guess = midnight - self._offset_ms(midnight)
        return midnight - self._offset_ms(guess)

    def _offset_ms(self, time_ms: np.ndarray) -> np.ndarray:
        if self._is_utc:
            return np.zeros_like(time_ms)
        quarters, inverse = np.unique(time_ms // QUARTER_MS, return_inverse=True)
        offsets = [self._offset_at(quarter * QUARTER_MS / 1000) for quarter in quarters.tolist()]
        return np.array(offsets, dtype=np.int64)[inverse].reshape(np.shape(time_ms))

    def _offset_at(self, time_s: float) -> int:
        offset = datetime.fromtimestamp(time_s, UTC).astimezone(self._zone).utcoffset()
        return int(offset.total_seconds() * 1000) if offset is not None else 0
