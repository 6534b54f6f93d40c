"""What training minimises over a panel, for pre-training and fine-tuning alike."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from model_export.data import HEADS
from model_export.loss import Gaps, log_likelihood
from model_export.model import HazardGPT
from model_export.panel import Panel, some

_AT_ONCE: Final = 4_096
_LENGTH_EDGES: Final = (1, 3, 8, 20, 40)  # customers with about as many user-days are computed together


def losses(model: HazardGPT, panel: Panel) -> tuple[Tensor, Tensor]:
    """Negative log-likelihoods, both heads together: (at the moment, mean per customer; after every user-day).

    The moment is when a customer is seen: what came after it, given the silence so far. The user-days are weighted so
    that a customer with n of them counts for sqrt(n).
    """
    parts = [_sums(model, panel, customers) for customers in _alike(panel.length)]
    at_moment, days, weight = (torch.stack(column).sum() for column in zip(*parts, strict=True))
    return at_moment / len(panel.length), days / weight


def _alike(length: np.ndarray) -> list[np.ndarray]:
    group = np.searchsorted(_LENGTH_EDGES, length)
    return [customers for number in range(len(_LENGTH_EDGES) + 1) if len(customers := np.flatnonzero(group == number))]


def _sums(model: HazardGPT, panel: Panel, customers: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Over some customers: at the moment; after every user-day, weighted; and these weights."""
    real, index = _laid_out(panel, customers)
    log_hazards = _log_hazards(model, panel, customers, real, index)[real]  # (M, heads, BINS)
    gap_days, observed = torch.from_numpy(panel.gap_days[index]), torch.from_numpy(panel.observed[index])
    at_moment = _at_moment(panel, customers, index, log_hazards).sum()
    days = -log_likelihood(log_hazards, Gaps(gap_days, observed, torch.zeros(()).expand_as(gap_days))).sum(-1)
    length = panel.length[customers]
    weight = torch.from_numpy(np.repeat(length**-0.5, length).astype(np.float32))
    return at_moment, (days * weight).sum(), weight.sum()


def moment_losses(model: HazardGPT, panel: Panel) -> np.ndarray:
    """Negative log-likelihood of what each customer did after the moment, both heads together: float64 (U,)."""
    result = np.empty(len(panel.length))
    everyone = np.arange(len(panel.length))
    with torch.no_grad():
        for part in np.split(everyone, np.arange(_AT_ONCE, len(everyone), _AT_ONCE)):
            for customers in (part[group] for group in _alike(panel.length[part])):
                real, index = _laid_out(panel, customers)
                log_hazards = _log_hazards(model, panel, customers, real, index)[real]
                result[customers] = _at_moment(panel, customers, index, log_hazards).numpy()
    return result


def _at_moment(panel: Panel, customers: np.ndarray, index: np.ndarray, log_hazards: Tensor) -> Tensor:
    """Of each of C customers (C,), given the log-hazards of their M user-days."""
    last = np.cumsum(panel.length[customers]) - 1
    gap_days, observed = torch.from_numpy(panel.gap_days[index[last]]), torch.from_numpy(panel.observed[index[last]])
    entry = torch.from_numpy(panel.entry_days[customers])[:, None].expand(-1, len(HEADS))
    return -log_likelihood(log_hazards[torch.from_numpy(last)], Gaps(gap_days, observed, entry)).sum(-1)


def _laid_out(panel: Panel, customers: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Which positions of (C, L) are real, and the panel's user-days that these M positions hold."""
    length = panel.length[customers]
    real = np.arange(length.max()) < length[:, None]
    index = (panel.start[customers][:, None] + np.arange(length.max()))[real]
    return torch.from_numpy(real), index


def _log_hazards(model: HazardGPT, panel: Panel, customers: np.ndarray, real: Tensor, index: np.ndarray) -> Tensor:
    tokens = torch.zeros(*real.shape, panel.tokens.shape[1])
    tokens[real] = torch.from_numpy(panel.tokens[index])
    return model.at_every_day(tokens, torch.from_numpy(panel.shop[customers]))


def mean_losses(model: HazardGPT, panel: Panel) -> tuple[float, float]:
    """`losses` without gradients, of a panel of any size; nats per customer, and per weighted user-day."""
    customers = np.arange(len(panel.length))
    total, weight = np.zeros(2), np.zeros(2)
    with torch.no_grad():
        for part in np.split(customers, np.arange(_AT_ONCE, len(customers), _AT_ONCE)):
            counts = np.array([len(part), np.sqrt(panel.length[part]).sum()])
            total += counts * np.array([float(each) for each in losses(model, some(panel, part))])
            weight += counts
    at_moment, every_day = (total / weight).tolist()
    return at_moment, every_day
