"""The effects within each level of a grouping, as they stand in one matrix a level.

Integrated are the effects of every group whose levels each occur in one level of the grouping, the
group itself among them where it is one. A = 1 + Lambda' Z_I' Z_I Lambda of a level keeps its
skyline: levels come after those nested in them, so that nothing fills it in.
"""

import math
from dataclasses import dataclass

import numpy as np

from hlm_models.design.build import Design, RandomBlock
from hlm_models.elpd.grouping import Grouping
from hlm_models.types import FloatArray, IntArray

__all__ = ["Levels", "levels_of", "nested", "scaled_effects"]


@dataclass(frozen=True, eq=False)
class Levels:
    """What the levels of a grouping need of the data.

    Z_I and W = [X, y] are scaled and times the roots of the weights. `effects` are the sum of J q
    over I.

    integrated, given : the blocks I and C; q (I,) : effects of one level of each of I
    rows (n,), row_starts (J + 1,) : rows by level
    column : for each of I, where in A the effects of its levels start; those within level j of
        the grouping are from starts[j] to starts[j + 1], and row i of A starts at column first[i]
    below (m,), below_starts (effects + 1,) : rows of A below its diagonal, by column
    cells (m, 4) : row, column, and the block in I of each, of the blocks of Z_I'Z_I on and below
        its diagonal; `values` (m, q, q) are they, those of level j from cell_starts[j] on
    count, constant (J,) : n_j, and sum log w_i / 2 - (n_j / 2) log(2 pi)
    square (k (k + 1) / 2, J), right (k, effects) : lower triangle of W_j'W_j, and W'Z_I; empty
        where C is not
    """

    integrated: tuple[int, ...]
    given: tuple[int, ...]
    q: IntArray
    rows: IntArray
    row_starts: IntArray
    column: tuple[IntArray, ...]
    starts: IntArray
    first: IntArray
    below: IntArray
    below_starts: IntArray
    cells: IntArray
    cell_starts: IntArray
    values: FloatArray
    count: IntArray
    constant: FloatArray
    square: FloatArray
    right: FloatArray


def levels_of(design: Design, by: Grouping) -> Levels:
    """What the levels of `by` need of the data."""
    blocks = design.blocks
    # Coarse ones first; blocks are sorted by their number of levels.
    integrated = tuple(f for f in reversed(range(len(blocks))) if nested(blocks[f], by))
    given = tuple(f for f in range(len(blocks)) if f not in integrated)
    column, starts = _columns([blocks[f] for f in integrated], by)
    cells, values = _cells(design, integrated, column)
    first = np.arange(starts[-1])
    np.minimum.at(first, cells[:, 0], cells[:, 1])
    for f, begins in zip(integrated, column, strict=True):
        for a in range(1, blocks[f].q):
            first[begins + a] = first[begins]
    below, below_starts = _below(first)
    owner = np.searchsorted(starts, cells[:, 0], side="right") - 1
    order = np.argsort(owner, kind="stable")
    count = by.sizes
    constant = np.asarray(count * (-0.5 * math.log(2 * math.pi)), dtype=np.float64)
    if design.weights is not None:
        constant += np.bincount(by.level, np.log(design.weights), by.J) / 2
    square, right = np.zeros((0, 0)), np.zeros((0, 0))
    if not given:
        square, right = _cross_products(design, by, integrated, column, int(starts[-1]))
    return Levels(
        integrated=integrated,
        given=given,
        q=np.array([blocks[f].q for f in integrated], dtype=np.int64),
        rows=np.argsort(by.level, kind="stable"),
        row_starts=np.concatenate([[0], np.cumsum(count)]),
        column=column,
        starts=starts,
        first=first,
        below=below,
        below_starts=below_starts,
        cells=cells[order],
        cell_starts=np.searchsorted(owner[order], np.arange(by.J + 1)),
        values=values[order],
        count=count,
        constant=constant,
        square=square,
        right=right,
    )


def nested(inner: RandomBlock, outer: RandomBlock | Grouping) -> bool:
    """Whether each level of `inner` occurs in one level of `outer` only."""
    return bool(np.all(_levels_within(inner, outer)[inner.level] == outer.level))


def scaled_effects(design: Design, which: tuple[int, ...], rows: slice | IntArray) -> FloatArray:
    """Columns of some blocks side by side, scaled, times the roots of the weights."""
    parts = [design.z_scalings[f].apply(design.blocks[f].z[rows]) for f in which]
    Z = np.hstack([np.zeros((len(design.y[rows]), 0)), *parts])
    return Z if design.root_weights is None else Z * design.root_weights[rows, None]


