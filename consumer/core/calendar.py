"""Calendar days of the shop's time zone, vectorised."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

DAY_MS = 86_400_000
MINUTE_MS = 60_000  # UTC offsets change on whole minutes (St. John's did at 00:01)


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
        """The first instant (ms) of each local day, or of the next where a zone skips the day."""
        midnight = day.astype(np.int64) * DAY_MS
        if self._is_utc:
            return midnight
        by_offset = [midnight - self._offset_ms(midnight - DAY_MS), midnight - self._offset_ms(midnight + DAY_MS)]
        earlier, later = np.minimum(*by_offset), np.maximum(*by_offset)
        # where clocks change, midnight may come twice or never
        return np.where(self.day_of(earlier) >= day, earlier, later)

    def _offset_ms(self, time_ms: np.ndarray) -> np.ndarray:
        if self._is_utc:
            return np.zeros_like(time_ms)
        minutes, inverse = np.unique(time_ms // MINUTE_MS, return_inverse=True)
        offsets = [self._offset_at(minute * MINUTE_MS / 1000) for minute in minutes.tolist()]
        return np.array(offsets, dtype=np.int64)[inverse].reshape(np.shape(time_ms))

    def _offset_at(self, time_s: float) -> int:
        offset = datetime.fromtimestamp(time_s, UTC).astimezone(self._zone).utcoffset()
        return int(offset.total_seconds() * 1000) if offset is not None else 0
