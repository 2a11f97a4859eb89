"""Distributions: of the data, of replicates, of a prior and a posterior."""

import numpy as np
from matplotlib.figure import Figure

from hlm_models.plot.style import (
    INK,
    PANEL,
    POSTERIOR,
    PRIOR,
    WIDE,
    Drawing,
    legend,
    shortened,
    styled,
)
from hlm_models.types import FloatArray

__all__ = ["REPLICATES", "bands", "distribution", "predictive"]

REPLICATES = 50


def predictive(observed: FloatArray, replicated: FloatArray, *, response: str) -> Figure:
    """Histogram of the data (n,) over those of replicated datasets (R, n)."""
    low = min(observed.min(), replicated.min())
    high = max(observed.max(), replicated.max())
    bins = int(np.clip(1.5 * np.sqrt(len(observed)), 10, 50))
    edges = np.linspace(low, high, bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2

    def share(values: FloatArray) -> FloatArray:
        return np.histogram(values, bins=edges)[0] / len(values)

    with styled():
        figure = Drawing(WIDE, 3.0)
        ax = figure.subplots()
        for k, one in enumerate(replicated):
            label = f"{len(replicated)} replicated datasets" if k == 0 else None
            ax.plot(middles, share(one), color=POSTERIOR, alpha=0.3, linewidth=0.7, label=label)
        ax.plot(middles, share(observed), color=INK, linewidth=2.0, label="data")
        ax.set_xlabel(shortened(response, 60))
        ax.set_ylabel("share of rows")
        ax.set_ylim(0, None)
        legend(figure, ax)
        return figure


def distribution(
    name: str, x: FloatArray, prior: FloatArray, draws: FloatArray | None = None
) -> Figure:
    """Density of a prior (m,) at x (m,), NaN where it has none, over the posterior's draws."""
    with styled():
        figure = Drawing(PANEL, 1.9)
        ax = figure.subplots()
        if draws is not None:
            heights, edges = np.histogram(draws, bins=np.linspace(x[0], x[-1], 61))
            density = heights / (draws.size * np.diff(edges))
            ax.stairs(density, edges, fill=True, color=POSTERIOR, alpha=0.55, linewidth=0)
        else:
            ax.fill_between(x, prior, color=PRIOR, alpha=0.25, linewidth=0)
        ax.plot(x, prior, color=PRIOR, linewidth=1.5)
        ax.set_xlim(x[0], x[-1])
        ax.set_ylim(0, None)
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=6)
        ax.set_title(shortened(name, 46))
        return figure


def bands(
    x: FloatArray,
    quantiles: FloatArray,
    observed: FloatArray,
    *,
    labels: tuple[str, str],
) -> Figure:
    """Data (m,) over quantiles (5, m) of drawn ones: 5%, 25%, 50%, 75% and 95%, at x (m,).

    Parameters
    ----------
    labels : of the axes
    """
    with styled():
        figure = Drawing(WIDE, 3.0)
        ax = figure.subplots()
        for inner, label, alpha in ((0, "90% of draws", 0.2), (1, "50%", 0.4)):
            lower, upper = quantiles[inner], quantiles[4 - inner]
            ax.fill_between(x, lower, upper, color=PRIOR, alpha=alpha, linewidth=0, label=label)
        ax.plot(x, quantiles[2], color=PRIOR, linewidth=1.0)
        ax.locator_params(axis="x", integer=bool(np.all(x == np.round(x))))
        ax.plot(x, observed, color=INK, linewidth=2.0, label="data")
        ax.set_xlabel(shortened(labels[0], 60))
        ax.set_ylabel(shortened(labels[1], 40))
        legend(figure, ax)
        return figure
