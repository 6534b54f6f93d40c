"""The exported model in ONNX Runtime: verified against its manifest before the first event."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import onnxruntime as ort
from schemas.manifest import Manifest, load_manifest

from consumer.core.features import FEATURE_VERSION, TOKEN_NAMES
from consumer.core.fold import Target
from consumer.core.state import BIN_EDGES_DAYS
from consumer.errors import ConfigurationError

GRAPH = "prefill.onnx"


class OnnxScorer:
    """One thread and no spinning: the event loop, the broker and Redis want the cores as well."""

    def __init__(self, model_dir: Path, target: Target) -> None:
        self.manifest = verified_manifest(model_dir)
        self.version = self.manifest.model_version
        self._head = self.manifest.targets.index(target)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # varying batch shapes would grow it without end
        self._session = ort.InferenceSession(model_dir / GRAPH, options, providers=["CPUExecutionProvider"])

    def log_hazards(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Scorer.log_hazards`."""
        [hazards] = self._session.run(["log_hazards"], {"tokens": tokens, "lengths": lengths})
        return np.asarray(hazards)[:, self._head]


def verified_manifest(model_dir: Path) -> Manifest:
    """The manifest of a model folder; raises `ConfigurationError` if the model is not whole or not for this version."""
    try:
        manifest = load_manifest(model_dir)
        digests = {name: sha256((model_dir / name).read_bytes()).hexdigest() for name in manifest.files}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the model in {model_dir} cannot be read: {error}") from error
    if GRAPH not in manifest.files:
        raise ConfigurationError(f"the manifest in {model_dir} does not name {GRAPH}")
    changed = sorted(name for name, digest in digests.items() if digest != manifest.files[name])
    if changed:
        raise ConfigurationError(
            f"{', '.join(changed)} in {model_dir} is not the file that the manifest describes (its SHA-256 differs): "
            "put the original back, or export the model again"
        )
    if manifest.feature_version != FEATURE_VERSION or tuple(manifest.token_names) != TOKEN_NAMES:
        raise ConfigurationError(
            f"the model in {model_dir} was made for features of version {manifest.feature_version}, this service "
            f"computes version {FEATURE_VERSION}: train the model again"
        )
    if list(manifest.bin_edges_days) != BIN_EDGES_DAYS.tolist():
        raise ConfigurationError(f"the model in {model_dir} has other hazard bins than this service: train it again")
    return manifest
