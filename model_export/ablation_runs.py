"""The ablations: models that differ from the reference in one thing each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from consumer.core.trends import TREND_NAMES
from model_export.ablation_results import REFERENCE, Setting
from model_export.boosting import BoostingRecipe
from model_export.model import Shape
from model_export.pretrain import PretrainRecipe
from model_export.shops import FAMILIES
from model_export.tasks import EvaluationError

TRENDS: Final = tuple(f"log1p_{name}" for name in TREND_NAMES)
GROUPS: Final = {
    "tails": ("heavy_tails", "one_timers"),
    "aging": ("aging", "moods"),
    "loyalty": ("comebacks", "loyalty"),
    "seasons": ("seasons",),
    "panels": ("frequent", "panels", "begun_earlier"),
    "behaviour": ("behaviour",),
}
_BOOSTING_SHOPS: Final = 2_000
_BOOSTING_USERS: Final = 100

Recipe = PretrainRecipe | BoostingRecipe


@dataclass(frozen=True)
class Run:
    """One model to make and to score."""

    name: str
    what: str
    recipe: Recipe

    @property
    def identity(self) -> str:
        """Everything that decides the weights, in words."""
        recipe = self.recipe
        return repr(replace(recipe, workers=0) if isinstance(recipe, PretrainRecipe) else recipe)

    @property
    def steps(self) -> int:
        """For progress: of boosting, so many as would simulate its shops."""
        recipe = self.recipe
        return recipe.steps if isinstance(recipe, PretrainRecipe) else max(1, recipe.shops // PretrainRecipe.shops)


def runs(setting: Setting) -> list[Run]:
    """All ablations, the reference first."""
    without = {
        name: tuple(family for family in FAMILIES if family not in left_out) for name, left_out in GROUPS.items()
    }
    return [
        Run(REFERENCE, "all habits", _recipe(setting)),
        Run("plain", "gamma rates, Erlang rhythms and dropout only", _recipe(setting, families=())),
        *(
            Run(f"no-{name}", f"without {', '.join(GROUPS[name])}", _recipe(setting, families=families))
            for name, families in without.items()
        ),
        Run("no-shop-token", "never told of the shop", _recipe(setting, withheld=1.0)),
        Run("no-trends", "without the decayed sums of the whole history", _recipe(setting, ignored=TRENDS)),
        Run(
            "multi-head",
            "keys and values for each of four heads, not rounded to float16",
            _recipe(setting, shape=Shape(body="multi_head")),
        ),
        Run("gru", "a GRU in the Transformer's place", _recipe(setting, shape=Shape(body="gru"))),
        _boosting(setting),
    ]


def _recipe(
    setting: Setting,
    families: tuple[str, ...] = FAMILIES,
    withheld: float = PretrainRecipe.withheld,
    ignored: tuple[str, ...] = (),
    shape: Shape = Shape(),
) -> PretrainRecipe:
    """A short run: warm-up and averaging take a tenth of it, at most as long as in the shipped model's."""
    return PretrainRecipe(
        seed=setting.seed,
        steps=setting.steps,
        shops=setting.shops,
        users=setting.users,
        warmup_steps=max(1, min(PretrainRecipe.warmup_steps, setting.steps // 10)),
        averaging=max(0.0, min(PretrainRecipe.averaging, 1 - 10 / setting.steps)),
        families=families,
        withheld=withheld,
        ignored=ignored,
        shape=shape,
    )


def _boosting(setting: Setting) -> Run:
    """From no more shops and customers than the networks see."""
    shops = min(_BOOSTING_SHOPS, setting.steps * setting.shops)
    recipe = BoostingRecipe(setting.seed, shops, min(_BOOSTING_USERS, setting.users))
    told = f"LightGBM on rolling features, shop token and horizon, from {shops:,} shops × {recipe.users} customers"
    return Run("boosting", told, recipe)


def chosen(everything: Sequence[Run], only: Sequence[str]) -> list[Run]:
    """Those named in `only`, or all; raises `EvaluationError` for a name that is none."""
    names = [run.name for run in everything]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise EvaluationError(f"no ablation is called {unknown[0]}; there are {', '.join(names)}")
    return [run for run in everything if not only or run.name in only]
