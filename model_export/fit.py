"""Maximum likelihood over a panel; the number of epochs is chosen on later time, never on other users."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from consumer.core.risk import exposure_days
from consumer.core.state import BINS
from model_export.batches import gaps_of, padded, random_batches
from model_export.data import HEADS, Panel
from model_export.loss import log_likelihood, roughness
from model_export.model import HazardGPT, Shape

_CONSTANT_STD = 1e-6
_USERS_AT_ONCE = 1024


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults suit logs of the size of CDNOW's."""

    seed: int = 1
    shape: Shape = field(default_factory=Shape)
    max_epochs: int = 40
    patience_epochs: int = 4
    validation_days: int = 42
    batch_users: int = 256
    learning_rate: float = 1e-3
    warmup_batches: int = 100
    weight_decay: float = 0.1
    roughness: float = 0.003
    averaging: float = 0.99  # the weights handed out are an exponential moving average over batches


@dataclass(frozen=True)
class Epoch:
    """The model after one more pass over the panel, and the mean loss on the way (nats per user-day and head)."""

    model: HazardGPT
    loss: float


def epochs(panel: Panel, recipe: Recipe) -> Iterator[Epoch]:
    """Train for as long as it is iterated; the same panel and recipe give the same weights."""
    rng = np.random.default_rng(recipe.seed)
    model = _initial(panel, recipe)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging))  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / recipe.warmup_batches))
    while True:
        batches = random_batches(panel.length, recipe.batch_users, rng)
        total = 0.0
        for users in batches:
            loss, penalty = _losses(model, panel, users, recipe)
            optimizer.zero_grad()
            (loss + penalty).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            warmup.step()
            average.update_parameters(model)
            total += loss.item()
        assert isinstance(average.module, HazardGPT)
        yield Epoch(average.module, total / len(batches))


def _initial(panel: Panel, recipe: Recipe) -> HazardGPT:
    mean = panel.tokens.mean(axis=0, dtype=np.float64)
    std = panel.tokens.std(axis=0, dtype=np.float64)
    std[std < _CONSTANT_STD] = 0.0  # rounding is not variation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return HazardGPT(_float32(mean), _float32(std), _float32(average_log_hazards(panel)), recipe.shape)


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def average_log_hazards(panel: Panel) -> np.ndarray:
    """All users taken as one: log(events / days at risk) per head and bin, with one event's worth of the overall
    rate added to each; float64 (heads, BINS)."""
    rates = []
    for head in range(len(HEADS)):
        gap_days, observed = panel.gap_days[:, head], panel.observed[:, head]
        at_risk = exposure_days(gap_days).sum(axis=0)
        events = (exposure_days(gap_days[observed]) - exposure_days(gap_days[observed] - 1)).sum(axis=0)
        overall = (events.sum() + 1) / (at_risk.sum() + 1)
        rates.append((events + 1) / (at_risk + 1 / overall))
    return np.log(rates)


def _losses(model: HazardGPT, panel: Panel, users: np.ndarray, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood and smoothness penalty, as this batch's share of the mean over all user-days.

    Divided by the average batch's size, not by this batch's: batches of one-time buyers must not count for more.
    """
    batch = padded(panel, users)
    log_hazards = model.at_every_day(batch.tokens)[batch.real]  # (M, heads, BINS)
    size = recipe.batch_users * float(panel.length.mean()) * len(HEADS)
    loss = -log_likelihood(log_hazards, batch.gaps).sum() / size
    return loss, recipe.roughness * roughness(log_hazards).sum() / size


def every_log_hazard(model: HazardGPT, panel: Panel) -> np.ndarray:
    """Log-hazards after each user-day of a panel; float32 (N, heads, BINS)."""
    result = np.empty((len(panel.day), len(HEADS), BINS), np.float32)
    by_length = np.argsort(panel.length, kind="stable")
    with torch.no_grad():
        for users in np.split(by_length, np.arange(_USERS_AT_ONCE, len(by_length), _USERS_AT_ONCE)):
            batch = padded(panel, users)
            result[batch.index] = model.at_every_day(batch.tokens)[batch.real].numpy()
    return result


def loss_on_later_time(model: HazardGPT, panel: Panel, from_day: int) -> float:
    """Negative log-likelihood of what happened from `from_day` on, given all before; nats per open gap and head."""
    gaps = gaps_of(panel, np.arange(len(panel.day)), from_day)
    log_hazards = torch.from_numpy(every_log_hazard(model, panel))
    total = log_likelihood(log_hazards, gaps).sum(dtype=torch.float64)
    return -float(total) / max(1, int((gaps.gap_days > gaps.entry_days).sum()))


def best_epoch(earlier: Panel, whole: Panel, recipe: Recipe) -> Iterator[tuple[int, float, float]]:
    """Train on `earlier`, watch the rest of `whole`: yields (best epoch so far, its loss, this epoch's loss)."""
    best, best_loss = 0, np.inf
    for number, epoch in enumerate(epochs(earlier, recipe), start=1):
        loss = loss_on_later_time(epoch.model, whole, earlier.until_day)
        if loss < best_loss:
            best, best_loss = number, loss
        yield best, best_loss, loss
        if number == recipe.max_epochs or number >= best + recipe.patience_epochs:
            return
