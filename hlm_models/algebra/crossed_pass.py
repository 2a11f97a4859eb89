"""The likelihood of the variance parameters of several factors, and what it is made of.

In the symbols of `hlm_models.algebra.crossed`, and with e_j = Z_1j' Z_R, so that K_j = e_j
Lambda_R: the effects given v are gains @ v, and what is left of W shows in R = Z' V^-1 W,

    gain_R = Lambda_R U     gain_1j = E_j (H_j - K_j U)
    R_R = Z_R' W - sum e_j' gain_1j - Z_R' Z_R gain_R        R_1j = H_j - K_j U - G_j gain_1j

With df = weight d(log|V|) + tr(F dS) = sum_f tr(M_f dP_f), and so df/dLambda_f = 2 M_f Lambda_f,

    M_1 = sum_j weight Z_1j' V^-1 Z_1j - R_1j F R_1j'
    M_f Lambda_f = sum_l weight (Z_R' V^-1 Z_R Lambda_R)_ll - R_l F U_l'        f > 1
    Z_R' V^-1 Z_R Lambda_R = (Z_R' Z_R Lambda_R - sum e_j' E_j K_j) C^-1

which divides by no Lambda, and needs of C^-1 only what C's pattern has.

All functions but `several_blocks` are compiled, hold no Python objects and raise nothing. The BLAS
should have one thread (`hlm_models.algebra.schur.one_thread`).

Source: the blocked Cholesky factorisation of Bates et al. (2015), doi:10.18637/jss.v067.i01,
section 3, and of MixedModels.jl, in its form without a wide Z.
"""

from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra import lapack, sparse
from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.integrated import coefficients_work, integrate
from hlm_models.algebra.kernel import eliminate_levels
from hlm_models.algebra.schur import SparseComplement
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    from hlm_models.algebra.coupling import Coupled

__all__ = [
    "derivatives",
    "level_products",
    "reduce_first",
    "several_blocks",
    "several_factors_density",
    "several_work",
    "small_work",
]


def several_blocks(coupled: "Coupled") -> tuple[FloatArray | IntArray, ...]:
    """The cross-products as the compiled functions take them, whatever the storage of C.

    G, H, T, HR, starts, columns, entries : those of `Coupled`
    factors (F - 1, 4) : q_f, J_f, first column and first place in lam of every factor but the first
    owner (r,) : whose each column is
    cells (m, 4) : of two levels that meet f and g, f <= g, and the first column of each
    values, slots : Z_l' Z_m of the cells, one after the other, row by row, and their places in C
    diagonal (r,) : the places of C's diagonal
    pair_slots : those of `Complement`
    order, first, start, below, rows, panel : those of `sparse.Pattern`; of length 0 where C is
        dense
    sizes (5,) : length of C; most columns a level of factor 1 has met; largest q_f but the first;
        most columns and most rows below of a panel
    """
    q, offsets, storage = coupled.q, coupled.offsets, coupled.complement
    squares = np.cumsum(np.square(q))[:-1]
    factors = np.ascontiguousarray(np.transpose([q[1:], coupled.J[1:], offsets[:-1], squares]))
    cells, values, slots = [], [], []
    for (f, g), found in coupled.cells.items():
        left = offsets[f] + found.left * q[f + 1]
        right = offsets[g] + found.right * q[g + 1]
        pair = np.broadcast_to([f, g], (len(left), 2))
        cells.append(np.column_stack([pair, left, right]))
        values.append(found.values.ravel())
        i = left[:, None, None] + np.arange(q[f + 1])[:, None]
        j = right[:, None, None] + np.arange(q[g + 1])
        slots.append(storage.slots(np.maximum(i, j), np.minimum(i, j)).ravel())
    every = np.arange(coupled.size)
    none = np.zeros(0, dtype=np.int64)
    panels, length, largest = (none,) * 6, coupled.size**2, (0, 0)
    if isinstance(storage, SparseComplement):
        pattern = storage.pattern
        panels = (
            pattern.order, pattern.first, pattern.start, pattern.below, pattern.rows, pattern.panel,
        )  # fmt: skip
        length, largest = pattern.length, sparse.largest(pattern)
    sizes = np.array([length, np.diff(coupled.starts).max(), max(q[1:]), *largest])
    arrays: tuple[FloatArray | IntArray, ...] = (
        coupled.G, coupled.H, coupled.T, coupled.HR, coupled.starts, coupled.columns,
        coupled.entries, factors, coupled.factor, np.ascontiguousarray(np.concatenate(cells)),
        np.concatenate(values), np.concatenate(slots), storage.slots(every, every),
        storage.pair_slots, *panels, sizes,
    )  # fmt: skip
    return tuple(_read_only(array) for array in arrays)


