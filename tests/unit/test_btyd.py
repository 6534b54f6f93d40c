"""BG/NBD and Pareto/NBD against brute force and against simulated customers."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln, hyp2f1
from scipy.stats import beta as beta_distribution
from scipy.stats import gamma as gamma_distribution

from consumer.core.calendar import Calendar
from consumer.core.fold import FoldRules
from consumer.core.quality import auroc
from model_export.baselines import histories
from model_export.btyd import Histories, bg_nbd, fit, pareto_nbd
from model_export.data import day_number
from model_export.metrics import log_loss
from model_export.tasks import read_past

CDNOW = Path(__file__).parents[2] / "data" / "cdnow" / "events.csv.xz"
HISTORIES = [(0.0, 0.0, 30.0), (1.0, 12.0, 30.0), (3.0, 29.0, 30.0), (4.0, 5.0, 60.0)]


def one(x: float, t_x: float, end: float) -> Histories:
    return Histories(np.array([x]), np.array([t_x]), np.array([end]))


@pytest.mark.parametrize(("x", "t_x", "end"), HISTORIES)
def test_bg_nbd_is_the_mixture_it_claims_to_be(x: float, t_x: float, end: float) -> None:
    """Equal to the likelihood given rate and dropout, integrated over their distributions."""
    r, alpha, a, b = 1.6, 12.0, 1.3, 2.5
    node, weight = np.polynomial.legendre.leggauss(300)
    p, rate = (node[:, None] + 1) / 2, (node + 1) * 1.5  # up to 3 a day
    bought = (1 - p) ** x * rate**x * np.exp(-rate * end)
    left = p * (1 - p) ** (x - 1) * rate**x * np.exp(-rate * t_x) if x > 0 else 0.0
    prior = gamma_distribution.pdf(rate, r, scale=1 / alpha) * beta_distribution.pdf(p, a, b)
    expected = (weight[:, None] * weight * (bought + left) * prior).sum() * 0.75
    found = np.exp(bg_nbd(np.array([r, alpha, a, b]), one(x, t_x, end)))[0]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("x", "t_x", "end"), HISTORIES)
@pytest.mark.parametrize("parameters", [(0.6, 12.0, 0.5, 40.0), (1.4, 60.0, 1.2, 9.0)])
def test_pareto_nbd_is_the_mixture_it_claims_to_be(
    x: float, t_x: float, end: float, parameters: tuple[float, float, float, float]
) -> None:
    """Equal to the likelihood given the time of leaving, rates integrated out, integrated over that time."""
    r, alpha, s, beta = parameters
    found = np.exp(pareto_nbd(np.array(parameters), one(x, t_x, end)))[0]
    log_rate = gamma_distribution.logpdf  # the integral over rates is done numerically, too

    def bought(until: float) -> float:
        return quad(lambda rate: rate**x * np.exp(-rate * until + log_rate(rate, r, scale=1 / alpha)), 0, 5)[0]

    def leaves(at: float) -> float:
        return s / beta * (beta / (beta + at)) ** (s + 1)

    stayed = bought(end) * (beta / (beta + end)) ** s
    left = quad(lambda at: bought(at) * leaves(at), t_x, end)[0]
    assert found == pytest.approx(stayed + left, rel=1e-4)


def test_pareto_nbd_agrees_with_the_closed_form() -> None:
    """Equal to Fader & Hardie's formula with Gauss' hypergeometric function, where that does not cancel."""
    rng = np.random.default_rng(0)
    x, end = rng.integers(0, 30, 200).astype(float), rng.uniform(50, 400, 200)
    t_x = np.where(x > 0, end * rng.random(200), 0.0)
    r, alpha, s, beta = 0.55, 80.0, 0.6, 50.0
    total = r + s + x

    def part(at: np.ndarray) -> np.ndarray:
        return hyp2f1(total, s + 1, total + 1, (alpha - beta) / (alpha + at)) / (alpha + at) ** total

    constant = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    stayed = (alpha + end) ** -(r + x) * (beta + end) ** -s
    expected = constant + np.log(stayed + s / total * (part(t_x) - part(end)))
    np.testing.assert_allclose(pareto_nbd(np.array([r, alpha, s, beta]), Histories(x, t_x, end)), expected, rtol=1e-8)


def test_long_histories_stay_finite() -> None:
    """Hundreds of purchases, none, and T = t_x are all fine."""
    histories_ = Histories(np.array([900.0, 0.0, 5.0]), np.array([1000.0, 0.0, 700.0]), np.array([1001.0, 0.0, 700.0]))
    for likelihood in (bg_nbd, pareto_nbd):
        for parameters in ((0.5, 1.0, 0.5, 100.0), (20.0, 0.01, 8.0, 0.01), (0.01, 2000.0, 0.01, 2000.0)):
            assert np.isfinite(likelihood(np.array(parameters), histories_)).all()


def simulated(
    customers: int, r: float, alpha: float, s: float, beta: float, days: float, later: float
) -> tuple[Histories, np.ndarray]:
    """Pareto/NBD customers, and whether they bought nothing in the `later` days."""
    rng = np.random.default_rng(5)
    rate, life = rng.gamma(r, 1 / alpha, customers), rng.exponential(1 / rng.gamma(s, 1 / beta, customers))
    count = rng.poisson(rate * np.minimum(life, days))
    last = np.array([rng.uniform(0, min(end, days), n).max() if n else 0.0 for n, end in zip(count, life, strict=True)])
    again = rng.poisson(rate * np.clip(life - days, 0, later))
    return Histories(count.astype(float), last, np.full(customers, days)), again == 0


def test_fitting_finds_the_customers_that_were_drawn() -> None:
    """Parameters come back, and P(no purchase) is as often right as it says."""
    found, stayed_away = simulated(4000, r=0.9, alpha=20.0, s=0.8, beta=60.0, days=200.0, later=100.0)
    fitted = fit(pareto_nbd, found)
    assert fitted.log_likelihood >= pareto_nbd(np.array([0.9, 20.0, 0.8, 60.0]), found).sum()
    assert fitted.parameters[0] == pytest.approx(0.9, rel=0.2)
    probability = fitted.stays_away(found, 100.0)
    for group in np.array_split(np.argsort(probability), 5):
        assert stayed_away[group].mean() == pytest.approx(probability[group].mean(), abs=0.05)


def test_no_time_no_doubt() -> None:
    """Within no time nobody buys, and the longer the wait the likelier a purchase."""
    found, _ = simulated(300, r=0.9, alpha=20.0, s=0.8, beta=60.0, days=200.0, later=100.0)
    for likelihood in (bg_nbd, pareto_nbd):
        fitted = fit(likelihood, found)
        np.testing.assert_allclose(fitted.stays_away(found, 0.0), 1.0)
        assert (fitted.stays_away(found, 30.0) >= fitted.stays_away(found, 60.0)).all()


def test_cdnow_gives_the_figures_of_the_literature() -> None:
    """39 + 39 weeks, 23,570 customers: the reference values of both models."""
    whole = read_past(CDNOW, FoldRules(Calendar()))
    past = whole.earlier(day_number(date(1997, 10, 1)))
    outcome, customers = whole.stayed_away(past.until_day, 273), histories(past)
    assert len(outcome) == 23_570
    for likelihood, expected in ((bg_nbd, (0.7466, 0.1654, 0.5123)), (pareto_nbd, (0.7627, 0.1656, 0.5172))):
        probability = fit(likelihood, customers).stays_away(customers, 273)
        brier = np.mean((probability - outcome) ** 2)
        found = (auroc(outcome, probability), brier, log_loss(outcome, probability))
        assert found == pytest.approx(expected, abs=2e-4)
