"""Expected responses along a predictor, and coefficients of levels along a macro predictor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hlm_models.interpretation.effects import Effects
from hlm_models.interpretation.macro_effects import MacroEffects
from hlm_models.plot.asked import chosen, is_a
from hlm_models.plot.marks import dots
from hlm_models.plot.style import (
    INK,
    POSTERIOR,
    REFERENCE,
    Drawing,
    colours,
    framed,
    key,
    shortened,
    styled,
)
from hlm_models.types import FloatArray

__all__ = ["effects", "macro_effects"]

FEW = 8
"""Values of a macro predictor that get a box each."""


def effects(found: Effects) -> Figure:
    """Expected responses along the predictor with their intervals; a colour for each `by`.

    What would look wrong: bands that say more than the rows can, beyond the rows' own range.

    Raises
    ------
    InputErrors
        it is no `hlm.effects(fit, predictor)`.
    """
    is_a(found, Effects, "effects", "hlm.effects(fit, predictor)")
    cells = np.array(found.cells, dtype=object)
    values = list(dict.fromkeys(cells[:, 0]))
    groups: list[Any] = list(dict.fromkeys(cells[:, 1])) if found.by else [None]
    tints = colours(len(groups))
    labels = isinstance(values[0], str)
    with styled():
        figure = Drawing(5.8, 3.5)
        ax = figure.subplots()
        for i, (group, colour) in enumerate(zip(groups, tints, strict=True)):
            here = np.full(len(cells), True) if group is None else cells[:, 1] == group
            mean, lower, upper = (
                one[here] for one in (found.means.estimate, found.means.lower, found.means.upper)
            )
            name = None if group is None else shortened(f"{found.by} = {_text(group)}", 30)
            if labels:
                x = np.arange(len(values)) + 0.12 * (i - (len(groups) - 1) / 2)
                ax.vlines(x, lower, upper, colour, linewidth=1.8)
                ax.plot(x, mean, "o", color=colour, markersize=5, label=name)
            else:
                x = np.array(values, dtype=np.float64)
                order = np.argsort(x)
                ax.fill_between(
                    x[order], lower[order], upper[order], color=colour, alpha=0.18, linewidth=0
                )
                ax.plot(x[order], mean[order], color=colour, linewidth=1.8, label=name)
        if labels:
            ax.set_xticks(range(len(values)), [shortened(str(one), 16) for one in values])
            ax.set_xlim(-0.6, len(values) - 0.4)
        ax.set_xlabel(shortened(found.predictor, 50))
        ax.set_ylabel(shortened(f"expected {found.response}", 40))
        ax.grid(axis="both" if not labels else "y")
        ax.set_title(_about(found), fontsize=8.5, fontweight="normal")
        if found.by:
            handles, names = ax.get_legend_handles_labels()
            key(figure, handles, names)
        return figure


def macro_effects(found: MacroEffects, coefficients: Sequence[str] | None = None) -> Figure:
    """Coefficients of the levels against the macro predictor: boxes for few values, else points.

    Boxes have the median, the quartiles, and whiskers of 1.5 times the distance of these; the line
    among points is what the fixed part has, or least squares where the model lacks the predictor.

    What would look wrong: points of partial pooling that bend away from the line.

    Parameters
    ----------
    coefficients : those to draw; by default all, four at most

    Raises
    ------
    InputErrors
        it is no `hlm.macro_effects(fit, predictor)`, or no such coefficient varies within levels.
    """
    is_a(found, MacroEffects, "macro_effects", "hlm.macro_effects(fit, predictor)")
    pool = found.pooling
    names = chosen(pool.coefficients, coefficients)
    values = np.unique(found.values)
    boxes = found.values.dtype == object or len(values) <= FEW
    ways = (
        ("no pooling (least squares)", REFERENCE),
        (f"partial pooling ({pool.engine})", POSTERIOR),
    )
    with styled():
        wide = max(3.3, 0.9 + 0.6 * len(values)) if boxes else 3.4
        figure = Drawing(0.4 + wide * len(names), 3.5)
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            k = pool.coefficients.index(name)
            columns = (pool.none.estimate[:, k], pool.partial.estimate[:, k])
            framed(ax, columns[0], columns[1], axis="y")
            if not boxes:
                margin = 0.04 * float(np.ptp(found.values))
                ax.set_xlim(values[0] - margin, values[-1] + margin)
            for side, (column, (_, colour)) in enumerate(zip(columns, ways, strict=True)):
                if boxes:
                    _boxes(ax, column, found.values, values, 0.19 * (2 * side - 1), colour)
                else:
                    size, alpha = (3, 0.35) if side == 0 else (3.5, 0.8)
                    dots(
                        figure, ax, pool.group, np.arange(len(column)), found.values, column,
                        color=colour, markersize=size, alpha=alpha, markeredgewidth=0,
                    )  # fmt: skip
            if boxes:
                ax.set_xlim(-0.6, len(values) - 0.4)
                counts = [int(np.sum(found.values == value)) for value in values]
                ax.set_xticks(
                    range(len(values)),
                    [
                        f"{shortened(_text(v), 12)}\n({c})"
                        for v, c in zip(values, counts, strict=True)
                    ],
                )
            else:
                _line(ax, found, k)
            ax.set_title(shortened(name, 40))
            ax.set_xlabel(shortened(found.predictor, 40))
            ax.grid(axis="y")
        axes[0].set_ylabel(f"coefficient of each {pool.group}\n({shortened(pool.response, 24)})")
        handles: list[Any] = [
            Patch(facecolor=colour, alpha=0.6) if boxes
            else Line2D([], [], marker="o", linestyle="", color=colour)
            for _, colour in ways
        ]  # fmt: skip
        texts = [text for text, _ in ways]
        if not boxes:
            handles.append(Line2D([], [], color=INK))
            texts.append("fixed part" if found.inside else "least squares of partial pooling")
        key(figure, handles, texts)
        return figure


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _about(found: Effects) -> str:
    whose = {
        "population": "b = 0",
        "typical": "one typical level of each group",
        "existing": "the levels of the rows",
    }[found.groups]
    held = ", ".join(f"{name} = {_text(value)}" for name, value in found.held.items())
    where = f"at {shortened(held, 50)}" if held else ""
    if found.kind == "marginal":
        where = "averaged over the rows" + (f", {where}" if where else "")
    band = f"{found.level:.0%} interval"
    return shortened("; ".join(filter(None, [whose, where, band])), 100)


def _boxes(
    ax: Axes, column: FloatArray, given: Any, values: Any, shift: float, colour: str
) -> None:
    parts = [column[(given == value) & np.isfinite(column)] for value in values]
    drawn = ax.boxplot(
        parts,
        positions=np.arange(len(values)) + shift,
        widths=0.32,
        patch_artist=True,
        flierprops={"marker": ".", "markersize": 2.5, "markeredgecolor": colour, "alpha": 0.5},
        medianprops={"color": INK, "linewidth": 1.3},
        whiskerprops={"color": colour},
        capprops={"color": colour},
        manage_ticks=False,
    )
    for box in drawn["boxes"]:
        box.set(facecolor=colour, alpha=0.6, edgecolor=colour)


def _line(ax: Axes, found: MacroEffects, k: int) -> None:
    """What the fixed part has at each value; without the predictor, least squares of partial."""
    x = np.asarray(found.values, dtype=np.float64)
    order = np.argsort(x)
    if found.inside:
        y = found.pooling.expected[order, k]
        if np.allclose(y, np.interp(x[order], x[order][[0, -1]], y[[0, -1]])):
            ax.plot(x[order][[0, -1]], y[[0, -1]], color=INK, linewidth=1.5)
        else:
            # Other macro predictors move it too.
            ax.plot(x[order], y, "_", color=INK, markersize=3)
        return
    slope, start = np.polyfit(x, found.pooling.partial.estimate[:, k], 1)
    ends = x[order][[0, -1]]
    ax.plot(ends, start + slope * ends, color=INK, linewidth=1.5)
