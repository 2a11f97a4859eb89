"""Whether several models were given the same rows of the same data, in the same order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hlm_models.data.table import Column, LabelColumn, NumberColumn, Table
from hlm_models.errors import InputErrors, Problem
from hlm_models.spec.model import ModelSpec

__all__ = ["SharedData", "same_data"]


@dataclass(frozen=True, slots=True)
class SharedData:
    """The rows that all models have.

    digest : hash of all columns that any of the models uses
    notes : what was done to the rows, and in what the models' columns differ
    """

    source: str
    n: int
    response: str
    digest: str
    notes: tuple[str, ...]


def same_data(specs: Mapping[str, ModelSpec]) -> SharedData:
    """The data that the models share.

    Raises
    ------
    InputErrors
        every model whose response, rows, their order, or columns are not those of the first.
    """
    (first, one), *others = specs.items()
    problems = []
    for name, other in others:
        message = (
            _response_problem(first, one, other)
            or _row_problem(first, one, name, other)
            or _column_problem(first, one, other)
        )
        if message:
            problems.append(Problem(message, key=name))
    if problems:
        raise InputErrors(problems)
    columns: dict[str, Column] = {}
    for spec in specs.values():
        columns = dict(spec.design.table.columns) | columns
    # A finished run knows the whole path of a file, and a model file perhaps its name alone.
    sources = list(dict.fromkeys(Path(spec.design.table.source).name for spec in specs.values()))
    return SharedData(
        source=", ".join(sources),
        n=one.design.n,
        response=one.design.formula.response,
        digest=Table(columns, one.design.n, sources[0], ()).digest,
        notes=(*one.design.table.notes, *_redefined(specs)),
    )


def _response_problem(first: str, one: ModelSpec, other: ModelSpec) -> str:
    """Other quantities as responses, whose densities are in other units."""
    left, right = one.design.formula.response, other.design.formula.response
    derived = [
        spec.config["data"]["derive"].get(name) for spec, name in ((one, left), (other, right))
    ]
    same = one.design.n == other.design.n and np.array_equal(one.design.y, other.design.y)
    if same or (left == right and derived[0] == derived[1]):
        return ""
    left, right = (
        text if how is None else f"{text} = {how}"
        for text, how in zip((left, right), derived, strict=True)
    )
    return (
        f"the response is {right}, and {left} in {first}: log densities of different quantities "
        "cannot be compared; give both models the same response"
    )


def _row_problem(first: str, one: ModelSpec, name: str, other: ModelSpec) -> str:
    left, right = one.design, other.design
    if left.n != right.n:
        notes = [
            f"{who}: {note}"
            for who, design in ((first, left), (name, right))
            for note in design.table.notes
        ]
        return (
            f"there are {right.n:,} rows, and {left.n:,} in {first}"
            + (f" ({'; '.join(notes)})" if notes else "")
            + ": give all models the same rows, as by one `data.where` that leaves out those in "
            "which a column of any model is missing"
        )
    if np.array_equal(left.y, right.y):
        return ""
    if np.array_equal(np.sort(left.y), np.sort(right.y)):
        return f"the rows are in another order than in {first}: give both the same file"
    different = left.y != right.y
    return (
        f"{right.formula.response} differs from that in {first} in {different.sum():,} of "
        f"{right.n:,} rows, first in row {int(different.argmax()) + 1}: the models have different "
        "data; give both the same"
    )


def _column_problem(first: str, one: ModelSpec, other: ModelSpec) -> str:
    """A column of the data itself that has other values, or rows in other levels."""
    left, right = one.design.table.columns, other.design.table.columns
    for column in left:
        derived = {column in spec.config["data"]["derive"] for spec in (one, other)}
        grouping = any(column in block.factors for spec in (one, other) for block in spec.blocks)
        if column not in right or (derived != {False} and not grouping):
            continue
        if not _same_values(left[column], right[column]):
            return (
                f"{column} has other {'levels' if grouping else 'values'} than in {first}, row by "
                "row: the models have different data; give both the same"
            )
    return ""


def _same_values(one: Column, other: Column) -> bool:
    """Whether two columns hold the same, row by row; of different kinds they may."""
    if isinstance(one, NumberColumn) and isinstance(other, NumberColumn):
        return np.array_equal(one.values, other.values)
    if isinstance(one, LabelColumn) and isinstance(other, LabelColumn):
        place = {label: code for code, label in enumerate(one.labels)}
        codes = np.array([place.get(label, -1) for label in other.labels])
        return np.array_equal(codes[other.codes], one.codes)
    return True


def _redefined(specs: Mapping[str, ModelSpec]) -> list[str]:
    """Derived predictors that models define in different ways under one name."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, spec in specs.items():
        for column, how in spec.config["data"]["derive"].items():
            found.setdefault(column, {}).setdefault(str(how), []).append(name)
    return [
        f"{column} is derived in different ways: "
        + "; ".join(f"{how} in {', '.join(names)}" for how, names in ways.items())
        for column, ways in found.items()
        if len(ways) > 1
    ]
