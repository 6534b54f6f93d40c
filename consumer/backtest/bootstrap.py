"""Intervals over customers: every figure is a ratio of sums, and every customer is drawn as a whole."""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1_000
_CUSTOMERS_AT_ONCE = 4_096


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Of a difference: "more" or "less" where the interval is off 0, else ""."""
        return "more" if self.low > 0 else "less" if self.high < 0 else ""

    def as_json(self) -> dict[str, float | None]:
        """NaN becomes null."""
        return {name: number(getattr(self, name)) for name in ("value", "low", "high")}


def number(value: float, digits: int = 4) -> float | None:
    """Rounded, for JSON, which has no NaN."""
    return round(float(value), digits) if np.isfinite(value) else None


@dataclass(frozen=True)
class Ratio:
    """Top and bottom of a figure by customer, (U,) each."""

    top: np.ndarray
    bottom: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """A ratio itself, and in every resample (RESAMPLES,)."""

    value: float
    resampled: np.ndarray

    def estimate(self) -> Estimate:
        """With its percentile interval."""
        usable = self.resampled[np.isfinite(self.resampled)]
        low, high = np.percentile(usable, (2.5, 97.5)) if len(usable) else (np.nan, np.nan)
        return Estimate(self.value, float(low), float(high))

    def minus(self, other: "Drawn") -> Estimate:
        """The paired difference: both come from the same draws."""
        return Drawn(self.value - other.value, self.resampled - other.resampled).estimate()


def draw(ratios: dict[str, Ratio], seed: int) -> dict[str, Drawn]:
    """All ratios under the same draws of customers.

    Poisson bootstrap: each customer comes Poisson(1) times, independently of the others, so that customers can be
    taken in parts (Chamandy et al. 2012, "Estimating uncertainty for massive data streams").
    """
    columns = np.stack([part for each in ratios.values() for part in (each.top, each.bottom)], axis=1).astype(float)
    columns = columns[columns.any(axis=1)]
    rng, sums = np.random.default_rng(seed), np.zeros((RESAMPLES, columns.shape[1]))
    for start in range(0, len(columns), _CUSTOMERS_AT_ONCE):
        part = columns[start : start + _CUSTOMERS_AT_ONCE]
        sums += rng.poisson(1.0, (RESAMPLES, len(part))) @ part
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled, whole = sums[:, ::2] / sums[:, 1::2], columns.sum(axis=0)
        value = whole[::2] / whole[1::2]
    return {name: Drawn(float(value[at]), resampled[:, at]) for at, name in enumerate(ratios)}
