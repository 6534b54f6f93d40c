"""A model folder at work: its manifest, its graph, and what it is told of the shop. Without torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from consumer.core.context import Read, by_length
from consumer.core.features import FEATURE_VERSION, TOKEN_NAMES
from consumer.core.risk import calibrated
from consumer.core.state import BINS, MAX_DAYS, States
from model_export.data import HEADS
from model_export.shop import SHOP_TOKEN_NAMES
from schemas.manifest import Manifest, ManifestError, load_manifest

PREFILL_NAME: Final = "prefill.onnx"
STEP_NAME: Final = "step.onnx"
WEIGHTS_NAME: Final = "weights.npz"
LENGTHS: Final = (1, 2, 4, 8, 16, 32, 64)  # sequences are padded to the next of these

# (tokens float32 (B, L, TOKEN_SIZE), lengths int64 (B,), shop float32 (1, SHOP_SIZE)) to float32 (B, heads, BINS)
Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Artefact:
    """A model and the shop that it is applied to."""

    manifest: Manifest
    shop: np.ndarray  # float32 (SHOP_SIZE,)
    scorer: Scorer

    @classmethod
    def load(cls, directory: Path) -> "Artefact":
        """Raises `ManifestError` where the folder is not whole or made for other features."""
        manifest = load_manifest(directory)
        if (manifest.feature_version, manifest.token_names) != (FEATURE_VERSION, TOKEN_NAMES):
            raise ManifestError(f"the model in {directory} was made for other features: train it again")
        if manifest.shop_token_names != SHOP_TOKEN_NAMES:
            raise ManifestError(f"the model in {directory} was made for another shop token: train it again")
        shop = np.array(manifest.shop_token, np.float32)
        return cls(manifest, shop, onnx_scorer(directory / PREFILL_NAME))

    def with_shop(self, shop: np.ndarray) -> "Artefact":
        """The same model for another shop token (SHOP_SIZE,)."""
        return replace(self, shop=shop)

    def log_hazards(self, states: States) -> np.ndarray:
        """Calibrated log-hazards of every user as of the last active day: float32 (U, heads, BINS)."""
        raw = raw_log_hazards(states, self.scorer, self.shop)
        return calibrated(raw, self.manifest.calibration.offset)


def raw_log_hazards(states: States, scorer: Scorer, shop: np.ndarray) -> np.ndarray:
    """What the network says of every user's last active day: float32 (U, heads, BINS)."""
    result = np.empty((len(states), len(HEADS), BINS), np.float32)
    for length, rows in by_length(states.header["days"]):
        given = Read.of(states.take(rows), length)
        result[rows] = scorer(given.tokens, given.lengths, shop[None])
    return result


def session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """A graph on one thread, with memory that does not grow with varying shapes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    content = model if isinstance(model, bytes) else model.read_bytes()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_scorer(model: Path | bytes) -> Scorer:
    """The prefill graph as a function."""
    graph = session(model)

    def run(tokens: np.ndarray, lengths: np.ndarray, shop: np.ndarray) -> np.ndarray:
        return np.asarray(graph.run(["log_hazards"], {"tokens": tokens, "lengths": lengths, "shop": shop})[0])

    return run


assert LENGTHS[-1] == MAX_DAYS
