"""A finished run as one HTML page that needs no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.comparison.agreement import Agreement
from hlm_models.comparison.samplers import Samplers
from hlm_models.comparison.sensitivity import SensitivityRow
from hlm_models.design.build import RandomBlock
from hlm_models.report import tables
from hlm_models.report.template import filled
from hlm_models.results.checks import Check
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.prior import own_draws, own_log_prior
from hlm_models.results.summary import (
    DrawRow,
    Parameter,
    PointRow,
    draw_rows,
    hyperparameters,
    parameter_draws,
    parameters,
    point_rows,
)
from hlm_models.spec.describe import describe
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from markupsafe import Markup
    from xarray import DataArray

    from hlm_models.report.figures import Levels

__all__ = ["Run", "render", "write"]

TRACED = 40
"""Parameters with a trace; of more, those with the largest r_hat are shown."""

OVERLAID = 40
"""Parameters with prior and posterior side by side; of more, those that the prior moves most."""

PRIOR_DRAWS = 10_000
"""Draws that the middle of a prior is taken from, and its density where it has no closed form."""

EFFECT_DRAWS = 4000
"""Draws that the intervals of a group's effects are taken from."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a page is about: at least one fit, and where it came from.

    `others` are posteriors by other engines, which `samplers` holds beside the first.
    `provenance` holds model, command, created (ISO time), versions {package: version}, seed, data
    {source, rows, digest}, digest, seconds {engine: {stage: s}} and config (as used); what is
    absent is left out of the page.
    """

    posterior: PosteriorFit | None
    reference: PointFit | None
    agreement: Agreement | None
    provenance: Mapping[str, Any]
    sensitivity: Sequence[SensitivityRow] = ()
    others: tuple[PosteriorFit, ...] = ()
    samplers: Samplers | None = None

    def __post_init__(self) -> None:
        if not self.fits:
            raise ValueError("a page needs a posterior or a point fit")

    @property
    def fits(self) -> tuple[Fit, ...]:
        known = (self.posterior, *self.others, self.reference)
        return tuple(fit for fit in known if fit is not None)

    @property
    def spec(self) -> ModelSpec:
        return self.fits[0].spec

    @property
    def engines(self) -> str:
        *first, last = (fit.engine for fit in self.fits)
        return f"{', '.join(first)} and {last}" if first else last

    @property
    def checks(self) -> tuple[tuple[str, Check], ...]:
        """Checks of every fit, each with its engine."""
        return tuple((fit.engine, check) for fit in self.fits for check in fit.checks)


def write(run: Run, path: Path) -> None:
    """Write the page."""
    path.write_text(render(run), encoding="utf-8")


def render(run: Run) -> str:
    """The page as text; the same run gives the same text."""
    return filled("page.html", _context(run))


def _context(run: Run) -> dict[str, Any]:
    spec, posterior, reference = run.spec, run.posterior, run.reference
    description = describe(spec)
    draws = draw_rows(posterior) if posterior else ()
    points = point_rows(reference) if reference else ()
    found = run.agreement if run.agreement and run.agreement.rows else None
    name = reference.engine.upper() if reference else ""
    seconds = run.provenance.get("seconds")
    config = run.provenance.get("config")
    b = _drawn(posterior) if posterior else {}
    return {
        "description": description,
        "engines": run.engines,
        "reference": name,
        "created": run.provenance.get("created"),
        "failed": [one for one in run.checks if one[1].status == "fail"],
        "warned": [one for one in run.checks if one[1].status == "warn"],
        "count": len(run.checks),
        "answer": tables.answer_table(
            spec, draws, points, found, engines=run.engines, reference=name
        ),
        "priors": tables.prior_table(description, engine=posterior.engine) if posterior else None,
        "table": spec.design.table,
        "response": spec.design.formula.response,
        "groups": tables.group_table(spec) if spec.blocks else None,
        "factors": tables.factor_table(spec) if spec.design.factors else None,
        "agreement": tables.agreement_table(found) if found else None,
        "samplers": tables.samplers_table(run.samplers, points, name) if run.samplers else None,
        "agreeing": sum(row.verdict == "agree" for row in found.rows) if found else 0,
        "forest": _forest(spec, draws, points, name) if draws and points else None,
        "posterior": tables.posterior_table(posterior, draws) if posterior else None,
        "others": [tables.posterior_table(fit, draw_rows(fit)) for fit in run.others],
        "points": tables.point_table(reference, points) if reference else None,
        "sensitivity": tables.sensitivity_table(posterior, run.sensitivity)
        if posterior and run.sensitivity
        else None,
        "overlays": _overlays(posterior, run.sensitivity) if posterior else (),
        "overlaid": OVERLAID if len(draws) > OVERLAID else 0,
        "effects": [pair for block in spec.blocks if (pair := _effects(run, block, b))[1]],
        "traces": _traces(posterior, draws) if posterior else (),
        "traced": TRACED if len(draws) > TRACED else 0,
        "trace_step": _trace_step(posterior),
        "predictive": _predictive(posterior) if posterior else None,
        "checks": tables.check_table(spec.name, run.engines, run.checks) if run.checks else None,
        "facts": _facts(run.provenance),
        "versions": run.provenance.get("versions") or {},
        "times": tables.time_table(spec.name, seconds) if seconds else None,
        "config": _yaml(config) if config else "",
        "short": tables.short,
    }


def _forest(
    spec: ModelSpec, draws: Sequence[DrawRow], points: Sequence[PointRow], reference: str
) -> "Markup":
    from hlm_models.report.figures import Bar, forest, standardised

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
    return forest(pairs, reference=reference, alt=alt)


def _drawn(fit: PosteriorFit) -> "dict[str, DataArray]":
    """Some draws of b (chain, draw, J, q) of every group; none where the posterior lacks them."""
    from hlm_models.target.conditional import effects_of, has_effects

    posterior = fit.data["posterior"].to_dataset()
    if not has_effects(fit.spec, posterior):
        return {}
    step = -(-posterior.sizes["chain"] * posterior.sizes["draw"] // EFFECT_DRAWS)
    return effects_of(fit.spec, posterior, at=np.arange(0, posterior.sizes["draw"], step))


def _effects(
    run: Run, block: RandomBlock, b: "Mapping[str, DataArray]"
) -> "tuple[str, list[Markup]]":
    """The group's name and one caterpillar an effect; none where no fit has the effects."""
    from hlm_models.report.figures import Levels, caterpillar

    blup, points = None, None
    if run.reference:
        [estimate] = [one for one in run.reference.random if one.group == block.group]
        half = 1.96 * np.sqrt(np.maximum(np.diagonal(estimate.b_cov, axis1=1, axis2=2), 0))
        blup = Levels(estimate.b, estimate.b - half, estimate.b + half)
        points = f"{run.reference.engine.upper()} (BLUP)"
    drawn = _drawn_effects(b[f"b_{block.group}"].values, block) if b else None
    main = drawn or blup
    if main is None:
        return block.group, []
    overlay = blup.middle if drawn and blup else None
    names = ("posterior" if drawn else points or "", points or "")
    pictures = []
    for k, effect in enumerate(block.effects):
        title = f"b_{block.group}[{effect}]"
        pictures.append(
            caterpillar(
                block.labels,
                Levels(main.middle[:, k], main.lower[:, k], main.upper[:, k]),
                None if overlay is None else overlay[:, k],
                title=title,
                names=names,
                alt=f"{run.spec.name}: {title} of {block.J:,} levels, {names[0]}, sorted",
            )
        )
    return block.group, pictures


