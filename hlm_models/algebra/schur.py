"""Storage and inverse of the Schur complement C (r, r) that factor 1 leaves: dense, or sparse.

C is a flat array that holds its lower triangle; `slots` say where an element stands. Level j of
factor 1 adds all pairs of the columns that it meets.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Protocol

import numpy as np
from numba import njit
from scipy.linalg.blas import dsymm
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtrs
from threadpoolctl import ThreadpoolController

from hlm_models.algebra import sparse
from hlm_models.errors import RefusalError
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["Complement", "Factor", "Inverse", "complement", "one_thread"]

SMALL = 300
"""Columns up to which a dense matrix is best in any case."""

DENSE = 10_000
"""Most columns of a dense matrix."""

PAIRS = 30_000_000
"""Most pairs of columns that the levels of factor 1 may add to a sparse one."""

SLOW = 15
"""Multiply-adds of a dense inverse in the time of one of a sparse factorisation: its inverse takes
three times as many, at a fifth of the speed."""

ROOM = 100_000_000
"""Most numbers of a sparse factor."""


class Inverse(Protocol):
    """C^-1 with log|C|."""

    @property
    def logdet(self) -> float: ...

    def at(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """Elements of the lower triangle that C's pattern has."""
        ...

    def pairs(self) -> FloatArray:
        """The flat array that `Complement.pair_slots` (or row * r + column) point into."""
        ...

    def times(self, right: FloatArray) -> FloatArray:
        """C^-1 right, (r, m)."""
        ...


class Factor(Protocol):
    """The Cholesky factor L of C, all that solutions and draws need."""

    @property
    def logdet(self) -> float: ...

    def solve(self, right: FloatArray) -> FloatArray:
        """C^-1 right, (r, m)."""
        ...

    def root(self, normals: FloatArray) -> FloatArray:
        """Columns of covariance C^-1 from columns (r, m) of standard normals."""
        ...


