"""The exported graphs are the network: both of them, at every size, and in the same bytes every time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from consumer.core.features import TOKEN_SIZE, tokens
from consumer.core.state import MAX_DAYS
from histories import random_states
from model_export import export as exporting
from model_export.artefact import LENGTHS, PREFILL_NAME, STEP_NAME, WEIGHTS_NAME, raw_log_hazards, session
from model_export.export import (
    TOLERANCE,
    ParityError,
    _apart,
    export,
    largest_difference,
    largest_step_difference,
    load_weights,
    torch_scorer,
)
from model_export.model import HazardGPT
from model_export.shop import SHOP_SIZE
from tiny_model import random_model

OUTPUTS = ["log_hazards", "memory"]
SHOP = np.random.default_rng(3).normal(size=(1, SHOP_SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> HazardGPT:
    """The network that the folder was exported from."""
    return random_model()


def changed(graph: bytes, name: str, by: float) -> bytes:
    """A graph with one number of the named weight changed."""
    proto = onnx.load_from_string(graph)
    for weight in proto.graph.initializer:
        if weight.name.endswith(name):
            values = numpy_helper.to_array(weight).copy()
            values.flat[0] += by
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
            return proto.SerializeToString()
    raise AssertionError([weight.name for weight in proto.graph.initializer])


def test_the_graphs_are_the_network(model: HazardGPT, tiny_model: Path) -> None:
    """ONNX Runtime agrees with torch, and step with prefill, to 1e-3 in batches of 1, 2 and 64 at every length."""
    prefill, step = (tiny_model / PREFILL_NAME).read_bytes(), (tiny_model / STEP_NAME).read_bytes()
    assert exporting._BATCHES_CHECKED == (1, 2, 64)
    assert largest_difference(model, prefill) <= TOLERANCE == 1e-3
    assert largest_step_difference(model, prefill, step) <= TOLERANCE


def test_the_graphs_are_the_network_on_states(model: HazardGPT, tiny_model: Path) -> None:
    """So they do on what real tokens look like, of users with 1 to 64 days and more."""
    states, graph = random_states(), session(tiny_model / PREFILL_NAME)

    def in_graph(tokens: np.ndarray, lengths: np.ndarray, shop: np.ndarray) -> np.ndarray:
        return np.asarray(graph.run(["log_hazards"], {"tokens": tokens, "lengths": lengths, "shop": shop})[0])

    expected = raw_log_hazards(states, torch_scorer(model), SHOP[0])
    assert np.abs(raw_log_hazards(states, in_graph, SHOP[0]) - expected).max() <= TOLERANCE


def test_stepping_day_by_day_is_reading_all(tiny_model: Path) -> None:
    """From the second to the 64th day, every step on kept memory gives the bits that the whole sequence gives."""
    states = random_states()
    states = states.take(np.flatnonzero(states.header["days"] == MAX_DAYS))
    assert len(states) >= 2
    given, prefill, step = tokens(states), session(tiny_model / PREFILL_NAME), session(tiny_model / STEP_NAME)
    users = len(states)
    _, memory = prefill.run(OUTPUTS, {"tokens": given[:, :1], "lengths": np.ones(users, np.int64), "shop": SHOP})
    for day in range(1, MAX_DAYS):
        lengths = np.full(users, day)
        fed = {"token": given[:, day], "shop": SHOP, "past": memory, "lengths": lengths}
        hazards, new = step.run(OUTPUTS, fed)
        memory = np.concatenate((memory, new[:, :, None]), axis=2)
        whole = prefill.run(OUTPUTS, {"tokens": given[:, : day + 1], "lengths": lengths + 1, "shop": SHOP})
        assert hazards.tobytes() == whole[0].tobytes()
        assert memory.tobytes() == whole[1].tobytes()


def test_padding_and_batch_change_no_bit(tiny_model: Path) -> None:
    """A customer's score depends on neither who else is in the batch nor how far it is padded."""
    states = random_states()
    prefill, count = session(tiny_model / PREFILL_NAME), states.header["days"].astype(np.int64)
    together = prefill.run(OUTPUTS, {"tokens": tokens(states), "lengths": count, "shop": SHOP})
    for row in range(0, len(states), 7):
        alone = {"tokens": tokens(states.take(np.array([row])), int(count[row])), "lengths": count[[row]], "shop": SHOP}
        hazards, memory = prefill.run(OUTPUTS, alone)
        assert hazards.tobytes() == together[0][row].tobytes()
        assert memory[0].tobytes() == together[1][row, :, : count[row]].tobytes()


