"""Levels against their replicates."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hlm_models.interpretation.group_ppc import GroupPPC
from hlm_models.plot.asked import is_a
from hlm_models.plot.marks import dots, segments
from hlm_models.plot.style import (
    INK,
    POSTERIOR,
    REFERENCE,
    Drawing,
    key,
    shortened,
    styled,
)

__all__ = ["ppc_by_group"]

LABELLED, ONE_BY_ONE = 60, 1000
"""Levels that have their names, and that have an interval each; of more there is a band."""


def ppc_by_group(found: GroupPPC, *, label: str = "") -> Figure:
    """A statistic of each level over the interval of its replicates, levels in its order.

    What would look wrong: many more orange dots than expected; all of them at one end.

    Parameters
    ----------
    label : of the vertical axis; by default the statistic and the response

    Raises
    ------
    InputErrors
        it is no `hlm.group_ppc(fit)`.

    Source: Gelman, Meng and Stern (1996), Statistica Sinica 6, 733-807, for replicated data.
    """
    is_a(found, GroupPPC, "ppc_by_group", "hlm.group_ppc(fit)")
    known = np.flatnonzero(np.isfinite(found.observed) & np.isfinite(found.median))
    order = known[np.argsort(found.observed[known], kind="stable")]
    observed, lower, upper = (one[order] for one in (found.observed, found.lower, found.upper))
    out = (observed < lower) | (observed > upper)
    J, group, at = len(order), found.group, np.arange(len(order))
    with styled():
        figure = Drawing(6.8, 3.5)
        ax = figure.subplots()
        ends = np.concatenate([observed, lower, upper])
        margin = 0.04 * float(np.ptp(ends)) or 1.0
        ax.set(xlim=(-1, J), ylim=(ends.min() - margin, ends.max() + margin))
        if J > ONE_BY_ONE:
            ax.fill_between(at, lower, upper, color=POSTERIOR, alpha=0.25, linewidth=0, step="mid")
            ax.plot(at, found.median[order], color=POSTERIOR, linewidth=0.7)
        else:
            segments(
                figure, ax, group, order, np.stack([at, lower]), np.stack([at, upper]),
                colors=POSTERIOR, linewidths=max(0.6, 3.5 - J / 40), alpha=0.4,
            )  # fmt: skip
            if J <= 3 * LABELLED:
                ax.plot(at, found.median[order], "_", color=POSTERIOR, markersize=5)
        size = 4.0 if J <= LABELLED else 2.4
        for these, colour, larger in ((~out, INK, 0), (out, REFERENCE, 1)):
            dots(
                figure, ax, group, order[these], at[these], observed[these], color=colour,
                markersize=size + larger, markeredgewidth=0,
            )  # fmt: skip
        if J <= LABELLED:
            names = [shortened(found.labels[j], 14) for j in order]
            upright = J <= 12 and max(map(len, names)) <= 6
            ax.set_xticks(at, names, rotation=0 if upright else 90, fontsize=8 if upright else 7)
        else:
            ax.set_xticks([])
        ax.set_xlabel(f"{J:,} levels of {shortened(group, 30)}, sorted")
        ax.set_ylabel(shortened(label or f"{found.statistic} of {found.response}", 40))
        ax.grid(axis="y")
        expected = (1 - found.level) * J
        whose = "effects drawn anew" if found.new else "the levels' own effects"
        ax.set_title(
            f"{found.outside} of {J:,} outside {found.level:.0%} "
            f"({expected:,.{1 if expected < 10 else 0}f} expected); {whose}",
            fontsize=8.5,
            fontweight="normal",
        )
        key(
            figure,
            [
                Patch(color=POSTERIOR, alpha=0.4, linewidth=0),
                Line2D([], [], marker="o", linestyle="", color=INK),
                Line2D([], [], marker="o", linestyle="", color=REFERENCE),
            ],
            [f"{found.level:.0%} of {found.replicates} replicates", "data", "data, outside"],
        )
    return figure
