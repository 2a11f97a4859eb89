"""Sparse symmetric positive definite matrices of one pattern: Cholesky factor and selected inverse.

The pattern is analysed once: a fill-reducing order, the elimination tree, and panels (supernodes),
runs of columns of L that share their rows below. Panel p holds its w columns as a dense block of
h rows, row by row: a lower triangle (w, w) over `rows[below[p]:below[p + 1]]`, so that

    L_p = [ L_JJ ]      J the columns of the panel,
          [ L_IJ ]      I its rows below.

What changes between evaluations is one flat array of numbers in that layout, for L and for the
selected inverse alike. With Y = L_IJ L_JJ^-1 and Z the inverse, from the last panel to the first,

    Z_IJ = -Z_II Y               Z_JJ = L_JJ^-T L_JJ^-1 - Y' Z_IJ

and all of Z_II that is needed lies at places of L in later panels.

Source: Takahashi, Fagan and Chin (1973), Formation of a sparse bus impedance matrix and its
application to short circuit study; in blocks, Lin et al. (2011), doi:10.1145/1916461.1916464.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from hlm_models.types import FloatArray, IntArray, frozen

__all__ = [
    "Pattern",
    "analyse",
    "backward",
    "factorise",
    "factorise_numbers",
    "factorise_panels",
    "forward",
    "invert_panels",
    "largest",
    "logdet",
    "lookup",
    "root",
    "selected_inverse",
    "solve",
]

WIDEST = 64
"""Most columns in a panel: its triangle, worked on without BLAS, stays in the first caches."""

PADDING = 0.2
"""Largest share of zeros stored in a panel for the sake of fewer, wider ones."""

BLAS = 4096
"""Fewest multiply-adds that are worth a call of a BLAS product."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What all matrices of one pattern share.

    order (size,) : the row of L that each row of the matrix becomes
    first (panels + 1,) : the first column of each panel
    start (panels + 1,) : where each panel's numbers start
    below (panels + 1,), rows : the rows of each panel below its triangle, ascending
    panel (size,) : the panel of each column of L
    places : where the coordinates that `analyse` was given lie among the numbers
    diagonal (size,) : where the diagonal of the matrix lies
    length : how many numbers L, or the selected inverse, takes
    fill : how many entries of L are not zero by the pattern alone
    flops : multiply-adds of a factorisation that keeps to those entries
    """

    order: IntArray
    first: IntArray
    start: IntArray
    below: IntArray
    rows: IntArray
    panel: IntArray
    places: IntArray
    diagonal: IntArray
    length: int
    fill: int
    flops: float

    @property
    def size(self) -> int:
        return len(self.order)


def analyse(rows: IntArray, columns: IntArray, size: int) -> Pattern:
    """Analyse the pattern with entries at (rows, columns) and on the whole diagonal.

    An off-diagonal entry is named by either of its two coordinates; numbers that `factorise` is
    given for the same entry are added. The order is the given one if L is no denser for it than
    for a minimum-degree order.
    """
    order = _order(rows, columns, size)
    starts, earlier = _compressed(*_strict(order[rows], order[columns]), size)
    parent = _elimination_tree(starts, earlier)
    # In a postorder the columns of a panel are neighbours; the fill stays the same.
    order = _postorder(parent)[order]
    high, low = _strict(order[rows], order[columns])
    starts, earlier = _compressed(high, low, size)
    parent = _elimination_tree(starts, earlier)
    fill, counts = _column_counts(parent, starts, earlier, np.iinfo(np.int64).max)
    bounds = _supernodes(parent, counts)
    structure = _structure(bounds, parent, counts, *_compressed(low, high, size))
    first, below, rows_below = _panels(bounds, *structure)
    width = np.diff(first)
    start = np.concatenate([[0], np.cumsum(width * (width + np.diff(below)))])
    panel = np.repeat(np.arange(len(width)), width)
    layout = order, first, start, below, rows_below, panel
    every = np.arange(size)
    pattern = Pattern(
        *layout,
        places=_locate(*layout, rows, columns),
        diagonal=_locate(*layout, every, every),
        length=int(start[-1]),
        fill=int(fill),
        flops=float(np.sum(counts * (counts + 1.0)) / 2),
    )
    for array in (*layout, pattern.places, pattern.diagonal):
        frozen(array)
    return pattern


def factorise(pattern: Pattern, values: FloatArray) -> FloatArray:
    """The numbers of L, given those of the matrix at the coordinates `analyse` was given.

    Raises
    ------
    numpy.linalg.LinAlgError
        the matrix is not positive definite, or not finite.
    """
    return factorise_numbers(
        pattern, np.bincount(pattern.places, weights=values, minlength=pattern.length)
    )


def factorise_numbers(pattern: Pattern, L: FloatArray) -> FloatArray:
    """As `factorise`, in place, of numbers that stand where those of L will."""
    widest, tallest = largest(pattern)
    scratch = np.empty(widest * tallest)
    where = np.empty(tallest, dtype=np.int64)
    if not factorise_panels(
        L, pattern.first, pattern.start, pattern.below, pattern.rows, pattern.panel, scratch, where
    ):
        raise np.linalg.LinAlgError("the sparse matrix is not positive definite")
    return L


def logdet(pattern: Pattern, L: FloatArray) -> float:
    """The logarithm of the matrix's determinant."""
    return 2 * float(np.sum(np.log(L[pattern.diagonal])))


