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
from consumer.ports import MemoryShape
from schemas.manifest import Manifest, ManifestError, load_manifest

PREFILL, STEP = "prefill.onnx", "step.onnx"
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
        self._offset = self.manifest.calibration.offset
        self._prefill, self._step = (_session(model_dir / name) for name in (PREFILL, STEP))
        past = next(given for given in self._step.get_inputs() if given.name == "past")
        self.memory = MemoryShape(past.shape[1], past.shape[3], np.dtype(np.float16))

    def prefill(self, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Scorer.prefill`."""
        return self._run(self._prefill, {"tokens": tokens, "lengths": lengths, "shop": self._shop})

    def step(self, token: np.ndarray, past: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Scorer.step`."""
        return self._run(self._step, {"token": token, "shop": self._shop, "past": past, "lengths": lengths})

    def _run(self, session: ort.InferenceSession, given: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        hazards, memory = session.run(["log_hazards", "memory"], given)
        return calibrated(np.asarray(hazards)[:, self._head], self._offset), np.asarray(memory)


def _session(graph: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # varying shapes would make them grow without end
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except _UNUSABLE as error:
        raise ConfigurationError(f"{graph} is no graph that ONNX Runtime can run: {error}") from error


def verified_manifest(model_dir: Path) -> Manifest:
    """The manifest of a model folder; raises `ConfigurationError` if the model is not whole or not for this version."""
    try:
        manifest = load_manifest(model_dir)
    except ManifestError as error:
        raise ConfigurationError(f"{error}: put the original files back, or export the model again") from error
    for name in {PREFILL, STEP} - manifest.files.keys():
        raise ConfigurationError(f"the manifest in {model_dir} does not name {name}: export the model again")
    if manifest.feature_version != FEATURE_VERSION or manifest.token_names != TOKEN_NAMES:
        raise ConfigurationError(
            f"the model in {model_dir} was made for features of version {manifest.feature_version}, this service "
            f"computes version {FEATURE_VERSION}: train the model again"
        )
    if list(manifest.bin_edges_days) != BIN_EDGES_DAYS.tolist():
        raise ConfigurationError(f"the model in {model_dir} has other hazard bins than this service: train it again")
    return manifest
