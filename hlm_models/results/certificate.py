"""The certificate of a point fit: gradient and curvature about Psi, and what the starts found."""

import numpy as np

from hlm_models.algebra.criterion import Profiled
from hlm_models.algebra.search import Found
from hlm_models.results.checks import Check, graded
from hlm_models.spec.marginal import Part
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["certificate"]

FLAT = 1e-7
"""Curvature, relative to the steepest (or to 1), below which a direction counts as flat."""

NEAR = 1e-6
"""A criterion may stand so far above the minimum of its local quadratic."""

CLOSED_FORM = "without random terms the estimates are least squares in closed form"


def certificate(
    spec: ModelSpec, best: Found, at: Profiled, starts: tuple[float, ...]
) -> tuple[Check, ...]:
    """Checks of `best`, in scaled columns, where the criterion is `at`.

    At an optimum M Lambda = 0 and M is non-negative on the null space of Lambda', M the derivative
    of the criterion with respect to P = Lambda Lambda'. Where a shared variance is zero, the sum
    of M's diagonal, weighted as P is, is non-negative. Without groups nothing was searched.
    """
    marginal = spec.marginal
    if not spec.blocks:
        return (graded("gradient", best.decrease, fail=NEAR, message=CLOSED_FORM),)
    outward = 0.0
    smallest: dict[str, float] = {}
    factors = marginal.factors(best.x)
    for block, parts, Lambda, M in zip(spec.blocks, marginal.parts, factors, at.M, strict=True):
        smallest[block.group] = min(part.size(Lambda) for part in parts)
        # Columns are scaled, so that Z'Z has about n on its diagonal.
        outward = max(outward, *(_outward(part, Lambda, M / spec.design.n) for part in parts))
    singular = [group for group, size in smallest.items() if size < 1e-6]
    unit = np.maximum(1.0, np.abs(best.x))
    # Negative curvature is no flatness: `gradient` is about that.
    curvature = np.abs(np.linalg.eigvalsh(best.hessian * np.outer(unit, unit)))
    flat = float(curvature.min() / max(float(curvature.max()), 1.0))
    spread = max(starts) - min(starts)
    agreeing = sum(value - min(starts) < 1e-5 for value in starts)
    return (
        graded(
            "gradient",
            best.decrease,
            fail=NEAR,
            message=_stationarity(spec, best),
        ),
        graded(
            "boundary",
            outward,
            fail=1e-8,
            message="on the boundary, no variance can be added that lowers the criterion",
        ),
        graded(
            "starts",
            spread,
            warn=1e-4,
            message=f"spread over {len(starts)} starts ({agreeing} reached the best)",
        ),
        graded(
            "identified",
            flat,
            warn=FLAT,
            below=True,
            message=_identification(flat),
        ),
        Check(
            "singular",
            "warn" if singular else "pass",
            min(smallest.values()),
            1e-6,
            (
                f"some combination of the effects of {' and '.join(singular)} does not vary at "
                "all in the best fit: a simpler random part says the same"
            )
            if singular
            else f"the covariances of the effects of {' and '.join(smallest)} have full rank",
        ),
    )


def _outward(part: Part, Lambda: FloatArray, M: FloatArray) -> float:
    """How fast the criterion falls when a variance of the part that is zero is raised."""
    here = np.ix_(part.columns, part.columns)
    if part.weight is not None:
        return -float(part.weight**2 @ np.diag(M[here])) if part.size(Lambda) < 1e-6 else 0.0
    u, s, _ = np.linalg.svd(Lambda[here])
    null = u[:, s < 1e-6 * max(1.0, float(s[0]))]
    if not null.shape[1]:
        return 0.0
    return -float(np.linalg.eigvalsh(null.T @ M[here] @ null).min())


def _identification(flat: float) -> str:
    """What the flattest direction says, as a share of the steepest."""
    if flat >= FLAT:
        return "curvature of the criterion in its flattest direction, over the steepest"
    return (
        "the criterion is flat in some direction of the variances: the data cannot tell them apart "
        "(the same partition twice, or a group that is also in the fixed part), and their "
        "estimates and standard errors are arbitrary"
    )


def _stationarity(spec: ModelSpec, best: Found) -> str:
    """What the gradient and the curvature say, with the reason where this is no minimum."""
    if best.decrease <= NEAR:
        return "distance from the local minimum, by gradient and curvature"
    size = float(np.abs(best.gradient).max())
    where = "the theta given" if spec.reml.theta is not None else "where the search ended"
    if np.isinf(best.decrease):
        return (
            f"no minimum at {where}: M Lambda is not 0 (largest gradient {size:.3g}) and the "
            "criterion falls along a direction of negative curvature"
        )
    return (
        f"no minimum at {where}: the criterion can still fall by {best.decrease:.3g} "
        f"(largest gradient {size:.3g})"
    )
