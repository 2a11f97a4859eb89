"""Models beside each other: what they foresee, and where they differ."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from hlm_models.plot.intervals import Bar
from hlm_models.plot.style import (
    GRID,
    INK,
    MUTED,
    PANEL,
    POSTERIOR,
    REFERENCE,
    WIDE,
    Drawing,
    legend,
    shortened,
    styled,
)
from hlm_models.types import FloatArray

__all__ = ["difference", "pareto", "ranking"]

SHOWN = 1000
"""Columns of which a figure shows all; of more, some."""
LARGEST = 8
"""Differences that are named."""
BEYOND = 1.5
"""Shape of a tail from which on all are alike bad."""


def ranking(differences: Sequence[Bar], own: Sequence[Bar]) -> Figure:
    """Differences to the first model with their intervals, over those of each elpd by itself."""
    with styled():
        figure = Drawing(WIDE, 0.9 + 0.4 * len(own))
        ax = figure.subplots()
        ax.grid(axis="x")
        ax.axvline(0, color=MUTED, linewidth=0.8)
        at = np.arange(len(own))
        wide, narrow = ([b.lower for b in bars] for bars in (own, differences))
        wide_end, narrow_end = ([b.upper for b in bars] for bars in (own, differences))
        ax.hlines(at + 0.18, wide, wide_end, MUTED, linewidth=4, alpha=0.45, label="elpd by itself")
        ax.hlines(at - 0.1, narrow, narrow_end, POSTERIOR, linewidth=1.8)
        ax.plot(
            [b.point for b in differences], at - 0.1, "o", color=POSTERIOR, markersize=5,
            label="difference to the first",
        )  # fmt: skip
        # What is compared are the differences: bars that are much longer run out of the figure.
        ends = np.array([0.0, *narrow, *narrow_end])
        ends = ends[np.isfinite(ends)]
        pad = 0.15 * float(np.ptp(ends)) or 1.0
        ax.set_xlim(ends.min() - pad, ends.max() + pad)
        ax.set_yticks(at, [shortened(bar.name, 30) for bar in own])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(own) - 0.5, -0.5)
        ax.set_xlabel("elpd less that of the first model, ± 2 standard errors")
        legend(figure, ax)
        return figure


def difference(
    names: Sequence[str], values: FloatArray, *, what: str, title: str, better: str
) -> Figure:
    """Differences (size,) sorted, and the largest of them by name; `what` they are of."""
    order = np.argsort(values, kind="stable")
    size = len(order)
    shown = np.unique(np.linspace(0, size - 1, min(size, SHOWN)).astype(int))
    largest = np.argsort(-np.abs(values), kind="stable")[:LARGEST]
    with styled():
        figure = Drawing(PANEL, 3.9)
        top, bottom = figure.subplots(2, height_ratios=(3, 4))
        top.axhline(0, color=MUTED, linewidth=0.8)
        at, height = shown + 1, values[order[shown]]
        top.fill_between(at, height, color=GRID, linewidth=0)
        marker = "o" if size <= 60 else ""
        top.plot(at, height, marker=marker, markersize=2.5, color=POSTERIOR, linewidth=1.2)
        top.set_xlim(0.5, size + 0.5)
        top.locator_params(axis="x", integer=True, nbins=6)
        top.set_xlabel(f"{size:,} {what}, sorted", labelpad=1)
        top.set_ylabel("difference")
        top.set_title(shortened(title, 46))
        rows = np.arange(len(largest))
        heights = values[largest]
        colours = [POSTERIOR if one > 0 else REFERENCE for one in heights]
        bottom.barh(rows, heights, color=colours, height=0.62)
        bottom.axvline(0, color=MUTED, linewidth=0.8)
        bottom.set_yticks(rows, [shortened(names[one], 20) for one in largest.tolist()])
        bottom.tick_params(axis="y", length=0)
        bottom.set_ylim(len(largest) - 0.4, -0.6)
        bottom.locator_params(axis="x", nbins=6)
        bottom.set_xlabel(shortened(f"the largest; left of 0: {better} is better", 56), labelpad=1)
        return figure


def pareto(name: str, k: FloatArray, refitted: FloatArray, good: float) -> Figure:
    """Shapes (size,) of the tails of the weights, which may be infinite or NaN (there are none).

    Hollow where a refit replaced them.
    """
    at = np.flatnonzero(~np.isnan(k))
    if len(at) > SHOWN:
        at = np.sort(at[np.argsort(-k[at], kind="stable")[:SHOWN]])
    high = np.minimum(k[at], BEYOND)
    replaced = refitted[at].astype(bool)
    with styled():
        figure = Drawing(PANEL, 2.3)
        ax = figure.subplots()
        ax.axhline(good, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        bad = ~replaced & (k[at] > good)
        kept = ~replaced & ~bad
        size = 3.4 if len(at) <= 200 else 2.0
        ax.plot(at[kept], high[kept], "o", color=POSTERIOR, markersize=size, alpha=0.8)
        ax.plot(
            at[replaced], high[replaced], "o", markersize=size + 1, markerfacecolor="none",
            markeredgecolor=POSTERIOR, markeredgewidth=0.9,
        )  # fmt: skip
        ax.plot(at[bad], high[bad], "D", color=REFERENCE, markersize=size + 1)
        ax.set_xlim(-0.5, len(k) - 0.5)
        ax.set_ylim(min(0.0, float(high.min(initial=0.0))) - 0.05, max(1.0, good + 0.2))
        if high.max(initial=0.0) > 1.0:
            ax.set_ylim(top=BEYOND + 0.05)
        ax.locator_params(axis="x", integer=True, nbins=6)
        ax.set_ylabel("k")
        ax.set_title(shortened(name, 44))
        return figure
