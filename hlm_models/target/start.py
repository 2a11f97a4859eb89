"""Where the chains start, and in which directions: from the REML fit and the curvature there."""

from dataclasses import dataclass, replace

import numpy as np

from hlm_models.algebra.gram import Scaling
from hlm_models.algebra.search import hessian, minimise
from hlm_models.design.build import DEPENDENT, Design
from hlm_models.errors import FitError
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.optimum import optimum
from hlm_models.target.density import Target
from hlm_models.types import FloatArray, frozen

__all__ = ["Estimates", "reml_estimates", "reml_point", "warm"]

STEPS = 60
"""Most steps of the search for the posterior's mode."""

FAR = 20.0
"""A mode whose logarithms are so far from the REML estimates is that of an improper posterior."""

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
        the model fits the data exactly, so that sigma tends to zero and there is no posterior; or
        the log posterior is not finite at the estimates.
    """
    x, unit = reml_point(target), _units(target)
    target = replace(target, whiten=unit)
    target = _at_mode(replace(target, centre=frozen(x)))
    if not np.isfinite(target(np.zeros(target.size))[0]):
        raise FitError(
            "the log posterior is not finite at the REML estimates: check priors and columns for "
            "huge values"
        )
    fold, x = _folds(target), target.centre
    u = x.copy()
    u[fold > 0] = np.arcsinh(np.exp(x[fold > 0]) / fold[fold > 0])
    folded = replace(target, centre=frozen(u), fold=frozen(fold))
    # On the edge of what has a density, the detour over u may end beyond it.
    if np.isfinite(folded(np.zeros(target.size))[0]):
        target = _at_mode(folded)
    curvature, axes = np.linalg.eigh(_curvature(target))
    whiten = unit @ (axes / np.sqrt(np.maximum(curvature, FLAT)))
    return replace(target, whiten=frozen(np.ascontiguousarray(whiten)))


def _folds(target: Target) -> FloatArray:
    """The fold (d,) of every standard deviation: the one that makes its density most symmetric.

    Judged by the skewness of the density along it, the other coordinates held at the centre. From
    one that is large beside the sd, which counts in units of the sd itself, to one that is small
    beside it, which counts in its logarithm. Only where the sd may be anything above zero.
    """
    coordinates, x = target.coordinates, target.centre
    steepest = np.diag(_curvature(target))
    fold = np.zeros(target.size)
    for k in range(coordinates.free.start):
        lower, upper = coordinates.scalars[k, 1:3]
        if not (lower == 0 and np.isinf(upper)):
            continue
        steep = float(np.sqrt(max(steepest[k], FLAT)))
        steps = GRID / steep
        density = np.array([target(step * np.eye(target.size)[k])[0] for step in steps])
        density = np.exp(density - np.nanmax(density))
        # Of log sd; the same points carry the same mass in every other coordinate.
        mass = np.where(np.isfinite(density), density, 0.0)
        candidates = np.exp(x[k]) / steep * FOLDS
        sd = np.exp(x[k] + steps)
        skew = [abs(_skewness(np.arcsinh(sd / one), mass)) for one in candidates]
        fold[k] = candidates[int(np.argmin(np.nan_to_num(skew, nan=np.inf)))]
    return fold


def _skewness(values: FloatArray, mass: FloatArray) -> float:
    weight = mass / mass.sum()
    centred = values - np.sum(weight * values)
    variance = np.sum(weight * centred**2)
    return float(np.sum(weight * centred**3) / np.sqrt(variance) ** 3)


def _at_mode(target: Target) -> Target:
    """The same, centred on a mode nearby; as it is where the search leads far or nowhere."""

    def downhill(at: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = target(at)
        return -value, -gradient

    found = minimise(downhill, np.zeros(target.size), tolerance=1e-3, steps=STEPS)
    step = target.whiten @ found.x
    logs = np.diag(target.whiten) == 1.0
    moved = replace(target, centre=frozen(target.centre + step))
    # Where a mode lies on the edge of what has a density, rounding may take the point beyond it.
    near = np.isfinite(moved(np.zeros(target.size))[0])
    return moved if near and float(np.abs(step[logs]).max()) < FAR else target


def _curvature(target: Target) -> FloatArray:
    """Minus the second derivatives (d, d) by z at 0; the identity where they are not finite."""
    H = hessian(lambda at: -target(at)[1], np.zeros(target.size))
    return H if np.isfinite(H).all() else np.eye(target.size)


def _units(target: Target) -> FloatArray:
    """Directions and lengths (d, d) in which the log posterior is of order one, roughly.

    Logarithms and logits are; free coefficients on the whole line have any units, and their least
    squares say which.
    """
    split, design = target.coordinates.integration, target.spec.design
    found = np.eye(target.size)
    free = target.coordinates.free
    line = np.isinf(target.coordinates.scalars[free, 1:3]).all(axis=1)
    if line.any():
        spread = float(np.sqrt(np.mean((design.y_net - design.y_net.mean()) ** 2)))
        back = np.linalg.inv(design.x_scaling.R) * spread / np.sqrt(design.n)
        rows = back[split.free[line]]
        at = free.start + np.flatnonzero(line)
        found[np.ix_(at, at)] = np.linalg.qr(rows.T, mode="r").T
    return frozen(found)


@dataclass(frozen=True, eq=False)
class Estimates:
    """REML estimates in raw columns, sd moved inside where they are on the boundary.

    beta (p,), sigma (), and sd (q,) and corr (q, q) of every block; corr may be singular.
    """

    beta: FloatArray
    sigma: float
    sd: tuple[FloatArray, ...]
    corr: tuple[FloatArray, ...]


def reml_point(target: Target) -> FloatArray:
    """The REML estimates as a point x (d,), moved inside where they are on the boundary."""
    found, split = reml_estimates(target.spec), target.coordinates.integration
    return target.coordinates.point(found.sd, found.corr, found.beta[split.free], found.sigma)


def reml_estimates(spec: ModelSpec) -> Estimates:
    """Where samplers start; of the ML fit where there are no more rows than coefficients.

    Coefficients that the rows do not tell apart, as where some were left out, are the smallest.

    Raises
    ------
    FitError
        the model fits the data exactly, so that sigma tends to zero and there is no posterior.
    """
    if spec.design.dependent(range(spec.design.p)):
        basis, back = _independent(spec)
        found = reml_estimates(replace(spec, design=basis))
        return replace(found, beta=back @ found.beta)
    marginal = spec.marginal
    n, p = spec.design.n, spec.design.p
    try:
        theta, _ = optimum(spec, reml=n > p)
    except FitError:
        # With no fewer effects than rows only the priors tell sigma from the effects.
        if all(count < n for _, count in marginal.effects):
            raise
        theta = marginal.start(1.0)
    at = marginal.at(theta, reml=n > p)
    sigma = 1.0
    if spec.priors.sigma is not None:
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
    return Estimates(marginal.beta(at), sigma, tuple(sd), tuple(corr))


def _independent(spec: ModelSpec) -> tuple[Design, FloatArray]:
    """The design with a basis of the columns of X in their place, and beta by its coefficients."""
    design = spec.design
    values, axes = np.linalg.eigh(spec.marginal.products.T[:-1, :-1])
    # Well above what counts as dependent, so that nothing of the basis does.
    axes = axes[:, values > 10 * DEPENDENT * values[-1]]
    r = axes.shape[1]
    own = Scaling(frozen(np.zeros(r)), frozen(np.ones(r)), frozen(np.eye(r)))
    names = tuple(f"basis {k}" for k in range(r))
    X = frozen(np.asfortranarray(design.x_scaling.apply(design.X) @ axes))
    basis = replace(design, X=X, coef=names, x_scaling=own)
    return basis, np.linalg.solve(design.x_scaling.R, axes)
