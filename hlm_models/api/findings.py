"""What a page tells beyond its fits, gathered from the room that interprets them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.design.build import RandomBlock
from hlm_models.errors import RefusalError
from hlm_models.interpretation.draws import spread
from hlm_models.interpretation.group_ppc import GroupPPC, Statistic, group_ppc
from hlm_models.interpretation.level_effects import level_effects
from hlm_models.interpretation.pooling import pooling
from hlm_models.interpretation.shrinkage import shrinkage
from hlm_models.interpretation.variance import variance_draws
from hlm_models.parts import datasets
from hlm_models.report.findings import (
    Findings,
    GroupFindings,
    Interval,
    VarianceRow,
    VarianceSplit,
)
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.variance import VarianceParts, variance_parts
from hlm_models.target.conditional import has_effects
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from hlm_models.spec.model import ModelSpec

__all__ = ["findings"]

WORK = 5_000_000_000
"""Levels times the fourth power of columns: of more, a page has no least squares by level."""

RESPONSES = 3_000_000
"""About so many responses are replicated for a check by group."""


def findings(fit: Fit, reference: PointFit | None = None) -> Findings:
    """What is known of groups and variances by this fit; each draws by the fit's own seed.

    What refuses is left out, with its reason.
    """
    card = _card(fit.spec)
    return Findings(
        groups=tuple(_of_group(fit, one, reference) for one in fit.spec.blocks)
        if _has_effects(fit)
        else (),
        variance=_variance(fit),
        dataset=card,
        units={one.name: one.unit for one in card.columns if one.unit} if card else {},
    )


def _has_effects(fit: Fit) -> bool:
    """Whether the effects of the groups are in the fit, or what they are drawn again from."""
    if not isinstance(fit, PosteriorFit):
        return True
    return has_effects(fit.spec, fit.data["posterior"].to_dataset())


def _card(spec: "ModelSpec") -> datasets.Dataset | None:
    """The card of the dataset that the rows were read from; a file or a frame has none."""
    source, read = spec.config["data"]["source"], spec.design.table.source
    known = source == read and source in datasets.names()
    return datasets.find(source) if known else None


def _of_group(fit: Fit, block: RandomBlock, reference: PointFit | None) -> GroupFindings:
    refused: list[str] = []
    columns = fit.spec.design.p + block.q
    affordable = block.J * columns**4 <= WORK

    def unless_refused[T](make: Callable[[], T]) -> T | None:
        if not affordable:
            refused.append(
                f"least squares of {columns} columns in each of {block.J:,} levels of "
                f"{block.group}, which take long: hlm.pooling and hlm.shrinkage compute them"
            )
            return None
        try:
            return make()
        except RefusalError as error:
            refused.append(str(error))
            return None

    return GroupFindings(
        group=block.group,
        effects=level_effects(fit, block.group),
        reference=None if reference is None else level_effects(reference, block.group),
        pooling=unless_refused(lambda: pooling(fit, block.group)),
        shrinkage=unless_refused(lambda: shrinkage(fit, block.group)),
        checks=_checks(fit, block),
        refused=tuple(dict.fromkeys(refused)),
    )


def _checks(fit: Fit, block: RandomBlock) -> tuple[GroupPPC, ...]:
    """Means of levels drawn anew; and what varies within levels, where these have rows enough."""
    count = int(np.clip(RESPONSES // fit.spec.design.n, 100, 1000))
    asked: list[tuple[Statistic, bool]] = [("mean", True)]
    if np.median(block.sizes) >= 4:
        asked.append(("sd", False))
    elif np.median(block.sizes) >= 2:
        asked.append(("max", False))
    return tuple(
        group_ppc(fit, statistic, block.group, new=new, replicates=count)
        for statistic, new in asked
    )


def _variance(fit: Fit) -> VarianceSplit:
    parts = variance_draws(fit) if isinstance(fit, PosteriorFit) else variance_parts(fit)
    return VarianceSplit(
        groups=tuple(_row(name, one, parts) for name, one in parts.groups.items()),
        residual=_row("residual", parts.residual, parts),
        marginal=_interval(parts.marginal),
        conditional=_interval(parts.conditional),
        parts=parts,
    )


def _row(name: str, variance: FloatArray, parts: VarianceParts) -> VarianceRow:
    return VarianceRow(
        name,
        sd=_interval(np.sqrt(variance)),
        variance=_interval(variance),
        share=_interval(variance / (parts.random + parts.residual)),
    )


def _interval(draws: FloatArray) -> Interval:
    if np.ndim(draws) == 0:
        return Interval(float(draws))
    found = spread(draws, 0.95)
    return Interval(float(found.mean), float(found.lower), float(found.upper))
