"""The network, its loss, its training data, and the artefact that is shipped."""

import subprocess
import sys
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from consumer.core.calendar import DAY_MS, Calendar
from consumer.core.events import KINDS, Events
from consumer.core.features import FEATURE_VERSION, TOKEN_NAMES, TOKEN_SIZE, tokens
from consumer.core.fold import FoldRules, fold
from consumer.core.state import BIN_EDGES_DAYS, BINS, States, empty_states
from model_export.data import HEADS, Panel, panel_of, read_log
from model_export.evaluate import LENGTHS, auroc, score
from model_export.export import PREFILL_NAME, TOLERANCE, export, largest_difference, onnx_scorer, torch_scorer
from model_export.fit import Recipe, epochs
from model_export.loss import Gaps, log_likelihood
from model_export.model import HazardGPT
from model_export.thresholds import thresholds
from schemas.manifest import ManifestError, load_manifest
from support import bin_of

RULES = FoldRules(Calendar())
ARTEFACT = Path(__file__).parents[2] / "consumer" / "model"
TINY = Recipe(batch_users=32, warmup_batches=2)
LOG = """user_id,event_type,occurred_at,value
ann,purchase,2024-01-01,10
ann,view_item,2024-01-02,
bob,campaign_received,2024-01-03,
ann,purchase,2024-01-05,20
ann,purchase,2024-01-09,30
cem,purchase,2024-01-09,30
"""


def random_states(users: int, events: int = 2_000) -> States:
    """Users with anything from no event to more active days than are kept."""
    rng = np.random.default_rng(7)
    share = rng.exponential(size=users) ** 3
    states = empty_states(users)
    fold(
        states,
        Events(
            row=rng.choice(users, size=events, p=share / share.sum()),
            time_ms=np.sort(rng.integers(0, 200 * DAY_MS, size=events)),
            kind=rng.integers(0, len(KINDS), size=events).astype(np.int8),
            id_hash=rng.integers(1, 2**63, size=events).astype(np.uint64),
            value=rng.gamma(1.0, 30.0, size=events),
            discount=rng.gamma(1.0, 3.0, size=events),
            dwell_s=rng.gamma(1.0, 60.0, size=events),
            sentiment=np.where(rng.random(events) < 0.9, np.nan, rng.uniform(-1, 1, size=events)),
            coupon=rng.random(events) < 0.1,
        ),
        RULES,
    )
    return states.take(np.flatnonzero(states.header["days"]))


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """A small log's training data: 150 users who buy at random."""
    rng = np.random.default_rng(3)
    days = np.sort(rng.integers(0, 90, size=600))
    first = np.datetime64("2024-01-01")
    rows = [f"u{rng.integers(150)},purchase,{first + day},{rng.gamma(1, 30):.2f}" for day in days]
    path = tmp_path_factory.mktemp("log") / "events.csv"
    path.write_text("\n".join(["user_id,event_type,occurred_at,value", *rows]) + "\n")
    return panel_of(read_log(path, date(2024, 3, 25), RULES))


@pytest.fixture(scope="module")
def model(panel: Panel) -> HazardGPT:
    """A network after one epoch."""
    return next(epochs(panel, TINY)).model.eval()


