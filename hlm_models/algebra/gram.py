"""Cross-products by level: the one pass over the rows.

Everything is a sum of products within levels, so that the same blocks can be had from any engine
that groups and sums.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numba import njit

from hlm_models.types import FloatArray, IntArray, frozen

__all__ = [
    "Gram",
    "Scaling",
    "column_products",
    "cross_products",
    "least_squares",
    "orthogonal",
    "root_mean_square",
    "scaling",
    "triangle",
]

CHUNK = 65_536
"""Rows at a time: temporaries stay in cache, and memory does not grow with the rows."""

LANES = 256
"""Rows worked on together; their scratch arrays stay in the first cache."""

SAMPLE = 4_000
"""Levels in a sample; it is taken where there are more than four times as many."""

CLEAR = 1e6
"""Condition of cross-products (of columns of length one) up to which nothing is lost by them."""


@dataclass(frozen=True, slots=True)
class Gram:
    """G (q, q, J), H (q, k, J) and T (k, k) of W = [X, y], k = p + 1, and the number of rows.

    Levels come last, so that loops over levels run along memory. `sample` are the blocks of the
    first levels alone, where there are very many: enough to start a search from.
    """

    G: FloatArray
    H: FloatArray
    T: FloatArray
    n: int
    sample: "Gram | None" = None

    def with_response(self, right: tuple[FloatArray, ...], total: FloatArray) -> Self:
        """The blocks of another response, from its `response_products`."""
        H, T = self.H.copy(), self.T.copy()
        T[-1], T[:, -1] = total, total
        for part in right:
            H[:, -1] = part.T
        return replace(self, H=frozen(H), T=frozen(T), sample=None)


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
    k = columns.shape[1]
    shift = np.zeros(k)
    if constant is not None:
        shift = columns.mean(axis=0)
        shift[constant] = 0.0
    unit = np.array(
        [1.0 if j == constant else root_mean_square(columns[:, j], shift[j]) for j in range(k)]
    )
    # A constant column leaves rounding noise, not spread: it is a column of zeros once centred.
    unit[unit <= 1e-13 * np.abs(shift)] = 1.0
    R = np.diag(unit)
    if constant is not None:
        R[constant] = shift
        R[constant, constant] = 1.0
    return Scaling(frozen(shift), frozen(unit), frozen(R))


def root_mean_square(column: FloatArray, centre: float) -> float:
    """Root mean square of a column (n,) about a centre."""
    return float(np.sqrt(_square(column, centre) / len(column)))


@njit(cache=True, fastmath={"reassoc", "contract"})
def _square(column, centre):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(len(column)):
        total += (column[i] - centre) ** 2
    return total


def triangle(
    columns: FloatArray, scale: Scaling, *, root_weights: FloatArray | None = None
) -> FloatArray:
    """The factor R (k, k) of a QR decomposition of the scaled columns, up to signs of its rows.

    `root_weights` (n,) multiply the rows, here and in the sums below. By Householder reflections,
    rows folded in by blocks; where cross-products say that the columns are far from collinear,
    which they can be trusted to say, their Cholesky factor serves as well.
    """
    k = columns.shape[1]
    if k and len(columns) >= CHUNK:
        product = column_products(columns, None, scale, root_weights)[:, :k]
        size = np.sqrt(np.diag(product))
        if (size > 0).all() and np.linalg.cond(product / np.outer(size, size)) < CLEAR:
            return np.linalg.cholesky(product).T
    R = np.zeros((0, k))
    for lo in range(0, len(columns), CHUNK):
        part = scale.apply(columns[lo : lo + CHUNK])
        if root_weights is not None:
            part *= root_weights[lo : lo + CHUNK, None]
        R = np.linalg.qr(np.vstack([R, part]), mode="r")
    return R


def orthogonal(R: FloatArray, n: int, scale: Scaling) -> Scaling:
    """The scaling, turned so that n rows of columns with that `triangle` R are orthogonal.

    R must have full rank; the turned columns have length sqrt n. Cross-products square the
    condition of what they are taken of: this leaves nothing to square.
    """
    root = R / np.sqrt(n)
    turn = np.linalg.inv(root)
    return Scaling(scale.shift, scale.unit, frozen(root @ scale.R), frozen(turn))


def least_squares(
    columns: FloatArray, y: FloatArray, scale: Scaling, *, root_weights: FloatArray | None = None
) -> FloatArray:
    """Coefficients (k,) of y on scaled columns that are orthogonal, their rows weighted."""
    return column_products(columns, y, scale, root_weights)[:, -1] / len(y)


def column_products(
    columns: FloatArray, y: FloatArray | None, scale: Scaling, root_weights: FloatArray | None
) -> FloatArray:
    """Cross-products (k, k + 1) of the scaled and weighted columns among each other and with y."""
    k = columns.shape[1]
    total = np.zeros((k, k + 1))
    for lo in range(0, len(columns), CHUNK):
        rows = slice(lo, min(lo + CHUNK, len(columns)))
        part = np.zeros((k, k + 1))
        weights = np.zeros(0) if root_weights is None else root_weights[rows]
        response = np.zeros(0) if y is None else y[rows]
        _add_products(columns[rows], response, weights, *_numbers(scale), part)
        total += part
    total[:, :k] += np.tril(total[:, :k], -1).T
    return total


def _numbers(scale: Scaling) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shift, one over unit, and turn (k, k), as the loops take them."""
    turn = np.eye(len(scale.unit)) if scale.turn is None else scale.turn
    return scale.shift, 1.0 / scale.unit, turn


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
    root_weights: FloatArray | None = None,
) -> Gram:
    """Gram blocks of z (n, q) and W = [X, y - X y_fit] in scaled coordinates.

    Every row is multiplied by its entry of `root_weights` (n,), where there are any.

    Source: the sufficient statistics of Bates et al. (2015), doi:10.18637/jss.v067.i01, section 3,
    kept by level.
    """
    n, q = z.shape
    k = X.shape[1] + 1
    # Sums of one level stand side by side while they are added up.
    sums = np.zeros((J, q * (q + 1) // 2 + q * k))
    few = SAMPLE if 4 * SAMPLE < J else 0
    T = np.zeros((2, k, k))
    for lo in range(0, n, CHUNK):
        rows = slice(lo, min(lo + CHUNK, n))
        part = np.zeros((2, k, k))
        weights = np.zeros(0) if root_weights is None else root_weights[rows]
        _add_rows(
            z[rows], level[rows], X[rows], y[rows], weights, *_numbers(z_scaling),
            *_numbers(x_scaling), y_fit, few, sums, part,
        )  # fmt: skip
        T += part
    G, H = np.empty((q, q, J)), np.empty((q, k, J))
    _level_last(sums, G, H)
    T += np.swapaxes(np.tril(T, -1), 1, 2)
    sample = None
    if few:
        first = np.ascontiguousarray(G[:, :, :few]), np.ascontiguousarray(H[:, :, :few])
        count = int(np.count_nonzero(level < few))
        sample = Gram(frozen(first[0]), frozen(first[1]), frozen(T[1].copy()), count)
    return Gram(frozen(G), frozen(H), frozen(T[0].copy()), n, sample)


@njit(cache=True, fastmath={"reassoc", "contract"})
def _scale_rows(raw, lo, shift, inverse, turn, weights, work, out):  # type: ignore[no-untyped-def]
    """Rows of `raw` (n, k) from `lo` on, scaled, turned (upper triangle) and weighted: (k, m)."""
    k, m = out.shape
    for c in range(k):
        for i in range(m):
            work[c, i] = (raw[lo + i, c] - shift[c]) * inverse[c]
    for c in range(k):
        for i in range(m):
            out[c, i] = work[0, i] * turn[0, c]
        for d in range(1, c + 1):
            if turn[d, c] != 0.0:
                for i in range(m):
                    out[c, i] += work[d, i] * turn[d, c]
        if len(weights):
            for i in range(m):
                out[c, i] *= weights[lo + i]


@njit(cache=True, fastmath={"reassoc", "contract"})
def _add_products(columns, y, weights, shift, inverse, turn, out):  # type: ignore[no-untyped-def]
    """Add products of scaled columns (lower triangle), and with y in the last column of `out`."""
    n, k = columns.shape
    work, scaled, right = np.empty((k, LANES)), np.empty((k, LANES)), np.empty(LANES)
    for lo in range(0, n, LANES):
        m = min(LANES, n - lo)
        _scale_rows(columns, lo, shift, inverse, turn, weights, work, scaled[:, :m])
        for c in range(k):
            for d in range(c + 1):
                total = 0.0
                for i in range(m):
                    total += scaled[c, i] * scaled[d, i]
                out[c, d] += total
        if len(y):
            for i in range(m):
                right[i] = y[lo + i] * weights[lo + i] if len(weights) else y[lo + i]
            for c in range(k):
                total = 0.0
                for i in range(m):
                    total += scaled[c, i] * right[i]
                out[c, k] += total


@njit(cache=True, fastmath={"reassoc", "contract"})
def _add_rows(  # type: ignore[no-untyped-def] # noqa: PLR0912
    z, level, X, y, weights, z_shift, z_inverse, z_turn, x_shift, x_inverse, x_turn, y_fit, few,
    sums, T
):  # fmt: skip
    """Add z z' (lower triangle) and z W' to the sums of each row's level, W W' (lower) to T[0].

    Where the level is among the first `few`, W W' goes to T[1] too.
    """
    n, q = z.shape
    p = X.shape[1]
    most = max(p, q)
    work, W, Z = np.empty((most, LANES)), np.empty((p + 1, LANES)), np.empty((q, LANES))
    for lo in range(0, n, LANES):
        m = min(LANES, n - lo)
        if p:
            _scale_rows(X, lo, x_shift, x_inverse, x_turn, weights, work, W[:p, :m])
        _scale_rows(z, lo, z_shift, z_inverse, z_turn, weights, work, Z[:, :m])
        for i in range(m):
            W[p, i] = y[lo + i] * weights[lo + i] if len(weights) else y[lo + i]
        for c in range(p):
            for i in range(m):
                W[p, i] -= y_fit[c] * W[c, i]
        for c in range(p + 1):
            for d in range(c + 1):
                total, sampled = 0.0, 0.0
                for i in range(m):
                    total += W[c, i] * W[d, i]
                T[0, c, d] += total
                if few:
                    for i in range(m):
                        if level[lo + i] < few:
                            sampled += W[c, i] * W[d, i]
                    T[1, c, d] += sampled
        for i in range(m):
            at, j = 0, level[lo + i]
            for a in range(q):
                for b in range(a + 1):
                    sums[j, at] += Z[a, i] * Z[b, i]
                    at += 1
                for c in range(p + 1):
                    sums[j, at] += Z[a, i] * W[c, i]
                    at += 1


@njit(cache=True)
def _level_last(sums, G, H):  # type: ignore[no-untyped-def]
    """The sums of `_add_rows` as blocks with the levels last."""
    q, k, J = H.shape
    at = 0
    for a in range(q):
        for b in range(a + 1):
            for j in range(J):
                G[a, b, j] = G[b, a, j] = sums[j, at]
            at += 1
        for c in range(k):
            for j in range(J):
                H[a, c, j] = sums[j, at]
            at += 1


def response_products(
    z: tuple[FloatArray, ...],
    level: tuple[IntArray, ...],
    J: tuple[int, ...],
    X: FloatArray,
    y: FloatArray,
    *,
    z_scaling: tuple[Scaling, ...],
    x_scaling: Scaling,
    y_fit: FloatArray,
    root_weights: FloatArray | None = None,
) -> tuple[tuple[FloatArray, ...], FloatArray]:
    """Cross-products with r = y - X y_fit alone: Z_f' r (J_f, q_f) by level, and W' r (k,).

    What changes in all cross-products when the response does; scaled coordinates.
    """
    right = tuple(np.zeros((Jf, part.shape[1])) for Jf, part in zip(J, z, strict=True))
    total = np.zeros(X.shape[1] + 1)
    for lo in range(0, len(y), CHUNK):
        rows = slice(lo, lo + CHUNK)
        fixed = x_scaling.apply(X[rows])
        rest = y[rows] - fixed @ y_fit
        weighted = rest if root_weights is None else rest * root_weights[rows] ** 2
        total[:-1] += np.einsum("nc,n->c", fixed, weighted)
        total[-1] += np.einsum("n,n->", rest, weighted)
        for part, codes, scale, found in zip(z, level, z_scaling, right, strict=True):
            scaled = scale.apply(part[rows])
            for a in range(scaled.shape[1]):
                found[:, a] += np.bincount(codes[rows], scaled[:, a] * weighted, len(found))
    return right, total
