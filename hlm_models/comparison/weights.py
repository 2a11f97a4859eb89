"""Weights of models in a common prediction, from pointwise log predictive densities."""

import numpy as np

from hlm_models.types import FloatArray

__all__ = ["pseudo_bma", "stacking"]

BOOTSTRAPS = 1000
"""Bayesian bootstraps that the pseudo-BMA+ weights are the mean of."""

LEAST = 1e-10
"""Weight that the search leaves to every model, so that no mixture has density zero."""

BLOCK = 2_000_000
"""Numbers that are drawn at once."""


def stacking(pointwise: FloatArray) -> FloatArray:
    """Weights (K,) of the mixture of K models that foresees best what each of them was left.

    They maximise sum_i log sum_k w_k exp(pointwise_ik) over the simplex.

    Parameters
    ----------
    pointwise : (size, K) log predictive densities of what was left out

    Source: Yao, Vehtari, Simpson and Gelman (2018), doi:10.1214/17-BA1091.
    """
    from scipy.optimize import LinearConstraint, minimize

    size, K = pointwise.shape
    density = np.exp(pointwise - pointwise.max(axis=1, keepdims=True))

    def loss(w: FloatArray) -> tuple[float, FloatArray]:
        mixed = density @ w
        return -float(np.mean(np.log(mixed))), -(1 / mixed) @ density / size

    found = minimize(
        loss,
        np.full(K, 1 / K),
        jac=True,
        method="SLSQP",
        bounds=[(LEAST, 1.0)] * K,
        constraints=LinearConstraint(np.ones(K), 1.0, 1.0),
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    weights = np.maximum(found.x - LEAST, 0.0)
    return np.asarray(weights / weights.sum())


def pseudo_bma(pointwise: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Pseudo-BMA+ weights (K,): of exp(elpd), averaged over Bayesian bootstraps of the columns.

    Parameters
    ----------
    pointwise : (size, K) log predictive densities of what was left out

    Source: Yao, Vehtari, Simpson and Gelman (2018), doi:10.1214/17-BA1091.
    """
    size, K = pointwise.shape
    # Large common terms of a column would cost digits, and change no weight.
    relative = pointwise - pointwise.max(axis=1, keepdims=True)
    total, step = np.zeros(K), max(1, BLOCK // size)
    for start in range(0, BOOTSTRAPS, step):
        drawn = rng.standard_exponential((min(step, BOOTSTRAPS - start), size))
        z = size * (drawn @ relative) / drawn.sum(axis=1, keepdims=True)
        w = np.exp(z - z.max(axis=1, keepdims=True))
        total += np.sum(w / w.sum(axis=1, keepdims=True), axis=0)
    return np.asarray(total / BOOTSTRAPS)