def solve(pattern: Pattern, L: FloatArray, right: FloatArray) -> FloatArray:
    """The inverse of the matrix times `right` (size, k)."""
    x = np.empty(right.shape)
    x[pattern.order] = right
    forward(L, pattern.first, pattern.start, pattern.below, pattern.rows, x)
    backward(L, pattern.first, pattern.start, pattern.below, pattern.rows, x)
    return x[pattern.order]


def root(pattern: Pattern, L: FloatArray, normals: FloatArray) -> FloatArray:
    """Columns whose covariance is the inverse of the matrix, from standard normals (size, k)."""
    x = np.empty(normals.shape)
    x[pattern.order] = normals
    backward(L, pattern.first, pattern.start, pattern.below, pattern.rows, x)
    return x[pattern.order]


def selected_inverse(pattern: Pattern, L: FloatArray) -> FloatArray:
    """The numbers of the inverse at the places of L, so `pattern.places` and `lookup` serve it."""
    Z = np.zeros(pattern.length)
    widest, tallest = largest(pattern)
    scratch = np.empty((4, widest * max(widest, tallest)))
    where = np.empty(tallest, dtype=np.int64)
    invert_panels(
        L, Z, pattern.first, pattern.start, pattern.below, pattern.rows, pattern.panel,
        scratch, where,
    )  # fmt: skip
    return Z


def lookup(pattern: Pattern, rows: IntArray, columns: IntArray) -> IntArray:
    """Where the entries (rows, columns) of the matrix lie among the numbers; -1 outside L."""
    return _locate(
        pattern.order, pattern.first, pattern.start, pattern.below, pattern.rows, pattern.panel,
        rows, columns,
    )  # fmt: skip


def largest(pattern: Pattern) -> tuple[int, int]:
    """The most columns and the most rows below that a panel has."""
    return int(np.diff(pattern.first).max()), int(np.diff(pattern.below).max())


# Analysis


def _order(rows: IntArray, columns: IntArray, size: int) -> IntArray:
    """The place of each row in the better of the given and a minimum-degree order."""
    given = np.arange(size)
    high, low = _strict(rows, columns)
    starts, earlier = _compressed(high, low, size)
    entries = len(earlier) + size
    fill, _ = _column_counts(_elimination_tree(starts, earlier), starts, earlier, entries)
    if fill == entries:
        return given
    degree = _minimum_degree(starts, earlier)
    starts_too, earlier_too = _compressed(*_strict(degree[high], degree[low]), size)
    parent = _elimination_tree(starts_too, earlier_too)
    least, _ = _column_counts(parent, starts_too, earlier_too, np.iinfo(np.int64).max)
    fill, _ = _column_counts(_elimination_tree(starts, earlier), starts, earlier, least)
    return given if fill <= least else degree


