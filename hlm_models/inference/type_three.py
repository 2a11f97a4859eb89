"""Type III contrasts: what each term of the fixed part adds, averaged over the terms it is part of.

Term F is contained in term F' if all factors of F stand in F', with the same predictors that are
numbers. With X in treatment contrasts and X+ the columns of all levels, X+ = X C; the rows of C'
express every column of X+ in estimable combinations. From the highest order down, the columns of C'
of a term are made orthogonal to those of the terms that contain it; what is left in the rows that X
has too are the term's contrasts. A term that is contained in none is tested by its coefficients.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from hlm_models.data.table import LabelColumn, NumberColumn, Table
from hlm_models.design.build import Design
from hlm_models.design.columns import Encoding, encode, indicators
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["type_three"]


@dataclass(frozen=True)
class _Term:
    name: str
    columns: slice
    variables: frozenset[str]
    numbers: frozenset[str]

    def within(self, other: "_Term") -> bool:
        return self.variables < other.variables and self.numbers == other.numbers


def type_three(design: Design) -> Mapping[str, FloatArray]:
    """Contrasts (rows, p) of each term but the intercept, by the term's name.

    Rows are those of R's lmerTest, whose Satterthwaite df of several rows depend on them: of a
    model with a single term, the rows of a Doolittle decomposition of X'X. A column that is
    computed from numbers, such as poly(x, 2), counts as a number.

    Source: Kuznetsova et al. (2017), doi:10.18637/jss.v082.i13, and the R package lmerTest.
    """
    terms = _terms(design.encoding)
    if len(terms) < 2:
        R = np.linalg.qr(design.X, mode="r")
        return {term.name: (R / np.diag(R)[:, None])[term.columns] for term in terms}
    containing = {term.name: [other for other in terms if term.within(other)] for term in terms}
    summed = any(factor.contrast == "sum" for factor in design.encoding.factors)
    if not summed and not any(containing.values()):
        return {term.name: np.eye(design.p)[term.columns] for term in terms}
    rows = _spanning_rows(design)
    encoding, X = design.encoding, design.X[rows]
    if summed:
        encoding, whole = encode(
            design.formula.common,
            design.table,
            tuple(
                replace(factor, contrast="treatment", reference=factor.levels[0])
                if factor.contrast == "sum"
                else factor
                for factor in encoding.factors
            ),
        )
        terms, treated = _terms(encoding), whole[rows]
    else:
        treated = X
    names, wide = indicators(encoding, _taken(design.table, encoding, rows))
    C = _solved(treated, wide)
    by_name = {term.name: term for term in terms}
    for term in sorted(terms, key=lambda term: -len(term.variables)):
        above = [by_name[other.name].columns for other in containing[term.name]]
        if above:
            over = np.vstack([C[columns] for columns in above]).T
            mine = C[term.columns].T
            C[term.columns] = (mine - over @ np.linalg.lstsq(over, mine)[0]).T
    kept = C[:, [names.index(name) for name in encoding.names]]
    change = _solved(treated, X) if summed else np.eye(design.p)
    return {term.name: kept[term.columns] @ change for term in terms}


def _terms(encoding: Encoding) -> list[_Term]:
    """The terms but the intercept, in the order of the columns."""
    if encoding.products is not None:
        return [
            _Term(name, slice(j, j + 1), frozenset(factors), frozenset(factors))
            for j, (name, factors) in enumerate(zip(encoding.names, encoding.products, strict=True))
            if factors
        ]
    found = []
    for term, columns in encoding.state.term_slices.items():
        variables = frozenset(factor.expr for factor in term.factors if factor.expr != "1")
        labels = {name for name, _ in encoding.categories}
        if variables and columns.stop > columns.start:
            found.append(_Term(str(term), columns, variables, variables - labels))
    return found


def _spanning_rows(design: Design) -> IntArray:
    """Find p rows whose part of X has full rank."""
    scaled = design.x_scaling.apply(design.X)
    *_, order = scipy.linalg.qr(scaled.T, mode="r", pivoting=True)
    return np.sort(order[: design.p]).astype(np.int64)


def _taken(table: Table, encoding: Encoding, rows: IntArray) -> Table:
    columns: dict[str, NumberColumn | LabelColumn] = {}
    for name in encoding.columns:
        column = table.columns[name]
        columns[name] = (
            NumberColumn(frozen(column.values[rows]), name)
            if isinstance(column, NumberColumn)
            else replace(column, codes=frozen(column.codes[rows]))
        )
    return replace(table, columns=columns, n=len(rows))


def _solved(X: FloatArray, wide: FloatArray) -> FloatArray:
    """C (p, columns) with X C = wide, without the noise of columns that have no part in others."""
    C = np.linalg.solve(X, wide)
    share = np.linalg.norm(X, axis=0)[:, None] * np.abs(C)
    return np.where(share < 1e-9 * np.linalg.norm(wide, axis=0), 0.0, C)
