"""A model's line within a level: the columns that vary there, and what all others come to.

Within a level j a macro predictor is a number, so that a column made of it is a combination of
columns that vary there: flp:ses is flp_j times ses, and flp is flp_j times the constant. The
coefficients of the level are those of the columns K that vary,

    c_j = F_j beta + R_j b_j

with F_j (k, p) and R_j (k, q) ones where a column is in K and such combinations elsewhere.
"""

from dataclasses import dataclass, replace

import numpy as np

from hlm_models.algebra.group_least_squares import ALIASED, group_least_squares
from hlm_models.data.roles import macro_columns
from hlm_models.data.table import Column, LabelColumn
from hlm_models.design.build import Design, RandomBlock
from hlm_models.errors import RefusalError
from hlm_models.interpretation.group_ols import GroupedRows, rows_of
from hlm_models.types import BoolArray, FloatArray, IntArray, frozen

__all__ = ["LevelColumns", "level_columns"]


@dataclass(frozen=True, eq=False)
class LevelColumns:
    """The k columns of levels of one group, in the order of X; effects that X lacks stand last.

    fixed : (J, k, p) F_j
    random : (J, k, q) R_j
    own : (J, k) whether the rows of the level tell the coefficient from all others of K
    rows : the columns K and the response, for least squares
    """

    names: tuple[str, ...]
    fixed: FloatArray
    random: FloatArray
    own: BoolArray
    rows: GroupedRows


def level_columns(design: Design, block: RandomBlock) -> LevelColumns:
    """The columns that vary within the levels of a block, and the others as functions of them.

    Raises
    ------
    RefusalError
        a column is a combination of others within every level, but not for its macro predictors.
    """
    rows = rows_of(design, block)
    extra = [k for k, name in enumerate(block.effects) if name not in design.coef]
    names = (*design.coef, *(block.effects[k] for k in extra))
    X = np.column_stack([design.X, block.z[:, extra]])
    # Columns that vary by group come first, so that what varies is told from what does not by them.
    first = [names.index(name) for name in block.effects]
    order = [*first, *(k for k in range(len(names)) if k not in first)]
    found = group_least_squares(
        X[:, order] * rows.root[:, None], rows.y * rows.root, block.level, block.J
    )
    kept = np.sort(np.array(order)[found.estimable.any(axis=0)])
    others = np.setdiff1d(np.arange(len(names)), kept)
    whole = np.zeros((block.J, len(kept), len(names)))
    whole[:, np.arange(len(kept)), kept] = 1.0
    if others.size:
        whole[:, :, others] = _combinations(design, block, extra, kept, others, names)
    random = np.zeros((block.J, len(kept), block.q))
    for k, name in enumerate(block.effects):
        random[:, :, k] = whole[:, :, names.index(name)]
    grouped = replace(rows, X=frozen(X[:, kept]), coef=tuple(names[k] for k in kept))
    return LevelColumns(
        names=grouped.coef,
        fixed=frozen(whole[:, :, : design.p]),
        random=frozen(random),
        own=_told(grouped),
        rows=grouped,
    )


def _combinations(
    design: Design,
    block: RandomBlock,
    extra: list[int],
    kept: IntArray,
    others: IntArray,
    names: tuple[str, ...],
) -> FloatArray:
    """Columns `others` as combinations of `kept` in each level (J, kept, others).

    Some rows that tell the kept columns apart get each level's macro predictors in turn: a few more
    of them than columns, so that what is no combination shows.
    """
    from scipy.linalg import qr

    X = np.column_stack([design.X, block.z[:, extra]])[:, kept]
    size = np.sqrt(np.mean(np.square(X), axis=0))
    _, _, pivots = qr((X / size).T, mode="economic", pivoting=True)
    further = np.linspace(0, design.n - 1, len(kept) + 3).astype(np.int64)
    basis = np.union1d(pivots[: len(kept)], further)
    level = np.zeros(block.J, dtype=np.int64)
    level[block.level[::-1]] = np.arange(design.n - 1, -1, -1)
    macro = macro_columns(design.table, block.group)
    micro_rows = np.tile(basis, block.J).astype(np.int64)
    macro_rows = np.repeat(level, len(basis))
    columns = {
        name: _taken(column, macro_rows if name in macro else micro_rows)
        for name, column in design.table.columns.items()
    }
    table = replace(design.table, columns=columns, n=block.J * len(basis))
    z = np.column_stack([side.apply(table) for side in block.encodings])
    made = np.column_stack([design.encoding.apply(table), z[:, extra]])
    made = made.reshape(block.J, len(basis), -1)
    inside, outside = made[:, :, kept], made[:, :, others]
    found = np.linalg.pinv(inside / size, rcond=1e-10) @ outside / size[:, None]
    left = np.abs(inside @ found - outside).max(axis=(0, 1))
    bad = left > 1e-6 * np.maximum(np.abs(outside).max(axis=(0, 1)), 1e-300)
    if bad.any():
        name = names[others[int(bad.argmax())]]
        raise RefusalError(
            f"within every level of {block.group} {name} is a combination of other columns, but "
            "not because of predictors that are constant there, so a level's line cannot be "
            "written without it: leave it, or one of the others, out of the formula"
        )
    return np.asarray(found)


def _taken(column: Column, rows: IntArray) -> Column:
    if isinstance(column, LabelColumn):
        return replace(column, codes=frozen(column.codes[rows]))
    return replace(column, values=frozen(column.values[rows]), owner=None)


def _told(rows: GroupedRows) -> BoolArray:
    """Whether a level's own rows tell each coefficient (J, k).

    Where they cannot tell x from the constant, they do not tell the constant's either: least
    squares without x has another one.
    """
    X, y = rows.X * rows.root[:, None], rows.y * rows.root
    found = group_least_squares(X, y, rows.level, rows.J)
    told = found.estimable.copy()
    squares = np.column_stack([np.bincount(rows.level, v * v, rows.J) for v in X.T])
    for k in np.flatnonzero(~found.estimable.all(axis=0)):
        shares = np.nan_to_num(group_least_squares(X, X[:, k], rows.level, rows.J).estimate)
        loaded = np.abs(shares) * np.sqrt(squares) > ALIASED * np.sqrt(squares[:, [k]])
        told &= ~(loaded & ~found.estimable[:, [k]])
    return told
