"""Z' V^-1 W and Z' V^-1 Z themselves, not only their sums: what Kenward and Roger's method takes.

With V = I + Z P Z', P = Lambda Lambda' in blocks, G = Z' Z and H = Z' W,

    Z' V^-1 W = (I + G P)^-1 H            Z' V^-1 Z = (I + G P)^-1 G

which holds for a singular Lambda too and takes nothing off anything. Nothing is n x n. One factor
goes level by level; several share one dense matrix over the effects of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetrs

from hlm_models.algebra.coupling import Coupled
from hlm_models.algebra.gram import Gram
from hlm_models.errors import RefusalError
from hlm_models.types import FloatArray

__all__ = ["LARGEST", "Projections", "projections"]

LARGEST = 6_000
"""Most effects of several factors together: the dense matrices over them take 0.3 GB each."""


class Projections(Protocol):
    """N = Z' V^-1 Z and R = Z' V^-1 W at one Lambda; factors are counted from 0."""

    @property
    def rows(self) -> tuple[FloatArray, ...]:
        """R of each factor, (J_f, q_f, k)."""

    def within(self, f: int) -> FloatArray:
        """Sum over the levels of a factor of its diagonal blocks of N, (q_f, q_f)."""

    def times(self, f: int, g: int, right: FloatArray) -> FloatArray:
        """N_fg right, (J_f, q_f, c), of `right` (J_g, q_g, c)."""

    def squares(self, f: int, g: int) -> FloatArray:
        """Sum of N[a, b] N[c, d] over the pairs of a level of f and one of g.

        Shape (q_f, q_g, q_f, q_g).
        """


def projections(factors: Sequence[FloatArray], products: Gram | Coupled) -> Projections:
    """Projections at the Lambda (q_f, q_f) of each factor, in the columns of `products`.

    Raises
    ------
    RefusalError
        several factors have more than `LARGEST` effects together.
    """
    if isinstance(products, Gram):
        [Lambda] = factors
        return _one_factor(Lambda, products)
    return _several_factors(factors, products)


@dataclass(frozen=True)
class _OneFactor:
    """One factor: N (J, q, q) and R (J, q, k), zero between levels."""

    N: FloatArray
    R: FloatArray

    @property
    def rows(self) -> tuple[FloatArray, ...]:
        return (self.R,)

    def within(self, f: int) -> FloatArray:  # noqa: ARG002
        return np.asarray(self.N.sum(axis=0))

    def times(self, f: int, g: int, right: FloatArray) -> FloatArray:  # noqa: ARG002
        return np.asarray(self.N @ right)

    def squares(self, f: int, g: int) -> FloatArray:  # noqa: ARG002
        J, q, _ = self.N.shape
        flat = self.N.reshape(J, -1)
        return (flat.T @ flat).reshape(q, q, q, q)


@dataclass(frozen=True)
class _SeveralFactors:
    """Several factors: dense N (r, r) and R (r, k) over their r effects, factor by factor."""

    N: FloatArray
    R: FloatArray
    J: tuple[int, ...]
    q: tuple[int, ...]

    @cached_property
    def places(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *(J * q for J, q in zip(self.J, self.q, strict=True))])
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))

    @property
    def rows(self) -> tuple[FloatArray, ...]:
        return tuple(
            self.R[here].reshape(J, q, -1)
            for here, J, q in zip(self.places, self.J, self.q, strict=True)
        )

    def within(self, f: int) -> FloatArray:
        here = self.places[f]
        N = self.N[here, here].reshape(self.J[f], self.q[f], self.J[f], self.q[f])
        return np.asarray(np.einsum("jajb->ab", N))

    def times(self, f: int, g: int, right: FloatArray) -> FloatArray:
        flat = right.reshape(self.J[g] * self.q[g], -1)
        found = self.N[self.places[f], self.places[g]] @ flat
        return found.reshape(self.J[f], self.q[f], -1)

    def squares(self, f: int, g: int) -> FloatArray:
        N = self.N[self.places[f], self.places[g]]
        # One strided (J_f, J_g) part for each pair of effects; no copy of N is made.
        parts = [
            N[a :: self.q[f], b :: self.q[g]] for a in range(self.q[f]) for b in range(self.q[g])
        ]
        found = np.array([[np.einsum("lm,lm->", one, other) for other in parts] for one in parts])
        return found.reshape(self.q[f], self.q[g], self.q[f], self.q[g])


def _one_factor(Lambda: FloatArray, gram: Gram) -> _OneFactor:
    G, H = np.moveaxis(gram.G, -1, 0), np.moveaxis(gram.H, -1, 0)
    q = len(Lambda)
    found = np.linalg.solve(np.eye(q) + G @ (Lambda @ Lambda.T), np.concatenate([G, H], axis=2))
    N = found[:, :, :q]
    return _OneFactor((N + np.swapaxes(N, 1, 2)) / 2, np.ascontiguousarray(found[:, :, q:]))


def _several_factors(factors: Sequence[FloatArray], blocks: Coupled) -> _SeveralFactors:
    counts = [J * q for J, q in zip(blocks.J, blocks.q, strict=True)]
    r = sum(counts)
    if r > LARGEST:
        raise RefusalError(
            f"this model has {r} random effects over several groups, and Kenward and Roger's "
            f"method works on dense matrices over all of them, at most {LARGEST}: use "
            'df="satterthwaite"'
        )
    G, H = blocks.whole()
    A, at = np.empty((r, r), order="F"), 0
    for Lambda, J, q in zip(factors, blocks.J, blocks.q, strict=True):
        here = slice(at, at + J * q)
        A[:, here] = (G[:, here].reshape(r, J, q) @ (Lambda @ Lambda.T)).reshape(r, J * q)
        at += J * q
    A[np.diag_indices(r)] += 1.0
    factor, pivots, _ = dgetrf(A, overwrite_a=True)
    R, _ = dgetrs(factor, pivots, H)
    # G is symmetric, so that its transpose is G in the order that LAPACK works in.
    N, _ = dgetrs(factor, pivots, G.T, overwrite_b=True)
    N += N.T.copy()
    N /= 2
    return _SeveralFactors(N, R, blocks.J, blocks.q)
