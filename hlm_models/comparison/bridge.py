"""Normalising constants by bridge sampling, and the proposal that it takes.

Source: Meng and Wong (1996), Statistica Sinica 6, 831-860; Gronau et al. (2017),
doi:10.1016/j.jmp.2017.09.005.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import expit

from hlm_models.errors import FitError
from hlm_models.types import FloatArray, frozen

__all__ = ["Bridge", "Proposal", "bridge", "fit_proposal"]

FOLDS = np.geomspace(0.01, 30.0, 15)
"""Folds that are tried, in units of the median of what is folded."""

MOST = 8
"""At most so many coordinates are folded: the density has a term for each choice of their signs."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A law of points x (d,): u is normal, and x is u but for coordinates with fold > 0.

    There x = log(fold |sinh u|), so that both signs of u are one x. Where exp(x) is a standard
    deviation that the data cannot tell from zero, its logarithm has a long tail, and u has none.

    centre (d,), and root (d, d), a lower triangular root of the covariance, are those of u.
    """

    centre: FloatArray
    root: FloatArray
    fold: FloatArray

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many points (count, d)."""
        x = self.centre + rng.standard_normal((count, len(self.centre))) @ self.root.T
        at = self.fold > 0
        x[:, at] = np.log(self.fold[at] * np.abs(np.sinh(x[:, at])))
        return x

    def log_density(self, x: FloatArray) -> FloatArray:
        """Of points (..., d), with respect to x."""
        from scipy.linalg import solve_triangular

        at = np.flatnonzero(self.fold)
        log_fold = np.log(self.fold[at])
        u = x.reshape(-1, x.shape[-1]).copy()
        # du/dx = tanh u = 1 / sqrt(1 + (fold / exp x)^2)
        jacobian = -0.5 * np.sum(np.logaddexp(0.0, 2 * (log_fold - u[:, at])), axis=1)
        u[:, at] = np.arcsinh(np.exp(u[:, at] - log_fold))
        total = np.full(len(u), -np.inf)
        for signs in product((1.0, -1.0), repeat=len(at)):
            here = u.copy()
            here[:, at] *= signs
            z = solve_triangular(self.root, (here - self.centre).T, lower=True)
            total = np.logaddexp(total, -0.5 * np.sum(z**2, axis=0))
        constant = -0.5 * u.shape[1] * math.log(2 * math.pi)
        constant -= float(np.sum(np.log(np.diag(self.root))))
        return np.asarray(total + jacobian + constant).reshape(x.shape[:-1])


def fit_proposal(x: FloatArray, logarithms: Sequence[int]) -> Proposal:
    """The proposal with mean and covariance of u at points x (m, d).

    logarithms : places of logarithms, or logits, of positive numbers. They are folded where the
        points of each by itself are likelier so; the fold is the likeliest of some

    Raises
    ------
    FitError
        the points lie in fewer dimensions than d.
    """
    fold, gain = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for k in logarithms:
        folds = np.exp(np.median(x[:, k])) * FOLDS
        found = [_log_likelihood(x[:, k], one) for one in folds]
        best = int(np.argmax(found))
        plain = -len(x) * (math.log(np.std(x[:, k])) + 0.5)
        fold[k], gain[k] = folds[best], found[best] - plain
    most = np.argsort(-gain)[:MOST]
    fold[np.setdiff1d(np.arange(x.shape[1]), most[gain[most] > 0])] = 0.0
    u, at = x.copy(), fold > 0
    u[:, at] = np.arcsinh(np.exp(x[:, at]) / fold[at])
    try:
        root = np.linalg.cholesky(np.cov(u, rowvar=False).reshape(x.shape[1], -1))
    except np.linalg.LinAlgError as error:
        raise FitError(
            "the draws lie in fewer dimensions than the model has parameters: the chains stand "
            "still, or are too short"
        ) from error
    return Proposal(frozen(u.mean(axis=0)), frozen(root), frozen(fold))


def _log_likelihood(x: FloatArray, fold: float) -> float:
    """Of points x (m,) in one folded coordinate; constants left out that no fold changes."""
    u = np.arcsinh(np.exp(x) / fold)
    mean, sd = np.mean(u), np.std(u)
    both = np.logaddexp(-0.5 * ((u - mean) / sd) ** 2, -0.5 * ((u + mean) / sd) ** 2)
    jacobian = -0.5 * np.logaddexp(0.0, 2 * (math.log(fold) - x))
    return float(np.sum(both + jacobian) - len(x) * np.log(sd))


@dataclass(frozen=True, slots=True)
class Bridge:
    """A log normalising constant, its standard error, and the steps that it took."""

    log_constant: float
    se: float
    iterations: int


def bridge(drawn: FloatArray, proposed: FloatArray, *, effective: float) -> Bridge:
    """The constant r of q, of which q / r is the density of the draws.

    With l = q / g, and s_1 : s_2 = `effective` : m, the optimal bridge's equation is that the
    means of s_2 r / (s_1 l + s_2 r) over the draws, divided by s_2, and of s_1 l / (s_1 l + s_2 r)
    over the proposals, divided by s_1, are alike. Their difference rises with r, so that there
    is one root.

    Parameters
    ----------
    drawn : log l at draws (chains, draws) from q / r
    proposed : log l at independent draws (m,) from g; -inf where q is zero
    effective : number of independent draws that `drawn` is worth

    Raises
    ------
    FitError
        q is not finite at some draw, or zero at all proposals.

    Source: Meng and Wong (1996), Statistica Sinica 6, 831-860; the standard error of log r by the
    relative mean squared error of Fruhwirth-Schnatter (2004),
    doi:10.1111/j.1368-423X.2004.00125.x, as in Gronau et al. (2017), doi:10.1016/j.jmp.2017.09.005.
    """
    from arviz_stats.base.array import array_stats
    from scipy.optimize import brentq

    seen = proposed[np.isfinite(proposed)]
    if not np.isfinite(drawn).all() or not seen.size:
        raise FitError("the log posterior is not finite at the posterior's own draws")
    s_1 = effective / (effective + len(proposed))
    odds = math.log(s_1 / (1 - s_1))

    def shares(log_r: float) -> tuple[FloatArray, FloatArray]:
        return expit(log_r - drawn - odds), expit(proposed + odds - log_r)

    def excess(log_r: float) -> float:
        of_draws, of_proposals = shares(log_r)
        return float(np.mean(of_draws) / (1 - s_1) - np.mean(of_proposals) / s_1)

    least, most = (float(one(np.append(drawn, seen))) for one in (np.min, np.max))
    # Of proposals at which q is zero there may be many: below `least`, the others outweigh draws.
    log_r, found = brentq(excess, least - 50.0, most + 1.0, xtol=1e-9, full_output=True)
    of_draws, of_proposals = shares(log_r)
    independent = array_stats.ess(of_draws, chain_axis=0, draw_axis=1, method="mean")
    variance = np.var(of_proposals) / np.mean(of_proposals) ** 2 / len(proposed)
    variance += np.var(of_draws) / np.mean(of_draws) ** 2 / independent
    return Bridge(float(log_r), float(np.sqrt(variance)), int(found.iterations))
