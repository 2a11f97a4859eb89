"""A table and a formula to a Design: y, X, one Z block a group, all of it frozen."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.gram import (
    CHUNK,
    Gram,
    Scaling,
    column_products,
    cross_products,
    least_squares,
    orthogonal,
    scaling,
    triangle,
)
from hlm_models.config.settings import Contrast, ContrastSettings
from hlm_models.data.table import Column, LabelColumn, NumberColumn, Table
from hlm_models.design.columns import Encoding, encode
from hlm_models.design.contrasts import Factor, find_factors
from hlm_models.design.formula import Formula, RandomTerm, joined, merged, names_in
from hlm_models.errors import InputErrors, Problem
from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    # With its compiled loops it takes long to import, and one group does without it.
    from hlm_models.algebra.coupling import Coupled

__all__ = ["DEPENDENT", "Design", "RandomBlock", "Term", "build_design"]

DEPENDENT = 1e-10
"""Columns whose cross-products have eigenvalues so far apart are dependent."""


@dataclass(frozen=True)
class Term:
    """One random term of a block: its text, its columns in z, and whether they may correlate."""

    text: str
    columns: slice
    correlated: bool

    @property
    def q(self) -> int:
        return int(self.columns.stop - self.columns.start)


@dataclass(frozen=True)
class RandomBlock:
    """All random effects of one group.

    z (n, q) holds the raw columns, `level` (n,) the level codes 0..J-1. The terms of the block
    are stacked along the columns; effects of different terms are independent.
    """

    group: str
    factors: tuple[str, ...]
    effects: tuple[str, ...]
    terms: tuple[Term, ...]
    labels: tuple[str, ...]
    z: FloatArray
    level: IntArray
    encodings: tuple[Encoding, ...]

    @property
    def q(self) -> int:
        return len(self.effects)

    @property
    def J(self) -> int:
        return len(self.labels)

    @cached_property
    def sizes(self) -> IntArray:
        """Rows in each level (J,)."""
        return np.bincount(self.level, minlength=self.J)

    @cached_property
    def mask(self) -> FloatArray:
        """(q, q) ones where the factor Lambda of the block may differ from zero, lower triangle."""
        allowed = np.eye(self.q)
        for term in self.terms:
            if term.correlated:
                allowed[term.columns, term.columns] = np.tril(np.ones((term.q, term.q)))
        return allowed


@dataclass(frozen=True)
class Design:
    """The data of one model as arrays, with what it takes to build the same columns again.

    `x_scaling` makes the columns of X orthogonal inside the computations; the model is the same.
    `weights` (n,) are precisions, residual variance sigma^2 / w_i; `offset` (n,) is added to the
    linear predictor; both with the columns that they are. Where a column holds the residual
    standard deviations themselves, `known_sd_column`, weights are their inverse squares and sigma
    is 1. `y` stays as it was read. `factors` says how columns of labels are coded. `whole` is False
    where rows were left out after the scaling was found, so that columns need not be orthogonal in
    it, nor have a level any rows.
    """

    formula: Formula
    table: Table
    y: FloatArray
    X: FloatArray
    coef: tuple[str, ...]
    blocks: tuple[RandomBlock, ...]
    macro: Mapping[str, tuple[str, ...]]
    confounded: tuple[str, ...]
    encoding: Encoding
    x_scaling: Scaling
    weights: FloatArray | None
    offset: FloatArray | None
    weights_column: str | None
    offset_column: str | None
    known_sd_column: str | None
    factors: tuple[Factor, ...]
    whole: bool = True

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def p(self) -> int:
        return len(self.coef)

    @property
    def sigma(self) -> float | None:
        """1 where the residual standard deviations are known; None where sigma is a parameter."""
        return None if self.known_sd_column is None else 1.0

    @cached_property
    def log_weights(self) -> float:
        """Sum of log w: what the weights take off a criterion; 0 without weights."""
        return 0.0 if self.weights is None else float(np.sum(np.log(self.weights)))

    @cached_property
    def root_weights(self) -> FloatArray | None:
        """Square roots of the weights (n,): what rows are multiplied by in all cross-products."""
        return None if self.weights is None else frozen(np.sqrt(self.weights))

    @cached_property
    def y_net(self) -> FloatArray:
        """Response less the offset (n,)."""
        return self.y if self.offset is None else frozen(self.y - self.offset)

    @property
    def y_square(self) -> float:
        """Sum of w y^2: what a sum of squares is large or small beside."""
        rows = self.y if self.root_weights is None else self.y * self.root_weights
        return float(np.einsum("i,i->", rows, rows))

    @cached_property
    def y_fit(self) -> FloatArray:
        """Coefficients (p,) of y_net on the scaled X, taken off it before cross-products."""
        if self.whole:
            return frozen(
                least_squares(self.X, self.y_net, self.x_scaling, root_weights=self.root_weights)
            )
        products = self._column_products
        return frozen(np.linalg.lstsq(products[:, :-1], products[:, -1], rcond=DEPENDENT)[0])

    def dependent(self, places: Sequence[int]) -> tuple[str, ...]:
        """Coefficients, of those at `places`, that the rows do not tell apart; none where whole."""
        at = list(places)
        if self.whole or not at:
            return ()
        Q, T = np.linalg.qr(self.x_scaling.R[:, at])
        values, axes = np.linalg.eigh(Q.T @ self._column_products[:, :-1] @ Q)
        null = np.linalg.solve(T, axes[:, values <= DEPENDENT * values[-1]])
        # In units of the columns, so that one of small numbers is not taken for a large part.
        size = np.abs(null).sum(axis=1) * self.x_scaling.unit[at]
        return tuple(
            self.coef[k] for k, one in zip(at, size, strict=True) if one > 1e-6 * max(size)
        )

    @cached_property
    def _column_products(self) -> FloatArray:
        """X_s'X_s and X_s'y (p, p + 1) over n, of the scaled X_s and the rows weighted."""
        return column_products(self.X, self.y_net, self.x_scaling, self.root_weights) / self.n

    def keeping(self, rows: IntArray) -> "Design":
        """The design of some of the rows, its columns, their scaling and its levels as they are."""

        def part(values: FloatArray | None) -> FloatArray | None:
            return None if values is None else frozen(values[rows])

        def wide(values: FloatArray) -> FloatArray:
            # The layout that compiled code is there for.
            return frozen(np.asfortranarray(values[rows]))

        columns: dict[str, Column] = {
            name: NumberColumn(frozen(column.values[rows]), column.name)
            if isinstance(column, NumberColumn)
            else replace(column, codes=frozen(column.codes[rows]))
            for name, column in self.table.columns.items()
        }
        return replace(
            self,
            table=replace(self.table, columns=columns, n=len(rows)),
            y=frozen(self.y[rows]),
            X=wide(self.X),
            blocks=tuple(
                replace(block, z=wide(block.z), level=frozen(block.level[rows]))
                for block in self.blocks
            ),
            weights=part(self.weights),
            offset=part(self.offset),
            whole=False,
        )

    @cached_property
    def z_scalings(self) -> tuple[Scaling, ...]:
        """Scaling of every block's z."""
        return tuple(self.z_scaling(block) for block in self.blocks)

    def z_scaling(self, block: RandomBlock) -> Scaling:
        """Scaling of a block's z: centred only within a correlated term that has an intercept.

        With weights the unit is larger by the root of their mean, so that weights of another size
        leave the scaled and weighted z as it is.
        """
        shift, unit = np.zeros(block.q), np.ones(block.q)
        R = np.zeros((block.q, block.q))
        for term in block.terms:
            names = block.effects[term.columns]
            constant = _position("Intercept", names) if term.correlated else None
            part = scaling(block.z[:, term.columns], constant=constant)
            shift[term.columns], unit[term.columns] = part.shift, part.unit
            R[term.columns, term.columns] = part.R
        if self.weights is not None:
            size = float(np.sqrt(self.weights.mean()))
            unit, R = unit * size, R * size
        return Scaling(frozen(shift), frozen(unit), frozen(R))

    @cached_property
    def coupled(self) -> "Coupled":
        """Cross-products of all groups, the one with the most levels first, scaled."""
        from hlm_models.algebra.coupling import coupled

        return coupled(
            tuple(block.z for block in self.blocks),
            tuple(block.level for block in self.blocks),
            tuple(block.J for block in self.blocks),
            self.X,
            self.y_net,
            z_scaling=self.z_scalings,
            x_scaling=self.x_scaling,
            y_fit=self.y_fit,
            root_weights=self.root_weights,
        )

    def gram(self, block: RandomBlock | None) -> Gram:
        """Gram blocks of one group in scaled coordinates; of none, with T alone and no level."""
        if block is None:
            z, level, J = np.zeros((self.n, 0)), np.zeros(self.n, dtype=np.int64), 0
            scale = scaling(z, constant=None)
        else:
            z, level, J = block.z, block.level, block.J
            scale = self.z_scalings[[one is block for one in self.blocks].index(True)]
        return cross_products(
            frozen(z),
            frozen(level),
            J,
            self.X,
            self.y_net,
            z_scaling=scale,
            x_scaling=self.x_scaling,
            y_fit=self.y_fit,
            root_weights=self.root_weights,
        )


def build_design(
    formula: Formula,
    table: Table,
    *,
    macro: Mapping[str, frozenset[str]],
    allow_macro_in_z: bool = False,
    weights: str | None = None,
    contrasts: Mapping[str, Contrast | ContrastSettings] = MappingProxyType({}),
    offset: str | None = None,
    known_sd: str | None = None,
) -> Design:
    """Design of `formula` on `table`.

    Parameters
    ----------
    macro : for each group, the columns of the table that are constant within its levels
    allow_macro_in_z : let a predictor that is constant within a group vary by it all the same
    weights : column of precisions, above 0
    contrasts : coding of factors among the predictors
    offset : column that is added to the linear predictor, where the formula names none
    known_sd : column of known residual standard deviations, above 0, in place of weights

    Raises
    ------
    InputErrors
        all problems at once: a rank-deficient X with the columns named, a macro predictor in Z
        with the repair, an effect that stands in two terms of one group, contrasts of what is no
        factor, an offset that leaves nothing of the response.
    """
    _, response = encode(f"0 + {formula.response}", table)
    y = frozen(np.ascontiguousarray(response[:, 0]))
    factors = find_factors(formula.predictors, table, contrasts)
    encoding, X = encode(formula.common, table, factors)
    problems: list[Problem] = []
    offset_column = formula.offset or offset
    added = None if offset_column is None else table.number(offset_column)
    if added is not None and np.ptp(y - added) == 0:
        problems.append(
            Problem(
                f"the response less {offset_column} is {y[0] - added[0]:g} in every row; nothing "
                "varies: choose another offset",
                key="formula" if formula.offset else "offset",
            )
        )
    confounded: list[str] = []
    blocks = []
    for terms in merged(formula.random).values():
        block, found = _block(terms, table, factors, {formula.common: (encoding, X)})
        problems += found
        if allow_macro_in_z:
            confounded += _confounded_notes(block)
        else:
            problems += _confounded_problems(block, encoding.names)
        blocks.append(block)
    blocks.sort(key=lambda block: -block.J)
    scaled = scaling(X, constant=_position("Intercept", encoding.names))
    R = triangle(X, scaled)
    problems += _rank_problems(R, len(X), encoding)
    if not encoding.names and not blocks and known_sd is not None:
        problems.append(
            Problem(
                "there is nothing to estimate: no coefficient, no random term, and the residual "
                "standard deviations are known",
                key="formula",
            )
        )
    sides = [("X", encoding), *((b.group, side) for b in blocks for side in b.encodings)]
    for where, side in sides:
        names = side.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(
                Problem(f"two columns of {where} are named {twice[0]}; rename one", key="formula")
            )
    if problems:
        raise InputErrors(problems)
    used = set(encoding.columns)
    given = None if weights is None else table.number(weights)
    if known_sd is not None:
        given = frozen(table.number(known_sd) ** -2.0)
    if given is not None:
        R = triangle(X, scaled, root_weights=np.sqrt(given))
    return Design(
        formula=formula,
        table=table,
        y=y,
        X=frozen(X),
        coef=encoding.names,
        blocks=tuple(blocks),
        macro={
            group: tuple(c for c in table.columns if c in found & used)
            for group, found in macro.items()
        },
        confounded=tuple(confounded),
        encoding=encoding,
        x_scaling=orthogonal(R, len(X), scaled),
        weights=given,
        offset=added,
        weights_column=weights,
        offset_column=offset_column,
        known_sd_column=known_sd,
        factors=_described(factors, [side for _, side in sides]),
    )


def _described(factors: Sequence[Factor], sides: Sequence[Encoding]) -> tuple[Factor, ...]:
    """All factors as they are coded, numbers taken as labels by C(x) among them."""
    names = [side.names for side in sides]
    known = {factor.name for factor in factors}
    numbers = {
        written: Factor(written, "treatment", levels[0], levels)
        for side in sides
        for written, levels in side.categories
        if not known & {written, *names_in(written)}
    }
    return tuple(factor.described(names) for factor in (*factors, *numbers.values()))


def _block(
    terms: Sequence[RandomTerm],
    table: Table,
    factors: tuple[Factor, ...],
    known: Mapping[str, tuple[Encoding, FloatArray]],
) -> tuple[RandomBlock, list[Problem]]:
    """One group's block, its terms stacked in the order of the formula.

    `known` are sides of the formula that have their columns already.
    """
    level, labels = crossed_levels(table, terms[0].factors)
    group = terms[0].group
    problems: list[Problem] = []
    effects: list[str] = []
    stacked: list[Term] = []
    columns, encodings = [], []
    for term in terms:
        encoding, z = known.get(term.effects) or encode(term.effects, table, factors)
        for name in sorted(set(effects) & set(encoding.names)):
            problems.append(
                Problem(
                    f"the effect {name} stands in two terms of {group}; leave it out of "
                    f"({term.text}), for instance by 0 + ...",
                    key="formula",
                    fragment=f"({term.text})",
                )
            )
        start = len(effects)
        effects += encoding.names
        if not encoding.names:
            problems.append(
                Problem(
                    f"({term.text}) has no effect at all", key="formula", fragment=f"({term.text})"
                )
            )
        correlated = term.correlated and len(encoding.names) > 1
        stacked.append(Term(term.text, slice(start, len(effects)), correlated))
        columns.append(z)
        encodings.append(encoding)
    z = np.asfortranarray(np.hstack(columns)) if len(columns) > 1 else columns[0]
    block = RandomBlock(
        group=group,
        factors=terms[0].factors,
        effects=tuple(effects),
        terms=tuple(stacked),
        labels=labels,
        z=frozen(z),
        level=level,
        encodings=tuple(encodings),
    )
    return block, problems


def crossed_levels(table: Table, factors: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Level codes (n,) and labels of one factor, or of the crossing of several that occur."""
    first = table.columns[factors[0]]
    assert isinstance(first, LabelColumn)
    if len(factors) == 1:
        return frozen(first.codes.astype(np.int64)), first.labels
    level, labels = first.codes.astype(np.int64), first.labels
    for name in factors[1:]:
        part = table.columns[name]
        assert isinstance(part, LabelColumn)
        size = len(part.labels)
        present, level = np.unique(level * size + part.codes, return_inverse=True)
        labels = tuple(
            f"{labels[before]}:{part.labels[here]}"
            for before, here in (divmod(value, size) for value in present.tolist())
        )
    return frozen(level.astype(np.int64)), labels


def _constant_effects(block: RandomBlock) -> frozenset[str]:
    """Effects of the block, other than the intercept, that are constant within every level."""
    return frozenset(
        name
        for j, name in enumerate(block.effects)
        if name != "Intercept" and _constant_within(block.z[:, j], block.level, block.J)
    )


def _confounded_notes(block: RandomBlock) -> list[str]:
    constant = _constant_effects(block)
    return [
        f"{name} is constant within {block.group}: "
        f"its random slope is confounded with the intercept of {block.group}"
        for name in block.effects
        if name in constant
    ]


def _confounded_problems(block: RandomBlock, coef: Sequence[str]) -> list[Problem]:
    """Macro predictors among the effects, with the term that should stand there instead."""
    constant = _constant_effects(block)
    problems = []
    for term in block.terms:
        effects = block.effects[term.columns]
        bad = [name for name in effects if name in constant]
        if not bad:
            continue
        names, many = " and ".join(bad), len(bad) > 1
        kept = [name for name in effects if name not in constant]
        repair = (
            f"write {joined(kept, block.group, correlated=term.correlated)}"
            f" in place of ({term.text})"
            if kept
            else f"leave ({term.text}) out"
        )
        fixed = "" if set(bad) <= set(coef) else f", and add {names} to the fixed part"
        problems.append(
            Problem(
                f"{names} {'are' if many else 'is'} constant within {block.group}, so "
                f"{'their effects' if many else 'its effect'} cannot vary by {block.group}: "
                f"{repair}{fixed} (`allow_macro_in_z: true` fits it all the same)",
                key="formula",
                fragment=f"({term.text})",
            )
        )
    return problems


def _constant_within(column: FloatArray, level: IntArray, J: int) -> bool:
    first = np.empty(J)
    for rows in (slice(0, CHUNK), slice(None)):
        # The first rows most often show that it varies.
        part, codes = column[rows], level[rows]
        first[codes[::-1]] = part[::-1]
        if not np.array_equal(part, first[codes]):
            return False
    return True


def _rank_problems(R: FloatArray, n: int, encoding: Encoding) -> list[Problem]:
    """Columns of X that are linear combinations of others, by pivoted QR of the scaled X.

    R is the triangular factor of the n rows of the scaled X, whose pivoted QR is that of X.
    """
    from scipy.linalg import qr

    names = encoding.names
    p = len(names)
    if p == 0:
        return []
    norms = np.linalg.norm(R, axis=0)
    zero = [names[j] for j in np.flatnonzero(norms < 1e-10 * np.sqrt(n)).tolist()]
    _, pivoted, order = qr(R, mode="economic", pivoting=True)
    ordered = [names[j] for j in order.tolist()]
    diagonal = np.zeros(p)
    diagonal[: min(pivoted.shape)] = np.abs(np.diag(pivoted))
    rank = int(np.sum(diagonal > diagonal[0] * 1e-9)) if diagonal[0] > 0 else 0
    texts: dict[str, str] = {}
    crossings: dict[str, tuple[str, ...]] = {}
    empty: set[tuple[str, ...]] = set()
    for position in range(rank, p):
        name, partners = ordered[position], []
        if name not in zero:
            weights = np.linalg.solve(pivoted[:rank, :rank], pivoted[:rank, position])
            partners = [
                ordered[i] for i in range(rank) if abs(weights[i]) > 1e-6 * np.abs(weights).max()
            ]
            partners.sort(key=names.index)
        crossings[name], numbers = _crossed(encoding, [name, *partners])
        if crossings[name] and not numbers:
            empty.add(crossings[name])
        texts[name] = (
            f"a linear combination of {', '.join(partners)}; leave one out"
            if partners
            else f"constant; {_left_out(encoding, name)}"
        )
    widest = sorted(one for one in empty if not any(set(one) < set(other) for other in empty))
    within = {
        factors: [name for name, here in crossings.items() if here and set(here) <= set(factors)]
        for factors in widest
    }
    told = {name for some in within.values() for name in some}
    return [
        Problem(
            f"X is rank deficient: {name} is {text}",
            key="formula",
            fragment=":".join(encoding.term(name)),
        )
        for name, text in texts.items()
        if name not in told
    ] + [_empty_cells(encoding, factors, columns) for factors, columns in within.items()]


def _left_out(encoding: Encoding, name: str) -> str:
    term = ":".join(encoding.term(name))
    if sum(encoding.term(other) == encoding.term(name) for other in encoding.names) == 1:
        return "leave it out"
    return f"leave {term} out, or derive the columns of it that vary (data.derive)"


def _crossed(encoding: Encoding, columns: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """The factors of the one interaction that the columns are about, and whether numbers are in it.

    It has no factors where the columns are about anything else: those of an interaction are
    dependent only where some combination of its factors has no row.
    """
    labels = {written for written, _ in encoding.categories}
    terms = [encoding.term(name) for name in columns]
    widest = max(terms, key=len)
    factors = tuple(factor for factor in widest if factor in labels)
    if len(factors) < 2 or not all(set(term) <= set(widest) for term in terms):
        return (), False
    return factors, len(factors) < len(widest)


def _empty_cells(encoding: Encoding, factors: Sequence[str], columns: Sequence[str]) -> Problem:
    """Combinations of factors without rows; a factor of those that have some is the repair."""
    # A column's own name, or a call such as C(year).
    read = [name for f in factors for name in ([f] if f in encoding.columns else names_in(f))]
    made = "_".join(re.sub(r"\W", "_", name) for name in read)
    quoted = (name if re.fullmatch(r"\w+", name) else f'"{name}"' for name in read)
    derive = f"{{{made}: {json.dumps(" || ':' || ".join(quoted))}}}"
    written = (
        f"`{f}`" if f in encoding.columns and not re.fullmatch(r"\w+", f) else f for f in factors
    )
    return Problem(
        f"X is rank deficient by {', '.join(columns)}: some combinations of "
        f"{' and '.join(factors)} have no row, and a formula cannot leave out single columns of an "
        f"interaction; make a factor of the combinations that occur, data: {{derive: {derive}}}, "
        f"and write {made} in place of {'*'.join(written)}",
        key="formula",
    )


def _position(name: str, names: Sequence[str]) -> int | None:
    return list(names).index(name) if name in names else None