def _read_only(array: FloatArray | IntArray) -> FloatArray | IntArray:
    """A view of one kind, whatever the array was: one compiled version serves all models."""
    assert array.flags.c_contiguous
    view = array.view()
    view.flags.writeable = False
    return view


@compiled()
def small_work(blocks):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `reduce_first` and of `derivatives`."""
    q1, k, _ = blocks[1].shape
    r, sizes = blocks[3].shape[0], blocks[-1]
    return q1 * (3 * q1 + 3 * k + sizes[1] + 1) + 2 * r * k + sizes[2] ** 2


@compiled()
def several_work(blocks, d):  # type: ignore[no-untyped-def]
    """Length of the scratch array of `several_factors_density`, d coefficients integrated."""
    q1, k, J = blocks[1].shape
    r, sizes, factors = blocks[3].shape[0], blocks[-1], blocks[7]
    kept = J * q1 * q1 + len(blocks[5]) * q1 + sizes[0] + 2 * r * k + 2 * k * k + q1 * q1
    for f in range(len(factors)):
        kept += factors[f, 0] ** 2
    if len(blocks[14]):
        kept += sizes[0] + 4 * sizes[3] * max(sizes[3], sizes[4]) + sizes[4]
    return kept + max(small_work(blocks), coefficients_work(k - 1, d))


@compiled(error_model="numpy")
def several_factors_density(lam, log_sigma, m, blocks, gaussian, gradient, work):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    """The log density and its gradient for several factors; see `hlm_models.algebra.integrated`."""
    H, HR, columns, diagonal = blocks[1], blocks[3], blocks[5], blocks[12]
    order, first, start, below, rows, panel = blocks[14:20]
    length, widest, tallest = blocks[20][0], blocks[20][3], blocks[20][4]
    (q1, k, J), r, squares = H.shape, HR.shape[0], len(lam)
    at = J * q1 * q1
    E = work[:at].reshape((J, q1, q1))
    K = work[at : at + len(columns) * q1].reshape((len(columns), q1))
    at += len(columns) * q1
    C = work[at : at + length]
    at += length
    U = work[at : at + r * k].reshape((r, k))
    at += r * k
    right = work[at : at + r * k].reshape((r, k))
    at += r * k
    S = work[at : at + k * k].reshape((k, k))
    at += k * k
    F = work[at : at + k * k].reshape((k, k))
    at += k * k
    M = work[at : at + q1 * q1].reshape((q1, q1))
    at += q1 * q1
    others = work[at : at + squares - q1 * q1]
    at += squares - q1 * q1
    is_sparse = len(order) > 0
    inverse = C
    scratch = work[at:at].reshape((4, 0))
    where = work[at:at].view(np.int64)
    if is_sparse:
        inverse = work[at : at + length]
        at += length
        size = widest * max(widest, tallest)
        scratch = work[at : at + 4 * size].reshape((4, size))
        at += 4 * size
        where = work[at : at + tallest].view(np.int64)
        at += tallest
    rest = work[at:]
    gradient[:] = 0.0
    logdet = reduce_first(lam, blocks, E, K, C, U, S, rest)
    if is_sparse:
        if not sparse.factorise_panels(
            C, first, start, below, rows, panel, scratch.reshape(4 * size), where
        ):
            return -np.inf
    elif lapack.factorise(r, C) != 0:
        return -np.inf
    for i in range(r):
        logdet += 2.0 * np.log(C[diagonal[i]])
    # Elements one by one: numba would compile an error message for an assignment of whole arrays.
    for i in range(r):
        for c in range(k):
            right[i, c] = U[i, c]
    if is_sparse:
        x = rest[: r * k].reshape((r, k))
        for i in range(r):
            for c in range(k):
                x[order[i], c] = U[i, c]
        sparse.forward(C, first, start, below, rows, x)
        sparse.backward(C, first, start, below, rows, x)
        for i in range(r):
            for c in range(k):
                U[i, c] = x[order[i], c]
    else:
        _solve(C, U, rest[: r * k].reshape((k, r)))
    for i in range(r):
        for c in range(k):
            for e in range(k):
                S[c, e] -= right[i, c] * U[i, e]
    value = integrate(logdet, S, log_sigma, m, gaussian, F, gradient[squares:], rest)
    if value == -np.inf:
        gradient[:] = 0.0
        return value
    if is_sparse:
        inverse[:] = 0.0
        sparse.invert_panels(C, inverse, first, start, below, rows, panel, scratch, where)
    else:
        lapack.invert(r, C)
    M[:] = 0.0
    others[:] = 0.0
    derivatives(lam, blocks, E, K, U, inverse, -0.5, F, M, others, rest)
    for a in range(q1):
        for c in range(q1):
            for b in range(q1):
                gradient[a * q1 + c] += (M[a, b] + M[b, a]) * lam[b * q1 + c]
    for i in range(len(others)):
        gradient[q1 * q1 + i] = 2.0 * others[i]
    for i in range(len(gradient)):
        if not np.isfinite(gradient[i]):
            gradient[:] = 0.0
            return -np.inf
    return value


@compiled(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _solve(L, U, x):  # type: ignore[no-untyped-def]
    """Turn U (r, k) into L^-T L^-1 U, L (r, r) flat by rows; x (k, r) is scratch."""
    r, k = U.shape
    for i in range(r):
        row = L[i * r : i * r + r]
        for c in range(k):
            total = U[i, c]
            for t in range(i):
                total -= row[t] * x[c, t]
            x[c, i] = total / row[i]
    for i in range(r - 1, -1, -1):
        row = L[i * r : i * r + r]
        for c in range(k):
            found = x[c, i] / row[i]
            U[i, c] = found
            for t in range(i):
                x[c, t] -= found * row[t]


@compiled(error_model="numpy")
def reduce_first(lam, blocks, E, K, C, U, S, work):  # type: ignore[no-untyped-def]
    """Eliminate factor 1: fills E, K, C, U = q and S = T - sum H'EH; sum log|A_j|."""
    G, H, T, HR, starts, columns, entries, factors, owner = blocks[:9]
    cells, values, slots, diagonal, pair_slots = blocks[9:14]
    q1 = G.shape[0]
    logdet = eliminate_levels(lam[: q1 * q1].reshape((q1, q1)), G, E, work)
    _times_factor(entries, columns, factors, owner, lam, K)
    C[:] = 0.0
    for i in range(len(diagonal)):
        C[diagonal[i]] = 1.0
    _add_cells(cells, values, slots, factors, lam, C, work)
    for i in range(len(HR)):
        f = owner[i]
        q = factors[f, 0]
        start = factors[f, 2] + (i - factors[f, 2]) // q * q
        for c in range(HR.shape[1]):
            U[i, c] = 0.0
            for b in range(q):
                U[i, c] += lam[factors[f, 3] + b * q + i - start] * HR[start + b, c]
    for c in range(len(T)):
        for e in range(len(T)):
            S[c, e] = T[c, e]
    _subtract_levels(H, E, starts, columns, K, pair_slots, len(HR), C, U, S, work)
    return logdet


