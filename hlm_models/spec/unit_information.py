"""Priors worked out from the data so that they weigh about as much as one group.

The recipe is that of P. Hoff's lectures on Bayesian mixed models (Duke, STA 610). With ridge
estimates of every group, (Z_j' Z_j + I)^-1 Z_j' v_j in raw columns, s0^2 = the sum of their squared
residuals over sum_j max(0, n_j - q), and nu0 = 2, eta0 = q + 1:

* every coefficient is random (the columns of X are those of Z): v = y, beta0 and Psi0 are mean and
  covariance (J - 1) of the estimates, V0 = s0^2 I
* otherwise: v = y - X beta0 with least squares beta0, Psi0 the mean of a_j a_j', V0 = 50 I

Then beta ~ N(beta0, V0), Psi ~ inverse Wishart(eta0, Psi0), sigma^2 ~ inverse gamma(nu0 / 2,
nu0 s0^2 / 2). With weights, rows are multiplied by their roots first.

Source of the idea: Kass and Wasserman (1995), doi:10.1080/01621459.1995.10476592.
"""

from dataclasses import dataclass

import numpy as np

from hlm_models.design.build import Design, Term
from hlm_models.errors import InputErrors
from hlm_models.parts.covariances import Covariance
from hlm_models.parts.covariances.diagonal import Diagonal
from hlm_models.parts.covariances.inverse_wishart import InverseWishart
from hlm_models.parts.priors.inverse_gamma import InverseGamma
from hlm_models.parts.priors.normal import Normal
from hlm_models.types import FloatArray, IntArray

__all__ = ["UnitInformation", "unit_information"]

NU0 = 2.0
"""Prior observations that s0^2 stands for."""

REPAIR = "give each prior by its kind: normal, inverse_wishart, inverse_gamma"

WIDE = 50.0
"""Prior variance of every coefficient where some are not random."""


@dataclass(frozen=True, slots=True)
class UnitInformation:
    """The hyperparameters.

    beta0 (p,) and v0: mean and common variance of the coefficients; s20, with nu0 = 2: of sigma^2;
    Psi0 (q, q): of the covariance of a level's effects; small: levels with no more rows than
    effects, of J.
    """

    beta0: FloatArray
    v0: float
    s20: float
    Psi0: FloatArray
    small: int
    J: int

    def coefficient(self, k: int) -> Normal:
        """Prior of coefficient k."""
        return Normal(loc=float(self.beta0[k]), scale=float(np.sqrt(self.v0)))

    @property
    def sigma(self) -> InverseGamma:
        return InverseGamma(shape=NU0 / 2, scale=NU0 * self.s20 / 2)

    def covariance(self, term: Term, effects: tuple[str, ...]) -> Covariance:
        """Prior of one term's covariance; of independent effects each has its own variance."""
        Psi0 = self.Psi0[term.columns, term.columns]
        if term.correlated or term.q == 1:
            return InverseWishart(nu=term.q + 1.0, scale=tuple(tuple(row) for row in Psi0.tolist()))
        each = np.diag(Psi0).tolist()
        sd = {
            name: InverseGamma(shape=1.0, scale=variance / 2)
            for name, variance in zip(effects, each, strict=True)
        }
        return Diagonal(sd=sd)

    def note(self, group: str) -> tuple[str, ...]:
        """What was done with small levels."""
        if not self.small:
            return ()
        q = len(self.Psi0)
        return (
            f"unit information: {self.small} of {self.J} levels of {group} have no more rows than "
            f"the {q} effects; ridge keeps their estimates finite, and they give s0^2 no degrees "
            "of freedom",
        )


def unit_information(design: Design) -> UnitInformation:
    """The hyperparameters of a model with one grouping factor.

    Raises
    ------
    InputErrors
        no grouping factor, or several; no level has more rows than effects; fewer levels than
        effects, or effects whose estimates are collinear over levels, so that Psi0 is singular.
    """
    if len(design.blocks) != 1:
        raise InputErrors.one(
            "unit_information is a recipe for one grouping factor, and this model has "
            f"{', '.join(block.group for block in design.blocks) or 'none'}: {REPAIR}",
            key="priors",
        )
    [block] = design.blocks
    roots = np.ones(design.n) if design.root_weights is None else design.root_weights
    y, X, z = roots * design.y_net, roots[:, None] * design.X, roots[:, None] * block.z
    all_random = set(design.coef) == set(block.effects)
    beta0 = np.zeros(design.p)
    if not all_random and design.p:
        beta0 = np.linalg.lstsq(X, y, rcond=None)[0]
        y = y - X @ beta0
    estimates, rss = _ridge(z, y, block.level, block.J)
    sizes = np.bincount(block.level, minlength=block.J)
    free = int(np.maximum(sizes - block.q, 0).sum())
    small = int(np.sum(sizes <= block.q))
    if not free:
        raise InputErrors.one(
            f"unit_information needs a level of {block.group} with more rows than its {block.q} "
            f"effects, and there is none: {REPAIR}",
            key="priors",
        )
    s20 = float(rss.sum()) / free
    if all_random:
        order = [block.effects.index(name) for name in design.coef]
        beta0, v0 = estimates.mean(axis=0)[order], s20
        Psi0 = np.atleast_2d(np.cov(estimates, rowvar=False))
    else:
        v0, Psi0 = WIDE, estimates.T @ estimates / block.J
    size = np.sqrt(np.diag(Psi0))
    if not np.all(size > 0) or np.linalg.eigvalsh(Psi0 / np.outer(size, size))[0] < 1e-10:
        raise InputErrors.one(
            f"unit_information needs estimates of {block.q} effects that vary freely over the "
            f"{block.J} levels of {block.group}, and their covariance is singular: {REPAIR}",
            key="priors",
        )
    return UnitInformation(beta0, v0, s20, Psi0, small, block.J)


def _ridge(z: FloatArray, y: FloatArray, level: IntArray, J: int) -> tuple[FloatArray, FloatArray]:
    """Ridge estimates (J, q) with penalty I, and the residual sum of squares (J,) of each level."""
    q = z.shape[1]
    G, h = np.empty((J, q, q)), np.empty((J, q))
    for a in range(q):
        h[:, a] = np.bincount(level, z[:, a] * y, J)
        for c in range(a + 1):
            G[:, a, c] = G[:, c, a] = np.bincount(level, z[:, a] * z[:, c], J)
    estimates = np.linalg.solve(G + np.eye(q), h[..., None])[..., 0]
    rest = y - np.einsum("nq,nq->n", z, estimates[level])
    return estimates, np.asarray(np.bincount(level, rest * rest, J), dtype=np.float64)
