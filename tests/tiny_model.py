"""A model folder with random weights, made in a few seconds: for tests that need a model, but not a good one."""

from pathlib import Path

import numpy as np
import torch

from consumer.core.features import TOKEN_NAMES, TOKEN_SIZE
from consumer.core.state import BINS
from model_export.data import HEADS
from model_export.export import export
from model_export.folder import base_manifest, written
from model_export.model import HazardGPT, Scales, Shape
from model_export.shop import SHOP_SIZE
from model_export.train import FILES
from schemas.manifest import Manifest, Pretraining, Thresholds

UNKNOWN_INPUTS = ("log1p_tickets", "weekday_sin")  # these never varied in what the weights pretend to come from


def random_model(seed: int = 1, body: type[HazardGPT] = HazardGPT) -> HazardGPT:
    """Random weights, about the usual hazards, on inputs of about the usual size."""
    rng = np.random.default_rng(seed)
    token_std = np.ones(TOKEN_SIZE)
    token_std[[TOKEN_NAMES.index(name) for name in UNKNOWN_INPUTS]] = 0.0
    parts = (np.full(TOKEN_SIZE, 0.5), token_std, rng.normal(size=SHOP_SIZE), np.ones(SHOP_SIZE))
    scales = Scales(*(torch.from_numpy(part.astype(np.float32)) for part in parts))
    usual = torch.linspace(-3.5, -5.5, BINS).expand(len(HEADS), BINS) + torch.tensor([[0.0], [0.3]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return body(scales, usual, Shape()).eval()


def random_folder(out: Path, seed: int = 1) -> Manifest:
    """A whole model folder."""
    model = random_model(seed)
    export(model, out)
    pretraining = Pretraining(
        seed=seed, steps=0, shops=0, customers=0, families=("none",), torch_version=torch.__version__
    )
    tiers = Thresholds(at_risk=0.6, critical=0.8)
    return written(out, base_manifest(out, FILES, pretraining, model.shop_mean.tolist(), tiers, {"loss": 1.5}))
