"""Gradient boosting "pre-trained" on the same simulated shops: an ablation, never exported.

It is told what the network is told, as the rolling features and the shop token, and is asked one question at a time:
will this customer stay away for so many days?
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import lightgbm
import numpy as np

from consumer.core.features import rolling
from consumer.core.state import States
from model_export.corpus import Seen, seen_customers
from model_export.data import HEADS, PRIMARY_TARGET
from model_export.shop import shop_token
from model_export.tasks import FEATURE_WINDOWS_DAYS, Task

_HEAD: Final = HEADS.index(PRIMARY_TARGET)
_SHORTEST_DAYS: Final = 7
_CHOOSING_SHARE: Final = 0.1  # of the shops, to choose the rounds on
_PATIENCE_ROUNDS: Final = 30
_OPTIONS: Final = {
    "objective": "binary", "min_data_in_leaf": 200, "lambda_l2": 1.0, "feature_fraction": 0.6, "max_bin": 127,
    "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip


@dataclass(frozen=True)
class BoostingRecipe:
    """How to train it."""

    seed: int = 1
    shops: int = 2_000
    users: int = 100  # per shop
    leaves: int = 31
    learning_rate: float = 0.05
    most_rounds: int = 1_000


@dataclass(frozen=True, eq=False)
class Boosted:
    """As a competitor: it has never seen the shop."""

    booster: lightgbm.Booster
    name: str = "boosting"

    def predict(self, task: Task) -> np.ndarray:
        """See `Competitor.predict`."""
        past = task.past
        shop = shop_token(past.log.states, past.until_day)
        horizon_days = np.full(len(past.customers), task.horizon_days)
        rows = _rows(past.features(past.until_day), shop, horizon_days)
        return np.asarray(self.booster.predict(rows, num_threads=1), np.float64)


def boosted(recipe: BoostingRecipe, advance: Callable[[int], None]) -> Boosted:
    """Simulate, then fit; `advance` is told how many shops are done. The same recipe gives the same trees."""
    parts = []
    for number in range(recipe.shops):
        parts.append(_of_shop(recipe, number))
        advance(number + 1)
    fitting = max(1, round(recipe.shops * (1 - _CHOOSING_SHARE)))
    data = _dataset(parts[:fitting])
    watched = [_dataset(parts[fitting:], data)] if fitting < recipe.shops else []
    stop: list[Callable[..., Any]] = []
    if watched:
        stop = [lightgbm.early_stopping(_PATIENCE_ROUNDS, verbose=False)]
    options = _OPTIONS | {"seed": recipe.seed, "num_leaves": recipe.leaves, "learning_rate": recipe.learning_rate}
    return Boosted(lightgbm.train(options, data, recipe.most_rounds, valid_sets=watched, callbacks=stop))


def _dataset(parts: list[tuple[np.ndarray, np.ndarray]], like: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    rows, stayed_away = map(np.concatenate, zip(*parts, strict=True))
    return lightgbm.Dataset(rows, stayed_away.astype(np.float32), reference=like)


def _of_shop(recipe: BoostingRecipe, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Customers of one simulated shop: what is known of each (C, F), and whether they stayed away (C,)."""
    seen = seen_customers(recipe.seed, number, recipe.users)
    horizon_days, stayed_away = questions(seen, np.random.default_rng((recipe.seed, number, _HEAD)))
    return _rows(_features(seen.states, seen.until), seen.shop, horizon_days), stayed_away


def questions(seen: Seen, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A horizon for each customer that lies within what is known, and whether they bought nothing in it.

    int64 (C,) days from `seen.until` on, of log-uniform length, and bool (C,).
    """
    known_days = seen.targets.end_day - seen.until
    shortest = np.minimum(_SHORTEST_DAYS, known_days)
    length = np.exp(rng.uniform(np.log(shortest), np.log(known_days + 1)))
    horizon_days = np.minimum(np.floor(length).astype(np.int64), known_days)
    gap_days, observed = seen.targets.after(seen.user, seen.until - 1)
    return horizon_days, ~(observed[:, _HEAD] & (gap_days[:, _HEAD] <= horizon_days))


def _features(states: States, until: np.ndarray) -> dict[str, np.ndarray]:
    return rolling(states, until - 1, FEATURE_WINDOWS_DAYS)


def _rows(features: dict[str, np.ndarray], shop: np.ndarray, horizon_days: np.ndarray) -> np.ndarray:
    """Features, the shop token and the horizon side by side: float32 (C, F)."""
    told = np.broadcast_to(shop, (len(horizon_days), len(shop)))
    return np.column_stack((*features.values(), told, horizon_days)).astype(np.float32)
