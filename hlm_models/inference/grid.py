"""The grid of predictors that marginal means are taken over."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hlm_models.data.table import Column, LabelColumn, NumberColumn, Table
from hlm_models.design.build import Design
from hlm_models.design.formula import names_in
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.types import FloatArray, frozen

__all__ = ["Value", "grid_table", "reference_grid"]

Value = float | str
"""A number, or a level of a factor."""


def reference_grid(
    design: Design, asked: Sequence[str], at: Mapping[str, Value | Sequence[Value]]
) -> dict[str, tuple[Value, ...]]:
    """Values of every predictor, and of the offset: the given ones, all levels, or the mean.

    Parameters
    ----------
    asked : predictors that must have levels or given values
    at : values that are given

    Raises
    ------
    InputErrors
        every name that is no predictor, value that is no level or finite number, or stands twice,
        number without values.
    """
    names = [*design.encoding.columns]
    if design.offset_column is not None and design.offset_column not in names:
        names.append(design.offset_column)
    levels = {
        name: known
        for written, known in design.encoding.categories
        for name in ([written] if written in names else names_in(written))
    }
    problems = [
        Problem(
            f"'{name}' is not a predictor of this model{nearest(name, names)} "
            f"(predictors: {', '.join(names) or 'none'})",
            key=key,
        )
        for key, given in (("factors", asked), ("at", at))
        for name in given
        if name not in names
    ]
    problems += [
        Problem(f"'{name}' stands twice", key="factors")
        for name in dict.fromkeys(asked)
        if asked.count(name) > 1
    ]
    grid: dict[str, tuple[Value, ...]] = {}
    for name in names:
        column = design.table.columns[name]
        try:
            values = _given(name, at[name]) if name in at else None
            if isinstance(column, LabelColumn):
                grid[name] = _labels(name, values, levels[name])
            else:
                known = tuple(float(level) for level in levels.get(name, ()))
                grid[name] = _numbers(name, values, column.values, known, asked=name in asked)
        except InputErrors as error:
            problems += error.problems
    if problems:
        raise InputErrors(problems)
    return grid


def _given(name: str, given: object) -> list[object]:
    """The values that a user gives for one predictor: one, or several."""
    if isinstance(given, str) or not np.iterable(given):
        return [given]
    values = list(given)
    if not values:
        raise InputErrors.one(f"no value is given for {name}", key="at")
    return values


def _labels(name: str, values: Sequence[object] | None, levels: Sequence[str]) -> tuple[str, ...]:
    if values is None:
        return tuple(levels)
    for value in values:
        if str(value) not in levels:
            raise InputErrors.one(
                f"'{value}' is not a level of {name}{nearest(value, levels)} "
                f"(levels: {', '.join(levels)})",
                key="at",
            )
    return _distinct(name, [str(value) for value in values])


def _numbers(
    name: str,
    values: Sequence[object] | None,
    column: FloatArray,
    levels: tuple[float, ...],
    *,
    asked: bool,
) -> tuple[float, ...]:
    """Values of a number, which has `levels` where the formula takes it as a factor."""
    if values is not None:
        try:
            numbers = [float(value) for value in values]  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            numbers = [math.nan]
        if not np.isfinite(numbers).all():
            raise InputErrors.one(
                f"{name} is a number, and {list(values)} are not all finite numbers", key="at"
            )
        return _distinct(name, numbers)
    if levels:
        return levels
    if asked:
        raise InputErrors.one(f"{name} is a number: say where, as at={{'{name}': [...]}}", key="at")
    return (float(column.mean()),)


def _distinct[V: Value](name: str, values: Sequence[V]) -> tuple[V, ...]:
    for value in values:
        if values.count(value) > 1:
            shown = value if isinstance(value, str) else f"{value:g}"
            raise InputErrors.one(f"{shown} stands twice among the values of {name}", key="at")
    return tuple(values)


def grid_table(design: Design, points: Sequence[Mapping[str, Value]]) -> Table:
    """One row a point, with the columns that X is computed from."""
    columns: dict[str, Column] = {}
    for name in design.encoding.columns:
        column, values = design.table.columns[name], [point[name] for point in points]
        if isinstance(column, LabelColumn):
            codes = [column.labels.index(str(value)) for value in values]
            columns[name] = replace(column, codes=frozen(np.array(codes, dtype=np.int32)))
        else:
            columns[name] = NumberColumn(frozen(np.array(values, dtype=np.float64)), name)
    return replace(design.table, columns=columns, n=len(points))
