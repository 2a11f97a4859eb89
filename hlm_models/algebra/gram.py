"""Cross-products by level: the one pass over the rows.

Everything is a sum of products within levels, so that the same blocks can be had from any engine
that groups and sums.
"""

from dataclasses import dataclass

import numpy as np

from hlm_models.types import FloatArray, IntArray, frozen

__all__ = [
    "Gram",
    "Scaling",
    "cross_products",
    "least_squares",
    "orthogonal",
    "scaling",
    "triangle",
]

CHUNK = 65_536
"""Rows at a time: temporaries stay in cache, and memory does not grow with the rows."""


@dataclass(frozen=True, slots=True)
class Gram:
    """G (q, q, J), H (q, k, J) and T (k, k) of W = [X, y], k = p + 1, and the number of rows.

    Levels come last, so that loops over levels run along memory.
    """

    G: FloatArray
    H: FloatArray
    T: FloatArray
    n: int


@dataclass(frozen=True, slots=True)
class Scaling:
    """Columns in new coordinates: raw = scaled @ R, with R (k, k) upper triangular.

    `scaled = (raw - shift) / unit`, times `turn` where there is one; a shift needs a constant
    column (at `constant`), whose row of R takes it up.
    """

    shift: FloatArray
    unit: FloatArray
    R: FloatArray
    turn: FloatArray | None = None

    def apply(self, raw: FloatArray) -> FloatArray:
        scaled = (raw - self.shift) / self.unit
        return scaled if self.turn is None else scaled @ self.turn


def scaling(columns: FloatArray, *, constant: int | None) -> Scaling:
    """Scaling of `columns` (n, k) to unit spread: centred where column `constant` is one.

    Without a constant column nothing is shifted and the unit is the root mean square.
    """
    n, k = columns.shape
    shift = np.zeros(k)
    if constant is not None:
        shift = columns.mean(axis=0)
        shift[constant] = 0.0
    unit = np.empty(k)
    for j in range(k):
        square = 0.0
        for lo in range(0, n, CHUNK):
            part = columns[lo : lo + CHUNK, j] - shift[j]
            square += float(np.square(part).sum())
        unit[j] = np.sqrt(square / n)
    # A constant column leaves rounding noise, not spread: it is a column of zeros once centred.
    unit[unit <= 1e-13 * np.abs(shift)] = 1.0
    R = np.diag(unit)
    if constant is not None:
        unit[constant] = 1.0
        R[constant] = shift
        R[constant, constant] = 1.0
    return Scaling(frozen(shift), frozen(unit), frozen(R))


def triangle(columns: FloatArray, scale: Scaling) -> FloatArray:
    """The factor R (k, k) of a QR decomposition of the scaled columns, rows folded in by blocks."""
    R = np.zeros((0, columns.shape[1]))
    for lo in range(0, len(columns), CHUNK):
        R = np.linalg.qr(np.vstack([R, scale.apply(columns[lo : lo + CHUNK])]), mode="r")
    return R


def orthogonal(R: FloatArray, n: int, scale: Scaling) -> Scaling:
    """The scaling, turned so that n rows of columns with that `triangle` R are orthogonal.

    R must have full rank; the turned columns have length sqrt n. Cross-products square the
    condition of what they are taken of: this leaves nothing to square.
    """
    root = R / np.sqrt(n)
    turn = np.linalg.inv(root)
    return Scaling(scale.shift, scale.unit, frozen(root @ scale.R), frozen(turn))


def least_squares(columns: FloatArray, y: FloatArray, scale: Scaling) -> FloatArray:
    """Coefficients (k,) of y on orthogonal scaled columns."""
    found = np.zeros(columns.shape[1])
    for lo in range(0, len(y), CHUNK):
        found += scale.apply(columns[lo : lo + CHUNK]).T @ y[lo : lo + CHUNK]
    return found / len(y)


def cross_products(
    z: FloatArray,
    level: IntArray,
    J: int,
    X: FloatArray,
    y: FloatArray,
    *,
    z_scaling: Scaling,
    x_scaling: Scaling,
    y_fit: FloatArray,
) -> Gram:
    """Gram blocks of z (n, q) and W = [X, y - X y_fit] in scaled coordinates.

    Source: the sufficient statistics of Bates et al. (2015), doi:10.18637/jss.v067.i01, section 3,
    kept by level.
    """
    n, q = z.shape
    k = X.shape[1] + 1
    G = np.zeros((q, q, J))
    H = np.zeros((q, k, J))
    T = np.zeros((k, k))
    for lo in range(0, n, CHUNK):
        rows = slice(lo, min(lo + CHUNK, n))
        Zs = np.ascontiguousarray(z_scaling.apply(z[rows]).T)
        W = np.empty((k, Zs.shape[1]))
        W[:-1] = x_scaling.apply(X[rows]).T
        W[-1] = y[rows] - y_fit @ W[:-1]
        # Not BLAS: its threads would add in an order that differs from run to run.
        T += np.einsum("cn,dn->cd", W, W)
        codes = level[rows]
        for a in range(q):
            for b in range(a + 1):
                G[a, b] += np.bincount(codes, Zs[a] * Zs[b], J)
            for c in range(k):
                H[a, c] += np.bincount(codes, Zs[a] * W[c], J)
    for a in range(q):
        for b in range(a):
            G[b, a] = G[a, b]
    return Gram(frozen(G), frozen(H), frozen(T), n)
