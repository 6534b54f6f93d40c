"""Training on an event log: epochs chosen on later time, then a fit on everything up to the cut-off."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from consumer.core.risk import exposure_days
from consumer.core.state import BINS
from model_export.data import HEADS, Panel
from model_export.loss import Gaps, log_likelihood, roughness
from model_export.model import HazardGPT

_SORTED_TOGETHER = 16  # batches whose users are sorted by length, so that padding is rare


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    seed: int = 1
    max_epochs: int = 60
    patience_epochs: int = 6
    batch_users: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    roughness: float = 0.01
    ema: float = 0.99
    validation_days: int = 42


def first_guess(panel: Panel) -> Tensor:
    """Log-hazards per head and bin that fit all users as one: events / days at risk, smoothed; (heads, BINS)."""
    rates = []
    for head in range(len(HEADS)):
        gap, observed = panel.gap_days[:, head], panel.observed[:, head]
        at_risk = exposure_days(gap - observed).sum(0) 
        at_risk += exposure_days(gap).sum(0) - at_risk
        edge = exposure_days(gap[observed]) - exposure_days(gap[observed] - 1)
        events = edge.sum(0)
        overall = events.sum() / at_risk.sum()
        rates.append((events + 20.0 * overall * 0 + 1) / (at_risk + 1 / overall))
    return torch.tensor(np.log(rates), dtype=torch.float32)


def batches(panel: Panel, batch_users: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Every user once, in random batches of users with about as many user-days."""
    order = rng.permutation(len(panel.length))
    chunk = batch_users * _SORTED_TOGETHER
    result = []
    for first in range(0, len(order), chunk):
        users = order[first : first + chunk]
        users = users[np.argsort(panel.length[users], kind="stable")]
        result += [users[at : at + batch_users] for at in range(0, len(users), batch_users)]
    rng.shuffle(result)
    return iter(result)


def padded(panel: Panel, users: np.ndarray, entry_days: np.ndarray) -> tuple[Tensor, Tensor, Gaps]:
    length = panel.length[users]
    real = np.arange(length.max()) < length[:, None]
    index = np.where(real, panel.start[users][:, None] + np.arange(length.max()), 0)
    tokens = np.where(real[..., None], panel.tokens[index], np.float32(0))
    i = index[real]
    gaps = Gaps(
        torch.from_numpy(panel.gap_days[i].astype(np.float32)),
        torch.from_numpy(panel.observed[i]),
        torch.from_numpy(entry_days[i].astype(np.float32)[:, None]),
    )
    return torch.from_numpy(tokens), torch.from_numpy(real), gaps


def fit(panel: Panel, recipe: Recipe, epochs: int, on_epoch: Callable[[HazardGPT, int, float], bool]) -> HazardGPT:
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    t = torch.from_numpy(panel.tokens)
    model = HazardGPT(t.mean(0), t.std(0), first_guess(panel))
    opt = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(.9, .98))
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=False)
    zero = np.zeros(len(panel.day), np.int64)
    step = 0
    for epoch in range(epochs):
        total, count = 0.0, 0
        for users in batches(panel, recipe.batch_users, rng):
            step += 1
            for group in opt.param_groups:
                group["lr"] = recipe.learning_rate * min(1, step / 100)
            tokens, real, gaps = padded(panel, users, zero)
            lh = model.at_every_day(tokens)[real]
            per = recipe.batch_users * panel.length.mean()
            nll = -log_likelihood(lh, gaps).mean(-1).sum() / per
            loss = nll + recipe.roughness * roughness(lh).mean(-1).sum() / per
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += nll.item(); count += 1
            ema.update_parameters(model)
        if on_epoch(ema.module, epoch, total / count):
            break
    return ema.module


def later_loss(model, panel, from_day) -> float:
    entry = panel.entry_days(from_day)
    total, n = 0.0, 0
    with torch.no_grad():
        for users in batches(panel, 1024, np.random.default_rng(0)):
            tokens, real, gaps = padded(panel, users, entry)
            ll = log_likelihood(model.at_every_day(tokens)[real], gaps)
            total += -ll.sum().item(); n += (gaps.gap_days > gaps.entry_days).sum().item()
    return total / n