def _minimum_degree(starts: IntArray, earlier: IntArray) -> IntArray:
    """The place of each row in a minimum-degree order, by SuperLU.

    Only an incomplete factorisation hands the order out without the full one's cost: off-diagonal
    entries as small as these are all dropped.
    """
    from scipy.sparse import csr_array, eye_array
    from scipy.sparse.linalg import spilu

    size = len(starts) - 1
    lower = csr_array((np.full(len(earlier), 1e-30), earlier, starts), shape=(size, size))
    found = spilu(
        (lower + lower.T + eye_array(size)).tocsc(),
        drop_tol=1e-2,
        fill_factor=1,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0,
        options={"SymmetricMode": True},
    )
    return np.asarray(found.perm_c, dtype=np.int64)


def _strict(rows: IntArray, columns: IntArray) -> tuple[IntArray, IntArray]:
    """The entries below the diagonal: the higher and the lower index of each."""
    off = rows != columns
    return np.maximum(rows, columns)[off], np.minimum(rows, columns)[off]


def _compressed(major: IntArray, minor: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """Starts (size + 1,) and sorted distinct minor indices of each major index."""
    # np.unique hashes integers, which for millions of such keys is ten times slower than to sort.
    keys = np.sort(major * np.int64(size) + minor)
    unique = keys[np.diff(keys, prepend=-1) > 0]
    owner, index = np.divmod(unique, size)
    return np.searchsorted(owner, np.arange(size + 1)).astype(np.int64), index


@njit(cache=True)
def _elimination_tree(starts, earlier):  # type: ignore[no-untyped-def]
    """Parent of each column, -1 at a root; Liu (1990), doi:10.1137/0611010."""
    size = len(starts) - 1
    parent = np.full(size, -1)
    ancestor = np.full(size, -1)
    for i in range(size):
        for at in range(starts[i], starts[i + 1]):
            j = earlier[at]
            while ancestor[j] != -1 and ancestor[j] != i:
                ancestor[j], j = i, ancestor[j]
            if ancestor[j] == -1:
                ancestor[j] = i
                parent[j] = i
    return parent


@njit(cache=True)
def _column_counts(parent, starts, earlier, limit):  # type: ignore[no-untyped-def]
    """Entries of L, in all and by column; both are cut short where they exceed `limit`."""
    size = len(parent)
    counts = np.ones(size, dtype=np.int64)
    seen = np.full(size, -1)
    total = size
    for i in range(size):
        seen[i] = i
        for at in range(starts[i], starts[i + 1]):
            j = earlier[at]
            while seen[j] != i:
                seen[j] = i
                counts[j] += 1
                total += 1
                j = parent[j]
        if total > limit:
            break
    return total, counts


@njit(cache=True)
def _postorder(parent):  # type: ignore[no-untyped-def]
    """The place of each column in a postorder of the tree."""
    size = len(parent)
    child = np.full(size + 1, -1)
    sibling = np.full(size, -1)
    for j in range(size - 1, -1, -1):
        above = parent[j] if parent[j] >= 0 else size
        sibling[j] = child[above]
        child[above] = j
    place = np.empty(size, dtype=np.int64)
    stack = np.empty(size + 1, dtype=np.int64)
    stack[0] = size
    depth, done = 1, 0
    while depth:
        j = stack[depth - 1]
        if child[j] >= 0:
            stack[depth] = child[j]
            depth += 1
            child[j] = sibling[child[j]]
        else:
            depth -= 1
            if j < size:
                place[j] = done
                done += 1
    return place


@njit(cache=True)
def _supernodes(parent, counts):  # type: ignore[no-untyped-def]
    """The first column of each supernode, merged with its last child's while few zeros are stored.

    counts must hold for a postorder.
    """
    size = len(parent)
    first = np.empty(size + 1, dtype=np.int64)
    filled = np.empty(size, dtype=np.int64)
    found = 0
    for j in range(size):
        start, entries = j, counts[j]
        while found:
            # The supernode just before this one; its rows below must lie in this one's.
            above = start - 1
            if parent[above] < start or parent[above] > j:
                break
            width = j + 1 - first[found - 1]
            stored = width * (width + 1) // 2 + width * (counts[j] - 1)
            merged = filled[found - 1] + entries
            if stored - merged > PADDING * stored:
                break
            found -= 1
            start, entries = first[found], merged
        first[found] = start
        filled[found] = entries
        found += 1
    first[found] = size
    return first[: found + 1].copy()


@njit(cache=True)
def _structure(first, parent, counts, starts, later):  # type: ignore[no-untyped-def]
    """Bounds and rows below of each supernode: those of its columns and of its children."""
    found = len(first) - 1
    below = np.zeros(found + 1, dtype=np.int64)
    for s in range(found):
        below[s + 1] = below[s] + counts[first[s + 1] - 1] - 1
    rows = np.empty(below[-1], dtype=np.int64)
    supernode = np.empty(len(parent), dtype=np.int64)
    child = np.full(found, -1)
    sibling = np.full(found, -1)
    seen = np.full(len(parent), -1)
    for s in range(found):
        end = first[s + 1]
        supernode[first[s] : end] = s
    for s in range(found):
        end = first[s + 1]
        at = below[s]
        for k in range(starts[first[s]], starts[end]):
            row = later[k]
            if row >= end and seen[row] != s:
                seen[row] = s
                rows[at] = row
                at += 1
        c = child[s]
        while c >= 0:
            for k in range(below[c], below[c + 1]):
                row = rows[k]
                if row >= end and seen[row] != s:
                    seen[row] = s
                    rows[at] = row
                    at += 1
            c = sibling[c]
        rows[below[s] : below[s + 1]].sort()
        if parent[end - 1] >= 0:
            above = supernode[parent[end - 1]]
            sibling[s] = child[above]
            child[above] = s
    return below, rows


def _panels(
    bounds: IntArray, below: IntArray, rows: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """First columns, bounds and rows below of the panels: supernodes cut to `WIDEST` columns."""
    pieces = -(-np.diff(bounds) // WIDEST)
    owner = np.repeat(np.arange(len(pieces)), pieces)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = np.append(bounds[owner] + rank * WIDEST, bounds[-1])
    rest = bounds[owner + 1] - first[1:]
    heights = rest + np.diff(below)[owner]
    new_below = np.concatenate([[0], np.cumsum(heights)])
    new_rows = np.empty(new_below[-1], dtype=np.int64)
    _cut(bounds, below, rows, owner, rest, new_below, new_rows)
    return first, new_below, new_rows


@njit(cache=True)
def _cut(bounds, below, rows, owner, rest, new_below, new_rows):  # type: ignore[no-untyped-def]
    """Rows below of each panel: the rest of its supernode's columns, then that one's rows."""
    for p in range(len(owner)):
        s = owner[p]
        at = new_below[p]
        for k in range(rest[p]):
            new_rows[at + k] = bounds[s + 1] - rest[p] + k
        new_rows[at + rest[p] : new_below[p + 1]] = rows[below[s] : below[s + 1]]


def _locate(
    order: IntArray,
    first: IntArray,
    start: IntArray,
    below: IntArray,
    rows: IntArray,
    panel: IntArray,
    i: IntArray,
    j: IntArray,
) -> IntArray:
    """`lookup` before there is a Pattern."""
    row, column = np.maximum(order[i], order[j]), np.minimum(order[i], order[j])
    p = panel[column]
    width = first[p + 1] - first[p]
    size = np.int64(len(order))
    keys = np.repeat(np.arange(len(below) - 1) * size, np.diff(below)) + rows
    at = np.searchsorted(keys, p * size + row)
    inside = row < first[p + 1]
    local = np.where(inside, row - first[p], width + at - below[p])
    found = inside | (np.append(keys, -1)[at] == p * size + row)
    return np.where(found, start[p] + local * width + column - first[p], -1)


# Numbers


@njit(cache=True, error_model="numpy")
def _inner(rows, begin, end, last):  # type: ignore[no-untyped-def]
    """How many of rows[begin:end] come before `last`."""
    k = begin
    while k < end and rows[k] < last:
        k += 1
    return k - begin


@njit(cache=True, error_model="numpy")
def _place(rows, begin, inner, end, first, last, low, high, where):  # type: ignore[no-untyped-def]
    """Local rows of rows[begin:end] in a later panel, whose columns the first `inner` are.

    That panel has the columns first..last - 1 and the rows below rows[low:high].
    """
    for k in range(inner):
        where[k] = rows[begin + k] - first
    at = low
    for k in range(begin + inner, end):
        row = rows[k]
        if rows[at] != row:
            # Double the step, then halve the bracket: neighbours cost one look.
            step = 1
            while at + step < high and rows[at + step] < row:
                at += step
                step *= 2
            right = min(at + step, high - 1)
            while at + 1 < right:
                middle = (at + right) // 2
                if rows[middle] < row:
                    at = middle
                else:
                    right = middle
            at = right
        where[k - begin] = last - first + at - low
        at += 1


@njit(cache=True, error_model="numpy")
def _factorise_panel(panel, w):  # type: ignore[no-untyped-def]
    """Cholesky factor of the triangle and substitution below it; False where a pivot fails."""
    for i in range(len(panel) // w):
        here = panel[i * w : (i + 1) * w]
        for j in range(min(i, w)):
            total = here[j]
            for k in range(j):
                total -= here[k] * panel[j * w + k]
            here[j] = total / panel[j * w + j]
        if i < w:
            total = here[i]
            for k in range(i):
                total -= here[k] * here[k]
            if not 0.0 < total < np.inf:
                return False
            here[i] = np.sqrt(total)
    return True


@njit(cache=True, error_model="numpy")
def factorise_panels(L, first, start, below, rows, owner, scratch, where):  # type: ignore[no-untyped-def]
    """Right-looking: each panel, once done, is subtracted from those of its rows below."""
    for p in range(len(first) - 1):
        w = first[p + 1] - first[p]
        if not _factorise_panel(L[start[p] : start[p + 1]], w):
            return False
        begin, end = below[p], below[p + 1]
        tail = L[start[p] + w * w : start[p + 1]]
        while begin < end:
            t = owner[rows[begin]]
            m, c = end - begin, _inner(rows, begin, end, first[t + 1])
            _place(rows, begin, c, end, first[t], first[t + 1], below[t], below[t + 1], where)
            target, width = L[start[t] : start[t + 1]], first[t + 1] - first[t]
            if m * c * w < BLAS:
                for i in range(m):
                    for k in range(min(i + 1, c)):
                        total = 0.0
                        for a in range(w):
                            total += tail[i * w + a] * tail[k * w + a]
                        target[where[i] * width + where[k]] -= total
            else:
                product = scratch[: m * c].reshape(m, c)
                np.dot(tail.reshape(m, w), tail[: c * w].reshape(c, w).T, product)
                for i in range(m):
                    for k in range(min(i + 1, c)):
                        target[where[i] * width + where[k]] -= product[i, k]
            tail = tail[c * w :]
            begin += c
    return True


@njit(cache=True, error_model="numpy")
def forward(L, first, start, below, rows, x):  # type: ignore[no-untyped-def]
    """Turn x (size, k) into L^-1 x."""
    for p in range(len(first) - 1):
        J, w = first[p], first[p + 1] - first[p]
        panel = L[start[p] : start[p + 1]]
        for a in range(w):
            for b in range(a):
                _subtract(x, J + a, panel[a * w + b], J + b)
            for c in range(x.shape[1]):
                x[J + a, c] /= panel[a * w + a]
        for k in range(below[p + 1] - below[p]):
            for a in range(w):
                _subtract(x, rows[below[p] + k], panel[(w + k) * w + a], J + a)


@njit(cache=True, error_model="numpy")
def backward(L, first, start, below, rows, x):  # type: ignore[no-untyped-def]
    """Turn x (size, k) into L^-T x."""
    for p in range(len(first) - 2, -1, -1):
        J, w = first[p], first[p + 1] - first[p]
        panel = L[start[p] : start[p + 1]]
        for k in range(below[p + 1] - below[p]):
            for a in range(w):
                _subtract(x, J + a, panel[(w + k) * w + a], rows[below[p] + k])
        for a in range(w - 1, -1, -1):
            for b in range(a + 1, w):
                _subtract(x, J + a, panel[b * w + a], J + b)
            for c in range(x.shape[1]):
                x[J + a, c] /= panel[a * w + a]


@njit(cache=True, error_model="numpy")
def _subtract(x, i, factor, j):  # type: ignore[no-untyped-def]
    """Subtract factor x[j] from x[i]."""
    for c in range(x.shape[1]):
        x[i, c] -= factor * x[j, c]


@njit(cache=True, error_model="numpy")
def invert_panels(L, Z, first, start, below, rows, owner, scratch, where):  # type: ignore[no-untyped-def]
    """Each panel of the inverse from later ones."""
    inverse, Y, Z_II, product = scratch[0], scratch[1], scratch[2], scratch[3]
    for p in range(len(first) - 2, -1, -1):
        w, h = first[p + 1] - first[p], below[p + 1] - below[p]
        middle = start[p] + w * w
        Z_JJ, Z_IJ = Z[start[p] : middle], Z[middle : start[p + 1]]
        _invert_triangle(L[start[p] : middle], w, inverse)
        _cross(inverse, inverse, Z_JJ, w, w, w)
        _times(L[middle : start[p + 1]], inverse, Y, h, w, w)
        begin, end = below[p], below[p + 1]
        while begin < end:
            t = owner[rows[begin]]
            m, c = end - begin, _inner(rows, begin, end, first[t + 1])
            _place(rows, begin, c, end, first[t], first[t + 1], below[t], below[t + 1], where)
            source, width = Z[start[t] : start[t + 1]], first[t + 1] - first[t]
            for i in range(m):
                for k in range(c):
                    Z_II[i * c + k] = source[where[i] * width + where[k]]
            at = (begin - below[p]) * w
            _times(Z_II, Y[at:], product, m, c, w)
            for i in range(m * w):
                Z_IJ[at + i] -= product[i]
            # The block above the diagonal is the mirror of that below.
            _cross(Z_II[c * c :], Y[at + c * w :], product, m - c, c, w)
            for i in range(c * w):
                Z_IJ[at + i] -= product[i]
            begin += c
        _cross(Y, Z_IJ, product, h, w, w)
        for i in range(w * w):
            Z_JJ[i] -= product[i]


@njit(cache=True, error_model="numpy")
def _invert_triangle(triangle, w, inverse):  # type: ignore[no-untyped-def]
    """Inverse (w, w) of a lower triangle (w, w)."""
    for a in range(w):
        for b in range(w):
            inverse[a * w + b] = 0.0
        for k in range(a):
            factor = triangle[a * w + k] / triangle[a * w + a]
            for b in range(k + 1):
                inverse[a * w + b] -= factor * inverse[k * w + b]
        inverse[a * w + a] = 1.0 / triangle[a * w + a]


@njit(cache=True, error_model="numpy")
def _times(left, right, out, m, k, n):  # type: ignore[no-untyped-def]
    """Form out (m, n) = left (m, k) @ right (k, n), each the start of a flat array."""
    if m * k * n >= BLAS:
        np.dot(
            left[: m * k].reshape(m, k), right[: k * n].reshape(k, n), out[: m * n].reshape(m, n)
        )
        return
    for i in range(m):
        for b in range(n):
            out[i * n + b] = 0.0
        for a in range(k):
            factor = left[i * k + a]
            for b in range(n):
                out[i * n + b] += factor * right[a * n + b]


@njit(cache=True, error_model="numpy")
def _cross(left, right, out, m, k, n):  # type: ignore[no-untyped-def]
    """Form out (k, n) = left (m, k)' @ right (m, n), each the start of a flat array."""
    if m * k * n >= BLAS:
        np.dot(
            left[: m * k].reshape(m, k).T, right[: m * n].reshape(m, n), out[: k * n].reshape(k, n)
        )
        return
    for i in range(k * n):
        out[i] = 0.0
    for i in range(m):
        for a in range(k):
            factor = left[i * k + a]
            for b in range(n):
                out[a * n + b] += factor * right[i * n + b]
