"""Several grouping factors: eliminate the one with the most levels, then a Schur complement.

Factor 1 (most levels) is block diagonal. With V1 = I + Z1 P1 Z1', P = Lambda Lambda' a factor,
R the columns of all other factors side by side (r of them), Lambda_R their block-diagonal factor,

    E_j = Lambda1 A_j^-1 Lambda1'    K_j = Z_1j' Z_R Lambda_R (sparse)    H_j = Z_1j' W
    C = I + Lambda_R' Z_R' V1^-1 Z_R Lambda_R = I + Lambda_R' Z_R' Z_R Lambda_R - sum K_j' E_j K_j
    q = Lambda_R' Z_R' V1^-1 W = Lambda_R' Z_R' W - sum K_j' E_j H_j        U = C^-1 q
    log|V| = sum log|A_j| + log|C|             W' V^-1 W = T - sum H_j' E_j H_j - q' U

and, since Lambda_R' Z_R' V^-1 Z_R Lambda_R = I - C^-1 and Lambda_R' Z_R' V^-1 W = U, derivatives
with respect to the other factors' P follow from the diagonal blocks of C^-1 and from U. They are
smooth in P: where a Lambda is singular, they are extrapolated from two that are not.
"""

from dataclasses import dataclass

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.coupling import Coupled
from hlm_models.algebra.crossed_pass import (
    derivatives,
    level_products,
    reduce_first,
    small_work,
)
from hlm_models.algebra.schur import Inverse
from hlm_models.types import FloatArray, IntArray

__all__ = ["Reduced", "Sweep", "first_gains", "reduced", "sweep"]

