"""Buy-till-you-die models, fitted by maximum likelihood: BG/NBD and Pareto/NBD.

A customer is (x, t_x, T): repeat purchase days, the time of the last one and of the cut-off, in days from the first
purchase. With L(x, t_x, T) the likelihood of such a history, P(no purchase in the next H days) is exactly
L(x, t_x, T + H) / L(x, t_x, T): the same purchases, watched for longer. (1 - P(alive) is not that: a customer who is
alive may buy nothing. Nor is exp(-expected purchases): rates differ between customers.)

Sources: Schmittlein, Morrison & Colombo 1987, "Counting Your Customers: Who Are They and What Will They Do Next?";
Fader, Hardie & Lee 2005, "'Counting Your Customers' the Easy Way: An Alternative to the Pareto/NBD Model", eq. 6;
Fader & Hardie 2005, "A Note on Deriving the Pareto/NBD Model and Related Expressions", eq. 12-14.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, logsumexp

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(32)
_ROOT: Final = 4.0
_LOG_BOUNDS: Final = (-8.0, 10.0)  # of every parameter's logarithm
_PRIOR_WEIGHT: Final = 1e-6  # keeps parameters that the data say nothing about finite


@dataclass(frozen=True)
class Histories:
    """N customers: `x` repeat purchase days, the last `t_x` days after the first, watched for `T` days; (N,) each."""

    x: np.ndarray
    t_x: np.ndarray
    T: np.ndarray

    def watched_longer(self, days: float) -> "Histories":
        """The same purchases, and none in the `days` that follow."""
        return Histories(self.x, self.t_x, self.T + days)


# (parameters, histories) to log-likelihoods (N,)
LogLikelihood = Callable[[np.ndarray, Histories], np.ndarray]


def bg_nbd(parameters: np.ndarray, histories: Histories) -> np.ndarray:
    """BG/NBD log-likelihood of each history; parameters (r, alpha, a, b), alpha in days.

    Purchases are Poisson with a Gamma(r, alpha) rate; after each repeat purchase a customer leaves with a
    Beta(a, b) probability.
    """
    r, alpha, a, b = parameters
    x, t_x, end = histories.x, histories.t_x, histories.T
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + end)
    left = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + t_x)
    return rate + np.logaddexp(alive, np.where(x > 0, left, -np.inf))


def pareto_nbd(parameters: np.ndarray, histories: Histories) -> np.ndarray:
    """Pareto/NBD log-likelihood of each history; parameters (r, alpha, s, beta), alpha and beta in days.

    Purchases are Poisson with a Gamma(r, alpha) rate, lifetimes exponential with a Gamma(s, beta) rate. The part of
    those who left at some tau in (t_x, T) is an integral of (alpha + tau)^-(r+x) (beta + tau)^-(s+1). With
    z = ((alpha + t_x) / (alpha + tau))^(r+s+x) its integrand is ((alpha + tau) / (beta + tau))^(s+1): smooth, without
    the cancelling hypergeometric functions of the closed form. Gauss-Legendre nodes in w = z^(1/4), smoother still near
    0, give its logarithm to 1e-12.
    """
    r, alpha, s, beta = parameters
    x, t_x, end = histories.x, histories.t_x, histories.T
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    alive = -(r + x) * np.log(alpha + end) - s * np.log(beta + end)
    power = r + s + x
    log_end = power * (np.log(alpha + t_x) - np.log(alpha + end)) / _ROOT  # log w at tau = T
    width = -np.expm1(log_end)  # of w's range, which ends with 1
    w = 1.0 - width[:, None] * (1.0 - _NODE) / 2.0  # (N, nodes)
    at = (alpha + t_x)[:, None] * w ** (-_ROOT / power[:, None])  # alpha + tau
    integrand = (s + 1) * (np.log(at) - np.log(at + (beta - alpha))) + (_ROOT - 1) * np.log(w)
    with np.errstate(divide="ignore"):  # nothing to integrate where t_x = T
        integral = logsumexp(integrand, b=_ROOT * _WEIGHT / 2.0, axis=1) + np.log(width)
    left = np.log(s) - np.log(power) - power * np.log(alpha + t_x) + integral
    return rate + np.logaddexp(alive, left)


@dataclass(frozen=True)
class Fitted:
    """A model at the maximum of its likelihood."""

    likelihood: LogLikelihood
    parameters: np.ndarray  # (4,)
    log_likelihood: float

    def stays_away(self, histories: Histories, horizon_days: float) -> np.ndarray:
        """P(no purchase in the next `horizon_days`); float64 (N,)."""
        longer = self.likelihood(self.parameters, histories.watched_longer(horizon_days))
        return np.exp(np.minimum(longer - self.likelihood(self.parameters, histories), 0.0))


def fit(likelihood: LogLikelihood, histories: Histories) -> Fitted:
    """Maximum likelihood from several starts; equal histories are counted, not repeated."""
    columns = np.stack((histories.x, histories.t_x, histories.T), axis=1)
    unique, count = np.unique(columns, axis=0, return_counts=True)
    distinct, share = Histories(*unique.T), count / count.sum()

    def loss(log_parameters: np.ndarray) -> float:
        value = -float(share @ likelihood(np.exp(log_parameters), distinct))
        return value + _PRIOR_WEIGHT * float(log_parameters @ log_parameters)

    found = [
        minimize(loss, start, method="L-BFGS-B", bounds=[_LOG_BOUNDS] * 4, options={"maxiter": 300})
        for start in _starts(histories)
    ]
    best = min(found, key=lambda each: float(each.fun))
    parameters = np.exp(best.x)
    return Fitted(likelihood, parameters, float(count @ likelihood(parameters, distinct)))


def _starts(histories: Histories) -> list[np.ndarray]:
    """Log-parameters to start from: the average rate of purchase, with little and with much variety."""
    days_each = (histories.T.sum() + 1.0) / (histories.x.sum() + 1.0)  # per repeat purchase
    life = max(float(histories.T.mean()), 1.0)
    return [np.log([0.5, 0.5 * days_each, 0.5, life]), np.log([1.5, 1.5 * days_each, 1.0, 3.0])]
