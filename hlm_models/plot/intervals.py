"""Parameters with their intervals, one below the other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hlm_models.comparison.agreement import Agreement, AgreementRow
from hlm_models.errors import InputErrors
from hlm_models.plot.asked import chosen, is_a
from hlm_models.plot.style import (
    MUTED,
    POSTERIOR,
    REFERENCE,
    WIDE,
    Drawing,
    colours,
    legend,
    shortened,
    styled,
)
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.summary import draw_rows, point_rows

__all__ = ["Bar", "agreement", "coefficients", "forest", "standardised"]

Z = 1.959963984540054
PANELS, COLUMNS = 12, 3
BARS = ((0, -0.14, POSTERIOR, "o"), (1, 0.14, REFERENCE, "D"))
"""Posterior and reference: place in a pair, shift, colour, marker."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A point with its interval; NaN where absent."""

    name: str
    point: float
    lower: float
    upper: float


def standardised(bar: Bar, *, centre: float, scale: float) -> Bar:
    """The bar in units of `scale` from `centre`."""
    point, lower, upper = ((x - centre) / scale for x in (bar.point, bar.lower, bar.upper))
    return Bar(bar.name, point, lower, upper)


def forest(pairs: Sequence[tuple[Bar, Bar]], *, reference: str) -> Figure:
    """Posterior above the point estimate for every parameter, both standardised."""
    with styled():
        figure = Drawing(WIDE, 0.9 + 0.36 * len(pairs))
        ax = figure.subplots()
        _draw(ax, pairs, reference)
        legend(figure, ax)
    return figure


def agreement(found: Agreement) -> Figure:
    """Posterior and point estimate of every parameter, and the verdict on those that differ.

    Both are on the verdict's scale (log of a standard deviation, Fisher's z of a correlation), in
    posterior standard deviations from the posterior mean, with 95% normal intervals. An estimate on
    the boundary has no interval, and its distance is that in its own units.

    What would look wrong: a diamond outside the grey strip, where a shift begins; a bar that is
    much longer than the other.

    Raises
    ------
    InputErrors
        it is no agreement, or has no rows.
    """
    is_a(found, Agreement, "agreement", "hlm.agreement(posterior, reference)")
    rows = [row for row in found.rows if row.sd > 0]
    if not rows:
        raise InputErrors.one("the agreement has no parameter with a spread, so nothing is drawn")
    pairs = [_pair(row) for row in rows]
    with styled():
        figure = Drawing(WIDE + 0.7, 1.0 + 0.34 * len(rows))
        ax = figure.subplots()
        ax.axvspan(-0.25, 0.25, color=MUTED, alpha=0.16, linewidth=0)
        _draw(ax, pairs, found.reference.upper())
        for at, row in enumerate(rows):
            if row.verdict != "agree":
                why = f" ({row.cause})" if row.cause not in {"", "boundary"} else ""
                words = {"spread": "spread differs"}.get(row.verdict, row.verdict)
                ax.annotate(
                    words + why, (1.0, at), (4, 0), xycoords=("axes fraction", "data"),
                    textcoords="offset points", va="center", fontsize=8,
                )  # fmt: skip
        legend(figure, ax)
    return figure


def _pair(row: AgreementRow) -> tuple[Bar, Bar]:
    here = -row.d if math.isfinite(row.d) else (row.estimate - row.mean) / row.sd
    half = Z / row.spread_ratio if math.isfinite(row.d) else math.nan
    return Bar(row.parameter, 0.0, -Z, Z), Bar(row.parameter, here, here - half, here + half)


def _draw(ax: Axes, pairs: Sequence[tuple[Bar, Bar]], reference: str) -> None:
    reach = [abs(x) for pair in pairs for bar in pair for x in (bar.point, bar.lower, bar.upper)]
    limit = min(8.0, max([3.0, *(1.1 * x for x in reach if np.isfinite(x))]))
    ax.grid(axis="x")
    ax.axvline(0, color=MUTED, linewidth=0.8)
    for (side, shift, colour, marker), label in zip(BARS, ("posterior", reference), strict=True):
        bars = [pair[side] for pair in pairs]
        y = np.arange(len(bars)) + shift
        x = np.array([bar.point for bar in bars])
        ax.hlines(y, [b.lower for b in bars], [b.upper for b in bars], colour, linewidth=1.6)
        inside = np.abs(x) <= limit
        ax.plot(x[inside], y[inside], marker, color=colour, markersize=4.5, label=label)
        for k in np.flatnonzero(~inside & np.isfinite(x)):
            arrow = "<" if x[k] < 0 else ">"
            edge = np.sign(x[k]) * limit
            ax.plot(edge, y[k], arrow, color=colour, markersize=7, clip_on=False)
    ax.set_xlim(-limit, limit)
    ax.set_yticks(range(len(pairs)), [shortened(pair[0].name, 36) for pair in pairs])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(pairs) - 0.5, -0.5)
    ax.set_xlabel("distance from the posterior mean, in posterior sds")


def coefficients(fits: Mapping[str, Fit], names: str | Sequence[str] | None = None) -> Figure:
    """Estimates of several models with their 95% intervals: a panel a parameter, a line a model.

    What would look wrong: a coefficient that changes its sign, or moves by more than its interval,
    when a predictor comes in: it is another coefficient then.

    Parameters
    ----------
    fits : name to fit, of either kind; a model without the parameter has an empty line
    names : parameters as `hlm.summary` has them; by default the coefficients, twelve at most

    Raises
    ------
    InputErrors
        `fits` is no mapping of names to fits, or no model has such a parameter.
    """
    is_a(fits, Mapping, "coefficients", 'names and fits, {"a": fit, ...}')
    for fit in fits.values():
        is_a(fit, (PosteriorFit, PointFit), "coefficients", 'names and fits, {"a": fit, ...}')
    if not fits:
        raise InputErrors.one("hlm.plot.coefficients needs a fit at least")
    bars = {name: _bars(fit) for name, fit in fits.items()}
    known = list(dict.fromkeys(parameter for one in bars.values() for parameter in one))
    fixed = [one for one in known if one.startswith("beta[")]
    shown = chosen(fixed if names is None else known, names, what="parameter", most=PANELS)
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    tints = colours(len(fits))
    with styled():
        figure = Drawing(0.9 + 2.2 * columns, rows * (0.75 + 0.24 * len(fits)))
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for ax, parameter in zip(axes, shown, strict=False):
            ax.grid(axis="x")
            for at, (one, tint) in enumerate(zip(bars.values(), tints, strict=True)):
                if parameter in one:
                    bar = one[parameter]
                    ax.hlines(at, bar.lower, bar.upper, tint, linewidth=1.8)
                    ax.plot(bar.point, at, "o", color=tint, markersize=4.5)
            ax.set_title(shortened(parameter, 26))
            ax.tick_params(axis="y", length=0)
            ax.locator_params(axis="x", nbins=4)
        axes[0].set_yticks(range(len(fits)), [shortened(one, 24) for one in fits])
        axes[0].set_ylim(len(fits) - 0.5, -0.5)
        for ax in axes[len(shown) :]:
            ax.remove()
    return figure


def _bars(fit: Fit) -> dict[str, Bar]:
    if isinstance(fit, PointFit):
        points = point_rows(fit)
        return {one.name: Bar(one.name, one.estimate, one.lower, one.upper) for one in points}
    draws = draw_rows(fit)
    return {one.name: Bar(one.name, one.mean, one.lower, one.upper) for one in draws}
