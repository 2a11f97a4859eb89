"""Factors among the predictors: how each is coded, and its level without a column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hlm_models.config.settings import Contrast, ContrastSettings
from hlm_models.data.table import LabelColumn, NumberColumn, Table
from hlm_models.errors import InputErrors, Problem, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Factor", "find_factors"]


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor: its levels in the order of the data, and the one that has no column.

    Treatment columns are indicators of the other levels; sum columns are, in rows of the reference
    level, -1. In a description `reference` is None where every level has a column of its own, as
    all do in the indicators that stand in for an intercept.
    """

    name: str
    contrast: Contrast
    reference: str | None
    levels: tuple[str, ...]

    @property
    def default(self) -> bool:
        return self.contrast == "treatment" and self.reference == self.levels[0]

    def column(self, labels: LabelColumn) -> "pd.Categorical[str]":
        """The rows with the reference level in the place that its coding leaves out."""
        found = labels.categorical()
        order = list(found.categories)
        if self.reference in order:
            order.remove(self.reference)
            order.insert(0 if self.contrast == "treatment" else len(order), self.reference)
        return found.reorder_categories(order)

    def text(self) -> str:
        """The coding in words."""
        if self.reference is None:
            return f"a column for each of {', '.join(self.levels)}"
        return f"{self.contrast} contrasts, reference level {self.reference}"

    def described(self, sides: Iterable[Sequence[str]]) -> "Factor":
        """The same without its reference where the first side that has the factor codes it too.

        `sides` are the names of the columns of X and of the random terms.
        """
        for names in sides:
            columns = [f":{name}:" for name in names]
            coded = [
                level
                for level in self.levels
                if any(f":{self.name}[{level}]:" in column for column in columns)
            ]
            if coded:
                return replace(self, reference=None) if self.reference in coded else self
        return self


def find_factors(
    predictors: Sequence[str],
    table: Table,
    settings: Mapping[str, Contrast | ContrastSettings],
) -> tuple[Factor, ...]:
    """The columns of labels among the predictors, each with its coding.

    Treatment contrasts with the first level as reference unless said; sum contrasts with the last.

    Raises
    ------
    InputErrors
        a setting for what is no factor of the model, or a reference that is no level.
    """
    columns = {name: table.columns[name] for name in predictors if name in table.columns}
    labelled = {name: one for name, one in columns.items() if isinstance(one, LabelColumn)}
    problems = [
        Problem(_no_factor(name, columns.get(name), list(labelled)), key=f"contrasts.{name}")
        for name in settings
        if name not in labelled
    ]
    found = []
    for name, labels in labelled.items():
        levels = tuple(str(level) for level in labels.categorical().categories)
        given = settings.get(name, "treatment")
        kind, reference = (given, None) if isinstance(given, str) else (given.kind, given.reference)
        if reference is None:
            reference = levels[0] if kind == "treatment" else levels[-1]
        elif reference not in levels:
            listed = f" (levels: {', '.join(levels)})" if len(levels) <= 20 else ""
            message = f"'{reference}' is not a level of {name}{nearest(reference, levels)}{listed}"
            problems.append(Problem(message, key=f"contrasts.{name}.reference"))
        found.append(Factor(name, kind, reference, levels))
    if problems:
        raise InputErrors(problems)
    return tuple(found)


def _no_factor(name: str, column: object, known: Sequence[str]) -> str:
    if isinstance(column, NumberColumn):
        return (
            f"{name} holds numbers, which have no contrasts; derive labels, as "
            f'{name}_label: "CAST({name} AS VARCHAR)" does'
        )
    has = f"factors: {', '.join(known)}" if known else "it has none"
    return f"'{name}' is not a factor among the predictors{nearest(name, known)} ({has})"
