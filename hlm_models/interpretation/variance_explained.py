"""What predictors take off the variances: two models of the same rows and groups side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.errors import InputErrors, RefusalError
from hlm_models.inference.nesting import outside
from hlm_models.interpretation.draws import Unknowns, unknowns
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import Fit, PointFit
from hlm_models.results.point_only import any_fit
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VarianceExplained", "variance_explained"]

PAIRS = 4_000
"""Pairs of draws of two posteriors that are taken; more where one has more draws."""


@dataclass(frozen=True, eq=False)
class VarianceExplained:
    """Each variance without and with the further predictors, and the proportion that they take off.

    smaller, larger : by row, the variance in each model (pairs,); one number of point fits
    """

    smaller: Mapping[tuple[str, str], FloatArray]
    larger: Mapping[tuple[str, str], FloatArray]
    added: tuple[str, ...]
    posterior: bool
    level: float

    def frame(self) -> "pd.DataFrame":
        """One row a variance: without, with, explained; of posteriors lower and upper too.

        explained is 1 - with / without, of posteriors of their means. It may be negative; it is NaN
        where nothing is there to explain.
        """
        import pandas as pd

        rows = []
        for key, one in self.smaller.items():
            other = self.larger[key]
            without, rest = float(one.mean()), float(other.mean())
            explained = 1 - rest / without if without > 0 else np.nan
            row = {"without": without, "with": rest, "explained": explained}
            if self.posterior:
                ends = [(1 - self.level) / 2, (1 + self.level) / 2]
                lower, upper = np.quantile(1 - other / one, ends)
                row |= {"lower": float(lower), "upper": float(upper)}
            rows.append(row)
        index = pd.MultiIndex.from_tuples(list(self.smaller), names=["group", "variance"])
        return pd.DataFrame(rows, index=index)


def variance_explained(smaller: Fit, larger: Fit, *, level: float = 0.95) -> VarianceExplained:
    """How much smaller the variances are in the model with more predictors.

    Of each group the variance of each effect, and the residual one, have the proportions of
    Raudenbush and Bryk. With one group there are those of Snijders and Bosker too: of the error of
    predicting a row (level 1) and a group's mean (level 2). With z the mean of Z over level j the
    latter has variance z'Psi z + sigma^2 / n_j, of which the mean over the levels is taken: of
    random intercepts, that is sigma^2 over the harmonic mean of the n_j.

    A proportion may be negative: what a predictor takes off sigma^2 / n_j, the part of sigma^2 in
    the variance of group means, is left to the variance of the groups where the predictor differs
    little between them.

    Parameters
    ----------
    smaller, larger : both point fits of one engine, or both posteriors, of the same rows and with
        the same random effects. Draws of two posteriors are not paired: any draw of one goes with
        any of the other
    level : of the intervals, of posteriors

    Raises
    ------
    InputErrors
        other rows, response, weights or random effects; a smaller model with predictors that are
        no combination of those of the larger one.
    RefusalError
        a posterior and a point fit, or REML and ML.

    Source: Raudenbush and Bryk (2002), Hierarchical Linear Models, chapter 4; Snijders and Bosker
    (1994), doi:10.1177/0049124194022003004.
    """
    smaller, larger = any_fit(smaller, "variance_explained"), any_fit(larger, "variance_explained")
    level = checked_level(level)
    kinds = [one.engine if isinstance(one, PointFit) else "posterior" for one in (smaller, larger)]
    if kinds[0] != kinds[1]:
        raise RefusalError(
            f"a {kinds[0]} fit and a {kinds[1]} fit have variances that differ for other reasons "
            "too: fit both models by the same engine"
        )
    _same(smaller.spec, larger.spec)
    rng = np.random.default_rng((smaller.seed, larger.seed))
    parts, both = [], [unknowns(fit) for fit in (smaller, larger)]
    pairs = max(PAIRS, *(found.sigma.size for found in both)) if kinds[0] == "posterior" else 1
    for fit, found in zip((smaller, larger), both, strict=True):
        at = rng.permutation(np.resize(np.arange(found.sigma.size), pairs))
        parts.append({key: one.ravel()[at] for key, one in _variances(fit.spec, found).items()})
    coef = smaller.spec.design.coef
    return VarianceExplained(
        smaller=parts[0],
        larger=parts[1],
        added=tuple(name for name in larger.spec.design.coef if name not in coef),
        posterior=kinds[0] == "posterior",
        level=level,
    )


def _same(smaller: ModelSpec, larger: ModelSpec) -> None:
    one, other = smaller.design, larger.design
    if one.n != other.n or not np.array_equal(one.y, other.y):
        raise InputErrors.one(
            "the models have different rows or responses: fit both to the rows that have all the "
            "values of both",
            key="larger",
        )
    for what in ("weights", "offset"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if (mine is None) != (theirs is None) or not np.array_equal(
            0 if mine is None else mine, 0 if theirs is None else theirs
        ):
            raise InputErrors.one(f"the models have different {what}", key="larger")
    shapes = [
        {block.group: (block.effects, block.labels) for block in design.blocks}
        for design in (one, other)
    ]
    alike = shapes[0] == shapes[1] and all(
        np.array_equal(mine.level, theirs.level) and np.allclose(mine.z, theirs.z)
        for mine, theirs in zip(one.blocks, other.blocks, strict=True)
    )
    if not alike:
        raise InputErrors.one(
            "the models have different random effects, whose variances are not to be compared: "
            "give both the same random terms",
            key="larger",
        )
    lost = [one.coef[k] for k in outside(one.X, other.X).tolist()]
    if lost:
        raise InputErrors.one(
            f"the larger model lacks {', '.join(lost)}: the first model is the smaller one, whose "
            "predictors the second one has too",
            key="larger",
        )
    if one.p == other.p:
        raise InputErrors.one("the second model has no predictor more", key="larger")


def _variances(spec: ModelSpec, found: Unknowns) -> dict[tuple[str, str], FloatArray]:
    """Every variance by draw (chains, draws)."""
    design = spec.design
    weights = np.ones(design.n) if design.weights is None else design.weights
    sigma2 = np.square(spec.residual.scale(found.sigma))
    rows = {}
    for block, Psi in zip(spec.blocks, found.cov, strict=True):
        for k, name in enumerate(block.effects):
            rows[block.group, name] = Psi[..., k, k]
    if design.sigma is None:
        rows["residual", "sigma^2"] = sigma2
    if len(spec.blocks) == 1:
        [block], [Psi] = spec.blocks, found.cov
        total = np.bincount(block.level, weights, block.J)
        sums = [np.bincount(block.level, weights * column, block.J) for column in block.z.T]
        means = np.column_stack(sums) / total[:, None]
        for name, z, scale in (
            ("level 1, a row", block.z, np.mean(1 / weights)),
            ("level 2, a group's mean", means, np.mean(1 / total)),
        ):
            moments = z.T @ z / len(z)
            rows["prediction", name] = np.sum(moments * Psi, axis=(-2, -1)) + sigma2 * scale
    return rows
