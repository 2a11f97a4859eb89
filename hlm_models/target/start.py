"""Where the chains start, and in which directions: from the REML fit and the curvature there."""

from dataclasses import replace

import numpy as np

from hlm_models.algebra.search import hessian, minimise
from hlm_models.errors import FitError
from hlm_models.spec.optimum import optimum
from hlm_models.target.density import Target
from hlm_models.types import FloatArray, frozen

__all__ = ["reml_point", "warm"]

STEPS = 60
"""Most steps of the search for the posterior's mode."""

FAR = 20.0
"""A mode so far from the REML estimates, in log units, is that of an improper posterior."""

GRID = np.linspace(-5.0, 4.0, 19)
"""Where the density is looked at along a log sd, in units of its sd at the mode."""

FOLDS = np.geomspace(0.3, 100.0, 12)
"""Folds that are tried, in the same units."""

FLAT = 1e-2
"""Least curvature of a direction in which the chains start: a posterior sd of ten."""


def warm(target: Target) -> Target:
    """The same posterior in coordinates that are centred on its mode and uncorrelated there.

    The search for the mode starts at the REML estimates. Where there is no mode to be found (an
    improper posterior), the estimates themselves are the centre.

    Raises
    ------
    FitError
        the log posterior is not finite at the estimates.
    """
    x = _mode(target, reml_point(target))
    if not np.isfinite(target(x)[0]):
        raise FitError(
            "the log posterior is not finite at the REML estimates: check priors and columns for "
            "huge values"
        )
    H = _curvature(target, x)
    folded = replace(target, fold=frozen(_folds(target, x, H)))
    fold = folded.fold
    u = x.copy()
    u[fold > 0] = np.arcsinh(np.exp(x[fold > 0]) / fold[fold > 0])
    u = _mode(folded, u)
    curvature, axes = np.linalg.eigh(_curvature(folded, u))
    whiten = axes / np.sqrt(np.maximum(curvature, FLAT))
    return replace(folded, centre=frozen(u), whiten=frozen(np.ascontiguousarray(whiten)))


def _folds(target: Target, x: FloatArray, H: FloatArray) -> FloatArray:
    """The fold of every standard deviation on a half line: the one that makes it most symmetric.

    Judged by the skewness of the density along it, the other coordinates held at the mode. From
    one that is large beside the sd, which counts in units of the sd itself, to one that is small
    beside it, which counts in its logarithm.
    """
    coordinates = target.coordinates
    scalars = coordinates.scalars
    fold = np.zeros(target.size)
    for k in range(len(scalars) - 1 - len(coordinates.integration.free)):
        if not (np.isfinite(scalars[k, 1]) and np.isinf(scalars[k, 2])):
            continue
        steep = float(np.sqrt(max(H[k, k], FLAT)))
        log_sd = x[k] + GRID / steep
        density = np.empty(len(log_sd))
        for i, value in enumerate(log_sd):
            at = x.copy()
            at[k] = value
            density[i] = target(at)[0]
        density = np.exp(density - np.nanmax(density))
        # Of log sd; the same points carry the same mass in every other coordinate.
        mass = np.where(np.isfinite(density), density, 0.0)
        middle = np.exp(x[k])
        candidates = middle / steep * FOLDS
        skew = [abs(_skewness(np.arcsinh(np.exp(log_sd) / one), mass)) for one in candidates]
        fold[k] = candidates[int(np.argmin(skew))]
    return fold


def _skewness(values: FloatArray, mass: FloatArray) -> float:
    weight = mass / mass.sum()
    centred = values - np.sum(weight * values)
    variance = np.sum(weight * centred**2)
    return float(np.sum(weight * centred**3) / np.sqrt(variance) ** 3)


def _mode(target: Target, x: FloatArray) -> FloatArray:
    """A mode near `x`, or `x` itself where the search leads far away or nowhere."""

    def downhill(at: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = target(at)
        return -value, -gradient

    found = minimise(downhill, x, tolerance=1e-3, steps=STEPS)
    near = np.isfinite(found.value) and float(np.abs(found.x - x).max()) < FAR
    return found.x if near else x


def _curvature(target: Target, x: FloatArray) -> FloatArray:
    """Second derivatives of minus the log posterior; the identity where they are not finite."""
    H = hessian(lambda at: -target(at)[1], x)
    return H if np.isfinite(H).all() else np.eye(target.size)


def reml_point(target: Target) -> FloatArray:
    """The REML estimates as a point x (d,), moved inside where they are on the boundary."""
    spec, split = target.spec, target.coordinates.integration
    marginal = spec.marginal
    n, p = spec.design.n, spec.design.p
    try:
        theta, _ = optimum(spec, reml=n > p)
    except FitError:
        # Residuals of zero: any small sigma will do to start from.
        theta = marginal.start(1.0)
    at = marginal.at(theta, reml=n > p)
    sigma = max(at.sigma, 1e-8 * float(np.sqrt(spec.design.y_square / n)))
    sd, corr = [], []
    for index, block in enumerate(spec.blocks):
        Lambda = marginal.raw_factor(index, theta)
        Psi = sigma**2 * Lambda @ Lambda.T
        # An effect of which the rows say nothing starts where it moves a row a little.
        reach = np.sqrt(np.mean(block.z**2, axis=0))
        least = 0.03 * sigma / np.where(reach > 0, reach, 1.0)
        here = np.maximum(np.sqrt(np.diag(Psi)), least)
        scale = np.where(np.diag(Psi) > 0, np.sqrt(np.diag(Psi)), 1.0)
        r = Psi / np.outer(scale, scale)
        np.fill_diagonal(r, 1.0)
        sd.append(here)
        corr.append(r)
    beta = marginal.beta(at)
    return target.coordinates.point(tuple(sd), tuple(corr), beta[split.free], sigma)