@pytest.fixture
def small_log(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(LOG)
    return path


def test_targets_are_whole_days_of_silence_until_the_next_target_day(small_log: Path) -> None:
    """A gap runs from the end of the token's day; views count as activity and messages received do not."""
    panel = panel_of(read_log(small_log, date(2024, 1, 10), RULES))
    assert panel.length.tolist() == [4, 1, 1]
    gaps = {head: panel.gap_days[:, at].tolist() for at, head in enumerate(HEADS)}
    assert gaps == {"purchase": [4, 3, 4, 0, 6, 0], "activity": [1, 3, 4, 0, 6, 0]}
    seen = [True, True, True, False, False, False]
    assert [panel.observed[:, at].tolist() for at in range(len(HEADS))] == [seen, seen]


def test_nothing_from_the_cut_off_on_is_looked_at(small_log: Path) -> None:
    """Users, user-days and gaps end with the day before the cut-off, and later events are no rejects."""
    log = read_log(small_log, date(2024, 1, 9), RULES)
    assert log.users == ["ann", "bob"]
    assert (log.events, log.dropped) == (4, 0)
    assert panel_of(log).gap_days[:, 0].tolist() == [4, 3, 3, 5]


def brute_force(log_hazards: np.ndarray, from_day: float, to_day: float) -> float:
    """P(target event in (from, to]) by the trapezoid rule over the density h(t) exp(-integral of h)."""
    time = np.linspace(0.0, to_day, 200_001)
    middle = (time[1:] + time[:-1]) / 2
    hazard = np.exp(log_hazards.astype(np.float64))[bin_of(middle)]
    density = hazard * np.exp(-(np.cumsum(hazard * np.diff(time)) - hazard * np.diff(time) / 2))
    return float((density * np.diff(time))[middle > from_day].sum())


@pytest.mark.parametrize("gap", [1, 2, 4, 14, 15, 60, 365, 500])
def test_the_loss_is_the_integral_of_the_density(gap: int) -> None:
    """An event's likelihood is the density's integral over its day; censoring's is what the integral leaves."""
    log_hazards = torch.randn(BINS, generator=torch.Generator().manual_seed(gap)) - 5.0
    twice = torch.stack((log_hazards, log_hazards))
    gaps = Gaps(torch.tensor([gap, gap], dtype=torch.float32), torch.tensor([True, False]), torch.zeros(2))
    event, censored = log_likelihood(twice, gaps).exp().tolist()
    assert event == pytest.approx(brute_force(log_hazards.numpy(), gap - 1, gap), rel=1e-3)
    assert censored == pytest.approx(1 - brute_force(log_hazards.numpy(), 0, gap), rel=1e-3)


def test_all_gaps_together_are_certain() -> None:
    """The probabilities of every gap up to a year, and of none, add up to one."""
    log_hazards = (torch.randn(BINS, generator=torch.Generator().manual_seed(1)) - 4.0).expand(401, BINS)
    gap_days = torch.cat((torch.arange(1, 401), torch.tensor([400]))).float()
    gaps = Gaps(gap_days, torch.arange(401) < 400, torch.zeros(401))
    assert float(log_likelihood(log_hazards, gaps).exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_time_before_entry_is_conditioned_on() -> None:
    """The likelihood from an entry day on is the whole one less that of silence until then; what was over is 0."""
    log_hazards = (torch.randn(BINS, generator=torch.Generator().manual_seed(2)) - 4.0).expand(4, BINS)
    gap_days, observed = torch.tensor([40.0, 40.0, 9.0, 10.0]), torch.tensor([True, False, True, True])
    entry = torch.full((4,), 10.0)
    whole = log_likelihood(log_hazards, Gaps(gap_days, observed, torch.zeros(4)))
    silent = log_likelihood(log_hazards, Gaps(entry, torch.zeros(4, dtype=torch.bool), torch.zeros(4)))
    later = log_likelihood(log_hazards, Gaps(gap_days, observed, entry))
    torch.testing.assert_close(later[:2], (whole - silent)[:2])
    assert later[2:].tolist() == [0.0, 0.0]


def test_later_user_days_do_not_change_earlier_outputs(model: HazardGPT) -> None:
    """The network is causal."""
    generator = torch.Generator().manual_seed(5)
    before = torch.randn(3, 12, TOKEN_SIZE, generator=generator)
    after = before.clone()
    after[:, 7:] = torch.randn(3, 5, TOKEN_SIZE, generator=generator)
    with torch.no_grad():
        first, second = model.at_every_day(before), model.at_every_day(after)
    assert torch.equal(first[:, :7], second[:, :7])
    assert not torch.equal(first[:, 7:], second[:, 7:])


def test_inputs_unknown_to_the_training_data_are_ignored(model: HazardGPT) -> None:
    """A column that never varied in training cannot push the hazards anywhere."""
    quiet = torch.randn(1, 3, TOKEN_SIZE, generator=torch.Generator().manual_seed(5))
    loud = quiet.clone()
    loud[..., TOKEN_NAMES.index("log1p_tickets")] = 4.0
    loud[..., TOKEN_NAMES.index("log1p_sessions")] = 4.0
    with torch.no_grad():
        assert torch.equal(model(quiet, torch.tensor([3])), model(loud, torch.tensor([3])))


def test_the_same_seed_gives_the_same_weights(panel: Panel) -> None:
    """Training twice from one panel and recipe ends in equal bits."""
    first, second = (list(islice(epochs(panel, TINY), 2))[-1].model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_lowers_the_loss(panel: Panel) -> None:
    """The likelihood of the training data rises."""
    losses = [epoch.loss for epoch in islice(epochs(panel, TINY), 8)]
    assert losses[-1] < losses[0]


def test_the_exported_graph_is_the_network(model: HazardGPT, tmp_path: Path) -> None:
    """ONNX Runtime agrees with torch on random states to 1e-5, and exporting twice gives equal bytes."""
    export(model, tmp_path / "first.onnx")
    export(model, tmp_path / "second.onnx")
    content = (tmp_path / "first.onnx").read_bytes()
    assert content == (tmp_path / "second.onnx").read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content
    states = random_states(120)
    difference = score(states, torch_scorer(model)) - score(states, onnx_scorer(content))
    assert np.abs(difference).max() <= TOLERANCE
    assert largest_difference(model, content) <= TOLERANCE


def test_the_artefact_matches_its_manifest_and_this_code() -> None:
    """What is shipped has the hashes, inputs and bins that its manifest names, and is under 2 MB."""
    manifest = load_manifest(ARTEFACT)
    assert manifest.feature_version == FEATURE_VERSION
    assert manifest.token_names == TOKEN_NAMES
    assert manifest.bin_edges_days == tuple(BIN_EDGES_DAYS.tolist())
    assert manifest.heads == HEADS
    assert manifest.thresholds.at_risk < manifest.thresholds.critical
    assert {path.name for path in ARTEFACT.iterdir()} == {"manifest.json", *manifest.files}
    assert sum(path.stat().st_size for path in ARTEFACT.iterdir()) < 2_000_000


def test_a_graph_of_another_hash_is_refused(tmp_path: Path) -> None:
    """A changed file is an error that names it."""
    (tmp_path / "manifest.json").write_bytes((ARTEFACT / "manifest.json").read_bytes())
    (tmp_path / PREFILL_NAME).write_bytes((ARTEFACT / PREFILL_NAME).read_bytes() + b"\0")
    with pytest.raises(ManifestError, match=r"prefill\.onnx has SHA-256"):
        load_manifest(tmp_path)


def test_a_score_does_not_depend_on_its_batch() -> None:
    """A user's hazards are equal to the bit whatever else is in the batch, and at every padded length."""
    states = random_states(120)
    scorer = onnx_scorer(ARTEFACT / PREFILL_NAME)
    count = states.header["days"].astype(np.int64)
    assert count.max() == LENGTHS[-1]
    whole = scorer(tokens(states), count)
    rng = np.random.default_rng(0)
    for length in LENGTHS:
        rows = rng.permutation(np.flatnonzero(count <= length))
        for batch in np.split(rows, np.cumsum([1, 1, 2, 3, 5, 16, 31])):
            if len(batch):
                alone = scorer(tokens(states.take(batch), length), count[batch])
                assert alone.tobytes() == whole[batch].tobytes()


def test_tiers_open_where_the_chance_of_return_is_a_third_and_a_sixth(panel: Panel) -> None:
    """With one hazard for everyone the thresholds follow from it."""
    log_hazards = np.full((len(panel.day), len(HEADS), BINS), np.log(0.02))
    found = thresholds(panel, log_hazards, horizon_days=30)
    chance = 1 - np.exp(-0.6)
    assert (found.at_risk, found.critical) == (round(1 - chance / 3, 4), round(1 - chance / 6, 4))


def test_auroc_counts_pairs() -> None:
    """It is the share of pairs in the right order, ties counting half."""
    rng = np.random.default_rng(0)
    outcome, risk = rng.random(200) < 0.3, rng.integers(0, 20, size=200)
    pairs = risk[outcome][:, None] - risk[~outcome]
    assert auroc(outcome, risk) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_the_package_itself_does_without_torch() -> None:
    """`import model_export` and its data and evaluation load no torch, which only training has installed."""
    code = "import sys, model_export, model_export.data, model_export.evaluate; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
