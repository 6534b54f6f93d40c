"""The network: what may change an output, and what may not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from consumer.core.features import TOKEN_NAMES, TOKEN_SIZE, tokens
from consumer.core.state import BINS, MAX_DAYS
from histories import random_states
from model_export.artefact import LENGTHS, PREFILL_NAME, Artefact, onnx_scorer
from model_export.data import HEADS
from model_export.model import HazardGPT
from model_export.multi_head import HazardMultiHead
from model_export.recurrent import HazardGRU
from model_export.shop import SHOP_SIZE, SHOP_TOKEN_NAMES
from tiny_model import UNKNOWN_INPUTS, random_model

BODIES = pytest.mark.parametrize(
    "model", [random_model(body=body) for body in (HazardGPT, HazardMultiHead, HazardGRU)], ids=["gpt", "heads", "gru"]
)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def random_tokens(batch: int, length: int, seed: int = 5) -> Tensor:
    return torch.randn(batch, length, TOKEN_SIZE, generator=torch.Generator().manual_seed(seed))


def random_shops(count: int, seed: int = 6) -> Tensor:
    return torch.randn(count, SHOP_SIZE, generator=torch.Generator().manual_seed(seed))


@BODIES
def test_later_user_days_do_not_change_earlier_outputs(model: HazardGPT) -> None:
    """The network is causal."""
    before, shop = random_tokens(3, 12), random_shops(1)
    after = before.clone()
    after[:, 7:] = random_tokens(3, 5, seed=8)
    first, second = model.at_every_day(before, shop), model.at_every_day(after, shop)
    assert torch.equal(first[:, :7], second[:, :7])
    assert (first[:, 7:] != second[:, 7:]).any(dim=(-2, -1)).all()


def test_earlier_user_days_reach_every_later_output() -> None:
    """What was long ago is not forgotten within the 64 days."""
    model, before, shop = random_model(), random_tokens(2, MAX_DAYS), random_shops(1)
    after = before.clone()
    after[:, 0] += 1.0
    assert (model.at_every_day(before, shop) != model.at_every_day(after, shop)).any(dim=(-2, -1)).all()


@BODIES
def test_the_shop_reaches_every_output(model: HazardGPT) -> None:
    """Another value of any one of the shop's inputs changes the hazards after every user-day, of both heads."""
    given, shop = random_tokens(2, 6), random_shops(1)
    usual = model.at_every_day(given, shop)
    for position, name in enumerate(SHOP_TOKEN_NAMES):
        other = shop.clone()
        other[0, position] += 1.0
        assert (model.at_every_day(given, other) != usual).any(dim=-1).all(), name


def test_every_customer_has_a_shop_of_their_own() -> None:
    """With a shop per row the outputs are those of each row with its shop."""
    model, given, shops = random_model(), random_tokens(3, 5), random_shops(3)
    together = model.at_every_day(given, shops)
    for row in range(3):
        alone = model.at_every_day(given[[row]], shops[[row]])
        torch.testing.assert_close(together[[row]], alone, rtol=0, atol=1e-5)


@BODIES
def test_an_unknown_shop_is_a_usual_one(model: HazardGPT) -> None:
    """NaN, in all of the shop token or in part of it, is the mean of the shops trained on, to the bit."""
    given, shop = random_tokens(2, 6), random_shops(1)
    unknown = torch.full((1, SHOP_SIZE), torch.nan)
    assert torch.equal(model.at_every_day(given, unknown), model.at_every_day(given, model.shop_mean[None]))
    partly, filled = shop.clone(), shop.clone()
    partly[0, 3:9], filled[0, 3:9] = torch.nan, model.shop_mean[3:9]
    assert torch.equal(model.at_every_day(given, partly), model.at_every_day(given, filled))


@BODIES
def test_inputs_unknown_to_the_training_data_are_ignored(model: HazardGPT) -> None:
    """A column that never varied in training cannot push the hazards anywhere; any other can."""
    quiet, shop = random_tokens(1, 3), random_shops(1)
    usual = model.at_every_day(quiet, shop)
    for position, name in enumerate(TOKEN_NAMES):
        loud = quiet.clone()
        loud[..., position] += 1.0
        assert torch.equal(model.at_every_day(loud, shop), usual) == (name in UNKNOWN_INPUTS), name


def test_the_far_away_is_taken_as_far_away() -> None:
    """Beyond five standard deviations an input says no more, so that an odd amount cannot make an odd hazard."""
    model, far, farther = random_model(), random_tokens(1, 3), random_tokens(1, 3)
    far[..., TOKEN_NAMES.index("log1p_spend")] = 6.0
    farther[..., TOKEN_NAMES.index("log1p_spend")] = 1e6
    assert torch.equal(model.at_every_day(far, random_shops(1)), model.at_every_day(farther, random_shops(1)))


def test_training_begins_with_the_usual_hazards() -> None:
    """An untrained network's outputs lie about the hazards that it was given."""
    model = random_model()
    found = model.at_every_day(random_tokens(64, 4), random_shops(1)).mean(dim=(0, 1))
    assert float((found - model.hazards.bias.view(len(HEADS), BINS)).abs().max()) < 0.5


def test_the_last_real_day_is_what_a_score_is_of() -> None:
    """`forward` answers for the last of each row's real days, whatever the padding holds."""
    model, given, shop = random_model(), random_tokens(4, 9), random_shops(1)
    lengths = torch.tensor([1, 4, 8, 9])
    every = model.at_every_day(given, shop)
    assert torch.equal(model(given, lengths, shop)[0], every[torch.arange(4), lengths - 1])


def test_a_score_does_not_depend_on_its_batch(tiny_model: Path) -> None:
    """A user's hazards are equal to the bit whatever else is in the batch, and at every padded length."""
    states = random_states()
    scorer, shop = onnx_scorer(tiny_model / PREFILL_NAME), random_shops(1).numpy()
    count = states.header["days"].astype(np.int64)
    assert count.max() == LENGTHS[-1]
    whole = scorer(tokens(states), count, shop)
    rng = np.random.default_rng(0)
    for length in LENGTHS:
        rows = rng.permutation(np.flatnonzero(count <= length))
        for batch in np.split(rows, np.cumsum([1, 1, 2, 3, 5, 16, 31])):
            if len(batch):
                alone = scorer(tokens(states.take(batch), length), count[batch], shop)
                assert alone.tobytes() == whole[batch].tobytes()


def test_scores_of_a_model_folder_do_not_depend_on_who_else_is_scored(tiny_model: Path) -> None:
    """Each of a log's customers gets the same bits alone as among all others."""
    model, states = Artefact.load(tiny_model), random_states(60, 800)
    whole = model.log_hazards(states)
    assert whole.shape == (len(states), len(HEADS), BINS)
    for row in range(0, len(states), 5):
        assert model.log_hazards(states.take(np.array([row]))).tobytes() == whole[[row]].tobytes()
