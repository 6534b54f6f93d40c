"""Model folders: what does not match its manifest is refused, and the shipped one is whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.adapters.onnx_scorer import OnnxScorer
from consumer.core.features import FEATURE_VERSION, TOKEN_NAMES
from consumer.core.state import BIN_EDGES_DAYS
from consumer.errors import ConfigurationError
from consumer.settings import DEFAULT_MODEL_DIR
from histories import random_states
from model_export.artefact import PREFILL_NAME, STEP_NAME, WEIGHTS_NAME, Artefact
from model_export.card import CARD_NAME, card
from model_export.data import HEADS
from model_export.shop import SHOP_TOKEN_NAMES
from schemas.manifest import MANIFEST_NAME, Manifest, ManifestError, load_manifest, write_manifest
from support import remembering

FOLDER_FILES = {PREFILL_NAME, STEP_NAME, WEIGHTS_NAME, MANIFEST_NAME, CARD_NAME}


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / MANIFEST_NAME).read_text())
        (folder / MANIFEST_NAME).write_text(json.dumps(content | changes))

    return edit


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def append(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\0")


NOT_WHOLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (remove(MANIFEST_NAME), "No such file"),
    "no graph": (remove(PREFILL_NAME), "No such file"),
    "no weights": (remove(WEIGHTS_NAME), "No such file"),
    "other graph": (append(PREFILL_NAME), r"prefill\.onnx has SHA-256 [0-9a-f]{64}; its manifest says [0-9a-f]{64}"),
    "other weights": (append(WEIGHTS_NAME), r"weights\.npz has SHA-256"),
    "older format": (edited(format_version=2), "malformed: format_version"),
    "later format": (edited(format_version=4), "malformed: format_version"),
    "unknown field": (edited(colour="red"), "malformed: colour"),
    "no shop token": (edited(shop_token=None), "malformed: shop_token"),
    "unknown number in the shop token": (edited(shop_token=[None]), r"malformed: shop_token\.0"),
    "no JSON": (lambda folder: (folder / MANIFEST_NAME).write_text("{") and None, "malformed"),
    "no threshold": (edited(thresholds={"at_risk": 0.5}), r"malformed: thresholds\.critical"),
    "certain threshold": (edited(thresholds={"at_risk": 0.5, "critical": 1.0}), r"malformed: thresholds\.critical"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "told"), NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_a_folder_that_is_not_whole_is_refused(folder: Path, spoil: Callable[[Path], None], told: str) -> None:
    """By whoever reads it, in a message that names folder and fault; the service says what to do."""
    spoil(folder)
    with pytest.raises(ManifestError, match=told) as refused:
        load_manifest(folder)
    assert str(folder) in str(refused.value)
    with pytest.raises(ManifestError, match=told):
        Artefact.load(folder)
    with pytest.raises(ConfigurationError, match="export the model again"):
        OnnxScorer(folder, "purchase")


OF_ANOTHER_VERSION: dict[str, tuple[Callable[[Path], None], str]] = {
    "feature version": (edited(feature_version=FEATURE_VERSION - 1), "other features"),
    "token names": (edited(token_names=list(TOKEN_NAMES[::-1])), "other features"),
    "shop token names": (edited(shop_token_names=list(SHOP_TOKEN_NAMES[::-1])), "another shop token"),
}


@pytest.mark.parametrize(("change", "told"), OF_ANOTHER_VERSION.values(), ids=OF_ANOTHER_VERSION)
def test_a_model_for_other_inputs_is_refused(folder: Path, change: Callable[[Path], None], told: str) -> None:
    """Inputs of another version, other names or another order are not those that the weights know."""
    change(folder)
    with pytest.raises(ManifestError, match=told):
        Artefact.load(folder)


def test_a_shop_token_of_another_length_is_refused(folder: Path) -> None:
    """Names and values of the shop token belong together."""
    edited(shop_token=[0.0] * (len(SHOP_TOKEN_NAMES) - 1))(folder)
    size = len(SHOP_TOKEN_NAMES)
    with pytest.raises(ManifestError, match=rf"malformed: .*shop_token has {size - 1} values and {size} names"):
        load_manifest(folder)


def test_a_manifest_comes_back_as_it_was(folder: Path) -> None:
    """Written and read again, every number is equal."""
    manifest = load_manifest(folder)
    write_manifest(folder, manifest)
    assert load_manifest(folder) == manifest
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_the_service_and_training_agree_on_a_folder(folder: Path) -> None:
    """The service's scorer says what the folder says in scoring and evaluation, calibrated, to the bit."""
    edited(calibration={"offset": 0.3, "persistence": 0.5, "window_days": 30})(folder)
    states = random_states(40, 3_000)
    whole = Artefact.load(folder).log_hazards(states)
    for head, target in enumerate(HEADS):
        served = remembering(OnnxScorer(folder, target)).score(states, np.arange(len(states)))
        assert served.tobytes() == whole[:, head].tobytes()


def test_the_shipped_model_is_whole() -> None:
    """Its files are there, as the manifest says, made for these inputs and bins, and under 2 MB in all."""
    manifest = load_manifest(DEFAULT_MODEL_DIR)
    assert manifest.feature_version == FEATURE_VERSION
    assert (manifest.token_names, manifest.shop_token_names) == (TOKEN_NAMES, SHOP_TOKEN_NAMES)
    assert manifest.bin_edges_days == tuple(BIN_EDGES_DAYS.tolist())
    assert (manifest.heads, manifest.licence) == (HEADS, "Apache-2.0")
    assert manifest.thresholds.at_risk < manifest.thresholds.critical
    assert (
        {path.name for path in DEFAULT_MODEL_DIR.iterdir()}
        == FOLDER_FILES
        == {*manifest.files, MANIFEST_NAME, CARD_NAME}
    )
    assert sum(path.stat().st_size for path in DEFAULT_MODEL_DIR.iterdir()) < 2_000_000
    assert (DEFAULT_MODEL_DIR / CARD_NAME).read_text(encoding="utf-8") == card(manifest)


def test_the_shipped_model_has_seen_no_real_shop() -> None:
    """It comes from simulated shops alone: neither tuned nor calibrated."""
    manifest = load_manifest(DEFAULT_MODEL_DIR)
    assert (manifest.shop, manifest.fine_tuning, manifest.calibration.window_days) == (None, None, 0)
    assert manifest.model_version == f"zero-shot-{manifest.files[PREFILL_NAME][:8]}"
