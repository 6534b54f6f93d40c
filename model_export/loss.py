"""The exact likelihood of day-granular gaps under piecewise-constant hazards.

With cumulative hazard L, a target event in (g - 1, g] days of silence has probability exp(-L(g-1)) (1 - exp(-h(g))),
since bin edges are whole days and the hazard h is constant within a day; no event by c days has exp(-L(c)).
Counting from `entry` days of silence on (left truncation) divides both by exp(-L(entry)). See
Kalbfleisch & Prentice 2002, "The Statistical Analysis of Failure Time Data", sections 1.3 and 3.3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from consumer.core.state import BIN_EDGES_DAYS

ORDER = 1
_LEFT_DAYS = torch.tensor([0.0, *BIN_EDGES_DAYS[:-1]], dtype=torch.float32)
_WIDTH_DAYS = torch.tensor([*(BIN_EDGES_DAYS[:-1] - _LEFT_DAYS[:-1].numpy()), torch.inf], dtype=torch.float32)


@dataclass(frozen=True)
class Gaps:
    """Gaps in whole days, any common shape (...): see `Panel`."""

    gap_days: Tensor  # float32
    observed: Tensor  # bool
    entry_days: Tensor  # float32: silence from which on time counts


def exposure_days(until_days: Tensor) -> Tensor:
    """Days spent in each bin by `until_days`: (...) to (..., BINS); as `consumer.core.risk.exposure_days`."""
    return torch.minimum((until_days[..., None] - _LEFT_DAYS).clamp(min=0.0), _WIDTH_DAYS)


def log_likelihood(log_hazards: Tensor, gaps: Gaps) -> Tensor:
    """Log-probability of each gap: log_hazards (..., BINS) to (...); 0 for what was over before `entry_days`."""
    survived_days = torch.where(gaps.observed, gaps.gap_days - 1, gaps.gap_days)
    exposure = exposure_days(survived_days) - exposure_days(gaps.entry_days)
    survival = -(log_hazards.exp() * exposure).sum(-1)
    event_bin = torch.bucketize(gaps.gap_days, _LEFT_DAYS, right=False) - 1
    hazard = log_hazards.gather(-1, event_bin.clamp(min=0)[..., None]).squeeze(-1).exp()
    event = torch.log(-torch.expm1(-hazard))
    counts = gaps.gap_days > gaps.entry_days
    return torch.where(counts, survival + torch.where(gaps.observed, event, 0.0), 0.0)


def roughness(log_hazards: Tensor) -> Tensor:
    """How far log-hazards bend between bins: (..., BINS) to (...).

    Sum of squared second differences. Bins widen about geometrically, so a hazard that falls like a power of time,
    as in Pareto/NBD's mixture of exponentials, costs nothing; where data is scarce, the trend goes on.
    """
    return log_hazards.diff(n=ORDER, dim=-1).square().sum(-1)
