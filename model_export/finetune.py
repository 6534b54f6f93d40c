"""Fine-tuning on a shop's own log: the same likelihood as in pre-training, from the base weights on.

Customers are seen at several moments of the log, each time as they were known then, in a shop as it was known then.
How long to train is decided on later time: the last days of the log are held back, and foretold as of the day before
them. If no amount of training foretells them better than the base weights do, by two standard errors over
customers, those are kept.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from model_export.calibrate import FEWEST_CUSTOMERS, SHORTEST_WINDOW_DAYS, moment_panel, targets_of, window_days
from model_export.likelihood import losses, moment_losses
from model_export.model import HazardGPT
from model_export.panel import Panel, joined, some
from model_export.tasks import Past

_CLEARLY_BETTER: Final = 2.0  # standard errors
_FEWEST_PURCHASES: Final = 300
Advance = Callable[[str, int, int, float], None]  # what is done, steps done, of how many, loss


@dataclass(frozen=True)
class FineTuneRecipe:
    """How to fine-tune; the defaults suit logs of a thousand customers and more."""

    seed: int = 1
    moments: int = 8
    max_steps: int = 600
    check_every: int = 50
    patience: int = 4  # checks without improvement
    batch_customers: int = 256
    learning_rate: float = 3e-4
    warmup_steps: int = 50
    weight_decay: float = 0.05
    averaging: float = 0.98
    every_day: float = 0.25


@dataclass(frozen=True)
class Tuned:
    """`model` knows all of the log; `earlier` has not seen its last window, so that it can be calibrated on it."""

    model: HazardGPT
    earlier: HazardGPT
    steps: int  # 0: the base weights
    validation_loss: float
    base_loss: float
    why: str


def finetune(base: HazardGPT, past: Past, recipe: FineTuneRecipe, advance: Advance) -> Tuned:
    """The base weights fitted to `past`, or the base weights where they are no worse or the log is too thin."""
    days = window_days(past)
    split = past.until_day - days
    if thin := _too_thin(past, split):
        return Tuned(base, base, 0, math.nan, math.nan, thin)
    check = moment_panel(past, split, targets_of(past))
    earlier = past.earlier(split)
    base_losses = moment_losses(base, check)
    base_loss, gain = float(base_losses.mean()), 0.0
    best, best_steps, best_loss = base, 0, base_loss
    panel = _panel(earlier, recipe)
    for step, model in _trained(base, panel, recipe, recipe.max_steps):
        if step % recipe.check_every == 0:
            losses_now = moment_losses(model, check)
            loss = float(losses_now.mean())
            advance("looking for the number of steps on later time", step, recipe.max_steps, loss)
            if loss < best_loss:
                best, best_steps, best_loss = copy.deepcopy(model), step, loss
                gain = _standard_errors(base_losses - losses_now)
            if step >= best_steps + recipe.patience * recipe.check_every:
                break
    if gain < _CLEARLY_BETTER:
        why = "no amount of training foretold the latest days clearly better"
        return Tuned(base, base, 0, base_loss, base_loss, why)
    final = base
    for step, final in _trained(base, _panel(past, recipe), recipe, best_steps):  # noqa: B007 (the last one counts)
        if step % recipe.check_every == 0:
            advance("training on all of it", step, best_steps, best_loss)
    return Tuned(final, best, best_steps, best_loss, base_loss, "")


def _standard_errors(gains: np.ndarray) -> float:
    """How far the mean of paired differences (N,) is above 0, in its standard errors."""
    spread = float(gains.std()) / math.sqrt(len(gains))
    return float(gains.mean()) / spread if spread else 0.0


def _too_thin(past: Past, split: int) -> str:
    if past.until_day - split < SHORTEST_WINDOW_DAYS:
        days = past.until_day - past.first_day
        return f"{days} days since the first purchase; {4 * SHORTEST_WINDOW_DAYS} are needed"
    known = len(past.customers_before(split))
    if known < FEWEST_CUSTOMERS:
        return f"{known} customers before the last {past.until_day - split} days; {FEWEST_CUSTOMERS} are needed"
    if (purchases := len(past.purchase_days[0])) < _FEWEST_PURCHASES:
        return f"{purchases} purchase days; {_FEWEST_PURCHASES} are needed"
    return ""


def _panel(past: Past, recipe: FineTuneRecipe) -> Panel:
    """The log's customers at several moments, evenly spread over all but its first fifth and last days."""
    span = past.until_day - past.first_day
    first = past.first_day + max(span // 5, 14)
    days = np.unique(np.linspace(first, past.until_day - 7, recipe.moments).astype(np.int64))
    targets = targets_of(past)
    return joined([moment_panel(past, int(day), targets) for day in days if len(past.customers_before(int(day)))])


def _trained(base: HazardGPT, panel: Panel, recipe: FineTuneRecipe, steps: int) -> Iterator[tuple[int, HazardGPT]]:
    """Yields (step, moving average of the weights) after every step."""
    model, average = copy.deepcopy(base), copy.deepcopy(base)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    rng = np.random.default_rng(recipe.seed)
    order = np.zeros(0, np.int64)
    for step in range(1, steps + 1):
        if len(order) < recipe.batch_customers:
            order = np.concatenate((order, rng.permutation(len(panel.length))))
        batch, order = some(panel, order[: recipe.batch_customers]), order[recipe.batch_customers :]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, step / recipe.warmup_steps)
        at_moment, every_day = losses(model, batch)
        optimizer.zero_grad()
        (at_moment + recipe.every_day * every_day).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            keep = min(recipe.averaging, step / (step + 10))
            for mean, now in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        yield step, average