def _levels_within(inner: RandomBlock, outer: RandomBlock | Grouping) -> IntArray:
    """The level (J,) of `outer` that the levels of `inner` have in one of their rows."""
    found = np.zeros(inner.J, dtype=np.int64)
    found[inner.level] = outer.level
    return found


def _columns(blocks: list[RandomBlock], by: Grouping) -> tuple[tuple[IntArray, ...], IntArray]:
    """Where the effects of each block's levels start, and those within each level of `by`.

    A level stands after all that are nested in it; blocks that are not nested in one another stand
    with the most levels first.
    """
    if not blocks:
        return (), np.zeros(by.J + 1, dtype=np.int64)
    keys = []
    for inner in blocks:
        own = [
            _levels_within(inner, outer)
            if nested(inner, outer)
            else np.full(inner.J, outer.J if nested(outer, inner) else -1)
            for outer in blocks
        ]
        keys.append(np.array([_levels_within(inner, by), *own]))
    sizes = np.concatenate([np.full(block.J, block.q) for block in blocks])
    key = np.concatenate(keys, axis=1)
    order = np.lexsort(key[::-1])
    begins = np.empty(len(order), dtype=np.int64)
    begins[order] = np.cumsum(sizes[order]) - sizes[order]
    within = np.bincount(key[0], sizes, by.J).astype(np.int64)
    column = np.split(begins, np.cumsum([block.J for block in blocks])[:-1])
    return tuple(column), np.concatenate([[0], np.cumsum(within)])


def _below(first: IntArray) -> tuple[IntArray, IntArray]:
    """Rows below the diagonal within a skyline, by column, and where those of a column start."""
    length = np.arange(len(first)) - first
    row = np.repeat(np.arange(len(first)), length)
    column = np.arange(len(row)) - np.repeat(np.cumsum(length) - length - first, length)
    starts = np.cumsum(np.bincount(column, minlength=len(first)))
    return row[np.argsort(column, kind="stable")], np.concatenate([[0], starts])


def _cells(
    design: Design, integrated: tuple[int, ...], column: tuple[IntArray, ...]
) -> tuple[IntArray, FloatArray]:
    """The blocks of Z_I'Z_I on and below its diagonal, and where each stands."""
    blocks = [design.blocks[f] for f in integrated]
    q = max((block.q for block in blocks), default=0)
    Z = [scaled_effects(design, (f,), slice(None)) for f in integrated]
    cells, values = [np.zeros((0, 4), dtype=np.int64)], [np.zeros((0, q, q))]
    for e, left in enumerate(blocks):
        for f, right in enumerate(blocks[: e + 1]):
            key = left.level if e == f else left.level * np.int64(right.J) + right.level
            met, place = np.unique(key, return_inverse=True)
            first, second = (met, met) if e == f else np.divmod(met, right.J)
            found = np.zeros((len(met), q, q))
            for a in range(left.q):
                for b in range(right.q):
                    found[:, a, b] = np.bincount(place, Z[e][:, a] * Z[f][:, b], len(met))
            row, other = column[e][first], column[f][second]
            below = row >= other
            here = np.full(len(met), e), np.full(len(met), f)
            cells.append(
                np.column_stack(
                    [
                        np.where(below, row, other),
                        np.where(below, other, row),
                        np.where(below, *here),
                        np.where(below, *here[::-1]),
                    ]
                )
            )
            values.append(np.where(below[:, None, None], found, np.swapaxes(found, 1, 2)))
    return np.concatenate(cells), np.concatenate(values)


def _cross_products(
    design: Design,
    by: Grouping,
    integrated: tuple[int, ...],
    column: tuple[IntArray, ...],
    effects: int,
) -> tuple[FloatArray, FloatArray]:
    """Lower triangle of W_j'W_j (k (k + 1) / 2, J), and W'Z_I (k, effects)."""
    fixed = design.x_scaling.apply(design.X)
    W = np.vstack([fixed.T, design.y_net - fixed @ design.y_fit])
    if design.root_weights is not None:
        W *= design.root_weights
    pairs = zip(*np.tril_indices(len(W)), strict=True)
    square = np.array([np.bincount(by.level, W[c] * W[d], by.J) for c, d in pairs])
    right = np.zeros((len(W), effects))
    for f, begins in zip(integrated, column, strict=True):
        block = design.blocks[f]
        for a, z in enumerate(scaled_effects(design, (f,), slice(None)).T):
            for c, w in enumerate(W):
                right[c, begins + a] = np.bincount(block.level, w * z, block.J)
    return square, right
