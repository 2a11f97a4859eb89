"""New rows as columns of the same sorts as a model's table: numbers, and codes of its labels."""

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from hlm_models.data.read import refuse_columns
from hlm_models.data.sql import derive_columns
from hlm_models.data.table import Column, LabelColumn, NumberColumn, Table, label_column
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.types import FloatArray, frozen

__all__ = ["KEY", "new_rows", "readable_rows"]

KEY = "new_data"
"""What problems of new rows are keyed by."""


def new_rows(
    frame: pd.DataFrame,
    like: Table,
    *,
    columns: Sequence[str],
    open_labels: Collection[str],
    derive: Mapping[str, str],
) -> Table:
    """The `columns` of `frame`, in the sorts and with the labels of the table `like`.

    Parameters
    ----------
    frame : rows are counted from 1 in messages, whatever its index
    open_labels : columns that may have labels which `like` has not; their code is then -1
    derive : SQL expressions of columns that are made where `frame` has them not

    Raises
    ------
    InputErrors
        columns of one name; all columns that are not there, numbers that are none, are missing or
        infinite, and labels that the model has not seen.
    """
    table, problems = readable_rows(
        frame, like, columns=columns, open_labels=open_labels, derive=derive
    )
    if problems:
        raise InputErrors(problems)
    return table


def readable_rows(
    frame: pd.DataFrame,
    like: Table,
    *,
    columns: Sequence[str],
    open_labels: Collection[str],
    derive: Mapping[str, str],
) -> tuple[Table, list[Problem]]:
    """As `new_rows`, of the columns that can be read; and what is wrong with the others.

    Raises
    ------
    InputErrors
        columns of one name; a step of `derive` that cannot be made.
    """
    frame = frame.set_axis(frame.columns.map(str), axis="columns").reset_index(drop=True)
    refuse_columns(frame.columns.tolist(), key=KEY)
    frame = _derived(frame, columns, derive)
    problems: list[Problem] = []
    found: dict[str, Column] = {}
    for name in columns:
        try:
            found[name] = _column(frame, name, like.columns[name], closed=name not in open_labels)
        except InputErrors as error:
            problems += error.problems
    return Table(found, n=len(frame), source=KEY, notes=()), problems


def _derived(
    frame: pd.DataFrame, columns: Sequence[str], derive: Mapping[str, str]
) -> pd.DataFrame:
    """With the derived columns that are wanted and not there, and those that they are made of."""
    wanted, steps = set(columns) - set(frame), {}
    for name, text in reversed(list(derive.items())):
        if name in wanted:
            steps[name] = text
            wanted |= set(re.findall(r"\w+", text)) - set(frame)
    for name, text in steps.items():
        if re.search(r"\bover\b", text, re.IGNORECASE):
            raise InputErrors.one(
                f"there is no column {name!r}, and {text!r} makes it of several rows, so that it "
                f"would be another number among new rows; give {name} in the new data",
                key=KEY,
            )
    return derive_columns(frame, dict(reversed(list(steps.items())))) if steps else frame


def _column(frame: pd.DataFrame, name: str, like: Column, *, closed: bool) -> Column:
    if name not in frame:
        new = "; new groups, with groups='population', 'typical' or 'borrowed', need none"
        raise InputErrors.one(
            f"the model needs a column {name!r}, which is not there{nearest(name, frame.columns)}"
            + ("" if closed else new),
            key=KEY,
        )
    series = frame[name]
    gap = series.isna()
    if gap.any():
        raise InputErrors.one(
            f"{name} misses {gap.sum()} of {len(frame)} values, first in row {_first(gap)}; give "
            "them, or leave these rows out",
            key=KEY,
        )
    if isinstance(like, NumberColumn):
        return NumberColumn(_numbers(series), name)
    return _coded(series, like, closed=closed)


def _numbers(series: pd.Series) -> FloatArray:
    plain = series if pd.api.types.is_numeric_dtype(series) else series.astype("str")
    values = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = pd.Series(~np.isfinite(values))
    if bad.any():
        row = _first(bad)
        raise InputErrors.one(
            f"{series.name} must hold finite numbers, but row {row} holds "
            f"{str(series.iloc[row - 1])!r}",
            key=KEY,
        )
    return frozen(np.array(values))


def _coded(series: pd.Series, like: LabelColumn, *, closed: bool) -> LabelColumn:
    labels = label_column(series, group=True)
    place = {label: code for code, label in enumerate(like.labels)}
    codes = np.array([place.get(label, -1) for label in labels.labels], dtype=np.int32)[
        labels.codes
    ]
    new = pd.Series(codes < 0)
    if closed and new.any():
        row = _first(new)
        label = labels.labels[labels.codes[row - 1]]
        known = f" (levels: {', '.join(like.labels)})" if len(like.labels) <= 20 else ""
        raise InputErrors.one(
            f"row {row} has {label!r}, which is not a level of {series.name} in the data of the "
            f"model{nearest(label, like.labels)}{known}; leave the row out, or fit to data that "
            "have the level",
            key=KEY,
        )
    return LabelColumn(frozen(codes), like.labels, kept=like.kept)


def _first(holds: pd.Series) -> int:
    return 1 + int(holds.to_numpy().argmax())
