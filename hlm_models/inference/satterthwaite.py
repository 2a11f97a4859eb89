"""Degrees of freedom by Satterthwaite's method: match the variance of an estimated variance."""

from dataclasses import dataclass

import numpy as np

from hlm_models.inference.f_tests import FTest, f_test, principal
from hlm_models.results.fits import PointFit
from hlm_models.types import FloatArray

__all__ = ["Satterthwaite"]


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """Satterthwaite's approximation for any linear combination of a fit's coefficients.

    Source: Kuznetsova, Brockhoff and Christensen (2017), doi:10.18637/jss.v082.i13, section 2; for
    several rows Fai and Cornelius (1996), doi:10.1080/00949659608811740.
    """

    fit: PointFit

    @property
    def vcov_beta(self) -> FloatArray:
        """Var(beta) (p, p)."""
        return self.fit.vcov_beta

    def rows(self, L: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Variance and degrees of freedom of each row of L (r, p), taken one by one.

        Infinite where the variance does not depend on what is estimated.
        """
        variance = np.einsum("ra,ab,rb->r", L, self.fit.vcov_beta, L)
        slopes = np.einsum("ra,mab,rb->rm", L, self.fit.vcov_slopes, L)
        spread = np.einsum("rm,mk,rk->r", slopes, self.fit.vcov_phi, slopes)
        with np.errstate(divide="ignore"):
            return variance, 2 * variance**2 / spread

    def joint(self, L: FloatArray, distance: FloatArray) -> FTest:
        """F test that all `distance` (r,) = L beta - rhs are zero.

        The denominator's degrees of freedom depend on how the hypotheses are written: on the units
        of the rows of L, not only on the space that they span.
        """
        turned, t, variance = principal(L, distance, np.linalg.cholesky(self.fit.vcov_beta))
        _, df = self.rows(turned)
        return f_test(float(np.mean(t**2 / variance)), len(t), _pooled(df))


def _pooled(df: FloatArray) -> float:
    """Degrees of freedom of a mean of squared t with `df` each: its expectation matches F's."""
    if np.isfinite(df).all() and np.ptp(df) < 1e-8:
        return float(np.mean(df))
    if np.any(df <= 2):
        return 2.0
    E = float(np.sum(1 / (1 - 2 / df)))
    beyond = E - len(df)
    return 2 * E / beyond if beyond > 0 else np.inf
