"""Compiled loops over draws and levels, with the arrays of `Levels`.

Of a level at one draw, with r the residuals of its rows from X beta + Z_C b_C, both times the roots
of the weights, A = 1 + Lambda' Z' Z Lambda = L L' and V = 1 + Z Lambda Lambda' Z', so that
V^-1 = 1 - Z Lambda A^-1 Lambda' Z':

    -2 log p(y_j) = 2 n_j log sigma + log|A| + (r'r - |L^-1 Lambda' Z'r|^2) / sigma^2 + constant
    y_i | the level's other rows: with d_i = (V^-1)_ii, r_i less (V^-1 r)_i / d_i is its mean and
    sigma^2 / d_i its variance

Of A^-1 only what stands where L may differ from zero is ever made, which is all that a row has.

Source: Bates et al. (2015), doi:10.18637/jss.v067.i01, for A; Takahashi, Fagan and Chen (1973) for
the inverse on the pattern of L.
"""

import numpy as np

from hlm_models.algebra.compiled import compiled

__all__ = ["add_effects", "add_rows", "log_densities", "row_residuals"]


@compiled()
def add_effects(eta, z, level, b):  # type: ignore[no-untyped-def]
    """Add to eta (draws, m) the sum of z (q, m) times b (draws, J, q) of each row's level."""
    for d in range(eta.shape[0]):
        for a in range(z.shape[0]):
            for i in range(eta.shape[1]):
                eta[d, i] += z[a, i] * b[d, level[i], a]


@compiled()
def add_rows(r, level, columns, Z, square, right):  # type: ignore[no-untyped-def]
    """Add r'r of each level to `square`, and Z'r to `right`; row i of Z is at `columns`[i]."""
    m, q = Z.shape
    for d in range(len(r)):
        for i in range(m):
            value = r[d, i]
            square[d, level[i]] += value * value
            for a in range(q):
                right[d, columns[i, a]] += Z[i, a] * value


@compiled(error_model="numpy")
def log_densities(  # type: ignore[no-untyped-def]
    square, right, sigma, factors, q, starts, first, cells, cell_starts, values, count, constant,
    start, work, found
):  # fmt: skip
    """Fill `found` (draws, levels) with the log densities of levels from `start` on.

    square (draws, levels) is r'r and right (draws, effects) Z_I'r of these levels; factors
    (I, draws, q, q) are the Lambdas; what has no level to it here is of `Levels`. A is stored by
    rows, each from its first column on; L takes its place.
    """
    A, at, c, half = work
    for d in range(found.shape[0]):
        for j in range(start, start + found.shape[1]):
            logdet = _factor(
                j, d, starts[start], right, factors, q, starts, first, cells, cell_starts, values,
                A, at, c, half,
            )  # fmt: skip
            explained = 0.0
            for i in range(starts[j + 1] - starts[j]):
                explained += c[i] * c[i]
            found[d, j - start] = (
                constant[j] - count[j] * np.log(sigma[d]) - logdet / 2
                - (square[d, j - start] - explained) / (2 * sigma[d] ** 2)
            )  # fmt: skip


@compiled(error_model="numpy")
def row_residuals(  # type: ignore[no-untyped-def]
    right, r, factors, q, starts, first, below, below_starts, cells, cell_starts, values,
    start, Z, columns, row_starts, work, diagonal
):  # fmt: skip
    """Replace r (draws, m) by V^-1 r, and fill `diagonal` (draws, m) with that of V^-1.

    Of the rows wanted of each level from `start` on, those of the j-th from row_starts[j] on, Z
    (m, sum q) are the effects and `columns` where these stand among those of all levels here.
    """
    A, at, c, half = work
    v = np.empty(Z.shape[1])
    for d in range(len(r)):
        for j in range(start, start + len(row_starts) - 1):
            _factor(
                j, d, starts[start], right, factors, q, starts, first, cells, cell_starts, values,
                A, at, c, half,
            )  # fmt: skip
            lo, m = starts[j], starts[j + 1] - starts[j]
            _solve(m, lo, first, A, at, c)
            _invert(m, lo, below, below_starts, A, at)
            offset = lo - starts[start]
            for i in range(row_starts[j - start], row_starts[j - start + 1]):
                mean, shrunk, k = 0.0, 0.0, 0
                for e in range(len(q)):
                    for a in range(q[e]):
                        v[k + a] = 0.0
                        for b in range(q[e]):
                            v[k + a] += factors[e, d, b, a] * Z[i, k + b]
                    k += q[e]
                for a in range(k):
                    row = columns[i, a] - offset
                    mean += v[a] * c[row]
                    shrunk += v[a] * v[a] * A[at[row] + row]
                    for b in range(a):
                        other = columns[i, b] - offset
                        low, high = min(row, other), max(row, other)
                        shrunk += 2 * v[a] * v[b] * A[at[high] + low]
                r[d, i] -= mean
                diagonal[d, i] = 1 - shrunk