LIFT = 1e-5
"""Added to the P of a singular Lambda, over the size of the largest Z'Z, to go round it."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one pass gives: log|V|, S = W' V^-1 W, and what derivatives and predictions need.

    E (J1, q1, q1), K (nnz, q1) at `blocks.columns`, and U (r, k) are those of the module's
    docstring; `inverse` is C^-1.
    """

    logdet: float
    S: FloatArray
    blocks: Coupled
    Lambda: tuple[FloatArray, ...]
    E: FloatArray
    K: FloatArray
    U: FloatArray
    inverse: Inverse

    def derivative(self, weight: float, F: FloatArray) -> tuple[FloatArray, ...]:
        """M_f = df/dP_f for every factor, of f with df = weight d(log|V|) + tr(F dS)."""
        blocks = self.blocks
        first, others = self._slopes(weight, F)
        found = [(first + first.T) / 2]
        lift = [0.0, *(LIFT / max(1.0, self._largest(f)) for f in range(1, len(blocks.q)))]
        singular = [
            f > 0 and np.linalg.svd(Lambda, compute_uv=False).min() ** 2 < lift[f]
            for f, Lambda in enumerate(self.Lambda)
        ]
        if any(singular):
            once, twice = (
                sweep(
                    tuple(
                        np.linalg.cholesky(Lambda @ Lambda.T + times * by * np.eye(len(Lambda)))
                        if lifted
                        else Lambda
                        for Lambda, by, lifted in zip(self.Lambda, lift, singular, strict=True)
                    ),
                    blocks,
                )
                for times in (1, 2)
            )
            slopes_once, slopes_twice = once._slopes(weight, F)[1], twice._slopes(weight, F)[1]
        for f in range(1, len(blocks.q)):
            found.append(
                2 * _divided(slopes_once[f - 1], once.Lambda[f])
                - _divided(slopes_twice[f - 1], twice.Lambda[f])
                if singular[f]
                else _divided(others[f - 1], self.Lambda[f])
            )
        return tuple(found)

    def _slopes(self, weight: float, F: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
        """M of factor 1, and M Lambda of all others."""
        q, arrays = self.blocks.q, self.blocks.arrays
        first, others = np.zeros((q[0], q[0])), np.zeros(sum(qf * qf for qf in q[1:]))
        derivatives(
            _flat(self.Lambda), arrays, self.E, self.K, self.U, self.inverse.pairs(), weight,
            np.ascontiguousarray(F), first, others, np.empty(small_work(arrays)),
        )  # fmt: skip
        ends = np.cumsum(np.square(q[1:]))
        parts = np.split(others, ends[:-1])
        return first, [part.reshape(qf, qf) for part, qf in zip(parts, q[1:], strict=True)]

    def _largest(self, f: int) -> float:
        """Largest Z_l' Z_l, by its trace, of the levels of a factor but the first."""
        cells = self.blocks.cells[f - 1, f - 1]
        return float(np.trace(cells.values, axis1=1, axis2=2).max())

    def _diagonal_blocks(self, f: int) -> FloatArray:
        """Blocks (J, q, q) of C^-1 on the diagonal, one a level of a factor but the first."""
        q, J, offset = self.blocks.q[f], self.blocks.J[f], self.blocks.offsets[f - 1]
        found = np.empty((J, q, q))
        start = offset + np.arange(J, dtype=np.int64) * q
        for a in range(q):
            for b in range(a + 1):
                found[:, a, b] = found[:, b, a] = self.inverse.at(start + a, start + b)
        return found

    def gains(self) -> tuple[FloatArray, ...]:
        """What W says about b: conditional means are gains (J_f, q_f, k) @ v, v = (-beta, 1)."""
        blocks = self.blocks
        first = np.empty((blocks.J[0], blocks.q[0], self.U.shape[1]))
        first_gains(blocks.H, self.E, blocks.starts, blocks.columns, self.K, self.U, first)
        found = [first]
        for f in range(1, len(blocks.q)):
            here = slice(blocks.offsets[f - 1], blocks.offsets[f])
            found.append(self.Lambda[f] @ self.U[here].reshape(blocks.J[f], blocks.q[f], -1))
        return tuple(found)

    def effects(self, v: FloatArray) -> tuple[FloatArray, ...]:
        """Conditional means of b (J_f, q_f) given the weights v (k,) of W, v = (-beta, 1)."""
        return tuple(gain @ v for gain in self.gains())

    def effect_covariances(self) -> tuple[FloatArray, ...]:
        """Conditional covariances of b given beta, over sigma^2: (J_f, q_f, q_f) each."""
        blocks = self.blocks
        first = self.E.copy()
        _first_covariances(
            self.E, blocks.starts, blocks.columns, self.K, self.inverse.pairs(),
            blocks.complement.pair_slots, blocks.size, first,
        )  # fmt: skip
        found = [first]
        for f in range(1, len(blocks.q)):
            Lambda = self.Lambda[f]
            found.append(Lambda @ self._diagonal_blocks(f) @ Lambda.T)
        return tuple(found)

    def quadratic(self, z: tuple[FloatArray, ...], level: tuple[IntArray, ...]) -> FloatArray:
        """Conditional variance over sigma^2 of sum_f z_f' b_f for rows of z_f (m, q_f).

        A level (m,) of -1 is none: it adds nothing.
        """
        blocks, m = self.blocks, len(level[0])
        # The columns of a row among those of all factors but the first, and w there at first.
        own = np.concatenate(
            [
                np.where(at[:, None] < 0, -1, start + at[:, None] * q + np.arange(q))
                for start, at, q in zip(blocks.offsets[:-1], level[1:], blocks.q[1:], strict=True)
            ],
            axis=1,
        )
        parts = np.concatenate(
            [part @ Lambda for part, Lambda in zip(z[1:], self.Lambda[1:], strict=True)], axis=1
        )
        # w = Lambda_R' z_R - K_j' E_j z_1, and z' Cov z = z_1' E_j z_1 + w' C^-1 w.
        found, left = np.zeros(m), np.zeros(m, dtype=np.bool_)
        _met_rows(
            z[0], level[0], own, parts, self.E, blocks.starts, blocks.columns, self.K,
            self.inverse.pairs(), blocks.complement.pair_slots, blocks.size, found, left,
        )  # fmt: skip
        rest = np.flatnonzero(left)
        step = max(1, 4_000_000 // blocks.size)
        for lo in range(0, len(rest), step):
            rows = rest[lo : lo + step]
            w = np.zeros((blocks.size, len(rows)))
            found[rows] = _start_rows(
                z[0][rows], level[0][rows], self.E, blocks.starts, blocks.columns, self.K, w
            )
            for column, part in zip(own[rows].T, parts[rows].T, strict=True):
                [known] = np.nonzero(column >= 0)
                w[column[known], known] += part[known]
            found[rows] += np.einsum("rm,rm->m", w, self.inverse.times(w))
        return found

    def quadratic_of_all(self, z: tuple[FloatArray, ...]) -> float:
        """Conditional variance over sigma^2 of the sum of z_f' b_f over all levels, z_f (J_f, q_f).

        As `quadratic` has it of one row: the w of the levels of the first factor add up.
        """
        blocks, found = self.blocks, 0.0
        w = np.concatenate(
            [(part @ Lambda).ravel() for part, Lambda in zip(z[1:], self.Lambda[1:], strict=True)]
        )
        step = max(1, 4_000_000 // blocks.size)
        for lo in range(0, blocks.J[0], step):
            level = np.arange(lo, min(lo + step, blocks.J[0]))
            part = np.zeros((blocks.size, len(level)))
            found += _start_rows(
                z[0][level], level, self.E, blocks.starts, blocks.columns, self.K, part
            ).sum()
            w += part.sum(axis=1)
        return float(found + w @ self.inverse.times(w[:, None])[:, 0])

    def covariance(self, z: tuple[FloatArray, ...], level: tuple[IntArray, ...]) -> FloatArray:
        """Conditional covariances over sigma^2 of sum_f z_f' b_f among rows: (m, m).

        The rows are such as the blocks have: their levels have met.
        """
        blocks, m = self.blocks, len(level[0])
        w = np.zeros((blocks.size, m))
        _start_rows(z[0], level[0], self.E, blocks.starts, blocks.columns, self.K, w)
        others = zip(
            z[1:], level[1:], self.Lambda[1:], blocks.offsets[:-1], blocks.q[1:], strict=True
        )
        for part, at, Lambda, start, q in others:
            own = start + at[:, None] * q + np.arange(q)
            w[own, np.arange(m)[:, None]] += part @ Lambda
        first = np.einsum("ia,iab,kb->ik", z[0], self.E[level[0]], z[0], optimize=True)
        first[level[0][:, None] != level[0]] = 0.0
        j = level[0][0]
        if np.any(level[0] != j):
            return np.asarray(first + w.T @ self.inverse.times(w))
        # All pairs of the columns that one level has met are there without solving.
        met = blocks.columns[blocks.starts[j] : blocks.starts[j + 1]]
        inverse = self.inverse.at(np.maximum.outer(met, met), np.minimum.outer(met, met))
        return np.asarray(first + w[met].T @ inverse @ w[met])


def sweep(Lambda: tuple[FloatArray, ...], blocks: Coupled) -> Sweep:
    """The pass at any square Lambda_f (q_f, q_f), factor 1 first.

    Raises
    ------
    numpy.linalg.LinAlgError
        the Schur complement is not positive definite, which only overflow or not-finite numbers
        can bring about.

    Source: the blocked Cholesky factorisation of Bates et al. (2015), section 3, and of
    MixedModels.jl, in its form without a wide Z.
    """
    found = reduced(Lambda, blocks)
    inverse = blocks.complement.invert(found.C)
    U = inverse.times(found.q)
    logdet, S = found.logdet + inverse.logdet, found.S - found.q.T @ U
    return Sweep(logdet, S, blocks, Lambda, found.E, found.K, U, inverse)


@dataclass(frozen=True, slots=True)
class Reduced:
    """What eliminating factor 1 leaves, in the symbols of the module's docstring.

    logdet : () sum log|A_j|
    S : (k, k) T - sum H_j' E_j H_j
    C : the Schur complement, stored as `Coupled.complement` says
    q : (r, k)
    """

    logdet: float
    S: FloatArray
    E: FloatArray
    K: FloatArray
    C: FloatArray
    q: FloatArray


def reduced(Lambda: tuple[FloatArray, ...], blocks: Coupled) -> Reduced:
    """Eliminate factor 1 at any square Lambda_f (q_f, q_f)."""
    q1, k, J = blocks.H.shape
    E, K, S = np.empty((J, q1, q1)), np.empty(blocks.entries.shape), np.empty((k, k))
    C, q = blocks.complement.zeros(), np.empty((blocks.size, k))
    work = np.empty(small_work(blocks.arrays))
    logdet = reduce_first(_flat(Lambda), blocks.arrays, E, K, C, q, S, work)
    return Reduced(float(logdet), S, E, K, C, q)


def _divided(slope: FloatArray, Lambda: FloatArray) -> FloatArray:
    """M (q, q) from M Lambda."""
    M = np.linalg.solve(Lambda.T, slope.T)
    return np.asarray((M + M.T) / 2)


def _flat(Lambda: tuple[FloatArray, ...]) -> FloatArray:
    """All Lambda side by side, as the compiled functions take them."""
    return np.concatenate([np.ravel(one) for one in Lambda])


@compiled()
def first_gains(H, E, starts, columns, K, U, out):  # type: ignore[no-untyped-def]
    """E_j (H_j - K_j U)."""
    q1, k, J = H.shape
    right = np.empty((q1, k))
    for j in range(J):
        for a in range(q1):
            for c in range(k):
                right[a, c] = H[a, c, j]
        for s in range(starts[j], starts[j + 1]):
            for a in range(q1):
                for c in range(k):
                    right[a, c] -= K[s, a] * U[columns[s], c]
        for a in range(q1):
            for c in range(k):
                out[j, a, c] = 0.0
                for b in range(q1):
                    out[j, a, c] += E[j, a, b] * right[b, c]


@compiled()
def _first_covariances(E, starts, columns, K, inverse, slots, size, out):  # type: ignore[no-untyped-def]
    """E_j + E_j K_j C^-1 K_j' E_j."""
    J, q1, _ = E.shape
    CK, KCK = np.empty((np.diff(starts).max(), q1)), np.empty((q1, q1))
    pair = 0
    for j in range(J):
        pair = level_products(j, starts, columns, K, inverse, slots, size, pair, CK, KCK)
        for a in range(q1):
            for b in range(q1):
                for c in range(q1):
                    for e in range(q1):
                        out[j, a, b] += E[j, a, c] * KCK[c, e] * E[j, e, b]


@compiled()
def _met_rows(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    z, level, own, parts, E, starts, columns, K, inverse, slots, size, found, left
):
    """Variances of the rows whose own columns their level of factor 1 has met; `left` the others.

    All pairs of columns are then among those that this level has added to C.
    """
    m, q1 = z.shape
    dense = len(slots) == 0
    pairs = np.zeros(len(starts), dtype=np.int64)
    most = 0
    for j in range(len(starts) - 1):
        met = starts[j + 1] - starts[j]
        pairs[j + 1] = pairs[j] + met * (met + 1) // 2
        most = max(most, met)
    w = np.empty(most)
    Ez = np.empty(q1)
    for i in range(m):
        j = level[i]
        if j < 0:
            left[i] = own[i].max() >= 0
            continue
        here = columns[starts[j] : starts[j + 1]]
        for a in range(q1):
            Ez[a] = 0.0
            for b in range(q1):
                Ez[a] += E[j, a, b] * z[i, b]
        for s in range(len(here)):
            w[s] = 0.0
            for a in range(q1):
                w[s] -= K[starts[j] + s, a] * Ez[a]
        for c in range(own.shape[1]):
            if own[i, c] < 0:
                continue
            s = np.searchsorted(here, own[i, c])
            if s == len(here) or here[s] != own[i, c]:
                left[i] = True
                break
            w[s] += parts[i, c]
        if left[i]:
            continue
        for a in range(q1):
            found[i] += z[i, a] * Ez[a]
        pair = pairs[j]
        for s in range(len(here)):
            row = here[s] * size
            total = 0.0
            for t in range(s):
                total += w[t] * inverse[row + here[t] if dense else slots[pair + t]]
            diagonal = inverse[row + here[s] if dense else slots[pair + s]]
            found[i] += w[s] * (2 * total + w[s] * diagonal)
            pair += s + 1


@compiled()
def _start_rows(z, level, E, starts, columns, K, w):  # type: ignore[no-untyped-def]
    """Returns z' E_j z a row; adds - K_j' E_j z to the columns of w (r, m)."""
    m, q1 = z.shape
    found = np.zeros(m)
    Ez = np.empty(q1)
    for i in range(m):
        j = level[i]
        if j < 0:
            continue
        for a in range(q1):
            Ez[a] = 0.0
            for b in range(q1):
                Ez[a] += E[j, a, b] * z[i, b]
            found[i] += z[i, a] * Ez[a]
        for s in range(starts[j], starts[j + 1]):
            for a in range(q1):
                w[columns[s], i] -= K[s, a] * Ez[a]
    return found
