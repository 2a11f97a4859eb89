"""Draws over time, and their ranks."""

import numpy as np
from matplotlib.figure import Figure

from hlm_models.plot.style import CHAINS, INK, PANEL, Drawing, shortened, styled
from hlm_models.types import FloatArray

__all__ = ["trace_and_ranks", "trace_step"]

TRACE_POINTS = 500


def trace_and_ranks(name: str, draws: FloatArray) -> Figure:
    """Draws (chains, draws) of one parameter over time, and the ranks of each chain's draws."""
    chains, length = draws.shape
    bins = max(2, min(20, length // 10))
    ranks = np.argsort(np.argsort(draws, axis=None, kind="stable")).reshape(draws.shape)
    edges = np.linspace(0, draws.size, bins + 1)
    step = trace_step(length)
    with styled():
        figure = Drawing(PANEL, 2.8)
        top, bottom = figure.subplots(2, height_ratios=(3, 2))
        for chain in range(chains):
            colour = CHAINS[chain % len(CHAINS)]
            top.plot(np.arange(0, length, step), draws[chain, ::step], color=colour, linewidth=0.5)
            counts, _ = np.histogram(ranks[chain], bins=edges)
            bottom.stairs(counts, edges, baseline=None, color=colour, linewidth=1.1)
        bottom.axhline(length / bins, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        top.set_title(shortened(name, 46))
        for ax, end, label in ((top, length, "draw"), (bottom, draws.size, "rank")):
            ax.set_xlim(0, end)
            ax.set_xticks([0, end / 2, end], ["0", f"{end / 2:,.0f}", f"{end:,}"])
            ax.set_xlabel(label, labelpad=1)
        bottom.set_ylim(0, None)
    return figure


def trace_step(length: int) -> int:
    """Every how manieth draw a trace shows."""
    return -(-length // TRACE_POINTS)
