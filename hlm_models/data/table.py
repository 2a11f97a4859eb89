"""The validated table of a model: read-only columns of numbers and of labels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.types import FloatArray, frozen

__all__ = ["Column", "LabelColumn", "NumberColumn", "Table", "make_table"]

STRAY = 0.2
"""A text column with at most this share of entries that are no numbers is a column of numbers."""

POSITIVE = {
    "weights": ("a weight", "other weights"),
    "residual.sd": ("a standard deviation", "another column"),
}
"""Keys whose columns are above zero: what each of their numbers is, and what to derive instead."""

FAR = 1e70
"""A standard deviation beyond this, or below its inverse, cannot be squared twice."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumn:
    """One finite number a row.

    `owner` is the pandas column that the numbers are shared with: while it is held, pandas copies
    before it writes.
    """

    values: FloatArray
    name: str
    owner: pd.Series | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class LabelColumn:
    """One label a row: row i has `labels[codes[i]]`; in a table that was read, every label occurs.

    `kept` says that the order of the labels is the data's own, as of a Categorical.
    """

    codes: NDArray[np.int32]
    labels: tuple[str, ...]
    kept: bool = False

    def categorical(self) -> "pd.Categorical[str]":
        """As a predictor: labels sorted, unless the data brought an order of their own."""
        labels, codes = list(self.labels), self.codes
        if not self.kept:
            order = sorted(range(len(labels)), key=labels.__getitem__)
            place = np.empty(len(order), dtype=np.int32)
            place[order] = np.arange(len(order))
            labels, codes = [labels[k] for k in order], place[codes]
        return pd.Categorical.from_codes(codes, categories=pd.Index(labels))


Column = NumberColumn | LabelColumn


