"""Least squares in every group at once, by Gram-Schmidt steps on the rows.

One pass a pair of columns, n k^2 / 2 products in all, and no matrix wider than X. Modified
Gram-Schmidt with the response as a last column is as stable as Householder's QR (Bjorck 1967,
doi:10.1007/BF01934122): cross-products are never formed.
"""

from dataclasses import dataclass

import numpy as np

from hlm_models.types import BoolArray, FloatArray, IntArray, frozen

__all__ = ["ALIASED", "GroupLeastSquares", "group_least_squares", "group_means"]

ALIASED = 1e-7
"""A column that keeps less than this share of its length, once those before it are taken out, is a
combination of them: the rule, and the number, of R's lm."""


@dataclass(frozen=True, slots=True)
class GroupLeastSquares:
    """Fits of J groups.

    estimable : (J, k) false where a column is a combination of columns before it in that group
    estimate : (J, k) NaN where not estimable
    factor : (J, k, k) the covariance of the estimates over sigma^2 is factor @ factor', zero where
        not estimable
    rss : (J,) residual sum of squares
    """

    estimable: BoolArray
    estimate: FloatArray
    factor: FloatArray
    rss: FloatArray

    @property
    def rank(self) -> IntArray:
        """Coefficients estimated in each group (J,)."""
        return self.estimable.sum(axis=1)

    @property
    def variance(self) -> FloatArray:
        """Variance of each estimate over sigma^2 (J, k), NaN where not estimable."""
        return np.where(self.estimable, np.square(self.factor).sum(axis=-1), np.nan)


def group_least_squares(
    X: FloatArray, y: FloatArray, level: IntArray, J: int, *, squares: FloatArray | None = None
) -> GroupLeastSquares:
    """Least squares of y (n,) on X (n, k) within each of the J levels.

    Columns that are combinations of earlier ones are left out group by group, as R's lm does.
    `squares` (J, k) are sums of squares that a column's remainder is compared with, its own by
    default.
    """
    Q, r = np.array(X, dtype=np.float64, order="F"), np.array(y, dtype=np.float64)
    k = Q.shape[1]
    if squares is None:
        squares = np.column_stack([np.zeros((J, 0)), *(np.bincount(level, v * v, J) for v in Q.T)])
    R = np.zeros((J, k, k))
    right = np.zeros((J, k))
    estimable = np.zeros((J, k), dtype=np.bool_)
    for a in range(k):
        square = np.bincount(level, Q[:, a] ** 2, J)
        kept = (square > ALIASED**2 * squares[:, a]) & (square > 0)
        length = np.sqrt(np.where(kept, square, 1.0))
        q = np.where(kept, 1 / length, 0.0)[level] * Q[:, a]
        R[~kept, :a, a] = 0.0
        R[:, a, a] = length
        for b in range(a + 1, k):
            R[:, a, b] = np.bincount(level, q * Q[:, b], J)
            Q[:, b] -= q * R[level, a, b]
        right[:, a] = np.bincount(level, q * r, J)
        r -= q * right[level, a]
        estimable[:, a] = kept
    # A column left out is a unit column here, which no other coefficient sees.
    factor = np.linalg.solve(R, np.broadcast_to(np.eye(k), R.shape))
    estimate = np.einsum("jab,jb->ja", factor, right)
    return GroupLeastSquares(
        frozen(estimable),
        frozen(np.where(estimable, estimate, np.nan)),
        frozen(factor * estimable[:, :, None]),
        frozen(np.bincount(level, r * r, J)),
    )


def group_means(
    columns: FloatArray, weights: FloatArray, level: IntArray, J: int
) -> tuple[FloatArray, FloatArray]:
    """Weighted means (J, k) of columns (n, k) by level, and the sums of the weights (J,)."""
    total = np.bincount(level, weights, J)
    sums = [np.bincount(level, weights * column, J) for column in columns.T]
    return np.column_stack([np.zeros((J, 0)), *sums]) / total[:, None], total
