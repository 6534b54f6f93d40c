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

_RIGHT_DAYS = torch.tensor([*BIN_EDGES_DAYS[:-1], torch.inf], dtype=torch.float32)
_LEFT_DAYS = torch.tensor([0.0, *BIN_EDGES_DAYS[:-1]], dtype=torch.float32)


@dataclass(frozen=True)
class Gaps:
    """Gaps in whole days, all of one shape (...): see `Panel`."""

    gap_days: Tensor  # float32
    observed: Tensor  # bool
    entry_days: Tensor  # float32: silence from which on time counts


def exposure_days(until_days: Tensor) -> Tensor:
    """Days spent in each bin by `until_days`: (...) to (..., BINS); as `consumer.core.risk.exposure_days`."""
    return torch.minimum((until_days[..., None] - _LEFT_DAYS).clamp(min=0.0), _RIGHT_DAYS - _LEFT_DAYS)


def log_likelihood(log_hazards: Tensor, gaps: Gaps) -> Tensor:
    """Log-probability of each gap: log_hazards (..., BINS) to (...); 0 for what was over by `entry_days`."""
    survived_days = gaps.gap_days - gaps.observed.float()
    exposure = exposure_days(survived_days) - exposure_days(gaps.entry_days)
    survival = -(log_hazards.exp() * exposure).sum(-1)
    event_bin = torch.bucketize(gaps.gap_days, _RIGHT_DAYS)  # left-open, right-closed
    hazard = log_hazards.gather(-1, event_bin[..., None]).squeeze(-1).exp()
    event = torch.where(gaps.observed, torch.log(-torch.expm1(-hazard)), 0.0)
    return torch.where(gaps.gap_days > gaps.entry_days, survival + event, 0.0)