@compiled(error_model="numpy")
def _times_factor(entries, columns, factors, owner, lam, K):  # type: ignore[no-untyped-def]
    """K = Z_1' Z_R Lambda_R; the columns of one level stand side by side."""
    s = 0
    while s < len(columns):
        f = owner[columns[s]]
        q, at = factors[f, 0], factors[f, 3]
        for c in range(q):
            for a in range(entries.shape[1]):
                total = 0.0
                for b in range(q):
                    total += entries[s + b, a] * lam[at + b * q + c]
                K[s + c, a] = total
        s += q


@compiled(error_model="numpy")
def _add_cells(cells, values, slots, factors, lam, C, work):  # type: ignore[no-untyped-def]
    """C += Lambda_R' Z_R' Z_R Lambda_R (lower triangle)."""
    at = 0
    for i in range(len(cells)):
        f, g = cells[i, 0], cells[i, 1]
        p, q = factors[f, 0], factors[g, 0]
        left, right = lam[factors[f, 3] :], lam[factors[g, 3] :]
        for t in range(p):
            for b in range(q):
                work[t * q + b] = 0.0
                for u in range(q):
                    work[t * q + b] += values[at + t * q + u] * right[u * q + b]
        for a in range(p):
            # Of a level with itself, each element once.
            for b in range(a if f == g else 0, q):
                total = 0.0
                for t in range(p):
                    total += left[t * p + a] * work[t * q + b]
                C[slots[at + a * q + b]] += total
        at += p * q


