"""The trained network as an ONNX graph, checked against torch before anyone sees it."""

import logging
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch

from consumer.core.features import TOKEN_SIZE
from model_export.evaluate import LENGTHS, Scorer
from model_export.model import HazardGPT

PREFILL_NAME: Final = "prefill.onnx"
TOLERANCE: Final = 1e-5
_OPSET = 20
_BATCHES_CHECKED = (1, 2, 64, 333)


class ParityError(Exception):
    """The exported graph and the network disagree."""


def export(model: HazardGPT, path: Path) -> None:
    """Write `path`: inputs `tokens` (batch, length, TOKEN_SIZE), `lengths` (batch,); output `log_hazards`.

    Raises `ParityError` where ONNX Runtime and torch differ by more than 1e-5 at any batch size and length.
    """
    graph = _traced(model.eval())
    _forget_origins(graph)
    onnx.checker.check_model(graph, full_check=True)
    content = graph.SerializeToString(deterministic=True)
    if (worst := largest_difference(model, content)) > TOLERANCE:
        raise ParityError(f"ONNX Runtime differs from torch by {worst:.1e}; at most {TOLERANCE:.0e} is accepted")
    path.write_bytes(content)


def onnx_scorer(model: Path | bytes) -> Scorer:
    """A graph as a function, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # varying shapes would grow it without end
    content = model if isinstance(model, bytes) else model.read_bytes()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["log_hazards"], {"tokens": tokens, "lengths": lengths})[0])

    return run


def torch_scorer(model: HazardGPT) -> Scorer:
    """The network as a function."""

    def run(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(tokens), torch.from_numpy(lengths)))

    return run


def largest_difference(model: HazardGPT, graph: bytes) -> float:
    """Between torch and ONNX Runtime, over several batch sizes and every length, on random tokens."""
    expected, actual = torch_scorer(model), onnx_scorer(graph)
    rng = np.random.default_rng(0)
    worst = 0.0
    for length in LENGTHS:
        for batch in _BATCHES_CHECKED:
            tokens = rng.normal(scale=3.0, size=(batch, length, TOKEN_SIZE)).astype(np.float32)
            lengths = rng.integers(1, length + 1, size=batch)
            difference = expected(tokens, lengths) - actual(tokens, lengths)
            worst = max(worst, float(np.abs(difference).max()))
    return worst


def _traced(model: HazardGPT) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports that torchvision is not installed
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=LENGTHS[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `batch` names an axis of both inputs, as it should
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 3, TOKEN_SIZE), torch.tensor([2, 3])),
            input_names=["tokens", "lengths"],
            output_names=["log_hazards"],
            dynamic_shapes={"tokens": {0: batch, 1: length}, "lengths": {0: batch}},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _forget_origins(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold source lines and paths of this machine."""
    body = graph.graph
    for part in (graph, body, *body.node, *body.input, *body.output, *body.value_info, *body.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