def _drawn_effects(b: FloatArray, block: RandomBlock) -> "Levels":
    """Posterior means and intervals (J, q) of effects b (chain, draw, J, q)."""
    from hlm_models.report.figures import Levels

    flat = b.reshape(-1, block.J, block.q)
    lower, upper = np.quantile(flat, [0.025, 0.975], axis=0)
    return Levels(flat.mean(axis=0), lower, upper)


def _overlays(fit: PosteriorFit, rows: Sequence[SensitivityRow]) -> "tuple[Markup, ...]":
    """Density of the prior over the draws of the posterior, a panel a parameter."""
    from hlm_models.report.figures import distribution

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
        pictures.append(distribution(one.name, x, density, draws, alt=alt))
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


def _traces(fit: PosteriorFit, rows: Sequence[DrawRow]) -> "tuple[Markup, ...]":
    from hlm_models.report.figures import trace_and_ranks

    worst = sorted(rows, key=lambda row: -np.nan_to_num(row.r_hat, nan=0.0))[:TRACED]
    shown = {row.name for row in worst}
    return tuple(
        trace_and_ranks(name, draws, alt=f"{fit.spec.name}: trace and ranks of {name}")
        for name, draws in parameter_draws(fit).items()
        if name in shown and np.ptp(draws) > 0
    )


def _trace_step(fit: PosteriorFit | None) -> int:
    from hlm_models.report.figures import trace_step

    return trace_step(fit.data["posterior"].sizes["draw"]) if fit else 1


def _predictive(fit: PosteriorFit) -> "Markup | None":
    from hlm_models.report.figures import REPLICATES, predictive

    if "posterior_predictive" not in fit.data.children:
        return None
    design = fit.spec.design
    drawn = fit.data["posterior_predictive"].to_dataset()["y_obs"]
    chains, length = drawn.sizes["chain"], drawn.sizes["draw"]
    size = min(REPLICATES, chains * length)
    chain, draw = np.divmod(np.linspace(0, chains * length - 1, size).astype(int), length)
    chosen = drawn.isel(chain=("replicate", chain), draw=("replicate", draw))
    replicated = chosen.transpose("replicate", "obs").values
    return predictive(
        design.y,
        replicated,
        response=design.formula.response,
        alt=f"{fit.spec.name}: distribution of the data and of {size} replicated datasets",
    )


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plain facts of a run that are there, in reading order."""
    data = provenance.get("data") or {}
    found = [
        ("model", provenance.get("model")),
        ("run again by", provenance.get("command")),
        ("created", provenance.get("created")),
        ("seed", provenance.get("seed")),
        ("data", data.get("source")),
        ("rows", f"{data['rows']:,}" if "rows" in data else None),
        ("digest of the data", data.get("digest")),
        ("digest of the model", provenance.get("digest")),
    ]
    return [(label, str(value)) for label, value in found if value is not None]


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    plain = json.loads(json.dumps(dict(config), default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=88)
