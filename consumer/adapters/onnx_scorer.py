"""The exported model in ONNX Runtime: verified against its manifest before the first event."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from consumer.core.features import FEATURE_VERSION, TOKEN_NAMES
from consumer.core.fold import Target
from consumer.core.risk import calibrated
from consumer.core.state import BIN_EDGES_DAYS
from consumer.errors import ConfigurationError
from schemas.manifest import Manifest, ManifestError, load_manifest

GRAPH = "prefill.onnx"
_UNUSABLE = (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented, errors.RuntimeException)


class OnnxScorer:
    """One thread and no spinning: the event loop, the broker and Redis want the cores as well."""

    def __init__(self, model_dir: Path, target: Target) -> None:
        self.manifest = verified_manifest(model_dir)
        self.version = self.manifest.model_version
        if target not in self.manifest.heads:
            raise ConfigurationError(f"the model in {model_dir} knows {self.manifest.heads}, but not target {target!r}")
        self._head = self.manifest.heads.index(target)
        self._shop = np.array([self.manifest.shop_token], np.float32)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # varying batch shapes would grow it without end
        try:
            self._session = ort.InferenceSession(model_dir / GRAPH, options, providers=["CPUExecutionProvider"])
        except _UNUSABLE as error:
            raise ConfigurationError(f"{model_dir / GRAPH} is no graph that ONNX Runtime can run: {error}") from error

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Scorer.log_hazards`."""
        given = {"tokens": tokens, "lengths": lengths, "shop": self._shop}
        [hazards] = self._session.run(["log_hazards"], given)
        return calibrated(np.asarray(hazards)[:, self._head], self.manifest.calibration.offset)


def verified_manifest(model_dir: Path) -> Manifest:
    """The manifest of a model folder; raises `ConfigurationError` if the model is not whole or not for this version."""
    try:
        manifest = load_manifest(model_dir)
    except ManifestError as error:
        raise ConfigurationError(f"{error}: put the original files back, or export the model again") from error
    if GRAPH not in manifest.files:
        raise ConfigurationError(f"the manifest in {model_dir} does not name {GRAPH}: export the model again")
    if manifest.feature_version != FEATURE_VERSION or manifest.token_names != TOKEN_NAMES:
        raise ConfigurationError(
            f"the model in {model_dir} was made for features of version {manifest.feature_version}, this service "
            f"computes version {FEATURE_VERSION}: train the model again"
        )
    if list(manifest.bin_edges_days) != BIN_EDGES_DAYS.tolist():
        raise ConfigurationError(f"the model in {model_dir} has other hazard bins than this service: train it again")
    return manifest
