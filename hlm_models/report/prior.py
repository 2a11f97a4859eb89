"""What the priors of a model say, as one HTML page that needs no network."""

from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.design.build import RandomBlock
from hlm_models.report import tables
from hlm_models.report.origin import model_file
from hlm_models.report.tables import Column, Table
from hlm_models.report.template import filled
from hlm_models.results.prior import ImpliedPrior, level_means, own_log_prior
from hlm_models.results.summary import parameters
from hlm_models.spec.describe import describe
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["render"]

PANELS = 60
"""Quantities with a picture."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 40


def render(found: ImpliedPrior) -> str:
    """The page as text; the same draws give the same text."""
    return filled("prior.html", _context(found))


def _context(found: ImpliedPrior) -> dict[str, Any]:
    spec, description = found.spec, describe(found.spec)
    return {
        "description": description,
        "findings": found.findings,
        "draws": found.data["prior"].sizes["draw"],
        "quantities": _quantity_table(found),
        "pictures": _pictures(found),
        "response": spec.design.formula.response,
        "predictive": _predictive(found),
        "means": [(block.group, _means(found, block)) for block in spec.blocks if block.J > 1],
        "priors": tables.prior_table(description, engine="all engines"),
        "facts": _facts(found),
        "command": _command(found),
        "file": model_file(spec.config),
    }


def _quantity_table(found: ImpliedPrior) -> Table:
    lost = any(np.isnan(one.mean) for one in found.quantities)
    peculiar = bool(found.findings)
    # Of a mean, as if draws were normal: heavy tails have no other.
    scale = 2 * 1.6448536269514722 * np.sqrt(found.data["prior"].sizes["draw"])
    errors = [(one.upper - one.lower) / scale for one in found.quantities]
    return Table(
        f"{found.spec.name}: what the priors imply",
        (
            Column("quantity", "name"),
            Column("mean"),
            Column("median"),
            Column("90%"),
            Column("data"),
            *((Column("finding", "text"),) if peculiar else ()),
        ),
        tuple(
            (
                one.name,
                tables.rounded(one.mean, error),
                tables.rounded(one.median, error),
                tables.interval(one.lower, one.upper, error),
                tables.number(one.observed),
                *((one.finding,) if peculiar else ()),
            )
            for one, error in zip(found.quantities, errors, strict=True)
        ),
        "90%: from the 5% to the 95% point of the draws. y: one response. min(y) and those below "
        "it: numbers of all responses together, beside those of the data. icc: share of the "
        "groups' and residual variance. r2: share of the fixed part in all of the variance."
        + (f" {tables.ABSENT} for a mean: the prior has none." if lost else ""),
    )


def _pictures(found: ImpliedPrior) -> "tuple[Markup, ...]":
    """Densities of standard deviations, correlations and shares of the variance."""
    from hlm_models.plot.densities import distribution
    from hlm_models.report.markup import markup

    known = {one.name: own_log_prior(found.spec, one) for one in parameters(found.spec)}
    pictures: list[Markup] = []
    for name, draws in found.draws.items():
        if name.startswith("beta[") or len(pictures) == PANELS:
            continue
        log_prior = known.get(name)
        lower, upper = (-1.0, 1.0) if name.startswith("corr_") else (0.0, 1.0)
        if name.startswith(("sd_", "tau_")) or name == "sigma":
            upper = float(np.quantile(draws, 0.97))
        if log_prior is None:
            shares, edges = np.histogram(draws, bins=BINS, range=(lower, upper), density=True)
            x, density = np.repeat(edges, 2)[1:-1], np.repeat(shares, 2)
        else:
            # Densities may be infinite at the ends.
            inset = (upper - lower) / 1000
            x = np.linspace(lower + inset, upper - inset, 200)
            density = np.pad(np.exp(log_prior(x)), 1, mode="edge")
            x = np.concatenate([[lower], x, [upper]])
        alt = f"{found.spec.name}: prior density of {name}"
        pictures.append(markup(distribution(name, x, density), alt))
    return tuple(pictures)


def _predictive(found: ImpliedPrior) -> "Markup":
    """Histogram of the data over those of drawn responses."""
    from hlm_models.plot.densities import bands
    from hlm_models.report.markup import markup

    y, observed = found.y, found.spec.design.y
    low, high = np.quantile(y, [0.02, 0.98])
    edges = np.linspace(min(low, observed.min()), max(high, observed.max()), BINS + 1)
    shares = np.array([np.histogram(one, edges)[0] for one in y]) / y.shape[1]
    response = found.spec.design.formula.response
    figure = bands(
        np.repeat(edges, 2)[1:-1],
        np.repeat(np.quantile(shares, QUANTILES, axis=0), 2, axis=1),
        np.repeat(np.histogram(observed, edges)[0] / len(observed), 2),
        labels=(response, "share of rows"),
    )
    alt = f"{found.spec.name}: {response} in the data and as drawn from the prior"
    return markup(figure, alt)


def _means(found: ImpliedPrior, block: RandomBlock) -> "Markup":
    """Sorted means by level of the data, over those of drawn responses."""
    from hlm_models.plot.densities import bands
    from hlm_models.report.markup import markup

    def sorted_means(y: FloatArray) -> FloatArray:
        return np.sort(level_means(y, block), axis=1)

    response = found.spec.design.formula.response
    observed = sorted_means(found.spec.design.y[None])[0]
    figure = bands(
        np.arange(1.0, len(observed) + 1),
        np.quantile(sorted_means(found.y), QUANTILES, axis=0),
        observed,
        labels=(f"{block.group}, from the lowest mean to the highest", f"mean {response}"),
    )
    alt = f"{found.spec.name}: means by {block.group} in the data and as drawn from the prior"
    return markup(figure, alt)


def _facts(found: ImpliedPrior) -> list[tuple[str, str]]:
    """How it was made, in reading order."""
    design = found.spec.design
    return [
        ("model", found.spec.name),
        ("seed", str(found.seed)),
        ("responses drawn", f"{len(found.y):,} of each row"),
        ("data", design.table.source),
        ("rows", f"{design.n:,}"),
        ("digest of the model", found.spec.digest),
    ]


def _command(found: ImpliedPrior) -> str:
    """What draws the same again."""
    draws, seed = found.data["prior"].sizes["draw"], found.seed
    return f"hlm prior model.yaml --draws {draws} --seed {seed} --out prior.html"