@compiled(error_model="numpy")
def _subtract_levels(H, E, starts, columns, K, slots, size, C, U, S, work):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """C -= sum K'EK (lower triangle), U -= sum K'EH, S -= sum H'EH."""
    q1, k, J = H.shape
    EH = work[: q1 * k].reshape((q1, k))
    EK = work[q1 * k : q1 * k + q1]
    dense = len(slots) == 0
    pair = 0
    for j in range(J):
        for a in range(q1):
            for c in range(k):
                EH[a, c] = 0.0
                for b in range(q1):
                    EH[a, c] += E[j, a, b] * H[b, c, j]
        for c in range(k):
            for d in range(k):
                for a in range(q1):
                    S[c, d] -= H[a, c, j] * EH[a, d]
        for s in range(starts[j], starts[j + 1]):
            row = columns[s] * size
            for a in range(q1):
                EK[a] = 0.0
                for b in range(q1):
                    EK[a] += E[j, a, b] * K[s, b]
            if dense and q1 == 1:
                for t in range(starts[j], s + 1):
                    C[row + columns[t]] -= EK[0] * K[t, 0]
            else:
                for t in range(starts[j], s + 1):
                    total = 0.0
                    for a in range(q1):
                        total += EK[a] * K[t, a]
                    C[row + columns[t] if dense else slots[pair]] -= total
                    pair += 1
            for c in range(k):
                for a in range(q1):
                    U[columns[s], c] -= K[s, a] * EH[a, c]


@compiled(error_model="numpy")
def level_products(j, starts, columns, K, inverse, slots, size, pair, CK, KCK):  # type: ignore[no-untyped-def]
    """C^-1 K_j' at the columns of level j into CK, K_j C^-1 K_j' into KCK (q1, q1).

    Of the pairs, those of level j start at `pair`; returns where those of the next one do.
    """
    q1 = K.shape[1]
    dense = len(slots) == 0
    lo = starts[j]
    CK[: starts[j + 1] - lo] = 0.0
    KCK[:] = 0.0
    for s in range(starts[j + 1] - lo):
        row = columns[lo + s] * size
        if dense and q1 == 1:
            total, own = 0.0, K[lo + s, 0]
            for t in range(s):
                here = inverse[row + columns[lo + t]]
                total += here * K[lo + t, 0]
                CK[t, 0] += here * own
            CK[s, 0] = total + inverse[row + columns[lo + s]] * own
        else:
            for t in range(s + 1):
                here = inverse[row + columns[lo + t] if dense else slots[pair]]
                pair += 1
                for a in range(q1):
                    CK[s, a] += here * K[lo + t, a]
                if t < s:
                    for a in range(q1):
                        CK[t, a] += here * K[lo + s, a]
    for s in range(starts[j + 1] - lo):
        for a in range(q1):
            for b in range(q1):
                KCK[a, b] += CK[s, a] * K[lo + s, b]
    return pair


