"""How much of what a level's own rows say its coefficients keep: the weights of shrinkage.

With G_j = Z_j'W_j Z_j and the level's own least squares a_j, given all else,

    c_j = w_j a_j + (I - w_j) m_j,    w_j = (G_j / sigma^2 + Psi^-1)^-1 G_j / sigma^2
                                          = (sigma^2 I + Psi G_j)^-1 Psi G_j

m_j being what the fixed part has for a level like it. The second form takes any Psi and any G_j. Of
random intercepts w_j is n_j psi / (sigma^2 + n_j psi).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.blup import shrinkage_factor, shrinkage_weights
from hlm_models.algebra.group_least_squares import group_least_squares
from hlm_models.design.build import RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.interpretation.draws import effect_draws, thinned, unknowns
from hlm_models.interpretation.level_columns import level_columns
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import Fit, PosteriorFit
from hlm_models.results.point_only import any_fit
from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Shrinkage", "shrinkage"]

SOLVES = 2_000_000
"""Most q x q systems that are solved for a posterior: beyond it the draws are thinned."""
CHUNK = 500_000
"""Systems that are solved at a time."""
NUMBERS = 40_000_000
"""Most numbers of b that are taken for the posterior means: beyond it the draws are thinned."""


@dataclass(frozen=True, eq=False)
class Shrinkage:
    """Weights w_j of every level's own least squares, and what they weigh.

    sizes : (J,) rows
    weights : (J, q, q) w_j; of a posterior its mean
    lower, upper : (J, q) interval of the diagonal, of a posterior; NaN of a point fit
    eigenvalues : (J, q) of w_j, descending, between 0 (all is shrunk) and 1 (nothing is)
    reliability : (J, q) psi_kk / (psi_kk + Var(a_jk)), the share of each coefficient taken alone;
        NaN where the level has no least squares of its own
    own : (J, q) a_j; NaN where G_j is singular
    expected : (J, q) m_j
    shrunk : (J, q) m_j + b_j; of a posterior its mean
    given : other groups, whose effects are held as they are in the fit
    """

    group: str
    labels: tuple[str, ...]
    effects: tuple[str, ...]
    engine: str
    sizes: IntArray
    weights: FloatArray
    lower: FloatArray
    upper: FloatArray
    eigenvalues: FloatArray
    reliability: FloatArray
    own: FloatArray
    expected: FloatArray
    shrunk: FloatArray
    given: tuple[str, ...]
    level: float

    def frame(self) -> "pd.DataFrame":
        """One row an effect of a level: its rows n, weight, reliability, and what is averaged.

        weight is the diagonal of w_j: what the coefficient keeps of its own least squares; the
        rest of its row, in `weights`, is what the level's other coefficients lend it.
        """
        import pandas as pd

        J, q = self.own.shape
        return pd.DataFrame(
            {
                self.group: np.repeat(np.array(self.labels, dtype=object), q),
                "effect": np.tile(np.array(self.effects, dtype=object), J),
                "n": np.repeat(self.sizes, q),
                "weight": np.diagonal(self.weights, axis1=1, axis2=2).ravel(),
                "lower": self.lower.ravel(),
                "upper": self.upper.ravel(),
                "reliability": self.reliability.ravel(),
                "own": self.own.ravel(),
                "expected": self.expected.ravel(),
                "shrunk": self.shrunk.ravel(),
            }
        )

    def overall(self) -> "pd.DataFrame":
        """One row an effect: least, mean and largest weight over the levels, and reliability.

        The reliability is its mean over the levels that have least squares of their own
        (Raudenbush and Bryk 2002, Hierarchical Linear Models, chapter 3); `levels` are they.
        """
        import pandas as pd

        weight = np.diagonal(self.weights, axis1=1, axis2=2)
        seen = ~np.isnan(self.reliability)
        with np.errstate(invalid="ignore"):
            reliability = np.nansum(self.reliability, axis=0) / seen.sum(axis=0)
        return pd.DataFrame(
            {
                "least": weight.min(axis=0),
                "mean": weight.mean(axis=0),
                "largest": weight.max(axis=0),
                "reliability": reliability,
                "levels": seen.sum(axis=0),
            },
            index=pd.Index(self.effects, name="effect"),
        )


def shrinkage(fit: Fit, group: str | None = None, *, level: float = 0.95) -> Shrinkage:
    """The weights of the matrix-weighted average that the coefficients of every level are.

    Weights of rows, offset and known residual standard deviations count. Where the model has other
    groups, everything is given their effects, as they are in the fit: a level's rows less these.
    Of a posterior the weights are computed at every draw of Psi and sigma.

    Parameters
    ----------
    group : a grouping factor of the model; may be left out where it has one
    level : of the intervals, of a posterior

    Raises
    ------
    InputErrors
        there is no such group, or several and none is named.
    RefusalError
        as `pooling`.

    Source: Raudenbush and Bryk (2002), Hierarchical Linear Models, chapter 3; docs/blups.md.
    """
    fit, level = any_fit(fit, "shrinkage"), checked_level(level)
    design = fit.spec.design
    block = find_block(design, group)
    [at] = [i for i, one in enumerate(design.blocks) if one is block]
    root = np.ones(design.n) if design.root_weights is None else design.root_weights
    z = block.z * root[:, None]
    G = np.empty((block.J, block.q, block.q))
    for a in range(block.q):
        for b in range(a + 1):
            G[:, a, b] = G[:, b, a] = np.bincount(block.level, z[:, a] * z[:, b], block.J)
    draws = thinned(fit, block.J * max(one.q for one in design.blocks), most=NUMBERS)
    beta = unknowns(fit, at=draws).beta.mean(axis=(0, 1))
    effects = [one.mean(axis=(0, 1)) for one in effect_draws(fit, at=draws)]
    rest = design.y_net - design.X @ beta
    for other, b_other in zip(design.blocks, effects, strict=True):
        if other is not block:
            rest = rest - np.einsum("nq,nq->n", other.z, b_other[other.level])
    alone = group_least_squares(z, rest * root, block.level, block.J)
    whole = alone.estimable.all(axis=1)[:, None]
    columns = level_columns(design, block)
    expected = np.empty((block.J, block.q))
    for k, name in enumerate(block.effects):
        # An effect that is confounded with another one has no column of its own in a level.
        known = name in columns.names
        fixed = columns.fixed[:, columns.names.index(name)] if known else _beta_of(fit, name)
        expected[:, k] = fixed @ beta
    found = _weights(fit, at, block, G, np.where(whole, alone.variance, np.nan), level)
    return Shrinkage(
        group=block.group,
        labels=block.labels,
        effects=block.effects,
        engine=fit.engine,
        sizes=block.sizes,
        weights=frozen(found[0]),
        lower=frozen(found[1]),
        upper=frozen(found[2]),
        eigenvalues=frozen(np.sort(np.linalg.eigvals(found[0]).real, axis=1)[:, ::-1].copy()),
        reliability=frozen(found[3]),
        own=frozen(np.where(whole, expected + alone.estimate, np.nan)),
        expected=frozen(expected),
        shrunk=frozen(expected + effects[at]),
        given=tuple(one.group for one in design.blocks if one is not block),
        level=level,
    )


def _beta_of(fit: Fit, name: str) -> FloatArray:
    """The coefficient of that name as a combination of all (p,); none is zero."""
    return np.array([float(one == name) for one in fit.spec.design.coef])


def _weights(
    fit: Fit, at: int, block: RandomBlock, G: FloatArray, variance: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Weights (J, q, q), ends of their diagonal's interval and reliabilities (J, q).

    `variance` (J, q) is that of the level's least squares over sigma^2.
    """
    draws = thinned(fit, block.J, most=SOLVES)
    known = unknowns(fit, at=draws)
    Psi, sigma2 = known.cov[at].reshape(-1, block.q, block.q), np.square(known.sigma).ravel()
    weights, lower, upper, reliability = (
        np.empty((block.J, block.q, block.q)),
        *(np.full((block.J, block.q), np.nan) for _ in range(3)),
    )
    psi = np.diagonal(Psi, axis1=1, axis2=2)[:, None]
    step = max(1, CHUNK // len(Psi))
    for lo in range(0, block.J, step):
        here = slice(lo, lo + step)
        found = _each(G[here], Psi, sigma2)
        weights[here] = found.mean(axis=0)
        with np.errstate(invalid="ignore"):
            noise = sigma2[:, None, None] * variance[here]
            reliability[here] = np.mean(psi / (psi + noise), axis=0)
        if isinstance(fit, PosteriorFit):
            diagonal = np.diagonal(found, axis1=2, axis2=3)
            ends = np.quantile(diagonal, [(1 - level) / 2, (1 + level) / 2], axis=0)
            lower[here], upper[here] = ends
    return weights, lower, upper, reliability


def _each(G: FloatArray, Psi: FloatArray, sigma2: FloatArray) -> FloatArray:
    """Weights (draws, levels, q, q) of levels with these G (levels, q, q)."""
    if len(Psi[0]) == 1:
        ratio = Psi[:, :, 0] / sigma2[:, None]
        return np.asarray(shrinkage_factor(G[:, 0, 0], ratio, 1.0))[..., None, None]
    return shrinkage_weights(G, (Psi / sigma2[:, None, None])[:, None], 1.0)
