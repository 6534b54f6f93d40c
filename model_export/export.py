"""The trained network as ONNX graphs, checked against torch and each other before anyone sees them."""

import logging
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from consumer.core.features import TOKEN_SIZE
from consumer.core.state import MAX_DAYS
from model_export.artefact import LENGTHS, PREFILL_NAME, STEP_NAME, WEIGHTS_NAME, Scorer, session
from model_export.model import HazardGPT, Scales, Shape, Step
from model_export.shop import SHOP_SIZE

# Memory is rounded to float16, which turns a last bit into one of its own: 2**-10 of the number.
TOLERANCE: Final = 1e-3
_OPSET = 20
_BATCHES_CHECKED = (1, 2, 64)
_OUTPUTS = ("log_hazards", "memory")


class ParityError(Exception):
    """An exported graph and the network disagree."""


def export(model: HazardGPT, directory: Path) -> None:
    """Write `prefill.onnx`, `step.onnx` and `weights.npz`.

    prefill: `tokens` (batch, length, TOKEN_SIZE), `lengths` (batch,), `shop` (1, SHOP_SIZE) to `log_hazards` (batch,
    heads, BINS) after the last real user-day, and `memory` (batch, layers, length, 2 * head_width), float16.
    step: `token` (batch, TOKEN_SIZE), `shop`, `past` memory, of which the first `lengths` (batch,) days are real, to
    `log_hazards` and the new day's `memory` (batch, layers, 2 * head_width).

    Raises `ParityError` where ONNX Runtime and torch, or the two graphs, differ by more than 1e-3 (`_apart`).
    """
    model = model.eval()
    graphs = {PREFILL_NAME: _bytes(_prefill(model)), STEP_NAME: _bytes(_step(model))}
    worst = max(largest_difference(model, graphs[PREFILL_NAME]), largest_step_difference(model, *graphs.values()))
    if not worst <= TOLERANCE:
        raise ParityError(f"ONNX Runtime differs from torch by {worst:.1e}; at most {TOLERANCE:.0e} is accepted")
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in graphs.items():
        (directory / name).write_bytes(content)
    np.savez(directory / WEIGHTS_NAME, **{name: value.numpy() for name, value in model.state_dict().items()})


def load_weights(directory: Path) -> HazardGPT:
    """The network of a model folder, to train on from there."""
    with np.load(directory / WEIGHTS_NAME) as stored:
        weights = {name: torch.from_numpy(stored[name]) for name in stored.files}
    blank = torch.zeros(TOKEN_SIZE), torch.zeros(TOKEN_SIZE), torch.zeros(SHOP_SIZE), torch.zeros(SHOP_SIZE)
    model = HazardGPT(Scales(*blank), weights["hazards.bias"], Shape())
    model.load_state_dict(weights)
    return model


def torch_scorer(model: HazardGPT) -> Scorer:
    """The network as a function."""

    def run(tokens: np.ndarray, lengths: np.ndarray, shop: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(model(*map(torch.from_numpy, (tokens, lengths, shop)))[0])

    return run


def largest_difference(model: HazardGPT, prefill: bytes) -> float:
    """Between torch and the prefill graph, over several batch sizes and every length, on random tokens."""
    graph, rng = session(prefill), np.random.default_rng(0)
    worst = 0.0
    for length in LENGTHS:
        for batch in _BATCHES_CHECKED:
            inputs = _random_inputs(rng, batch, length)
            with torch.no_grad():
                expected = [each.numpy() for each in model(*map(torch.from_numpy, inputs.values()))]
            worst = max(worst, _apart(expected, graph.run(_OUTPUTS, inputs)))
    return worst


def largest_step_difference(model: HazardGPT, prefill: bytes, step: bytes) -> float:
    """Between stepping to the last day, in torch and in the step graph, and the prefill graph over all days."""
    graph, whole, rng = session(step), session(prefill), np.random.default_rng(1)
    worst = 0.0
    for length in LENGTHS[1:]:
        for batch in _BATCHES_CHECKED:
            inputs = _random_inputs(rng, batch, length)
            rows, last = np.arange(batch), inputs["lengths"] - 1
            hazards, memory = whole.run(_OUTPUTS, inputs)
            given = {"token": inputs["tokens"][rows, last], "shop": inputs["shop"]}
            given |= {"past": memory[:, :, :-1], "lengths": last}
            expected = [hazards, memory[rows, :, last]]
            with torch.no_grad():
                in_torch = [each.numpy() for each in Step(model)(*map(torch.from_numpy, given.values()))]
            worst = max(worst, _apart(expected, graph.run(_OUTPUTS, given)), _apart(expected, in_torch))
    return worst


def _random_inputs(rng: np.random.Generator, batch: int, length: int) -> dict[str, np.ndarray]:
    return {
        "tokens": rng.normal(scale=3.0, size=(batch, length, TOKEN_SIZE)).astype(np.float32),
        "lengths": rng.integers(1, length + 1, size=batch),
        "shop": rng.normal(size=(1, SHOP_SIZE)).astype(np.float32),
    }


def _apart(expected: list[np.ndarray], actual: list[np.ndarray]) -> float:
    """The largest difference; of memory in parts of the number where that is beyond 1, since its last bit grows so."""
    return max(_difference(one, other) for one, other in zip(expected, actual, strict=True))


def _difference(expected: np.ndarray, actual: np.ndarray) -> float:
    unit = np.maximum(np.abs(expected.astype(np.float32)), 1.0) if expected.dtype == np.float16 else np.float32(1.0)
    return float((np.abs(expected.astype(np.float32) - actual.astype(np.float32)) / unit).max())


def _prefill(model: HazardGPT) -> onnx.ModelProto:
    batch, length = Dim("batch"), Dim("length", max=MAX_DAYS)
    given = torch.zeros(2, 3, TOKEN_SIZE), torch.tensor([2, 3]), torch.zeros(1, SHOP_SIZE)
    return _traced(model, given, ("tokens", "lengths", "shop"), ({0: batch, 1: length}, {0: batch}, None))


def _step(model: HazardGPT) -> onnx.ModelProto:
    batch, past = Dim("batch"), Dim("past", max=MAX_DAYS)
    shape = model.shape
    kept = torch.zeros(2, shape.layers, 3, 2 * shape.head_width, dtype=torch.float16)
    given = torch.zeros(2, TOKEN_SIZE), torch.zeros(1, SHOP_SIZE), kept, torch.tensor([2, 3])
    along = {0: batch, 2: past}
    return _traced(Step(model), given, ("token", "shop", "past", "lengths"), ({0: batch}, None, along, {0: batch}))


def _traced(
    module: nn.Module, given: tuple[Tensor, ...], names: tuple[str, ...], dynamic: tuple[dict[int, Dim] | None, ...]
) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports that torchvision is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `batch` names an axis of several inputs, as it should
        program = torch.onnx.export(
            module,
            given,
            input_names=list(names),
            output_names=list(_OUTPUTS),
            dynamic_shapes=dynamic,
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _bytes(graph: onnx.ModelProto) -> bytes:
    _forget_origins(graph)
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString(deterministic=True)


def _forget_origins(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold source lines and paths of this machine."""
    body = graph.graph
    for part in (graph, body, *body.node, *body.input, *body.output, *body.value_info, *body.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
