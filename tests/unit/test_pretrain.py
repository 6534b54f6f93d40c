"""Pre-training: the same recipe gives the same weights, however it was run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from consumer.core.features import TOKEN_NAMES, tokens
from consumer.core.state import MAX_DAYS, TRENDS
from consumer.core.trends import TREND_NAMES, through
from model_export import pretrain as pretraining
from model_export.corpus import examples
from model_export.likelihood import mean_losses
from model_export.model import HazardGPT
from model_export.panel import joined
from model_export.pretrain import CheckpointError, PretrainRecipe, Reached, new_model, pretrain, schedule
from model_export.shops import FAMILIES, draw_shop
from model_export.simulate import simulate
from model_export.simulated_states import states_at

TINY = PretrainRecipe(seed=3, steps=6, shops=1, users=16, warmup_steps=2, workers=0)
AT = [TOKEN_NAMES.index(f"log1p_{name}") for name in TREND_NAMES]


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "_SCALE_SHOPS", 6)
        yield
    torch.set_num_threads(threads)


def weights(model: HazardGPT) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def last(steps: Iterator[Reached]) -> Reached:
    *_, reached = steps
    return reached


@pytest.fixture(scope="module")
def trained() -> dict[str, bytes]:
    """The weights of the tiny recipe, trained in one go."""
    return weights(last(pretrain(TINY)).model)


def test_the_same_recipe_gives_the_same_weights(trained: dict[str, bytes]) -> None:
    """To the bit, whatever has been drawn from torch's own generator before."""
    torch.rand(7)
    assert weights(last(pretrain(TINY)).model) == trained


def test_another_seed_gives_other_weights(trained: dict[str, bytes]) -> None:
    """The seed decides beginning and shops."""
    other = weights(last(pretrain(replace(TINY, seed=4))).model)
    assert other["embed.weight"] != trained["embed.weight"]
    assert other["token_mean"] != trained["token_mean"]


def test_workers_do_not_matter(trained: dict[str, bytes]) -> None:
    """Shops drawn in another process are the same shops."""
    assert weights(last(pretrain(replace(TINY, workers=1))).model) == trained


def test_whoever_is_interrupted_goes_on_from_the_checkpoint(trained: dict[str, bytes], tmp_path: Path) -> None:
    """Stopped after five steps, saved after four, the weights at the end are those of one go, to the bit."""
    checkpoint = tmp_path / "checkpoint.pt"
    for reached in pretrain(TINY, checkpoint, save_every=2):
        if reached.step == 5:
            break
    resumed = list(pretrain(TINY, checkpoint, save_every=2))
    assert [reached.step for reached in resumed] == [5, 6]
    assert weights(resumed[-1].model) == trained
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_whoever_was_done_is_done_again_at_once(trained: dict[str, bytes], tmp_path: Path) -> None:
    """From the checkpoint of the last step come the final weights, without a further step."""
    list(pretrain(TINY, tmp_path / "checkpoint.pt", save_every=3))
    [reached] = pretrain(TINY, tmp_path / "checkpoint.pt", save_every=3)
    assert (reached.step, weights(reached.model)) == (6, trained)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    """Going on with another seed would give weights that no recipe gives."""
    list(pretrain(TINY, tmp_path / "checkpoint.pt", save_every=3))
    with pytest.raises(CheckpointError, match="another training"):
        next(iter(pretrain(replace(TINY, seed=TINY.seed + 1), tmp_path / "checkpoint.pt", save_every=3)))


def test_training_lowers_the_loss() -> None:
    """Customers of shops that no step has seen are foretold better after some steps than before."""
    recipe = replace(TINY, steps=25, shops=2)
    unseen = joined([examples(99, number, 50) for number in range(4)])
    before, after = mean_losses(new_model(recipe), unseen), mean_losses(last(pretrain(recipe)).model, unseen)
    assert after[0] < before[0]
    assert after[1] < before[1]


def test_the_learning_rate_rises_and_falls() -> None:
    """From a first part up to all of it when warm, and down to a fiftieth at the end."""
    rates = np.array([schedule(step, replace(TINY, steps=100, warmup_steps=10)) for step in range(101)])
    assert (np.diff(rates[:10]) > 0).all()
    assert rates[10] == rates.max() == pytest.approx(1.0)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[100] == pytest.approx(0.02)


def test_an_example_is_drawn_from_its_number_alone() -> None:
    """Again the same, whatever was drawn before; and no two are alike."""
    first, second, again = (examples(1, number, 20) for number in (5, 6, 5))
    assert first.tokens.tobytes() == again.tokens.tobytes()
    assert first.shop.tobytes() == again.shop.tobytes()
    assert first.tokens.tobytes() != second.tokens.tobytes()


def test_examples_are_sound() -> None:
    """Inputs are finite, silences not negative, and nothing came before the moment at which a customer is seen."""
    for number in range(12):
        panel = examples(2, number, 40)
        assert np.isfinite(panel.tokens).all()
        assert (panel.entry_days >= 0).all()
        assert (panel.gap_days[panel.last] >= panel.entry_days[:, None]).all()
        seen = panel.observed[panel.last]
        assert (panel.gap_days[panel.last] > panel.entry_days[:, None])[seen].all()
        assert ((panel.length >= 1) & (panel.length <= MAX_DAYS)).all()
        assert np.isnan(panel.shop).all() or np.isfinite(panel.shop).all()


def test_simulated_states_remember_what_has_left() -> None:
    """Trends after the 64th day are those of the whole history, to the bit, as the fold would have it."""
    rng = np.random.default_rng(5)
    while True:
        simulated = simulate(draw_shop(rng, frozenset(FAMILIES)), 200, rng)
        users, count = np.unique(simulated.user, return_counts=True)
        if count.max() > MAX_DAYS + 20:
            break
    user = users[[np.argmax(count)]]
    days = simulated.days[simulated.user == user[0]][None]
    gap = np.diff(days["day"].astype(np.int64), axis=1, prepend=days["day"][:, :1])
    whole = np.log1p(through(np.zeros((1, TRENDS), np.float32), gap, days)[0, -MAX_DAYS:].astype(np.float64))
    states = states_at(simulated, user, np.array([simulated.end_day]))
    assert tokens(states)[0][:, AT].tobytes() == whole.astype(np.float32).tobytes()
    assert states.header["evicted_day"][0] == days["day"][0, -MAX_DAYS - 1]