@compiled(error_model="numpy")
def _factor(  # type: ignore[no-untyped-def] # noqa: PLR0912
    j, d, offset, right, factors, q, starts, first, cells, cell_starts, values, A, at, c, half
):  # fmt: skip
    """Make L in `A` and L^-1 Lambda' Z'r in `c` of one level at one draw; log|A|.

    Column t of row i is A[at[i] + t]; column 0 of `right` is that of effect `offset`.
    """
    lo = starts[j]
    m = starts[j + 1] - lo
    size = 0
    for i in range(m):
        at[i] = size - (first[lo + i] - lo)
        for t in range(size, at[i] + i):
            A[t] = 0.0
        A[at[i] + i], c[i] = 1.0, 0.0
        size = at[i] + i + 1
    for s in range(cell_starts[j], cell_starts[j + 1]):
        row, column = cells[s, 0] - lo, cells[s, 1] - lo
        e, f = cells[s, 2], cells[s, 3]
        if row == column:
            for a in range(q[e]):
                for b in range(q[e]):
                    c[row + a] += factors[e, d, b, a] * right[d, cells[s, 0] - offset + b]
        for a in range(q[e]):
            for b in range(q[f]):
                half[a, b] = 0.0
                for g in range(q[f]):
                    half[a, b] += values[s, a, g] * factors[f, d, g, b]
        for a in range(q[e]):
            for b in range(a + 1 if row == column else q[f]):
                total = 0.0
                for g in range(q[e]):
                    total += factors[e, d, g, a] * half[g, b]
                A[at[row + a] + column + b] += total
    logdet = 0.0
    for i in range(m):
        begin = first[lo + i] - lo
        right_side, pivot = c[i], A[at[i] + i]
        for t in range(begin, i):
            total = A[at[i] + t]
            for u in range(max(begin, first[lo + t] - lo), t):
                total -= A[at[i] + u] * A[at[t] + u]
            total /= A[at[t] + t]
            A[at[i] + t] = total
            pivot -= total * total
            right_side -= total * c[t]
        logdet += np.log(pivot)
        A[at[i] + i] = np.sqrt(pivot)
        c[i] = right_side / A[at[i] + i]
    return logdet


@compiled(error_model="numpy")
def _solve(m, lo, first, A, at, c):  # type: ignore[no-untyped-def]
    """Replace c by L'^-1 c."""
    for i in range(m - 1, -1, -1):
        c[i] /= A[at[i] + i]
        for t in range(first[lo + i] - lo, i):
            c[t] -= A[at[i] + t] * c[i]


@compiled(error_model="numpy")
def _invert(m, lo, below, below_starts, A, at):  # type: ignore[no-untyped-def]
    """Replace L by A^-1, where L may differ from zero.

    From the last column on, (A^-1)_it = -sum_k L_kt (A^-1)_ik / L_tt over the rows k below t.
    """
    column = np.empty(m)
    for t in range(m - 1, -1, -1):
        rows = below[below_starts[lo + t] : below_starts[lo + t + 1]]
        pivot = A[at[t] + t]
        for i in rows:
            column[i - lo] = A[at[i - lo] + t] / pivot
        own = 1 / (pivot * pivot)
        for i in rows:
            total = 0.0
            for k in rows:
                low, high = min(i, k) - lo, max(i, k) - lo
                total += column[k - lo] * A[at[high] + low]
            A[at[i - lo] + t] = -total
            own += column[i - lo] * total
        A[at[t] + t] = own
