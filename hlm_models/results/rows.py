"""The rows to predict: raw columns and levels, of the model's own data or of new ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hlm_models.data.new_rows import KEY, new_rows
from hlm_models.data.table import Table
from hlm_models.design.build import RandomBlock
from hlm_models.design.formula import names_in
from hlm_models.errors import InputErrors, Problem
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray

__all__ = ["Rows", "model_rows", "read_rows"]


@dataclass(frozen=True, slots=True)
class Rows:
    """m rows: x (m, p), and for each block z (m, q) and level (m,).

    A level of -1 is none of the model's. `offset` (m,) is zero where the model has none, `weights`
    (m,) one; of known residual standard deviations they are the inverse squares. `index` names the
    rows.
    """

    x: FloatArray
    z: tuple[FloatArray, ...]
    level: tuple[IntArray, ...]
    offset: FloatArray
    weights: FloatArray
    index: pd.Index

    @property
    def m(self) -> int:
        return len(self.x)


def model_rows(spec: ModelSpec) -> Rows:
    """The rows that the model was built from."""
    design = spec.design
    return Rows(
        x=design.X,
        z=tuple(block.z for block in design.blocks),
        level=tuple(block.level for block in design.blocks),
        offset=np.zeros(design.n) if design.offset is None else design.offset,
        weights=np.ones(design.n) if design.weights is None else design.weights,
        index=pd.RangeIndex(design.n),
    )


def read_rows(
    spec: ModelSpec, frame: pd.DataFrame, *, effects: Collection[str], levels: Collection[str]
) -> Rows:
    """Rows of `frame` in the columns of the model, with the encoding that the model recorded.

    Derived columns of the model file that are not there are derived.

    Parameters
    ----------
    effects : groups whose z is needed; that of others is zero
    levels : groups whose levels must be among the model's; those of others are -1

    Raises
    ------
    InputErrors
        all that is wrong with the columns, and levels that the model has not.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputErrors.one("new data must be a pandas DataFrame", key=KEY)
    if frame.empty:
        raise InputErrors.one("the new data have no row", key=KEY)
    design = spec.design
    blocks = {block.group: block for block in design.blocks}
    sides = [design.encoding.side]
    sides += [side.side for group in effects for side in blocks[group].encodings]
    factors = [name for group in levels for name in blocks[group].factors]
    precision = design.known_sd_column or design.weights_column
    numbers = [name for name in (design.offset_column, precision) if name]
    predictors = [*(name for side in sides for name in names_in(side)), *numbers]
    table = new_rows(
        frame,
        design.table,
        columns=list(dict.fromkeys([*predictors, *factors])),
        open_labels=set(factors) - set(predictors),
        derive=spec.config["data"]["derive"],
    )
    level = tuple(
        _levels(block, design.table, table)
        if block.group in levels
        else np.full(table.n, -1, dtype=np.int64)
        for block in design.blocks
    )
    _refuse_new_levels(design.blocks, level, frame, levels)
    weights = table.number(precision) if precision else np.ones(table.n)
    if (weights <= 0).any():
        first = int((weights <= 0).argmax())
        raise InputErrors.one(
            f"{precision} must be above 0, but row {first + 1} has {weights[first]:g}", key=KEY
        )
    if design.known_sd_column:
        weights = weights**-2.0
    return Rows(
        x=design.encoding.apply(table),
        z=tuple(
            np.column_stack([side.apply(table) for side in block.encodings])
            if block.group in effects
            else np.zeros((table.n, block.q))
            for block in design.blocks
        ),
        level=level,
        offset=table.number(design.offset_column) if design.offset_column else np.zeros(table.n),
        weights=weights,
        index=frame.index,
    )


def _levels(block: RandomBlock, known: Table, table: Table) -> IntArray:
    """Level of the block for each row of `table` (m,), -1 where the model has no such level."""
    first = np.empty(block.J, dtype=np.int64)
    first[block.level[::-1]] = np.arange(len(block.level) - 1, -1, -1)
    mine, theirs = np.zeros(block.J, dtype=np.int64), np.zeros(table.n, dtype=np.int64)
    new = np.zeros(table.n, dtype=np.bool_)
    for name in block.factors:
        here, there = known.labels(name), table.labels(name)
        mine = mine * len(here.labels) + here.codes[first]
        theirs = theirs * len(here.labels) + there.codes
        new |= there.codes < 0
    # Levels are numbered in the order of these codes.
    place = np.minimum(np.searchsorted(mine, theirs), block.J - 1)
    return np.where(new | (mine[place] != theirs), -1, place)


def _refuse_new_levels(
    blocks: Sequence[RandomBlock],
    level: Sequence[IntArray],
    frame: pd.DataFrame,
    groups: Collection[str],
) -> None:
    problems = []
    for block, found in zip(blocks, level, strict=True):
        new = found < 0
        if block.group not in groups or not new.any():
            continue
        row = int(new.argmax())
        label = ":".join(str(frame[name].iloc[row]) for name in block.factors if name in frame)
        others = f" (nor are those of {new.sum() - 1} other rows)" if new.sum() > 1 else ""
        problems.append(
            Problem(
                f"{label!r} in row {row + 1} is not a level of {block.group} in the data of the "
                f"model{others}; new levels are predicted with groups='population' (their effects "
                "zero), 'typical' (drawn like those of the model) or 'borrowed' (one of them)",
                key=KEY,
            )
        )
    if problems:
        raise InputErrors(problems)
