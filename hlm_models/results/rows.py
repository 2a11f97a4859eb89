"""The rows to predict: raw columns and levels, of the model's own data or of new ones."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hlm_models.data.new_rows import KEY, readable_rows
from hlm_models.data.table import Table
from hlm_models.design.build import RandomBlock
from hlm_models.design.columns import Encoding
from hlm_models.errors import InputErrors, Problem, nearest
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
    if not len(frame):
        raise InputErrors.one("the new data have no row", key=KEY)
    design = spec.design
    blocks = {block.group: block for block in design.blocks}
    sides = [design.encoding]
    sides += [side for group in effects for side in blocks[group].encodings]
    factors = [name for group in levels for name in blocks[group].factors]
    precision = design.known_sd_column or design.weights_column
    numbers = [name for name in (design.offset_column, precision) if name]
    predictors = [*(name for side in sides for name in side.columns), *numbers]

    def readable(frame: pd.DataFrame) -> tuple[Table, list[Problem]]:
        return readable_rows(
            frame,
            design.table,
            columns=list(dict.fromkeys([*predictors, *factors])),
            open_labels=set(factors) - set(predictors),
            derive=spec.config["data"]["derive"],
        )

    table, problems = readable(frame)
    level = [np.full(table.n, -1, dtype=np.int64) for _ in design.blocks]
    for place, block in enumerate(design.blocks):
        if block.group in levels and set(block.factors) <= set(table.columns):
            level[place] = _levels(block, design.table, table)
            problems += _new_levels(block, level[place], frame)
    weights = np.ones(table.n)
    if precision and precision in table.columns:
        weights = table.number(precision)
        problems += _weightless(weights, precision)
    computed: dict[int, FloatArray] = {}
    for side in sides:
        if set(side.columns) <= set(table.columns):
            try:
                computed[id(side)] = side.apply(table)
            except InputErrors as error:
                row = _first_refused(side, frame, lambda rows: readable(rows)[0])
                problems += [_at(row, problem) for problem in error.problems]
    if problems:
        raise InputErrors(dict.fromkeys(problems))
    return Rows(
        x=computed[id(design.encoding)],
        z=tuple(
            np.column_stack([computed[id(side)] for side in block.encodings])
            if block.group in effects
            else np.zeros((table.n, block.q))
            for block in design.blocks
        ),
        level=tuple(level),
        offset=table.number(design.offset_column) if design.offset_column else np.zeros(table.n),
        weights=weights**-2.0 if design.known_sd_column else weights,
        index=frame.index,
    )


def _weightless(weights: FloatArray, name: str) -> list[Problem]:
    """What is wrong with weights or known standard deviations, which must be above 0."""
    if (weights > 0).all():
        return []
    first = int((weights <= 0).argmax())
    return [Problem(f"{name} must be above 0, but row {first + 1} has {weights[first]:g}", key=KEY)]


def _first_refused(
    side: Encoding, frame: pd.DataFrame, read: Callable[[pd.DataFrame], Table]
) -> int:
    """Number, from 1, of the first row whose columns cannot be computed."""
    fine, refused = 0, len(frame)
    while refused - fine > 1:
        middle = (fine + refused) // 2
        try:
            side.apply(read(frame.iloc[fine:middle]))
            fine = middle
        except InputErrors:
            refused = middle
    return refused


def _at(row: int, problem: Problem) -> Problem:
    """The problem with its row, where it does not say it."""
    told = f"row {row}" in problem.message
    where = "" if told else f"; row {row} is the first: leave such rows out"
    return replace(problem, message=problem.message + where, key=KEY)


def _levels(block: RandomBlock, known: Table, table: Table) -> IntArray:
    """Level of the block for each row of `table` (m,), -1 where the model has no such level."""
    # Levels that have lost their rows are none of the data's.
    levels, first = np.unique(block.level, return_index=True)
    mine, theirs = np.zeros(len(levels), dtype=np.int64), np.zeros(table.n, dtype=np.int64)
    new = np.zeros(table.n, dtype=np.bool_)
    for name in block.factors:
        here, there = known.labels(name), table.labels(name)
        mine = mine * len(here.labels) + here.codes[first]
        theirs = theirs * len(here.labels) + there.codes
        new |= there.codes < 0
    # Levels are numbered in the order of these codes.
    place = np.minimum(np.searchsorted(mine, theirs), len(levels) - 1)
    return np.where(new | (mine[place] != theirs), -1, levels[place])


def _new_levels(block: RandomBlock, level: IntArray, frame: pd.DataFrame) -> list[Problem]:
    """What is wrong with rows of levels that the model has not."""
    new = level < 0
    if not new.any():
        return []
    row = int(new.argmax())
    label = ":".join(str(frame[name].iloc[row]) for name in block.factors if name in frame)
    others = f" (nor are those of {new.sum() - 1} other rows)" if new.sum() > 1 else ""
    return [
        Problem(
            f"{label!r} in row {row + 1} is not a level of {block.group} in the data of the "
            f"model{others}{nearest(label, block.labels)}; new levels are predicted with "
            "groups='population' (their effects zero), 'typical' (drawn like those of the model) "
            "or 'borrowed' (one of them)",
            key=KEY,
        )
    ]
