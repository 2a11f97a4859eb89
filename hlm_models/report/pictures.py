"""The figures of a run's page as markup, from finished values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.comparison.sensitivity import SensitivityRow
from hlm_models.design.build import RandomBlock
from hlm_models.report.findings import GroupFindings, VarianceSplit
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.prior import own_draws, own_log_prior
from hlm_models.results.summary import (
    DrawRow,
    Parameter,
    PointRow,
    hyperparameters,
    parameter_draws,
    parameters,
)
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "OVERLAID",
    "TRACED",
    "Effect",
    "by_group",
    "effects",
    "forest",
    "lines",
    "overlays",
    "planes",
    "predictive",
    "trace_step",
    "traces",
    "variance",
]

TRACED = 24
"""Parameters with a trace; of more, those with the largest r_hat are shown."""

OVERLAID = 24
"""Parameters with prior and posterior side by side; of more, those that the prior moves most."""

PRIOR_DRAWS = 10_000
"""Draws that the middle of a prior is taken from, and its density where it has no closed form."""


def forest(
    spec: ModelSpec, draws: Sequence[DrawRow], points: Sequence[PointRow], reference: str
) -> "Markup":
    """Posterior and point estimate of every parameter, from the posterior's mean in its sds."""
    from hlm_models.plot.intervals import Bar, standardised
    from hlm_models.plot.intervals import forest as drawn
    from hlm_models.report.markup import markup

    pairs = []
    for draw, point in zip(draws, points, strict=True):
        both = (
            Bar(draw.name, draw.mean, draw.lower, draw.upper),
            Bar(point.name, point.estimate, point.lower, point.upper),
        )
        if draw.sd > 0:
            left, right = (standardised(one, centre=draw.mean, scale=draw.sd) for one in both)
            pairs.append((left, right))
    alt = f"{spec.name}: posterior and {reference} intervals of {len(pairs)} parameters"
    return markup(drawn(pairs, reference=reference), alt)


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect of a group's levels: what it is called, and its pictures."""

    name: str
    pictures: "tuple[Markup, ...]"


def effects(
    spec: ModelSpec, found: GroupFindings, units: Mapping[str, str]
) -> "tuple[Effect, ...]":
    """Every effect sorted with its intervals, and how far partial pooling moves each level."""
    from hlm_models.plot.levels import drawn_levels
    from hlm_models.plot.pooled import shrinkage
    from hlm_models.report.markup import markup

    if found.effects is None:
        return ()
    group, pool, out = found.group, found.pooling, []
    for effect in found.effects.effects:
        label = label_of(effect, spec, units)
        title = f"b_{group}[{effect}]"
        count = f"{len(found.effects.labels):,} levels"
        figure = drawn_levels(found.effects, effect, found.reference, label=label)
        alt = f"{spec.name}: {title} of {count}, {found.effects.engine}, sorted"
        pictures = [markup(figure, alt)]
        if pool is not None and effect in pool.coefficients:
            alt = f"{spec.name}: {effect} of {count} of {group}, no pooling to partial pooling"
            pictures.append(markup(shrinkage(pool, [effect], labels=[label]), alt))
        out.append(Effect(effect, tuple(pictures)))
    return tuple(out)


def label_of(effect: str, spec: ModelSpec, units: Mapping[str, str]) -> str:
    """What an axis of an effect measures: the response, per unit of a predictor."""
    response = _with_unit(spec.design.formula.response, units)
    return response if effect == "Intercept" else f"{response} per unit of {effect}"


def _with_unit(name: str, units: Mapping[str, str]) -> str:
    unit = units.get(name, "")
    return f"{name}, {unit}" if unit and unit != name else name


def lines(
    spec: ModelSpec, block: RandomBlock, found: GroupFindings, units: Mapping[str, str]
) -> "tuple[tuple[Markup, Markup], ...]":
    """Lines of all levels, and of some with their rows, along every effect that is a slope.

    Where no slope varies, along the first predictor that varies within levels.
    """
    from hlm_models.plot.lines import group_lines, group_panels
    from hlm_models.report.markup import markup

    pool = found.pooling
    if pool is None:
        return ()
    slopes = [one for one in pool.coefficients if one != "Intercept"]
    names = [one for one in slopes if one in block.effects] or slopes[:1]
    pictures = []
    for name in names:
        labels = (_with_unit(name, units), _with_unit(pool.response, units))
        where = f"{block.group} along {name}"
        pictures.append(
            (
                markup(
                    group_lines(pool, name, labels=labels),
                    f"{spec.name}: lines of {block.J:,} levels of {where}, over the rows",
                ),
                markup(
                    group_panels(pool, name, labels=labels),
                    f"{spec.name}: rows and lines of some levels of {where}",
                ),
            )
        )
    return tuple(pictures)


def planes(
    spec: ModelSpec, block: RandomBlock, found: GroupFindings, units: Mapping[str, str]
) -> "tuple[Markup, ...]":
    """Two effects of every level beside each other, for each pair with the first one."""
    from hlm_models.plot.pooled import shrinkage_plane
    from hlm_models.report.markup import markup

    pool = found.pooling
    if pool is None:
        return ()
    first, *others = [one for one in block.effects if one in pool.coefficients] or [""]
    return tuple(
        markup(
            shrinkage_plane(
                pool,
                (first, other),
                labels=(label_of(first, spec, units), label_of(other, spec, units)),
            ),
            f"{spec.name}: {first} against {other} of the levels of {block.group}",
        )
        for other in others
    )