class Complement(Protocol):
    """How C is stored.

    `pair_slots` are the places of the pairs that the levels of factor 1 add, in the order of the
    levels, row by row; empty where they are row * r + column.
    """

    @property
    def pair_slots(self) -> IntArray: ...

    @property
    def work(self) -> float:
        """Multiply-adds of an inverse, as many as a dense one would take in the same time."""
        ...

    def zeros(self) -> FloatArray:
        """An empty C."""
        ...

    def slots(self, rows: IntArray, columns: IntArray) -> IntArray:
        """Places of elements of the lower triangle."""
        ...

    def factor(self, values: FloatArray) -> Factor:
        """The Cholesky factor; `values` may be overwritten.

        Raises
        ------
        numpy.linalg.LinAlgError
            C is not positive definite, which only overflow or not-finite numbers can bring about.
        """
        ...

    def invert(self, values: FloatArray) -> Inverse:
        """The inverse; as `factor` otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class DenseInverse:
    """The lower triangle as a flat array (r r,)."""

    logdet: float
    values: FloatArray
    size: int

    def at(self, rows: IntArray, columns: IntArray) -> FloatArray:
        return np.asarray(self.values[rows * self.size + columns])

    def pairs(self) -> FloatArray:
        return self.values

    def times(self, right: FloatArray) -> FloatArray:
        # The lower triangle by rows is the upper one by columns.
        square = self.values.reshape(self.size, self.size).T
        return np.asarray(dsymm(1.0, square, np.asfortranarray(right), lower=0))


@dataclass(frozen=True, slots=True)
class DenseFactor:
    """The transpose of L, an upper triangle (r, r) by columns."""

    upper: FloatArray

    @property
    def logdet(self) -> float:
        return 2 * float(np.sum(np.log(np.diag(self.upper))))

    def solve(self, right: FloatArray) -> FloatArray:
        return np.asarray(dpotrs(self.upper, right, lower=0)[0])

    def root(self, normals: FloatArray) -> FloatArray:
        return np.asarray(dtrtrs(self.upper, normals, lower=0)[0])


@dataclass(frozen=True, slots=True)
class DenseComplement:
    """C as a full square.

    Factorised by one thread: several wait for each other, tens of times as long where other work
    keeps the processors busy, and add in an order that is not always the same.
    """

    size: int
    pair_slots: ClassVar[IntArray] = frozen(np.zeros(0, dtype=np.int64))

    @property
    def work(self) -> float:
        return float(self.size) ** 3

    def zeros(self) -> FloatArray:
        return np.zeros(self.size**2)

    def slots(self, rows: IntArray, columns: IntArray) -> IntArray:
        return np.asarray(rows * np.int64(self.size) + columns)

    def factor(self, values: FloatArray) -> DenseFactor:
        square = values.reshape(self.size, self.size).T
        with one_thread():
            upper, failed = dpotrf(square, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("the Schur complement is not positive definite")
        return DenseFactor(upper)

    def invert(self, values: FloatArray) -> DenseInverse:
        factor = self.factor(values)
        logdet = factor.logdet
        with one_thread():
            inverse, _ = dpotri(factor.upper, lower=0, overwrite_c=1)
        return DenseInverse(logdet, inverse.T.reshape(-1), self.size)


@dataclass(frozen=True, slots=True)
class SparseFactor:
    """The numbers of L in the layout of its pattern."""

    pattern: sparse.Pattern
    L: FloatArray

    @property
    def logdet(self) -> float:
        return sparse.logdet(self.pattern, self.L)

    def solve(self, right: FloatArray) -> FloatArray:
        return sparse.solve(self.pattern, self.L, right)

    def root(self, normals: FloatArray) -> FloatArray:
        return sparse.root(self.pattern, self.L, normals)


@dataclass(frozen=True, slots=True)
class SparseInverse:
    """The factor of C, and the elements of the inverse at the places of the factor."""

    logdet: float
    values: FloatArray
    storage: "SparseComplement"
    factor: FloatArray

    def at(self, rows: IntArray, columns: IntArray) -> FloatArray:
        return np.asarray(self.values[self.storage.slots(rows, columns)])

    def pairs(self) -> FloatArray:
        return self.values

    def times(self, right: FloatArray) -> FloatArray:
        return sparse.solve(self.storage.pattern, self.factor, right)


@dataclass(frozen=True, slots=True)
class SparseComplement:
    """C in the layout of its factor.

    Its coordinates row * r + column are `keys` (nnz,), ascending.
    """

    size: int
    keys: IntArray
    pair_slots: IntArray
    pattern: sparse.Pattern

    @property
    def work(self) -> float:
        return SLOW * self.pattern.flops

    def zeros(self) -> FloatArray:
        return np.zeros(self.pattern.length)

    def slots(self, rows: IntArray, columns: IntArray) -> IntArray:
        at = np.searchsorted(self.keys, rows * np.int64(self.size) + columns)
        return np.asarray(self.pattern.places[at])

    def factor(self, values: FloatArray) -> SparseFactor:
        return SparseFactor(self.pattern, sparse.factorise_numbers(self.pattern, values))

    def invert(self, values: FloatArray) -> SparseInverse:
        factor = self.factor(values)
        inverse = sparse.selected_inverse(self.pattern, factor.L)
        return SparseInverse(factor.logdet, inverse, self, factor.L)


def complement(starts: IntArray, columns: IntArray, size: int) -> Complement:
    """The storage for a C (size, size) to which level j adds columns[starts[j]:starts[j + 1]].

    Sparse where that saves work: a dense inverse takes size^3 multiply-adds at the full speed of
    the processor, a sparse one some three times `Pattern.flops` at perhaps a fifth of it.

    Raises
    ------
    RefusalError
        neither has room.
    """
    met = np.diff(starts)
    pairs = int(np.sum(met * (met + 1) // 2))
    found = None
    if (
        size > SMALL
        and pairs <= PAIRS
        and (size > DENSE or not _mostly_full(starts, columns, size))
    ):
        keys, slots = np.unique(_pair_keys(starts, columns, size, pairs), return_inverse=True)
        pattern = sparse.analyse(*np.divmod(keys, np.int64(size)), size)
        if pattern.length <= ROOM and (size > DENSE or SLOW * pattern.flops < float(size) ** 3):
            found = SparseComplement(size, frozen(keys), frozen(pattern.places[slots]), pattern)
    if found is None and size > DENSE:
        raise RefusalError(
            f"all groups but the largest have {size:,} effects that are too entangled for a sparse "
            f"factorisation, and more than the {DENSE:,} that one dense matrix can hold"
        )
    return DenseComplement(size) if found is None else found


def one_thread() -> AbstractContextManager[object]:
    """A context in which BLAS works with one thread."""
    found: AbstractContextManager[object] = _blas().limit(limits=1, user_api="blas")
    return found


@cache
def _blas() -> ThreadpoolController:
    """The loaded BLAS, looked up once: it takes longer than a small inverse."""
    return ThreadpoolController()


@njit(cache=True)
def _mostly_full(starts, columns, size):  # type: ignore[no-untyped-def]
    """Whether more than a tenth of all pairs of columns meet."""
    seen = np.zeros((size, size), dtype=np.bool_)
    count = 0
    for j in range(len(starts) - 1):
        for s in range(starts[j], starts[j + 1]):
            for t in range(starts[j], s + 1):
                if not seen[columns[s], columns[t]]:
                    seen[columns[s], columns[t]] = True
                    count += 1
    return count > 0.05 * size * size


@njit(cache=True)
def _pair_keys(starts, columns, size, pairs):  # type: ignore[no-untyped-def]
    """Keys row * r + column of every pair that a level adds, level by level, row by row."""
    keys = np.empty(pairs, dtype=np.int64)
    at = 0
    for j in range(len(starts) - 1):
        for s in range(starts[j], starts[j + 1]):
            for t in range(starts[j], s + 1):
                keys[at] = columns[s] * size + columns[t]
                at += 1
    return keys
