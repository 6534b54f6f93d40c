"""What training minimises: exact likelihoods, and what of whom they are summed over."""

import numpy as np
import pytest
import torch

from consumer.core.state import BINS
from histories import random_states
from model_export import likelihood
from model_export.data import HEADS
from model_export.likelihood import losses, mean_losses
from model_export.loss import Gaps, log_likelihood
from model_export.model import HazardGPT
from model_export.panel import Panel, Targets, panel_of, some
from model_export.shop import SHOP_SIZE
from support import bin_of
from tiny_model import random_model

END_DAY = 300


def random_panel(seed: int = 3) -> Panel:
    """Customers with 1 to 64 user-days, each in a shop of their own, and targets on random days."""
    rng = np.random.default_rng(seed)
    states = random_states(60, 900, seed)
    count = len(states)
    user, day = rng.integers(0, count, 600), rng.integers(0, END_DAY, 600)
    targets = Targets.of([(user[:200], day[:200]), (user, day)], 0, END_DAY)
    last = states.last_day(np.arange(count))
    moment = last + 1 + rng.integers(0, 30, count)
    panel = panel_of(states, np.arange(count), moment, targets, np.zeros(SHOP_SIZE, np.float32))
    shop = rng.normal(size=panel.shop.shape).astype(np.float32)
    return Panel(panel.tokens, panel.gap_days, panel.observed, panel.length, panel.entry_days, shop)


def day_by_day(log_hazards: np.ndarray, gap: int, observed: bool, entry: int) -> float:
    """Log-probability of a gap, one day of silence after the other."""
    if gap <= entry:
        return 0.0
    hazard = np.exp(log_hazards.astype(np.float64))[bin_of(np.arange(1.0, gap + 1))]
    silent = hazard[entry : gap - observed].sum()
    return float(-silent + (np.log(1 - np.exp(-hazard[gap - 1])) if observed else 0.0))


def one_by_one(model: HazardGPT, panel: Panel) -> tuple[float, float]:
    """`losses`, customer by customer."""
    moments, days, weights = 0.0, 0.0, 0.0
    for customer, (start, length) in enumerate(zip(panel.start, panel.length, strict=True)):
        with torch.no_grad():
            tokens, shop = panel.tokens[None, start : start + length], panel.shop[[customer]]
            hazards = model.at_every_day(torch.from_numpy(tokens), torch.from_numpy(shop))[0].numpy()
        for head in range(len(HEADS)):
            gap, seen = panel.gap_days[start : start + length, head], panel.observed[start : start + length, head]
            each = [day_by_day(hazards[at, head], int(gap[at]), bool(seen[at]), 0) for at in range(length)]
            days -= sum(each) / np.sqrt(length)
            entry = int(panel.entry_days[customer])
            moments -= day_by_day(hazards[-1, head], int(gap[-1]), bool(seen[-1]), entry)
        weights += np.sqrt(length)
    return moments / len(panel.length), days / weights


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_losses_are_those_of_a_loop(seed: int) -> None:
    """Computed together, whatever their length, customers have the losses that each has alone, day by day."""
    model, panel = random_model(seed), random_panel(seed)
    assert {int(length) for length in np.unique(np.searchsorted((1, 3, 8, 20, 40), panel.length))} == set(range(6))
    found = [float(each.detach()) for each in losses(model, panel)]
    assert found == pytest.approx(one_by_one(model, panel), rel=1e-5)


def test_a_customer_counts_for_the_root_of_their_days() -> None:
    """Of two customers with 1 and 49 days and losses a and b per day, it is (a + 7 b) / 8."""
    model, panel = random_model(), random_panel()
    once, often = int(np.argmin(panel.length)), int(np.argmax(panel.length))
    lengths = panel.length[[once, often]]
    alone = [float(losses(model, some(panel, np.array([each])))[1].detach()) for each in (once, often)]
    both = float(losses(model, some(panel, np.array([once, often])))[1].detach())
    assert lengths[0] == 1
    assert lengths[1] > 40
    assert both == pytest.approx(np.average(alone, weights=np.sqrt(lengths)), rel=1e-5)


def test_the_order_of_customers_does_not_matter() -> None:
    """Shuffled, they have the same losses."""
    model, panel = random_model(), random_panel()
    shuffled = some(panel, np.random.default_rng(0).permutation(len(panel.length)))
    for one, other in zip(losses(model, panel), losses(model, shuffled), strict=True):
        torch.testing.assert_close(one, other)


def test_the_moment_is_conditioned_on_the_silence_before() -> None:
    """A customer who was silent for ten days is judged on what came after them: hazards of before do not count."""
    model, panel = random_model(), random_panel()
    flat = torch.full((len(HEADS), BINS), -4.0)
    early = torch.where(torch.arange(BINS) < 3, torch.tensor(1.0), flat)  # up to the third day
    silent = some(panel, np.flatnonzero(panel.entry_days >= 3))
    with torch.no_grad():
        model.hazards.weight.zero_()
        model.hazards.bias.copy_(flat.flatten())
        usual = losses(model, silent)
        model.hazards.bias.copy_(early.flatten())
        hurried = losses(model, silent)
    assert float(hurried[0]) == pytest.approx(float(usual[0]), rel=1e-5)
    assert float(hurried[1]) > float(usual[1])


def test_gradients_reach_every_weight() -> None:
    """Both losses together move every part of the network but the inputs that never varied."""
    model, panel = random_model(), random_panel()
    sum(losses(model, panel)).backward()  # type: ignore[union-attr]
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.any(), name


def test_a_large_panel_has_the_mean_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts that fit into memory both means are those of all at once."""
    model, panel = random_model(), random_panel()
    whole = mean_losses(model, panel)
    monkeypatch.setattr(likelihood, "_AT_ONCE", 7)
    assert mean_losses(model, panel) == pytest.approx(whole, rel=1e-5)


def brute_force(log_hazards: np.ndarray, from_day: float, to_day: float) -> float:
    """P(target event in (from, to]) by the trapezoid rule over the density h(t) exp(-integral of h)."""
    time = np.linspace(0.0, to_day, 200_001)
    middle = (time[1:] + time[:-1]) / 2
    hazard = np.exp(log_hazards.astype(np.float64))[bin_of(middle)]
    density = hazard * np.exp(-(np.cumsum(hazard * np.diff(time)) - hazard * np.diff(time) / 2))
    return float((density * np.diff(time))[middle > from_day].sum())


@pytest.mark.parametrize("gap", [1, 2, 4, 14, 15, 60, 365, 500])
def test_a_likelihood_is_the_integral_of_the_density(gap: int) -> None:
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