def by_group(
    spec: ModelSpec, found: GroupFindings, units: Mapping[str, str]
) -> "tuple[Markup, ...]":
    """A statistic of each level beside its replicates."""
    from hlm_models.plot.by_group import ppc_by_group
    from hlm_models.report.markup import markup

    return tuple(
        markup(
            ppc_by_group(one, label=f"{one.statistic} of {_with_unit(one.response, units)}"),
            f"{spec.name}: {one.statistic} by {one.group}, and replicates",
        )
        for one in found.checks
        if one.checked
    )


def variance(spec: ModelSpec, split: VarianceSplit) -> "Markup":
    """A bar of the shares of the variance."""
    from hlm_models.plot.shares import variance as drawn
    from hlm_models.report.markup import markup

    return markup(drawn(split.parts), f"{spec.name}: shares of the variance")


def overlays(fit: PosteriorFit, rows: Sequence[SensitivityRow]) -> "tuple[Markup, ...]":
    """Density of the prior over the draws of the posterior, a panel a parameter."""
    from hlm_models.plot.densities import distribution
    from hlm_models.report.markup import markup

    moved = {row.parameter: np.nan_to_num(row.prior, nan=np.inf) for row in rows}
    shown = (*parameters(fit.spec), *hyperparameters(fit.spec))
    free = sorted(shown, key=lambda one: -moved.get(one.name, 0.0))[:OVERLAID]
    drawn, rng = parameter_draws(fit), np.random.default_rng(fit.seed)
    pictures = []
    for one in shown:
        draws = drawn[one.name]
        if one not in free or np.ptp(draws) == 0:
            continue
        before = own_draws(fit.spec, one, rng, PRIOR_DRAWS)
        x = np.linspace(*_span(one, draws, before), 400)
        log_prior = own_log_prior(fit.spec, one)
        if log_prior is not None:
            density = np.exp(log_prior(x))
        elif before is None:
            density = np.full(len(x), np.nan)
        else:
            heights, edges = np.histogram(before, bins=np.linspace(x[0], x[-1], 61))
            density = np.repeat(heights / (len(before) * np.diff(edges)), 2)
            x = np.repeat(edges, 2)[1:-1]
        alt = f"{fit.spec.name}: prior and posterior of {one.name}"
        pictures.append(markup(distribution(one.name, x, density, draws), alt))
    return tuple(pictures)


def _span(one: Parameter, draws: FloatArray, before: FloatArray | None) -> tuple[float, float]:
    """What a panel shows: all draws and the prior's middle, or as much as leaves the draws seen."""
    least, most = {"beta": (-np.inf, np.inf), "corr": (-0.9999, 0.9999)}.get(
        one.variable.partition("_")[0], (0.0, np.inf)
    )
    low, high = float(draws.min()), float(draws.max())
    length = high - low
    lower, upper = low - length, high + length
    if before is not None:
        inner, outer = np.quantile(before, [0.05, 0.95])
        lower = max(min(low, inner), low - 5 * length)
        upper = min(max(high, outer), high + 5 * length)
    return max(lower, least), min(upper, most)


def traces(fit: PosteriorFit, rows: Sequence[DrawRow]) -> "tuple[Markup, ...]":
    """Trace and ranks of the parameters whose chains differ the most."""
    from hlm_models.plot.chains import trace_and_ranks
    from hlm_models.report.markup import markup

    worst = sorted(rows, key=lambda row: -np.nan_to_num(row.r_hat, nan=0.0))[:TRACED]
    shown = {row.name for row in worst}
    return tuple(
        markup(trace_and_ranks(name, draws), f"{fit.spec.name}: trace and ranks of {name}")
        for name, draws in parameter_draws(fit).items()
        if name in shown and np.ptp(draws) > 0
    )


def trace_step(fit: PosteriorFit | None) -> int:
    """Every how manieth draw a trace shows."""
    from hlm_models.plot.chains import trace_step as step

    return step(fit.data["posterior"].sizes["draw"]) if fit else 1


def predictive(fit: PosteriorFit) -> "Markup | None":
    """The distribution of the data over those of replicated datasets, where these are stored."""
    from hlm_models.plot.densities import REPLICATES
    from hlm_models.plot.densities import predictive as drawn_with
    from hlm_models.report.markup import markup

    if "posterior_predictive" not in fit.data.children:
        return None
    design = fit.spec.design
    drawn = fit.data["posterior_predictive"].to_dataset()["y_obs"]
    chains, length = drawn.sizes["chain"], drawn.sizes["draw"]
    size = min(REPLICATES, chains * length)
    chain, draw = np.divmod(np.linspace(0, chains * length - 1, size).astype(int), length)
    chosen = drawn.isel(chain=("replicate", chain), draw=("replicate", draw))
    replicated = chosen.transpose("replicate", "obs").values
    figure = drawn_with(design.y, replicated, response=design.formula.response)
    alt = f"{fit.spec.name}: distribution of the data and of {size} replicated datasets"
    return markup(figure, alt)
