"""What a page tells beyond its fits: finished values of the groups and of the variance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hlm_models.interpretation.group_ppc import GroupPPC
from hlm_models.interpretation.level_effects import LevelEffects
from hlm_models.interpretation.pooling import Pooling
from hlm_models.interpretation.shrinkage import Shrinkage
from hlm_models.parts.datasets import Dataset
from hlm_models.results.variance import VarianceParts

__all__ = ["Findings", "GroupFindings", "Interval", "VarianceRow", "VarianceSplit"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95% interval; of a point fit it has none, and both ends are NaN."""

    middle: float
    lower: float = math.nan
    upper: float = math.nan


@dataclass(frozen=True, slots=True)
class VarianceRow:
    """Variance of one group, or of the residual, and its share of what the fixed part leaves."""

    group: str
    sd: Interval
    variance: Interval
    share: Interval


@dataclass(frozen=True, eq=False)
class VarianceSplit:
    """Where the variance of the response lies, and the R2 of the fixed part and of all."""

    groups: tuple[VarianceRow, ...]
    residual: VarianceRow
    marginal: Interval
    conditional: Interval
    parts: VarianceParts


@dataclass(frozen=True, eq=False)
class GroupFindings:
    """What is told of one grouping factor; `refused` says what is not, and why.

    `reference` has the effects by a point fit, where the others are of a posterior.
    """

    group: str
    effects: LevelEffects | None = None
    reference: LevelEffects | None = None
    pooling: Pooling | None = None
    shrinkage: Shrinkage | None = None
    checks: tuple[GroupPPC, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Findings:
    """All of it; `dataset` is the card of the data and `units` those of its columns."""

    groups: tuple[GroupFindings, ...] = ()
    variance: VarianceSplit | None = None
    dataset: Dataset | None = None
    units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
