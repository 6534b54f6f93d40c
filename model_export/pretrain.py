"""Pre-training on simulated shops: maximum likelihood of what every customer did next.

Each step takes some customers of a few shops. A customer counts twice: with every user-day (the time to what came
next), and with the moment at which they are seen (what came after it, given the silence so far), which is the question
that is asked in service.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from consumer.core.features import TOKEN_NAMES
from consumer.core.risk import exposure_days
from model_export.corpus import WITHHELD, examples
from model_export.likelihood import losses
from model_export.model import HazardGPT, Scales, Shape
from model_export.multi_head import HazardMultiHead
from model_export.panel import Panel, joined
from model_export.recurrent import HazardGRU
from model_export.shops import FAMILIES

_SAMPLE_FROM: Final = 1 << 40  # numbers that no step reaches
_SCALE_SHOPS: Final = 256  # what inputs look like is taken from so many shops
_CONSTANT_STD: Final = 1e-6
_BODIES: Final = {"transformer": HazardGPT, "multi_head": HazardMultiHead, "gru": HazardGRU}


class CheckpointError(Exception):
    """A checkpoint cannot be gone on from; the message says why."""


@dataclass(frozen=True)
class PretrainRecipe:
    """How to pre-train; the defaults make the shipped model."""

    seed: int = 1
    steps: int = 6_000
    shops: int = 4  # per step
    users: int = 112  # per shop
    learning_rate: float = 3e-3
    warmup_steps: int = 300
    weight_decay: float = 0.05
    averaging: float = 0.995
    every_day: float = 0.5  # weight of the user-days against that of the moment
    shape: Shape = field(default_factory=Shape)
    families: tuple[str, ...] = FAMILIES
    withheld: float = WITHHELD  # share of shops of which the network is told nothing
    ignored: tuple[str, ...] = ()  # token names that the network never looks at
    workers: int = 2


class Shops(Dataset[Panel]):
    """Item k is the batch of step k; always the same one."""

    def __init__(self, recipe: PretrainRecipe) -> None:
        self.recipe = recipe

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, step: int) -> Panel:
        recipe = self.recipe
        families = frozenset(recipe.families)
        drawn = partial(examples, recipe.seed, users=recipe.users, families=families, withheld=recipe.withheld)
        return joined([drawn(step * recipe.shops + index) for index in range(recipe.shops)])


def new_model(recipe: PretrainRecipe) -> HazardGPT:
    """An untrained network that knows how its inputs are scaled and what hazards are usual."""
    families = frozenset(recipe.families)
    sample = joined([examples(recipe.seed, _SAMPLE_FROM + index, 32, families) for index in range(_SCALE_SHOPS)])
    shops = sample.shop[~np.isnan(sample.shop).any(axis=1)]
    token_mean, token_std = _scale(sample.tokens)
    token_std[np.isin(TOKEN_NAMES, recipe.ignored)] = 0.0
    scales = Scales(*(_float32(each) for each in (token_mean, token_std, *_scale(shops))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        body = _BODIES[recipe.shape.body]
        return body(scales, _float32(_usual_log_hazards(sample)), recipe.shape)


def _scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    std = values.std(axis=0, dtype=np.float64)
    std[std < _CONSTANT_STD] = 0.0  # rounding is not variation
    return values.mean(axis=0, dtype=np.float64), std


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _usual_log_hazards(panel: Panel) -> np.ndarray:
    """All customers taken as one, log(events / days at risk): float64 (heads, BINS)."""
    rates = []
    for gap, seen in zip(panel.gap_days.T.astype(np.float64), panel.observed.T, strict=True):
        at_risk = exposure_days(gap).sum(axis=0)
        events = (exposure_days(gap[seen]) - exposure_days(gap[seen] - 1)).sum(axis=0)
        rates.append((events + 1e-3) / (at_risk + 1))
    return np.log(rates)


@dataclass(frozen=True)
class Reached:
    """Where training stands after a step."""

    step: int
    loss: float
    model: HazardGPT  # moving average of the weights


def pretrain(recipe: PretrainRecipe, checkpoint: Path | None = None, save_every: int = 500) -> Iterator[Reached]:
    """Train until all steps are done, going on from `checkpoint` if it exists.

    The same recipe gives the same weights, interrupted or not. Raises `CheckpointError` for another recipe's file.
    """
    model = new_model(recipe)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging))  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    begin = 0
    if checkpoint and checkpoint.exists():
        try:
            saved = torch.load(checkpoint, weights_only=True)
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(f"{checkpoint} is no checkpoint of pre-training: {error}") from error
        if saved["recipe"] != _written(recipe):
            raise CheckpointError(f"{checkpoint} is of another training: {saved['recipe']}")
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        begin = saved["step"]
    loader = DataLoader(
        Shops(recipe),
        batch_size=None,
        sampler=range(begin, recipe.steps),
        num_workers=recipe.workers,
        prefetch_factor=8 if recipe.workers else None,
    )
    assert isinstance(average.module, HazardGPT)
    if begin >= recipe.steps:  # it was done before
        yield Reached(begin, math.nan, average.module)
    for step, batch in enumerate(loader, start=begin):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, recipe)
        at_moment, every_day = losses(model, batch)
        loss = at_moment + recipe.every_day * every_day
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        if checkpoint and (step + 1) % save_every == 0:
            state = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
            unfinished = checkpoint.with_name(checkpoint.name + ".new")
            torch.save(state | {"step": step + 1, "recipe": _written(recipe)}, unfinished)
            unfinished.replace(checkpoint)  # so that whoever is interrupted here can still go on from the last one
        yield Reached(step + 1, at_moment.item(), average.module)


def _written(recipe: PretrainRecipe) -> str:
    """All that the weights depend on."""
    return repr(replace(recipe, workers=0))


def schedule(step: int, recipe: PretrainRecipe) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
