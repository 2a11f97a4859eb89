"""The F test of several linear hypotheses, and the rotation that makes them independent."""

from dataclasses import dataclass

import numpy as np

from hlm_models.errors import InputErrors
from hlm_models.types import FloatArray

__all__ = ["FTest", "f_test", "principal"]


@dataclass(frozen=True, slots=True)
class FTest:
    """F with `num_df` and `den_df` degrees of freedom; `scale` is the factor that F contains."""

    num_df: int
    den_df: float
    F: float
    p: float
    scale: float = 1.0


def f_test(F: float, num_df: int, den_df: float, *, scale: float = 1.0) -> FTest:
    """The test of an F that contains `scale` already; with infinite `den_df` a chi-square's."""
    from scipy.special import chdtrc, fdtrc

    p = chdtrc(num_df, num_df * F) if np.isinf(den_df) else fdtrc(num_df, den_df, F)
    return FTest(num_df, den_df, F, float(p), scale)


def principal(L: FloatArray, distance: FloatArray, half: FloatArray) -> tuple[FloatArray, ...]:
    """Orthogonal combinations of the hypotheses that are uncorrelated, without those said twice.

    Parameters
    ----------
    L : (r, p), rows of weights of coefficients
    distance : (r,), L beta less what it is held against
    half : (p, p), with half half' = Var(beta)

    Returns
    -------
    The rows (rank, p), their distances (rank,) and their variances (rank,).

    Raises
    ------
    InputErrors
        hypotheses that contradict each other, or one that is about no coefficient.
    """
    spread = L @ half
    size = np.sqrt(np.sum(spread**2, axis=1))
    if not size.all():
        raise InputErrors.one(
            f"hypothesis {int(np.argmin(size)) + 1} has weight 0 for every coefficient", key="L"
        )
    rank = int(np.linalg.matrix_rank(spread / size[:, None], tol=1e-10))
    U, s, _ = np.linalg.svd(spread)
    turned = U.T @ distance
    if np.any(np.abs(turned[rank:]) > 1e-8 * (np.abs(distance).max() + size.max())):
        raise InputErrors.one(
            "the hypotheses contradict each other: no beta meets them all", key="L"
        )
    return (U.T @ L)[:rank], turned[:rank], s[:rank] ** 2
