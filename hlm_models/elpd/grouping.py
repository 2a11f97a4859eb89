"""Levels that rows are put into: those of a group of the model, or others."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hlm_models.design.find_block import find_block
from hlm_models.errors import InputErrors
from hlm_models.spec.model import ModelSpec
from hlm_models.types import IntArray, frozen

__all__ = ["Grouping", "grouping"]


@dataclass(frozen=True, eq=False)
class Grouping:
    """A partition of the rows, by which a model can be scored though it has no such random term.

    labels (J,) : what the levels are called
    level (n,) : the level of each row, 0 to J - 1; every level has a row

    Raises
    ------
    InputErrors
        a level has no label, or a label no row.
    """

    name: str
    labels: tuple[str, ...]
    level: IntArray

    def __post_init__(self) -> None:
        level = np.array(self.level)
        if level.ndim != 1 or not np.array_equal(np.unique(level), np.arange(self.J)):
            raise InputErrors.one(
                f"each row needs a level from 0 to {self.J - 1}, and each level a row: there are "
                f"{self.J} labels",
                key=self.name,
            )
        object.__setattr__(self, "level", frozen(level.astype(np.int64)))

    @property
    def J(self) -> int:
        return len(self.labels)

    @cached_property
    def sizes(self) -> IntArray:
        """Rows in each level (J,)."""
        return np.bincount(self.level, minlength=self.J)


def grouping(spec: ModelSpec, by: str | Grouping | None = None) -> Grouping:
    """The levels of a group of the model, or those given once they are known to be of its rows.

    Levels of a group that have lost all their rows are none.

    Parameters
    ----------
    by : a group of the model; may be left out where there is only one

    Raises
    ------
    InputErrors
        there is no such group, or several and none is named; the partition is of other rows.
    """
    if isinstance(by, Grouping):
        if len(by.level) != spec.design.n:
            raise InputErrors.one(
                f"{by.name} has {len(by.level):,} rows and the model {spec.design.n:,}", key="by"
            )
        return by
    block = find_block(spec.design, by, key="by")
    there = block.sizes > 0
    labels = tuple(label for label, one in zip(block.labels, there, strict=True) if one)
    return Grouping(block.group, labels, (np.cumsum(there) - 1)[block.level])
