"""Formula sides to columns, with the encoding recorded so that new data get the same columns."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hlm_models.data.table import NumberColumn, Table
from hlm_models.design.contrasts import Factor
from hlm_models.design.formula import names_in
from hlm_models.errors import InputErrors, Problem
from hlm_models.types import FloatArray

__all__ = ["Encoding", "encode", "indicators"]


@dataclass(frozen=True)
class Encoding:
    """How one side of a formula becomes columns: terms, contrasts, knots, means.

    `state` is formulaic's recorded encoding; it is None where every term is a product of numeric
    columns, which need none (`products` then lists the factors of each column). `factors` says how
    columns of labels are coded; one that is not among them by treatment.
    """

    side: str
    names: tuple[str, ...]
    products: tuple[tuple[str, ...], ...] | None
    state: Any
    factors: tuple[Factor, ...] = ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that this side reads."""
        return names_in(self.side)

    def apply(self, table: Table) -> FloatArray:
        """The columns for the rows of `table`, (n, number of names), Fortran order.

        Raises
        ------
        InputErrors
            a label that the encoding has not seen, or a value outside a spline's range.
        """
        if self.products is not None:
            out = np.empty((table.n, len(self.products)), order="F")
            for j, factors in enumerate(self.products):
                out[:, j] = table.number(factors[0]) if factors else 1.0
                for name in factors[1:]:
                    out[:, j] *= table.number(name)
            return out
        return _materialise(self.state, table, self.side, self.factors)

    def term(self, name: str) -> tuple[str, ...]:
        """The factors of the term that a column is of, as the formula writes them."""
        at = self.names.index(name)
        if self.products is not None:
            return self.products[at]
        [term] = [
            one for one, here in self.state.term_slices.items() if here.start <= at < here.stop
        ]
        return tuple(factor.expr for factor in term.factors if factor.expr != "1")

    @property
    def categories(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each factor of this side as the formula writes it, its levels in the order of coding."""
        if self.state is None:
            return ()
        return tuple(
            (
                str(factor),
                tuple(
                    str(level).removesuffix(".0") if isinstance(level, float) else str(level)
                    for level in recorded["categories"]
                ),
            )
            for factor, (_, recorded) in self.state.encoder_state.items()
            if "categories" in recorded
        )


def encode(
    side: str, table: Table, factors: tuple[Factor, ...] = ()
) -> tuple[Encoding, FloatArray]:
    """The encoding of `side` learnt from `table`, and its columns there."""
    products = _sum_of_names(side) or _products(side)
    plain = all(_is_number(table, name) for factors in products for name in factors)
    if plain:
        names = tuple(":".join(factors) or "Intercept" for factors in products)
        encoding = Encoding(side, names, products, None)
        return encoding, encoding.apply(table)
    spec = _learn(side, table, factors)
    names = tuple(_renamed(name) for name in spec.column_names)
    encoding = Encoding(side, names, None, spec, factors)
    return encoding, encoding.apply(table)


def _sum_of_names(side: str) -> tuple[tuple[str, ...], ...] | None:
    """`_products` of a plain sum of names, read without formulaic, which takes long to import."""
    pieces = [piece.strip() for piece in side.split("+")]
    names = list(dict.fromkeys(piece for piece in pieces if piece not in ("0", "1")))
    if not all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names):
        return None
    constants = [piece for piece in pieces if piece in ("0", "1")]
    if len(constants) > 1:
        return None
    return (*(() if constants == ["0"] else ((),)), *((name,) for name in names))


def _products(side: str) -> tuple[tuple[str, ...], ...]:
    """The factors of every term of `side`; none for the intercept."""
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        terms = list(Formula(side))
    except FormulaicError as error:
        raise InputErrors.one(
            f"'{side}' cannot be read: {_first_line(error)}", key="formula"
        ) from None
    return tuple(
        tuple(factor.expr for factor in term.factors if factor.expr != "1") for term in terms
    )


def indicators(encoding: Encoding, table: Table) -> tuple[tuple[str, ...], FloatArray]:
    """Names and columns with a column for every level of every factor, of more than full rank."""
    wide = encoding.state.update(ensure_full_rank=False, structure=None)
    frame, context = _inputs(encoding.side, table, encoding.factors)
    found = _guarded(lambda: wide.get_model_matrix(frame, context=context), encoding.side)
    names = tuple(_renamed(name) for name in found.model_spec.column_names)
    return names, found.to_numpy(dtype=np.float64)


def _is_number(table: Table, name: str) -> bool:
    return isinstance(table.columns.get(name), NumberColumn)


def _learn(side: str, table: Table, factors: tuple[Factor, ...]) -> Any:
    from formulaic import Formula

    frame, context = _inputs(side, table, factors)
    spec = _guarded(
        lambda: Formula(side).get_model_matrix(frame, context=context, na_action="ignore"), side
    )
    return spec.model_spec


def _materialise(state: Any, table: Table, side: str, factors: tuple[Factor, ...]) -> FloatArray:
    _refuse_unseen_labels(state, table)
    frame, context = _inputs(side, table, factors)
    found = _guarded(
        lambda: state.get_model_matrix(frame, context=context, output="numpy"),
        side,
        ranges=_ranges(state),
    )
    columns = np.asfortranarray(found, dtype=np.float64)
    if not np.isfinite(columns).all():
        bad = state.column_names[int(np.argmin(np.isfinite(columns).all(axis=0)))]
        row = int(np.argmin(np.isfinite(columns).all(axis=1)))
        raise InputErrors.one(
            f"'{_renamed(bad)}' is not a finite number in row {row + 1}: "
            "check the values that it is computed from",
            key="formula",
        )
    return columns


def _inputs(side: str, table: Table, factors: tuple[Factor, ...]) -> tuple[Any, dict[str, Any]]:
    """Columns as a frame, and what else a term may name: sqrt, C, and factors coded by sums.

    formulaic codes a column of the frame by treatment, the first category left out; C(f) leaves a
    factor coded as it is.
    """
    import pandas as pd
    from formulaic.materializers.types import FactorValues
    from formulaic.transforms.contrasts import C, SumContrasts

    def mark(data: Any) -> Any:
        coded = isinstance(data, FactorValues) and data.__formulaic_metadata__.encoder
        return data if coded else C(data)

    frame = table.frame(names_in(side))
    context: dict[str, Any] = {"sqrt": np.sqrt, "C": mark}
    for factor in factors:
        if factor.name not in frame or factor.default:
            continue
        labels = pd.Series(factor.column(table.labels(factor.name)), index=frame.index)
        if factor.contrast == "treatment":
            frame[factor.name] = labels
        else:
            context[factor.name] = C(labels, SumContrasts())
            del frame[factor.name]
    return frame, context


def _ranges(state: Any) -> str:
    """What splines that are learnt may be computed of."""
    return "; ".join(
        f"{call} takes values between {learnt['lower_bound']:.6g} and {learnt['upper_bound']:.6g}, "
        "where the model has seen some"
        for call, learnt in state.transform_state.items()
        if "lower_bound" in learnt
    )


def _guarded(work: Any, side: str, *, ranges: str = "") -> Any:
    """Run a formulaic call; what it says about the user's formula or data becomes our error.

    `ranges` are told where a value may be outside of them.
    """
    from formulaic.errors import FormulaicError

    try:
        with np.errstate(all="ignore"):
            return work()
    except (FormulaicError, ValueError, TypeError, LookupError, ZeroDivisionError) as error:
        # formulaic's own text names an option of `bs` that a formula here has not.
        outside = ranges and isinstance(error.__cause__, ValueError)
        why = ranges if outside else _first_line(error)
        raise InputErrors.one(f"'{side}' cannot be computed: {why}", key="formula") from None


def _refuse_unseen_labels(state: Any, table: Table) -> None:
    problems = []
    for factor, (_, recorded) in state.encoder_state.items():
        known = recorded.get("categories") if isinstance(recorded, dict) else None
        if known is None:
            continue
        for name in [str(factor)] if str(factor) in table.columns else names_in(str(factor)):
            column = table.columns[name]
            if isinstance(column, NumberColumn):
                seen = {f"{label:g}" for label in known}
                used = {f"{value:g}" for value in np.unique(column.values)}
            else:
                seen = {str(label) for label in known}
                used = {column.labels[code] for code in np.unique(column.codes)}
            unseen = sorted(used - seen)
            if unseen:
                problems.append(
                    Problem(
                        f"'{unseen[0]}' is not a level that the model was built with "
                        f"(known: {', '.join(sorted(seen))})",
                        key=name,
                    )
                )
    if problems:
        raise InputErrors(problems)


def _renamed(name: str) -> str:
    """`f[T.level]` as `f[level]`: the label of a coefficient names its level."""
    plain = re.sub(r"\[[TS]\.", "[", name)
    # Levels of a number taken as a factor, C(year): whole ones are printed as such.
    return re.sub(r"(?<=\d)\.0\]", "]", plain) if "C(" in plain else plain


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
