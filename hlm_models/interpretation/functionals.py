"""Linear combinations of beta and b of either kind of fit: estimate, standard error, interval."""

from dataclasses import dataclass

import numpy as np

from hlm_models.interpretation.draws import effect_draws, spread, thinned, unknowns
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.types import FloatArray, frozen

__all__ = ["Functionals", "Valued", "valued"]

NUMBERS = 40_000_000
"""Most numbers of b that are taken: beyond it the draws are thinned."""


@dataclass(frozen=True, eq=False)
class Functionals:
    """m combinations x' beta + constant + z' b of new levels + w_j' b_j of all levels.

    x : (m, p)
    constant : (m,)
    typical : of every block (m, q), of the effects of a level of which nothing is known
    existing : of every block (m, J, q), of the effects of the levels of the model
    """

    x: FloatArray
    constant: FloatArray
    typical: tuple[FloatArray, ...] = ()
    existing: tuple[FloatArray, ...] = ()

    def less(self, other: "Functionals") -> "Functionals":
        """Differences, combination by combination."""

        def each(a: tuple[FloatArray, ...], b: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
            return tuple(mine - theirs for mine, theirs in zip(a, b, strict=True))

        return Functionals(
            self.x - other.x,
            self.constant - other.constant,
            each(self.typical, other.typical),
            each(self.existing, other.existing),
        )


@dataclass(frozen=True, eq=False)
class Valued:
    """Estimates (m,) with standard errors, or posterior means with sds, and intervals."""

    estimate: FloatArray
    se: FloatArray
    lower: FloatArray
    upper: FloatArray

    def part(self, rows: slice) -> "Valued":
        """Some of the combinations."""
        return Valued(self.estimate[rows], self.se[rows], self.lower[rows], self.upper[rows])


def valued(fit: Fit, of: Functionals, level: float) -> Valued:
    """What combinations come to.

    Of a point fit the variance is the one of the joint error of beta and b, with t intervals of
    Satterthwaite's degrees of freedom; of a posterior sds and quantiles of the draws, with the
    effects of a new level drawn anew in each, the same ones for all combinations.
    """
    return _point(fit, of, level) if isinstance(fit, PointFit) else _draws(fit, of, level)


def _point(fit: PointFit, of: Functionals, level: float) -> Valued:
    from scipy.special import stdtrit

    estimate = of.x @ fit.beta + of.constant
    for weights, found in zip(of.existing, fit.random, strict=bool(of.existing)):
        estimate = estimate + np.einsum("mjq,jq->m", weights, found.b)
    marginal = fit.spec.marginal
    here = np.append(marginal.scaled_theta(fit.theta), np.log(fit.sigma))
    variance = _variance(fit, of, here)
    slopes = np.empty((len(here), len(variance)))
    for i, value in enumerate(here[:-1]):
        up, down = here.copy(), here.copy()
        h = 1e-5 * max(1.0, abs(value))
        up[i] += h
        down[i] -= h
        slopes[i] = (_variance(fit, of, up) - _variance(fit, of, down)) / (up[i] - down[i])
    # At a given theta all variances are proportional to sigma^2; where it is known, vcov_phi is 0.
    slopes[-1] = 2 * variance
    doubt = np.einsum("im,ij,jm->m", slopes, fit.vcov_phi, slopes)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(doubt > 0, 2 * variance**2 / doubt, np.inf)
    se = np.sqrt(variance)
    half = stdtrit(df, (1 + level) / 2) * se
    return Valued(frozen(estimate), frozen(se), frozen(estimate - half), frozen(estimate + half))


def _variance(fit: PointFit, of: Functionals, at: FloatArray) -> FloatArray:
    """Variance (m,) of the error at phi = `at`, theta taken as known.

    Source: Henderson (1975), doi:10.2307/2529430, as `Marginal.prediction_variance`.
    """
    marginal, p = fit.spec.marginal, fit.spec.design.p
    theta, sigma = at[:-1], float(np.exp(at[-1]))
    found = marginal.sweep(theta)
    direct = np.linalg.solve(fit.spec.design.x_scaling.R.T, of.x.T).T
    left = np.zeros(len(of.x))
    if of.existing:
        scaled = tuple(
            np.linalg.solve(scale.R.T, part.reshape(-1, part.shape[2]).T).T.reshape(part.shape)
            for scale, part in zip(marginal.scales, of.existing, strict=True)
        )
        for gain, part in zip(found.gains(), scaled, strict=True):
            direct = direct - np.einsum("mjq,jqc->mc", part, gain[:, :, :p])
        left = _left(found, scaled)
    half = np.linalg.solve(np.linalg.cholesky(found.S[:p, :p]), direct.T)
    total = np.square(half).sum(axis=0) + left
    for index, z in enumerate(of.typical):
        total = total + np.square(z @ marginal.raw_factor(index, theta)).sum(axis=1)
    return np.asarray(sigma**2 * total)


def _left(found: object, scaled: tuple[FloatArray, ...]) -> FloatArray:
    """Variance over sigma^2 (m,) of the combinations of b where beta is known."""
    from hlm_models.algebra.crossed import Sweep
    from hlm_models.algebra.kernel import OneFactor

    if isinstance(found, OneFactor):
        return np.asarray(np.einsum("mja,jab,mjb->m", scaled[0], found.E, scaled[0], optimize=True))
    assert isinstance(found, Sweep)
    # Over a grid the weights of the effects are often all the same.
    known: dict[bytes, float] = {}
    out = np.empty(len(scaled[0]))
    for i in range(len(out)):
        parts = tuple(part[i] for part in scaled)
        key = b"".join(part.tobytes() for part in parts)
        if key not in known:
            known[key] = found.quadratic_of_all(parts)
        out[i] = known[key]
    return out


def _draws(fit: PosteriorFit, of: Functionals, level: float) -> Valued:
    numbers = sum(block.J * block.q for block in fit.spec.blocks) if of.existing else 1
    at = thinned(fit, max(numbers, len(of.x)), most=NUMBERS)
    known = unknowns(fit, at=at)
    draws = known.beta @ of.x.T + of.constant
    if of.existing:
        for weights, b in zip(of.existing, effect_draws(fit, at=at), strict=True):
            draws += b.reshape(*b.shape[:2], -1) @ weights.reshape(len(weights), -1).T
    rng = np.random.default_rng(fit.seed)
    for z, Psi in zip(of.typical, known.cov, strict=bool(of.typical)):
        values, axes = np.linalg.eigh(Psi)
        root = axes * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        e = rng.standard_normal(root.shape[:-1])
        draws += np.einsum("cdab,cdb->cda", root, e) @ z.T
    found = spread(draws, level)
    return Valued(*(frozen(one) for one in (found.mean, found.sd, found.lower, found.upper)))
