"""Coefficients of the levels of a group beside a predictor of the levels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hlm_models.data.roles import macro_columns
from hlm_models.data.table import LabelColumn
from hlm_models.design.build import Design, RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.errors import InputErrors, nearest
from hlm_models.interpretation.pooling import Pooling, pooling
from hlm_models.results.fits import Fit
from hlm_models.results.point_only import any_fit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MacroEffects", "macro_effects"]


COLUMNS = (
    "coefficient",
    "n",
    "none",
    "none_se",
    "partial",
    "partial_se",
    "expected",
    "levels",
)
"""Columns of the tables beside the group and the predictor."""


@dataclass(frozen=True, eq=False)
class MacroEffects:
    """Coefficients of each level, and the value (J,) of a macro predictor: numbers or labels.

    `inside` says whether the model has the predictor, so that `pooling.expected` moves with it.
    """

    predictor: str
    values: NDArray[np.float64] | NDArray[np.object_]
    inside: bool
    pooling: Pooling

    def frame(self) -> "pd.DataFrame":
        """One row a coefficient of a level: the predictor, n, none, partial, their ses, expected.

        none is least squares in the level by itself, partial the fit; expected is the fixed part.
        """
        found = self.pooling.frame()
        k = len(self.pooling.coefficients)
        kept = found[["n", "none", "none_se", "partial", "partial_se"]]
        keys = found[[self.pooling.group, "coefficient"]].assign(
            **{self.predictor: np.repeat(self.values, k)}
        )
        return keys.join(kept).assign(expected=self.pooling.expected.ravel())

    def by_value(self) -> "pd.DataFrame":
        """One row a coefficient and value: the number of levels, means of none and partial."""
        groups = self.frame().groupby(["coefficient", self.predictor], sort=False)
        found = groups.agg(
            levels=("partial", "size"), none=("none", "mean"), partial=("partial", "mean")
        )
        order = {name: k for k, name in enumerate(self.pooling.coefficients)}
        return found.sort_index(
            key=lambda one: one.map(order) if one.name == "coefficient" else one
        )


def macro_effects(
    fit: Fit, predictor: "str | pd.Series", group: str | None = None, *, level: float = 0.95
) -> MacroEffects:
    """The coefficients of every level of a group beside a predictor that is constant within it.

    Parameters
    ----------
    predictor : a column that the model reads, or values of any other one: a Series by level of the
        group, as `frame.groupby("school")["flp"].first()` is
    group : a grouping factor of the model; may be left out where it has one
    level : of the intervals

    Raises
    ------
    InputErrors
        the predictor is no column of the model, varies within the group, has the name of a column
        of the table, or no finite value for one of the group's levels.
    RefusalError
        as `pooling`.
    """
    fit = any_fit(fit, "macro_effects")
    design = fit.spec.design
    block = find_block(design, group)
    if isinstance(predictor, str):
        values = _of_model(design, block, predictor)
        name, inside = predictor, predictor in design.encoding.columns
    else:
        values, name, inside = _of_levels(block, predictor), _name(predictor), False
    if name in (block.group, *COLUMNS):
        raise InputErrors.one(
            f"{name} is the name of another column of the table: give the values by level as a "
            "Series of another name",
            key="predictor",
        )
    return MacroEffects(name, values, inside, pooling(fit, block.group, level=level))


def _of_model(
    design: Design, block: RandomBlock, name: str
) -> NDArray[np.float64] | NDArray[np.object_]:
    used = [one for one in design.table.columns if one not in block.factors]
    if name not in used:
        raise InputErrors.one(
            f"the model reads no column {name!r}{nearest(name, used)}; of another one give the "
            f"values by level, as frame.groupby({block.factors[0]!r})[{name!r}].first()",
            key="predictor",
        )
    macro = macro_columns(design.table, block.group)
    if name not in macro:
        known = ", ".join(sorted(macro & set(design.encoding.columns))) or "none"
        raise InputErrors.one(
            f"{name} varies within {block.group}; a macro predictor does not (those of the model: "
            f"{known})",
            key="predictor",
        )
    first = np.zeros(block.J, dtype=np.int64)
    first[block.level[::-1]] = np.arange(design.n - 1, -1, -1)
    column = design.table.columns[name]
    if isinstance(column, LabelColumn):
        return np.array(column.labels, dtype=object)[column.codes[first]]
    return column.values[first]


def _name(values: "pd.Series") -> str:
    return "predictor" if values.name is None else str(values.name)


def _of_levels(block: RandomBlock, given: "pd.Series") -> NDArray[np.float64] | NDArray[np.object_]:
    import pandas as pd

    if not isinstance(given, pd.Series):
        raise InputErrors.one(
            "a macro predictor is the name of a column or a Series of values by level, not "
            f"{type(given).__name__}",
            key="predictor",
        )
    by_level = given.set_axis(given.index.map(str))
    if by_level.index.has_duplicates:
        twice = by_level.index[by_level.index.duplicated()][0]
        raise InputErrors.one(f"{twice} has several values; give one a level", key="predictor")
    found = by_level.reindex(list(block.labels))
    absent = found.isna() | found.isin([np.inf, -np.inf])
    if absent.any():
        missing = found.index[absent]
        raise InputErrors.one(
            f"{missing[0]!r} of {block.group} has no finite value"
            + (f" (nor have {len(missing) - 1} other levels)" if len(missing) > 1 else ""),
            key="predictor",
        )
    if pd.api.types.is_numeric_dtype(found) and not pd.api.types.is_bool_dtype(found):
        return found.to_numpy(dtype=np.float64)
    return found.astype(str).to_numpy(dtype=object)
