"""Cross-products of several grouping factors: the one pass over the rows.

Factor 1 has the most levels. The columns of all other factors are numbered 0..r-1, factor by
factor, level by level, effect by effect. Two levels of different factors meet where a row belongs
to both; a `cell` holds what they have in common.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numba import njit

from hlm_models.algebra.gram import CHUNK, Scaling
from hlm_models.algebra.schur import Complement, complement
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["Cells", "Coupled", "coupled"]


@dataclass(frozen=True, slots=True)
class Cells:
    """Z_f' Z_g of the levels that meet, of one pair of factors.

    left, right (m,) levels of f and of g; values (m, q_f, q_g)
    """

    left: IntArray
    right: IntArray
    values: FloatArray


@dataclass(frozen=True)
class Coupled:
    """Cross-products of several factors in scaled coordinates.

    G (q1, q1, J1) and H (q1, k, J1) are factor 1's, T (k, k) is W' W. The columns of the other
    factors start at `offsets`; `factor` (r,) says whose each is. `entries` (nnz, q1) holds
    Z_1j' Z_c for the columns `columns` (nnz,), ascending, that level j of factor 1 meets: those of
    level j from `starts[j]` to `starts[j + 1]`. `cells[f, g]`, f <= g, are the other factors among
    each other, counted from 0; HR (r, k) is Z_R' W. `complement` says how the Schur complement of
    factor 1 is stored.
    """

    G: FloatArray
    H: FloatArray
    T: FloatArray
    starts: IntArray
    columns: IntArray
    entries: FloatArray
    cells: dict[tuple[int, int], Cells]
    HR: FloatArray
    q: tuple[int, ...]
    J: tuple[int, ...]
    offsets: tuple[int, ...]
    factor: IntArray
    complement: Complement
    n: int

    @property
    def size(self) -> int:
        """Number of columns r of all factors but the first."""
        return self.offsets[-1]

    @cached_property
    def arrays(self) -> tuple[FloatArray | IntArray, ...]:
        """The same as compiled functions take it."""
        from hlm_models.algebra.crossed_pass import several_blocks

        return several_blocks(self)

    def with_response(self, right: tuple[FloatArray, ...], total: FloatArray) -> Self:
        """The blocks of another response, from its `hlm_models.algebra.gram.response_products`."""
        H, HR, T = self.H.copy(), self.HR.copy(), self.T.copy()
        H[:, -1], T[-1], T[:, -1] = right[0].T, total, total
        HR[:, -1] = np.concatenate([found.ravel() for found in right[1:]])
        return replace(self, H=frozen(H), HR=frozen(HR), T=frozen(T))

    def whole(self) -> tuple[FloatArray, FloatArray]:
        """Z' Z and Z' W of all factors in full, factor 1's columns first, level by level.

        Its size is the square of the number of all effects: for small models and for tests.
        """
        q1, k, J1 = self.H.shape
        first = q1 * J1
        ZZ = np.zeros((first + self.size, first + self.size))
        for j in range(J1):
            here = slice(j * q1, (j + 1) * q1)
            ZZ[here, here] = self.G[:, :, j]
            met = slice(self.starts[j], self.starts[j + 1])
            ZZ[here, first + self.columns[met]] = self.entries[met].T
        ZZ[first:, :first] = ZZ[:first, first:].T
        for (f, g), cells in self.cells.items():
            rows = first + self._at(f, cells.left)[:, :, None]
            columns = first + self._at(g, cells.right)[:, None, :]
            ZZ[rows, columns] = cells.values
            ZZ[np.swapaxes(columns, 1, 2), np.swapaxes(rows, 1, 2)] = np.swapaxes(
                cells.values, 1, 2
            )
        return ZZ, np.vstack([np.moveaxis(self.H, -1, 0).reshape(first, k), self.HR])

    def _at(self, f: int, level: IntArray) -> IntArray:
        """Columns (m, q_f) of levels of one of the other factors."""
        return self.offsets[f] + level[:, None] * self.q[f + 1] + np.arange(self.q[f + 1])


def coupled(
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
) -> Coupled:
    """All cross-products by one pass over the rows; factor 1 comes first in the tuples.

    Every row is multiplied by its entry of `root_weights` (n,), where there are any.
    """
    q = tuple(part.shape[1] for part in z)
    n, k, others = len(y), X.shape[1] + 1, range(1, len(q))
    sizes = [qf * Jf for qf, Jf in zip(q[1:], J[1:], strict=True)]
    offsets = tuple(int(at) for at in np.concatenate([[0], np.cumsum(sizes)]))
    pairs = [(0, g) for g in others] + [(f, g) for f in others for g in others if f <= g]
    meeting = {}
    for f, g in pairs:
        key = level[f] if f == g else level[f] * np.int64(J[g]) + level[g]
        unique, place = np.unique(key, return_inverse=True)
        left, right = (unique, unique) if f == g else np.divmod(unique, J[g])
        meeting[f, g] = (left, right, place, np.zeros((len(unique), q[f], q[g])))
    G, T = np.zeros((J[0], q[0], q[0])), np.zeros((k, k))
    right_sides = [np.zeros((Jf, qf, k)) for Jf, qf in zip(J, q, strict=True)]
    for lo in range(0, n, CHUNK):
        rows = slice(lo, min(lo + CHUNK, n))
        scaled = [s.apply(part[rows]) for s, part in zip(z_scaling, z, strict=True)]
        fixed = x_scaling.apply(X[rows])
        W = np.column_stack([fixed, y[rows] - fixed @ y_fit])
        if root_weights is not None:
            W *= root_weights[rows, None]
            scaled = [part * root_weights[rows, None] for part in scaled]
        T += np.einsum("nc,nd->cd", W, W)
        _add(scaled[0], scaled[0], level[0][rows], G)
        for part, codes, found in zip(scaled, level, right_sides, strict=True):
            _add(part, W, codes[rows], found)
        for (f, g), (_, _, place, values) in meeting.items():
            _add(scaled[f], scaled[g], place[rows], values)
    owners, columns, entries = [], [], []
    for g in others:
        left, right, _, values = meeting[0, g]
        owners.append(np.repeat(left, q[g]))
        columns.append((offsets[g - 1] + right[:, None] * q[g] + np.arange(q[g])).ravel())
        entries.append(np.swapaxes(values, 1, 2).reshape(-1, q[0]))
    owner, column = np.concatenate(owners), np.concatenate(columns)
    order = np.lexsort((column, owner))
    starts = np.searchsorted(owner[order], np.arange(J[0] + 1)).astype(np.int64)
    column = column[order].astype(np.int64)
    cells = {
        (f - 1, g - 1): Cells(frozen(left), frozen(right), frozen(values))
        for (f, g), (left, right, _, values) in meeting.items()
        if f
    }
    return Coupled(
        G=frozen(np.ascontiguousarray(np.moveaxis(G, 0, -1))),
        H=frozen(np.ascontiguousarray(np.moveaxis(right_sides[0], 0, -1))),
        T=frozen(T),
        starts=frozen(starts),
        columns=frozen(column),
        entries=frozen(np.concatenate(entries)[order]),
        cells=cells,
        HR=frozen(np.concatenate([found.reshape(-1, k) for found in right_sides[1:]])),
        q=q,
        J=J,
        offsets=offsets,
        factor=frozen(np.repeat(np.arange(len(sizes)), sizes)),
        complement=complement(starts, column, offsets[-1]),
        n=n,
    )


@njit(cache=True)
def _add(left, right, place, out):  # type: ignore[no-untyped-def]
    """out[place_i] += left_i right_i' over the rows."""
    n, p = left.shape
    q = right.shape[1]
    for i in range(n):
        at = place[i]
        for a in range(p):
            for b in range(q):
                out[at, a, b] += left[i, a] * right[i, b]
