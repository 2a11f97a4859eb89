"""Whether values that ought to be uniform are: ranks, leave-one-out probabilities."""

import numpy as np
from matplotlib.figure import Figure

from hlm_models.elpd.loo_pit import LooPit
from hlm_models.plot.asked import is_a
from hlm_models.plot.style import (
    GRID,
    INK,
    MUTED,
    PANEL,
    POSTERIOR,
    REFERENCE,
    Drawing,
    shortened,
    styled,
)
from hlm_models.types import FloatArray

__all__ = ["loo_pit", "rank_difference"]


def rank_difference(
    name: str,
    shares: FloatArray,
    difference: FloatArray,
    band: tuple[FloatArray, FloatArray],
    *,
    fails: bool,
    limit: float,
) -> Figure:
    """ECDF of ranks less that of uniform ones, at shares (m,) of the ranks, in its band.

    Parameters
    ----------
    band : lower and upper ends (m,) of the difference
    limit : the largest difference that is shown
    """
    x = np.concatenate([[0], shares, [1]])
    low, high, line = (np.concatenate([[0], one, [0]]) for one in (*band, difference))
    with styled():
        figure = Drawing(PANEL, 2.1)
        ax = figure.subplots()
        ax.fill_between(x, low, high, color=GRID, linewidth=0)
        ax.axhline(0, color=MUTED, linewidth=0.8)
        ax.plot(x, line, color=REFERENCE if fails else POSTERIOR, linewidth=1.3, zorder=3)
        ax.set_xlim(0, 1)
        ax.set_ylim(-limit, limit)
        ax.set_title(shortened(name, 40) + (": fails" if fails else ""))
        ax.set_xlabel("share of the ranks", labelpad=1)
        return figure


def loo_pit(found: LooPit) -> Figure:
    """The ECDF of leave-one-out probabilities less the uniform one, in its band; a histogram.

    The whole ECDF keeps to the band where, and only where, `check` passes; a dot is where it strays
    the most if it does not.

    What would look wrong: a line that leaves the band. A hump in the histogram: the model foresees
    rows as farther off than they are; high ends: as closer.

    Raises
    ------
    InputErrors
        it is no `hlm.loo_pit(fit)`.

    Source: Säilynoja, Bürkner and Vehtari (2022), doi:10.1007/s11222-022-10090-6.
    """
    is_a(found, LooPit, "loo_pit", "hlm.loo_pit(fit)")
    check, n = found.check(), found.looked_at
    assert check.threshold is not None
    level, passes = 1 - check.threshold, check.status == "pass"
    colour = POSTERIOR if passes else REFERENCE
    band, values = found.band(level), found.values[np.isfinite(found.values)]
    x, low, high, line = (
        np.concatenate([ends[:1], one, ends[1:]])
        for one, ends in (
            (found.shares, [0.0, 1.0]),
            (band.lower / n - found.shares, [0.0, 0.0]),
            (band.upper / n - found.shares, [0.0, 0.0]),
            (found.ecdf - found.shares, [0.0, 0.0]),
        )
    )
    with styled():
        figure = Drawing(6.8, 3.1)
        left, right = figure.subplots(1, 2)
        left.fill_between(x, low, high, color=GRID, linewidth=0)
        left.axhline(0, color=MUTED, linewidth=0.8)
        left.plot(x, line, color=colour, linewidth=1.3, zorder=3)
        if not passes:
            left.plot(found.strayed.at, found.strayed.difference, "o", color=colour, markersize=4)
        limit = 1.1 * max(np.abs(one).max() for one in (low, high, line))
        left.set_ylim(-limit, limit)
        left.set_ylabel("ECDF less uniform")
        left.set_title(
            f"ECDF, and {level:.0%} of those of uniform values", fontsize=8.5, fontweight="normal"
        )
        bins = int(np.clip(np.sqrt(len(values)), 5, 20))
        heights, edges = np.histogram(values, bins=bins, range=(0, 1), density=True)
        right.stairs(heights, edges, fill=True, color=colour, alpha=0.55, linewidth=0)
        right.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        right.set_ylim(0, None)
        right.set_ylabel("density")
        right.set_title("histogram, and uniform", fontsize=8.5, fontweight="normal")
        for ax in (left, right):
            ax.set_xlim(0, 1)
            ax.set_xlabel("P(y ≤ y_i | all other rows)")
        p = f"p = {check.value:.2g}" if found.p >= 1e-4 else "p < 0.0001"
        verdict = "consistent with uniform" if passes else "not uniform"
        rows = f"{len(found.values):,} rows"
        if n < len(found.values):
            rows = f"{n:,} of {rows}"
        notes = [f"{shortened(found.model, 30)}: {verdict} ({p}, {rows})"]
        if found.bad:
            notes.append(f"{found.bad:,} of them by weights that are not good enough")
        figure.suptitle("\n".join(notes), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure
