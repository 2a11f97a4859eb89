"""The expected response along a predictor, others held or averaged over, and its slope."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hlm_models.data.table import LabelColumn
from hlm_models.design.build import Design
from hlm_models.errors import InputErrors, nearest
from hlm_models.inference.grid import Value, reference_grid
from hlm_models.interpretation.functionals import Functionals, Valued, valued
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import Fit
from hlm_models.results.point_only import any_fit
from hlm_models.results.rows import Rows, read_rows
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Effects", "EffectsGroups", "EffectsKind", "effects"]

EffectsKind = Literal["conditional", "marginal"]
"""Other predictors held at one value each, or averaged over the rows of the model."""

EffectsGroups = Literal["population", "typical", "existing"]
"""At b = 0, for one level of which nothing is known, or with the effects of the rows' levels."""

FEW = 10
"""A number with at most so many values is taken at these."""
POINTS = 25
"""Values of another number, evenly from its least to its largest."""


@dataclass(frozen=True, eq=False)
class Effects:
    """Expected responses over a grid of a predictor (and of a second one, `by`).

    cells : the values of the predictor, and of `by`, of each expected response
    held : where other predictors are held; empty where they are averaged over
    means : the expected responses (m,)
    changes : average slopes of a number in its unit, or differences from a factor's first level
    change_cells : what each change is, and its value of `by`
    """

    predictor: str
    by: str | None
    kind: EffectsKind
    groups: EffectsGroups
    response: str
    cells: tuple[tuple[Value, ...], ...]
    held: Mapping[str, Value]
    means: Valued
    change_cells: tuple[tuple[Value, ...], ...]
    changes: Valued
    level: float

    def frame(self) -> "pd.DataFrame":
        """One row a cell: predictor, by, mean, se, lower, upper."""
        return self._frame(self.cells, self.predictor, self.means, "mean")

    def change_frame(self) -> "pd.DataFrame":
        """One row a slope or difference: change, by, estimate, se, lower, upper."""
        return self._frame(self.change_cells, "change", self.changes, "estimate")

    def _frame(
        self, cells: Sequence[tuple[Value, ...]], first: str, values: Valued, name: str
    ) -> "pd.DataFrame":
        import pandas as pd

        keys = [first] if self.by is None else [first, self.by]
        found = pd.DataFrame(list(cells), columns=keys)
        columns = {
            name: values.estimate,
            "se": values.se,
            "lower": values.lower,
            "upper": values.upper,
        }
        return found.assign(**columns)


def effects(
    fit: Fit,
    predictor: str,
    *,
    by: str | None = None,
    kind: EffectsKind = "conditional",
    groups: EffectsGroups = "population",
    at: Mapping[str, Value | Sequence[Value]] = MappingProxyType({}),
    grid: Sequence[Value] | None = None,
    level: float = 0.95,
) -> Effects:
    """The expected response along a predictor, and its average slope or differences.

    Interactions and transforms of the formula count, and derived columns of the model file that are
    made of the predictor move with it, but for those that are made of several rows, as the mean of
    a group is: they stay.

    The average slope of a number is its derivative, averaged over the rows' values of it (and of
    other predictors where kind is "marginal"); a factor has differences from its first level.

    Parameters
    ----------
    by : a second predictor: all levels of a factor; of a number its values in `at`, or its mean and
        one standard deviation to both sides, within its range
    kind : "conditional" holds other predictors at their means (numbers, offset) or reference levels
        (factors); "marginal" averages over the rows of the model, each with its own values of them
    groups : "population" b = 0; "typical" a level of each group of which nothing is known, so that
        the interval is that of one such level; "existing" the levels of the rows, of "marginal"
        only. In a linear model the first two have the same mean
    at : values of other predictors
    grid : values of the predictor; by default all levels of a factor, up to ten different values of
        a number, or 25 from the least to the largest
    level : of the intervals

    Raises
    ------
    InputErrors
        what is no predictor, no level or no number; a grid outside a spline's range; effects of
        existing levels where nothing is averaged over.

    Source: Arel-Bundock, Greifer and Heiss (2024), doi:10.18637/jss.v111.i09, for the names.

    Examples
    --------
    >>> import hlm_models as hlm
    >>> fit = hlm.fit("sleepstudy-slopes", engine="reml")
    >>> found = hlm.effects(fit, "days", grid=[0, 9])
    """
    fit, level = any_fit(fit, "effects"), checked_level(level)
    _one_of(kind, get_args(EffectsKind), "kind")
    _one_of(groups, get_args(EffectsGroups), "groups")
    if kind == "conditional" and groups == "existing":
        raise InputErrors.one(
            "other predictors are held, so there are no rows to take existing levels from: say "
            "kind='marginal', or ask hlm.predict about one level",
            key="groups",
        )
    spec = fit.spec
    values = _values(spec.design, predictor, by, at, grid)
    ask = _Ask(spec, predictor, by, kind, groups, values, frozenset(at))
    cells = tuple(product(*(values[name] for name in ask.moved)))
    found = [ask.at(dict(zip(ask.moved, cell, strict=True))) for cell in cells]
    change_cells, changes = ask.changes(found)
    every = valued(fit, _stacked([*found, *changes]), level)
    return Effects(
        predictor=predictor,
        by=by,
        kind=kind,
        groups=groups,
        response=spec.design.formula.response,
        cells=cells,
        held={name: one[0] for name, one in ask.held.items()},
        means=every.part(slice(len(found))),
        change_cells=change_cells,
        changes=every.part(slice(len(found), None)),
        level=level,
    )


def _one_of(given: object, known: Sequence[str], key: str) -> None:
    if given not in known:
        raise InputErrors.one(
            f"{given!r} is none of {', '.join(known) or 'no predictors'}{nearest(given, known)}",
            key=key,
        )


def _values(
    design: Design,
    predictor: str,
    by: str | None,
    at: Mapping[str, Value | Sequence[Value]],
    grid: Sequence[Value] | None,
) -> dict[str, tuple[Value, ...]]:
    """Values of the predictor and of `by`, and one of each other predictor."""
    if predictor in at:
        raise InputErrors.one(f"values of {predictor} are given by grid", key="at")
    known = [*design.encoding.columns, *filter(None, [design.offset_column])]
    for key, name in (("predictor", predictor), ("by", by)):
        if name is not None:
            _one_of(name, known, key)
    if by == predictor:
        raise InputErrors.one(f"{by} is the predictor itself; name another one", key="by")
    given = dict(at)
    if grid is not None:
        given[predictor] = grid
    for name, few in ((predictor, _steps), (by, _spread)):
        column = design.table.columns.get(name) if name else None
        if name and name not in given and column and not isinstance(column, LabelColumn):
            given[name] = few(column.values)
    asked = (predictor,) if by is None else (predictor, by)
    values = reference_grid(design, asked, given)
    reference = {factor.name: factor.reference for factor in design.factors}
    for name, several in values.items():
        if name in asked or len(several) == 1:
            continue
        if name in at:
            raise InputErrors.one(
                f"{name} is held at one value; for several say by={name!r}", key="at"
            )
        values[name] = (reference.get(name) or several[0],)
    return values


def _steps(column: FloatArray) -> list[float]:
    distinct = np.unique(column)
    if len(distinct) <= FEW:
        return [float(one) for one in distinct]
    return [float(one) for one in np.linspace(distinct[0], distinct[-1], POINTS)]


def _spread(column: FloatArray) -> list[float]:
    distinct = np.unique(column)
    if len(distinct) <= 3:
        return [float(one) for one in distinct]
    middle, sd = float(column.mean()), float(column.std(ddof=1))
    # Of a skewed column they may be where a spline or a logarithm knows nothing.
    ends = np.clip([middle - sd, middle + sd], distinct[0], distinct[-1])
    return [float(ends[0]), middle, float(ends[1])]


@dataclass(frozen=True, eq=False)
class _Ask:
    """What is asked of a model, as combinations of beta and b."""

    spec: ModelSpec
    predictor: str
    by: str | None
    kind: EffectsKind
    groups: EffectsGroups
    values: Mapping[str, tuple[Value, ...]]
    said: frozenset[str]

    @property
    def moved(self) -> tuple[str, ...]:
        return (self.predictor,) if self.by is None else (self.predictor, self.by)

    @property
    def held(self) -> dict[str, tuple[Value, ...]]:
        """One value of each predictor that is held."""
        return {
            name: one
            for name, one in self.values.items()
            if name not in (*self.moved, *self._made_anew)
            and (self.kind == "conditional" or name in self.said)
        }

    def at(self, cell: Mapping[str, Value]) -> Functionals:
        """The expected response at one value of the predictor (and of `by`)."""
        return self._averaged(cell, self._base(1))

    def _base(self, count: int) -> "pd.DataFrame":
        """The rows of the model, or `count` rows that have the held values."""
        design = self.spec.design
        frame = design.table.frame()
        if self.kind == "conditional":
            precision = design.known_sd_column or design.weights_column
            frame = frame.iloc[np.zeros(count, dtype=np.int64)].reset_index(drop=True)
            if precision:
                frame[precision] = 1.0
        held = {name: value for name, (value,) in self.held.items()}
        for name, value in held.items():
            frame[name] = _filled(value, len(frame))
        return frame.drop(columns=self._made_anew)

    @property
    def _made_anew(self) -> list[str]:
        """Derived columns that are made of what moves or is given, and are not given themselves."""
        given = {*self.moved, *self.said}
        changed, found = given, []
        for name, text in self.spec.config["data"]["derive"].items():
            several = re.search(r"\bover\b", text, re.IGNORECASE)
            if name not in given and not several and any(_reads(text, one) for one in changed):
                found.append(name)
                changed = changed | {name}
        return [name for name in found if name in self.spec.design.table.columns]

    def _averaged(
        self,
        cell: Mapping[str, Value | FloatArray],
        frame: "pd.DataFrame",
        weights: FloatArray | None = None,
    ) -> Functionals:
        """The mean over rows with the values of a cell, each row weighing the same or `weights`."""
        for name, value in cell.items():
            frame[name] = _filled(value, len(frame))
        rows = self._read(frame)
        share = np.full(rows.m, 1 / rows.m) if weights is None else weights
        typical: tuple[FloatArray, ...] = ()
        existing: tuple[FloatArray, ...] = ()
        if self.groups == "typical":
            typical = tuple((share @ z)[None] for z in rows.z)
        elif self.groups == "existing":
            existing = tuple(
                np.column_stack(
                    [np.bincount(block.level, share * column, block.J) for column in z.T]
                )[None]
                for z, block in zip(rows.z, self.spec.blocks, strict=True)
            )
        return Functionals((share @ rows.x)[None], (share @ rows.offset)[None], typical, existing)

    def _read(self, frame: "pd.DataFrame") -> Rows:
        groups = [block.group for block in self.spec.blocks]
        wanted = [] if self.groups == "population" else groups
        return read_rows(self.spec, frame, effects=wanted, levels=[])

    def changes(
        self, found: Sequence[Functionals]
    ) -> tuple[tuple[tuple[Value, ...], ...], list[Functionals]]:
        """Average slopes of a number, differences of a factor, and what they are called."""
        column = self.spec.design.table.columns[self.predictor]
        others = self.values[self.by] if self.by else (None,)
        names: list[tuple[Value, ...]] = []
        parts: list[Functionals] = []
        levels = self.values[self.predictor]
        numeric = not isinstance(column, LabelColumn) and not self._labels
        for k, other in enumerate(others):
            last = () if other is None else (other,)
            if numeric:
                assert not isinstance(column, LabelColumn)
                names.append((f"slope of {self.predictor}", *last))
                parts.append(
                    self._slope(column.values, dict(zip(self.moved[1:], last, strict=True)))
                )
                continue
            for i, one in enumerate(levels[1:], start=1):
                first = found[k]
                names.append((f"{_text(one)} - {_text(levels[0])}", *last))
                parts.append(found[i * len(others) + k].less(first))
        return tuple(names), parts

    @property
    def _labels(self) -> bool:
        """Whether the formula takes the number as a factor."""
        known = {factor.name for factor in self.spec.design.factors}
        return f"C({self.predictor})" in known

    def _slope(self, column: FloatArray, cell: Mapping[str, Value]) -> Functionals:
        """The derivative, averaged over the rows' values of the predictor: central differences.

        They are exact but for rounding where the response is linear or quadratic in it.
        """
        h = 1e-4 * float(np.ptp(column))
        if self.kind == "marginal":
            values, weights = column, np.full(len(column), 1 / len(column))
        else:
            values, counts = np.unique(column, return_counts=True)
            weights = counts / len(column)
        # Splines know nothing beyond the least and the largest value.
        up, down = np.minimum(values + h, column.max()), np.maximum(values - h, column.min())
        ends = []
        for value in (up, down):
            frame = self._base(len(values))
            here = {self.predictor: value, **cell}
            ends.append(self._averaged(here, frame, weights / (up - down)))
        return ends[0].less(ends[1])


def _reads(text: str, name: str) -> bool:
    """Whether an expression of SQL, where case does not count, names a column."""
    word = rf"(?<!\w){re.escape(name)}(?!\w)"
    return re.search(word, text, re.IGNORECASE) is not None


def _filled(value: Value | FloatArray, n: int) -> "FloatArray | list[str]":
    """A column of one value, or the values of a column."""
    return [value] * n if isinstance(value, str) else np.broadcast_to(value, n).copy()


def _text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _stacked(parts: Sequence[Functionals]) -> Functionals:
    def joined(each: Sequence[tuple[FloatArray, ...]]) -> tuple[FloatArray, ...]:
        return tuple(np.concatenate(block) for block in zip(*each, strict=True))

    return Functionals(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.constant for part in parts]),
        joined([part.typical for part in parts]),
        joined([part.existing for part in parts]),
    )