@compiled(error_model="numpy")
def derivatives(lam, blocks, E, K, U, inverse, weight, F, M, others, work):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
    """Add M_1 to M (q1, q1), and M_f Lambda_f of all other factors to `others`, one by one.

    Of f with df = weight d(log|V|) + tr(F dS); see the module's docstring.
    """
    G, H, _, HR, starts, columns, entries, factors, owner = blocks[:9]
    cells, values, slots, _, pair_slots = blocks[9:14]
    (q1, k, J), r, sizes = H.shape, len(HR), blocks[-1]
    first = q1 * q1
    KCK = work[:first].reshape((q1, q1))
    I_GE = work[first : 2 * first].reshape((q1, q1))
    inner = work[2 * first : 3 * first].reshape((q1, q1))
    at = 3 * first
    left = work[at : at + q1 * k].reshape((q1, k))
    at += q1 * k
    gain = work[at : at + q1 * k].reshape((q1, k))
    at += q1 * k
    RF = work[at : at + q1 * k].reshape((q1, k))
    at += q1 * k
    CK = work[at : at + sizes[1] * q1].reshape((sizes[1], q1))
    at += sizes[1] * q1
    R = work[at : at + r * k].reshape((r, k))
    at += r * k
    gains = work[at : at + r * k].reshape((r, k))
    at += r * k
    half = work[at:]
    for i in range(r):
        f = owner[i]
        q = factors[f, 0]
        a = (i - factors[f, 2]) % q
        for c in range(k):
            R[i, c] = HR[i, c]
            gains[i, c] = 0.0
            for b in range(q):
                gains[i, c] += lam[factors[f, 3] + a * q + b] * U[i - a + b, c]
    pair = starts[0]
    for j in range(J):
        pair = level_products(j, starts, columns, K, inverse, pair_slots, r, pair, CK, KCK)
        lo, hi = starts[j], starts[j + 1]
        for a in range(q1):
            for c in range(k):
                left[a, c] = H[a, c, j]
            for b in range(q1):
                total = 1.0 if a == b else 0.0
                for c in range(q1):
                    total -= G[a, c, j] * E[j, c, b]
                I_GE[a, b] = total
        for s in range(lo, hi):
            for a in range(q1):
                for c in range(k):
                    left[a, c] -= K[s, a] * U[columns[s], c]
        for a in range(q1):
            for c in range(k):
                gain[a, c] = 0.0
                for b in range(q1):
                    gain[a, c] += E[j, a, b] * left[b, c]
        # Z' V^-1 Z = (I - G E) (G - K C^-1 K' (I - E G)): both sides of K carry I - G E.
        for a in range(q1):
            for b in range(q1):
                total = G[a, b, j]
                for c in range(q1):
                    total -= KCK[a, c] * I_GE[b, c]
                inner[a, b] = total
        for a in range(q1):
            for c in range(k):
                total = 0.0
                for b in range(q1):
                    total += I_GE[a, b] * left[b, c]
                RF[a, c] = total
        for a in range(q1):
            for b in range(q1):
                total = 0.0
                for c in range(q1):
                    total += I_GE[a, c] * inner[c, b]
                M[a, b] += weight * total
                for c in range(k):
                    for d in range(k):
                        M[a, b] -= RF[a, c] * F[c, d] * RF[b, d]
        # What the level takes from the other factors: e' gain_1 from R, e' E K C^-1 from M Lambda.
        for s in range(hi - lo):
            for c in range(k):
                for a in range(q1):
                    R[columns[lo + s], c] -= entries[lo + s, a] * gain[a, c]
            for a in range(q1):
                half[a] = 0.0
                for b in range(q1):
                    half[a] += E[j, a, b] * entries[lo + s, b]
            f = owner[columns[lo + s]]
            q = factors[f, 0]
            row = (columns[lo + s] - factors[f, 2]) % q
            to = factors[f, 3] - first + row * q
            for c in range(q):
                for a in range(q1):
                    others[to + c] -= weight * half[a] * CK[s - row + c, a]
    at = 0
    for i in range(len(cells)):
        f, g = cells[i, 0], cells[i, 1]
        p, q = factors[f, 0], factors[g, 0]
        for turned in range(1 if f == g else 2):
            _apply_cell(
                cells[i], turned, values[at:], slots[at:], factors, lam, inverse, weight, gains, R,
                others, first, half,
            )  # fmt: skip
        at += p * q
    for i in range(r):
        f = owner[i]
        q = factors[f, 0]
        a = (i - factors[f, 2]) % q
        to = factors[f, 3] - first + a * q
        for d in range(k):
            total = 0.0
            for c in range(k):
                total += R[i, c] * F[c, d]
            for c in range(q):
                others[to + c] -= total * U[i - a + c, d]


@compiled(error_model="numpy")
def _apply_cell(  # type: ignore[no-untyped-def]
    cell, turned, values, slots, factors, lam, inverse, weight, gains, R, others, first, half
):
    """Z_l' Z_m of one cell in what concerns l or, turned, m."""
    f, g, i, j = cell[0], cell[1], cell[2], cell[3]
    down, across = factors[g, 0], 1
    if turned:
        f, g, i, j = g, f, j, i
        down, across = 1, factors[f, 0]
    p, q = factors[f, 0], factors[g, 0]
    at, to = factors[g, 3], factors[f, 3] - first
    for t in range(p):
        for b in range(q):
            half[b] = 0.0
            for u in range(q):
                half[b] += values[t * down + u * across] * lam[at + u * q + b]
        for c in range(p):
            for b in range(q):
                here = inverse[slots[c * down + b * across]]
                others[to + t * p + c] += weight * half[b] * here
        for u in range(q):
            for c in range(R.shape[1]):
                R[i + t, c] -= values[t * down + u * across] * gains[j + u, c]
