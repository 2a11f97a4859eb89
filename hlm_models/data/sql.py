"""Runs the SQL expressions of a model file on its own table, and on nothing else.

DuckDB has no outside access here, and each entry is one expression without a sub-select, so it
sees the columns of one table. Whatever gives another value in another run is refused too.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from hlm_models.errors import InputErrors, Problem, nearest

__all__ = ["derive_columns", "filter_rows"]

_CONFIG = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",
    "python_enable_replacements": "false",
    "threads": "1",  # parallel sums differ in their last digits between runs
}
_INTEGERS = {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger"}
_REALS = {"boolean", "ubigint", "hugeint", "uhugeint", "bignum", "decimal", "float", "double"}
_LABELS = {"varchar", "enum"}


def filter_rows(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Rows of `frame` where the condition holds, in their order and with their index.

    Raises
    ------
    InputErrors
        The condition is not one SQL expression on the table's columns, is not true or false, or
        keeps no row.
    """
    key = "data.where"
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        keep, kind = _evaluate(connection, frame, _parse(connection, where, key), key)
    if kind != "boolean":
        raise InputErrors.one(f"{where!r} gives {kind}, not true or false", key=key)
    rows = frame[keep == 1]
    if rows.empty:
        raise InputErrors.one(f"{where!r} keeps none of the {len(frame)} rows", key=key)
    return rows


def derive_columns(frame: pd.DataFrame, derive: Mapping[str, str]) -> pd.DataFrame:
    """`frame` with one more column an entry; an expression sees the columns derived before it.

    Raises
    ------
    InputErrors
        All entries that are not one SQL expression on the table's columns, do not give one number
        or label a row, or have the name of a column that is there.
    """
    problems: list[Problem] = []
    failed: set[str] = set()
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        for name, text in derive.items():
            key = f"data.derive.{name}"
            try:
                for column in frame.columns:
                    if column.casefold() == name.casefold():
                        raise InputErrors.one(
                            f"there is a column {column!r} already; choose another name", key=key
                        )
                expression = _parse(connection, text, key)
                if expression.words & failed:
                    failed.add(name.casefold())  # its error would only repeat the first
                    continue
                values, kind = _evaluate(connection, frame, expression, key)
            except InputErrors as error:
                problems.extend(error.problems)
                failed.add(name.casefold())
            else:
                if kind in _INTEGERS | _REALS | _LABELS:
                    frame = frame.assign(**{name: values})
                    continue
                problems.append(
                    Problem(
                        f"{text!r} gives {kind}, which is neither a number nor a label; turn it "
                        "into one, as year(day) or CAST(day AS VARCHAR) do",
                        key=key,
                    )
                )
                failed.add(name.casefold())
    if problems:
        raise InputErrors(problems)
    return frame


@dataclass(frozen=True, slots=True)
class _Expression:
    """One SQL expression and the names in it, as they are written."""

    text: str
    columns: tuple[tuple[str, ...], ...]
    functions: tuple[str, ...]

    @property
    def words(self) -> frozenset[str]:
        return frozenset(part.casefold() for path in self.columns for part in path)


def _parse(connection: duckdb.DuckDBPyConnection, text: str, key: str) -> _Expression:
    try:
        duckdb.SQLExpression(text)
        found = connection.execute("SELECT json_serialize_sql(?)", ["SELECT " + text]).fetchone()
        tree = json.loads(found[0])
        (statement,) = tree["statements"]
        (select,) = statement["node"]["select_list"]
    except (duckdb.Error, KeyError, ValueError):
        raise InputErrors.one(f"{text!r} is not one SQL expression", key=key) from None
    columns, functions = [], []
    for node in _nodes(select):
        sort = node.get("class")
        if sort == "SUBQUERY":
            raise InputErrors.one(
                f"{text!r} holds a sub-select, which is refused; a value over several rows is "
                "written avg(x) OVER (PARTITION BY g)",
                key=key,
            )
        if sort in {"STAR", "PARAMETER", "POSITIONAL_REFERENCE", "DEFAULT"}:
            raise InputErrors.one(f"{text!r} must name its columns one by one", key=key)
        if sort == "COLUMN_REF":
            columns.append(tuple(str(part) for part in _items(node["column_names"])))
        if sort == "FUNCTION":
            functions.append(str(node["function_name"]).casefold())
    return _Expression(text, tuple(columns), tuple(functions))