@dataclass(frozen=True, eq=False)
class Table:
    """The columns that a model uses, without missing values.

    `notes` says what was done to the rows.
    """

    columns: Mapping[str, Column]
    n: int
    source: str
    notes: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """Hash of the columns' names and values."""
        return _digest(self.columns)

    def number(self, name: str) -> FloatArray:
        column = self._column(name)
        if isinstance(column, NumberColumn):
            return column.values
        raise InputErrors.one(f"{name!r} holds labels; a number is needed", key="formula")

    def labels(self, name: str) -> LabelColumn:
        column = self._column(name)
        if isinstance(column, LabelColumn):
            return column
        raise InputErrors.one(f"{name!r} holds numbers; labels are needed", key="formula")

    def frame(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Columns as pandas has them, labels as Categorical; numbers are not copied."""
        return pd.DataFrame(
            {
                name: column.values if isinstance(column, NumberColumn) else column.categorical()
                for name, column in (
                    (name, self._column(name))
                    for name in (self.columns if names is None else names)
                )
            },
            copy=False,
        )

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            raise InputErrors.one(
                f"the model uses no column {name!r}{nearest(name, self.columns)}", key="formula"
            )
        return self.columns[name]


def make_table(
    frame: pd.DataFrame,
    *,
    columns: Sequence[str],
    groups: Sequence[str],
    response: str,
    missing: Literal["error", "drop"],
    source: str,
    numbers: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """Columns that a model uses, checked and made read-only.

    Numbers are shared with `frame` where they can be. Levels of a group are in the order of first
    appearance if text, ascending if numbers; other labels are sorted; categories keep their order.

    Parameters
    ----------
    frame : a row is named by its integer index plus one, as `read_frame` leaves it
    columns : predictors, also those of random slopes
    groups : always labels, whatever they are in `frame`
    response : always a number
    missing : drop the rows that miss a value in a column used, or raise
    source : what `frame` was read from, for readers
    numbers : further columns that are always numbers, with the key that names each; those of the
        keys `weights` and `residual.sd` are above zero

    Raises
    ------
    InputErrors
        All that is wrong with these columns: not there, of the wrong sort, missing or infinite
        values, a response without variation, a group whose variance cannot be estimated.
    """
    used = list(dict.fromkeys([response, *columns, *groups, *numbers]))
    faults: dict[str, Problem] = {}
    for name in used:
        fault = _fault(
            frame,
            name,
            predictor=(name in columns and name != response) or name in numbers,
            group=name in groups,
            number="response" if name == response else "column" if name in numbers else "",
        )
        if fault:
            faults[name] = Problem(fault, key=numbers.get(name, "formula"), fragment=name)
    sound = [name for name in used if name not in faults]
    gaps = {name: gap for name in sound if (gap := frame[name].isna()).any()}
    notes: tuple[str, ...] = ()
    if gaps and missing == "error":
        for name, gap in gaps.items():
            faults[name] = Problem(
                f"{name} misses {gap.sum()} of {len(frame)} values, first in row "
                f"{_first_row(gap)}; give them, or let their rows go with `missing: drop`",
                key="data.missing",
            )
        sound = [name for name in sound if name not in gaps]
    elif gaps:
        dropped = np.logical_or.reduce([gap.to_numpy() for gap in gaps.values()])
        counts = ", ".join(f"{name} misses {gap.sum()}" for name, gap in gaps.items())
        notes = (f"{dropped.sum()} of {len(frame)} rows dropped: {counts}",)
        frame = frame.loc[~dropped, sound]
    problems = list(faults.values())
    if len(frame) == 0:
        problems.append(Problem("; ".join(["no row is left", *notes]), key="data"))
        raise InputErrors(problems)
    table: dict[str, Column] = {
        name: label_column(frame[name], group=name in groups)
        if name in groups or _sort(frame[name]) != "number"
        else _number_column(frame[name], budget=8 * len(frame) * len(sound))
        for name in sound
    }
    problems += _variation_problems(table, groups=groups, response=response)
    problems += [
        problem
        for name, key in numbers.items()
        if key in POSITIVE and (problem := _positive_problem(frame, table.get(name), key))
    ]
    if problems:
        raise InputErrors(problems)
    notes += tuple(
        f"{name} is text that holds numbers only; it is taken as labels"
        for name, column in table.items()
        if isinstance(column, LabelColumn)
        and name not in groups
        and _sort(frame[name]) == "text"
        and pd.to_numeric(pd.Series(column.labels), errors="coerce").notna().all()
    )
    return Table(table, n=len(frame), source=source, notes=notes)


def _fault(
    frame: pd.DataFrame, name: str, *, predictor: bool, group: bool, number: str
) -> str | None:
    """Say what bars the column from its use, missing values apart.

    `number` is what the user must choose another of where it holds no numbers.
    """
    if name not in frame:
        return f"there is no column {name!r}{nearest(name, frame.columns)}"
    series = frame[name]
    sort = _sort(series)
    if sort == "other":
        return (
            f"{name} holds {pd.api.types.infer_dtype(series, skipna=True)} values, neither numbers "
            f"nor text; derive what is meant, as year({name}) or CAST({name} AS VARCHAR) do"
        )
    if number and sort != "number" and series.notna().any():
        return _text_fault(series, number)
    if (predictor or number) and group and sort == "number":
        return (
            f"{name} is used both as a number and as a group; derive one of them, as "
            f'{name}_group: "CAST({name} AS VARCHAR)" does'
        )
    if predictor and not group and sort == "text":
        return _stray_text_fault(series)
    return _infinite_fault(series) if sort == "number" else None


def _stray_text_fault(series: pd.Series) -> str | None:
    """Say that a column of numbers has a few entries that are none: it is no factor."""
    text = series.dropna().astype("str")
    other = pd.to_numeric(text, errors="coerce").isna()
    if not other.any() or float(other.mean()) > STRAY:
        return None
    return (
        f"{series.name} holds numbers but for {other.sum()} of {len(text)} entries, first "
        f"{text.loc[other].iloc[0]!r} in row {_first_row(other)}; give the numbers, or let the "
        f"rows go with `where`; where labels are meant, derive a text that is no number"
    )


def _infinite_fault(series: pd.Series) -> str | None:
    if pd.api.types.is_integer_dtype(series):
        return None
    infinite = pd.Series(np.isinf(_numbers(series)), index=series.index)
    if not infinite.any():
        return None
    return (
        f"{series.name} is infinite in {infinite.sum()} of {len(series)} rows, first in row "
        f"{_first_row(infinite)}; leave them out with `where: isfinite({series.name})`"
    )


def _text_fault(series: pd.Series, number: str) -> str:
    text = series.astype("str")
    other = pd.to_numeric(text, errors="coerce").isna() & series.notna()
    if not other.any():
        return (
            f"{series.name} must hold numbers, but holds numbers written as text; derive them, as "
            f'{series.name}_number: "CAST({series.name} AS DOUBLE)" does'
        )
    return (
        f"{series.name} must hold numbers, but row {_first_row(other)} holds "
        f"{text.iloc[int(other.argmax())]!r}; derive a number from it, or choose another {number}"
    )


def _variation_problems(
    table: Mapping[str, Column], *, groups: Sequence[str], response: str
) -> list[Problem]:
    problems: list[Problem] = []
    column = table.get(response)
    if isinstance(column, NumberColumn) and column.values.min() == column.values.max():
        problems.append(
            Problem(
                f"{response} is {column.values[0]:g} in every row; nothing varies",
                key="formula",
                fragment=response,
            )
        )
    for name in dict.fromkeys(groups):
        group = table.get(name)
        if not isinstance(group, LabelColumn):
            continue
        if len(group.labels) == 1:
            problems.append(
                Problem(
                    f"{name} has one level: a variance between groups cannot be estimated; "
                    f"leave the terms of {name} out",
                    key="formula",
                    fragment=name,
                )
            )
    return problems


def _positive_problem(frame: pd.DataFrame, column: Column | None, key: str) -> Problem | None:
    if not isinstance(column, NumberColumn):
        return None
    values, name = column.values, column.name
    if (values > 0).all():
        far = pd.Series((values < 1 / FAR) | (values > FAR), index=frame.index)
        if key == "weights" or not far.any():
            return None
        return Problem(
            f"{name} is {values[int(far.argmax())]:g} in row {_first_row(far)}, too far from 1 to "
            "be squared twice; derive it, and the response, in another unit",
            key=key,
        )
    bad = pd.Series(values <= 0, index=frame.index)
    one, others = POSITIVE[key]
    return Problem(
        f"{name} is {values[int(bad.argmax())]:g} in row {_first_row(bad)}, and in "
        f"{bad.sum()} of {len(frame)} rows not above 0 as {one} must be; leave these rows out "
        f"with `where: {name} > 0`, or derive {others}",
        key=key,
    )


def _sort(series: pd.Series) -> Literal["number", "text", "category", "other"]:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_numeric_dtype(dtype):
        return "other" if pd.api.types.is_complex_dtype(dtype) else "number"
    held = pd.api.types.infer_dtype(series, skipna=True)
    if held == "string":
        return "text"
    numbers = {"boolean", "integer", "floating", "mixed-integer-float", "decimal", "empty"}
    return "number" if held in numbers else "other"


def _numbers(series: pd.Series) -> FloatArray:
    """Values as float64, shared with the column where it holds them so; NaN where missing."""
    if series.dtype == np.float64:
        return np.ascontiguousarray(series.to_numpy())
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _number_column(series: pd.Series, *, budget: int) -> NumberColumn:
    values = _numbers(series)
    shared = np.shares_memory(values, series.to_numpy()) if series.dtype == np.float64 else False
    # A view would keep alive the whole block of a wide frame that has other columns too.
    if shared and isinstance(values.base, np.ndarray) and values.base.nbytes > budget:
        values, shared = values.copy(), False
    return NumberColumn(frozen(values), name=str(series.name), owner=series if shared else None)


def label_column(series: pd.Series, *, group: bool) -> LabelColumn:
    sort = _sort(series)
    if sort == "category":
        codes, levels = series.cat.codes.to_numpy(), series.cat.categories
        present = np.bincount(codes, minlength=len(levels)) > 0
        codes, levels = (np.cumsum(present) - 1)[codes], levels[present]
    else:
        codes, levels = pd.factorize(series)
        if (sort == "number" or not group) and not levels.is_monotonic_increasing:
            order = np.argsort(levels)  # of levels, not rows, as factorize(sort=True) needs
            codes, levels = np.argsort(order).astype(np.int32)[codes], levels[order]
    whole = pd.api.types.is_integer_dtype(levels)
    labels = tuple(map(str if whole else _printed, levels.tolist()))
    kept = sort == "category"
    return LabelColumn(frozen(codes.astype(np.int32, copy=False)), labels, kept=kept)


def _printed(level: object) -> str:
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)


def _first_row(holds: pd.Series) -> int:
    """Count from 1 up to the first row where `holds` is true."""
    place = int(holds.argmax())
    whole = pd.api.types.is_integer_dtype(holds.index)
    return 1 + (int(holds.index[place]) if whole else place)


def _digest(table: Mapping[str, Column]) -> str:
    digest = hashlib.sha256()
    for name, column in sorted(table.items()):
        if isinstance(column, NumberColumn):
            head, values = (
                [name, "number", len(column.values)],
                column.values.astype("<f8", copy=False),
            )
        else:
            head, values = [name, *column.labels], column.codes.astype("<i4", copy=False)
            if column.kept and list(column.labels) != sorted(column.labels):
                # The order of a predictor's labels decides which level is the reference.
                head = ["in this order", *head]
        digest.update(json.dumps(head).encode())
        digest.update(values.data)
    return digest.hexdigest()
