"""Which columns are constant within the levels of a group: macro columns, as against micro.

A group is one column of labels, or several joined by a colon: `batch:cask`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hlm_models.data.table import LabelColumn, NumberColumn, Table
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.types import BoolArray

__all__ = ["check_macro", "macro_columns"]

ROWS = 65_536
"""Rows looked at together."""


def macro_columns(table: Table, group: str) -> frozenset[str]:
    """Columns, but for the group itself, that are constant within every level of `group`."""
    first = _first_rows(_parts(table, group))
    return frozenset(
        name for name in table.columns if name != group and not _varies_at_all(table, name, first)
    )


def check_macro(table: Table, macro: Mapping[str, Sequence[str]]) -> None:
    """Hold stated roles against the rows.

    Raises
    ------
    InputErrors
        All groups and columns that the model does not use, and all columns that vary within a
        level of their group, with one such level.
    """
    problems: list[Problem] = []
    labelled = [name for name, column in table.columns.items() if isinstance(column, LabelColumn)]
    for group, names in macro.items():
        key = f"macro.{group}"
        if group not in labelled and not set(group.split(":")) <= set(labelled):
            near = nearest(group, labelled)
            problems.append(Problem(f"the model has no group {group!r}{near}", key=key))
            continue
        parts = _parts(table, group)
        first = _first_rows(parts)
        for name in names:
            if name == group or name not in table.columns:
                near = nearest(name, table.columns.keys() - {group})
                problems.append(Problem(f"the model uses no column {name!r}{near}", key=key))
                continue
            varies = _varies(table, name, first)
            if varies.any():
                row = int(varies.argmax())
                level = ":".join(part.labels[part.codes[row]] for part in parts)
                problems.append(
                    Problem(
                        f"{name} varies within {group}, for instance in {level!r}, so it is not "
                        f"a macro column; take it out of macro, or derive its mean by {group}",
                        key=key,
                    )
                )
    if problems:
        raise InputErrors(problems)


def _parts(table: Table, group: str) -> list[LabelColumn]:
    names = [group] if group in table.columns else group.split(":")
    return [table.labels(name) for name in names]


def _first_rows(parts: list[LabelColumn]) -> NDArray[np.intp]:
    """For each row the first row of its level, shape (n,)."""
    levels = parts[0].codes.astype(np.int64)
    for part in parts[1:]:
        levels = pd.factorize(levels * len(part.labels) + part.codes)[0]
    first = np.empty(levels.max() + 1, dtype=np.intp)
    # Of several values for one place the last one stays.
    first[levels[::-1]] = np.arange(len(levels) - 1, -1, -1)
    rows: NDArray[np.intp] = first[levels]
    return rows


def _varies_at_all(table: Table, name: str, first: NDArray[np.intp]) -> bool:
    """Whether the column varies within a level; most that do, do so in the first rows."""
    column = table.columns[name]
    values = column.values if isinstance(column, NumberColumn) else column.codes
    return any(
        bool((values[lo : lo + ROWS] != values[first[lo : lo + ROWS]]).any())
        for lo in range(0, len(first), ROWS)
    )


def _varies(table: Table, name: str, first: NDArray[np.intp]) -> BoolArray:
    column = table.columns[name]
    values = column.values if isinstance(column, NumberColumn) else column.codes
    varies: BoolArray = values != values[first]
    return varies