def _evaluate(
    connection: duckdb.DuckDBPyConnection, frame: pd.DataFrame, expression: _Expression, key: str
) -> tuple[pd.Series, str]:
    """Value of each row, in the order of the rows, and DuckDB's name of its type."""
    _refuse(connection, frame, expression, key)
    used = [name for name in frame.columns if name.casefold() in expression.words]
    row = "row"
    while row in expression.words:
        row += "_"
    rows = frame[used].assign(**{row: np.arange(len(frame))})
    value = duckdb.SQLExpression(expression.text)
    try:
        relation = connection.from_df(rows).set_alias("data")
        kind: str = relation.select(value).types[0].id
        if kind in _REALS:
            value = value.cast("DOUBLE")
        elif kind not in _INTEGERS | _LABELS:
            return pd.Series(dtype="object"), kind
        # Window functions reorder the rows, so they carry their number.
        found = relation.select(value.alias("value"), duckdb.ColumnExpression(row)).order(row).df()
    except duckdb.Error as error:
        raise InputErrors.one(_reason(error, frame, expression), key=key) from None
    column = found["value"]
    if len(column) != len(frame):
        raise InputErrors.one(
            f"{expression.text!r} gives {len(column)} values for {len(frame)} rows", key=key
        )
    if kind in _INTEGERS:
        column = column.astype("float64" if column.hasnans else "int64")
    return column.set_axis(frame.index), kind


def _refuse(
    connection: duckdb.DuckDBPyConnection, frame: pd.DataFrame, expression: _Expression, key: str
) -> None:
    """Raise for names that differ in case alone, and for functions that look beyond a row."""
    seen: dict[str, str] = {}
    for name in frame.columns:
        if seen.setdefault(name.casefold(), name) != name and name.casefold() in expression.words:
            raise InputErrors.one(
                f"columns {seen[name.casefold()]!r} and {name!r} differ in case alone, which SQL "
                "does not tell apart; rename one of them in the file",
                key=key,
            )
    names = {*expression.functions, *(expression.words - seen.keys())}
    catalogue: dict[str, set[str]] = {}
    for name, sort, stability in connection.execute(
        "SELECT lower(function_name), function_type, stability FROM duckdb_functions()"
    ).fetchall():
        varies = sort == "scalar" and stability != "CONSISTENT"
        catalogue.setdefault(name, set()).add("varying" if varies else sort)
    for name in sorted(names & catalogue.keys()):
        sorts = catalogue[name]
        if "varying" in sorts:
            reason = f"{name} is refused: it gives another value in another run"
        elif name not in expression.functions or "scalar" in sorts:
            continue
        elif "aggregate" in sorts:
            reason = (
                f"{name} gives one value for many rows; write {name}(...) OVER (PARTITION BY g)"
            )
        elif "table" in sorts:
            reason = (
                f"{name} is refused: it makes a table, and an expression gives one value a row "
                "from the columns of its own table alone"
            )
        else:
            continue
        raise InputErrors.one(reason, key=key)


def _reason(error: duckdb.Error, frame: pd.DataFrame, expression: _Expression) -> str:
    names = {name.casefold() for name in frame.columns}
    for path in expression.columns:
        if isinstance(error, duckdb.BinderException) and names.isdisjoint(map(str.casefold, path)):
            name = path[-1]
            quoted = f'"{name}"' in expression.text
            return f"there is no column {name!r}{nearest(name, frame.columns)}" + (
                f"; text stands in single quotes, as '{name}'" if quoted else ""
            )
    line = str(error).splitlines()[0]
    return f"{expression.text!r}: {line.partition(': ')[2] or line}"


def _nodes(tree: object) -> Iterator[dict[str, object]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    for item in _items(tree):
        yield from _nodes(item)


def _items(tree: object) -> list[object]:
    return tree if isinstance(tree, list) else []