def test_padding_in_the_past_is_not_seen(tiny_model: Path) -> None:
    """Beyond the real days, past memory may hold anything, and be as long as it likes."""
    rng, step = np.random.default_rng(4), session(tiny_model / STEP_NAME)
    past = rng.normal(size=(3, 2, 8, 32)).astype(np.float16)
    fed = {"token": rng.normal(size=(3, TOKEN_SIZE)).astype(np.float32), "shop": SHOP, "past": past}
    fed["lengths"] = np.array([1, 5, 8])
    clean = step.run(OUTPUTS, fed)
    for row, length in enumerate(fed["lengths"]):
        past[row, :, length:] = 1e3
    longer = np.concatenate((past, np.full((3, 2, 55, 32), -1e3, np.float16)), axis=2)
    for before, after, padded in zip(
        clean, step.run(OUTPUTS, fed), step.run(OUTPUTS, fed | {"past": longer}), strict=True
    ):
        assert before.tobytes() == after.tobytes() == padded.tobytes()


@pytest.mark.parametrize("spoiled", ["_prefill", "_step"])
def test_a_graph_with_another_weight_is_refused(
    model: HazardGPT, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, spoiled: str
) -> None:
    """A single number that differs, in either graph, is noticed, and nothing is written."""
    graphs = {"_prefill": PREFILL_NAME, "_step": STEP_NAME}
    content = {name: (tiny_model / file).read_bytes() for name, file in graphs.items()}
    content[spoiled] = changed(content[spoiled], "hazards.bias", 1e-2)
    for name in graphs:
        monkeypatch.setattr(exporting, name, lambda _, name=name: onnx.load_from_string(content[name]))
    with pytest.raises(ParityError, match=r"differs from torch by 1\.0e-02; at most 1e-03"):
        export(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_checks_look_at_keys_and_values(tiny_model: Path) -> None:
    """A network with other keys in its last layer differs in what is kept for later steps, and that counts."""
    other = random_model()
    with torch.no_grad():
        other.layers[-1].attention.key_value.bias[0] += 1.0
    prefill, step = (tiny_model / PREFILL_NAME).read_bytes(), (tiny_model / STEP_NAME).read_bytes()
    assert largest_difference(other, prefill) > TOLERANCE
    assert largest_step_difference(other, prefill, step) > TOLERANCE


@pytest.mark.parametrize("number", [0.3, 1.5, 2.5, -7.0, 40.0])
def test_a_last_bit_of_memory_is_no_difference(number: float) -> None:
    """Sums in another order may round the other way, at any size; of hazards 2e-3 is a difference at any."""
    one = np.array([number], np.float16)
    next_to = np.nextafter(one, np.float16(np.inf))
    assert _apart([one], [next_to]) <= TOLERANCE
    hazards = one.astype(np.float32)
    assert _apart([hazards], [hazards + np.float32(2e-3)]) > TOLERANCE


def test_exporting_again_gives_equal_bytes(model: HazardGPT, tmp_path: Path, tiny_model: Path) -> None:
    """Graphs and weights alike; no path of this machine is in them."""
    export(model, tmp_path)
    for name in (PREFILL_NAME, STEP_NAME, WEIGHTS_NAME):
        content = (tmp_path / name).read_bytes()
        assert content == (tiny_model / name).read_bytes()
        for told in (str(Path(__file__).parents[2]), "site-packages", "/home/", "/root/"):
            assert told.encode() not in content


def test_weights_come_back_as_they_were(model: HazardGPT, tiny_model: Path) -> None:
    """From `weights.npz` comes the network, to the bit: scales, and what is ignored, included."""
    loaded = load_weights(tiny_model).state_dict()
    assert loaded.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded[name], value), name


def test_lengths_reach_all_days() -> None:
    """Sequences of any length have a padded length to go to."""
    assert LENGTHS[-1] == MAX_DAYS
    assert list(LENGTHS) == sorted(LENGTHS)
