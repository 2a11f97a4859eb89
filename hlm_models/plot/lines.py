"""Regression lines of levels, by no, partial and complete pooling, over the data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hlm_models.errors import InputErrors, nearest
from hlm_models.interpretation.pooling import Pooling
from hlm_models.plot.asked import chosen, is_a
from hlm_models.plot.marks import dots, segments
from hlm_models.plot.style import (
    INK,
    MUTED,
    POSTERIOR,
    REFERENCE,
    Drawing,
    key,
    shortened,
    styled,
)
from hlm_models.types import FloatArray, IntArray

__all__ = ["group_lines", "group_panels"]

MOST = 1000
"""Levels whose lines are drawn; of more some, evenly chosen."""
PANELS, COLUMNS = 12, 4
CROWD = 300
"""Rows of which more are one picture in an SVG."""


def group_lines(
    found: Pooling, predictor: str | None = None, *, labels: tuple[str, str] | None = None
) -> Figure:
    """Lines of all levels, each by itself and by the fit, over the same axes and the same rows.

    Other predictors stand at their means. Each line is as long as its level's rows reach.

    What would look wrong: lines of partial pooling that fan out as far as those of no pooling; a
    curve in the rows that no line can follow.

    Parameters
    ----------
    predictor : on the horizontal axis; by default the first one that varies within levels
    labels : of the axes, as ("days", "reaction time in ms")

    Raises
    ------
    InputErrors
        it is no `hlm.pooling(fit)`; no predictor, or not this one, varies within levels.

    Source: Gelman and Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical
    Models, chapter 12.
    """
    is_a(found, Pooling, "group_lines", "hlm.pooling(fit)")
    k, labels = _predictor(found, predictor, labels)
    centre = found.centre.copy()
    centre[k] = 0.0
    J = len(found.labels)
    some = np.linspace(0, J - 1, min(J, MOST)).astype(np.int64)
    ends = np.stack([found.low[some, k], found.high[some, k]])
    whole = np.average(found.complete.estimate, axis=0, weights=found.sizes)
    ways = (
        ("no pooling: each level by itself", found.none.estimate, REFERENCE),
        (f"partial pooling ({found.engine})", found.partial.estimate, POSTERIOR),
    )
    x, y = found.rows.X[:, k], found.rows.y
    with styled():
        figure = Drawing(6.8, 3.6)
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        reach = [y]
        for _, estimate, _ in ways:
            heights = estimate[some] @ centre + ends * estimate[some, k]
            reach.append(heights[np.isfinite(heights)])
        margin = 0.02 * float(np.ptp(x)) or 0.5
        low, high = np.quantile(np.concatenate(reach), [0.002, 0.998])
        pad = 0.05 * float(high - low) or 1.0
        axes[0].set(xlim=(x.min() - margin, x.max() + margin), ylim=(low - pad, high + pad))
        for ax, (title, estimate, colour) in zip(axes, ways, strict=True):
            _rows(ax, x, y, size=2.2)
            heights = estimate[some] @ centre + ends * estimate[some, k]
            start, end = (np.stack([ends[side], heights[side]]) for side in (0, 1))
            alpha = float(np.clip(4 / np.sqrt(len(some)), 0.16, 0.85))
            segments(
                figure, ax, found.group, some, start, end, colors=colour, alpha=alpha,
                linewidths=0.9 if len(some) <= 100 else 0.5,
            )  # fmt: skip
            across = np.array([x.min(), x.max()])
            ax.plot(across, whole @ centre + across * whole[k], color=INK, linewidth=2)
            ax.set_title(title)
            ax.set_xlabel(shortened(labels[0], 40))
            ax.grid()
        axes[0].set_ylabel(shortened(labels[1], 40))
        group = shortened(found.group, 30)
        notes = [f"a line for each {group}"]
        if len(some) < J:
            notes = [f"{len(some):,} of {J:,} levels of {group}, evenly chosen"]
        gone = int(np.isnan(found.none.estimate[:, k]).sum())
        if gone:
            notes.append(f"{gone:,} of all have no line of their own")
        if len(found.coefficients) > 2:
            notes.append("other predictors at their means")
        figure.suptitle("; ".join(notes), x=0.01, ha="left", fontsize=8.5)
        key(figure, [Line2D([], [], color=INK, linewidth=2)], ["complete pooling"])
    return figure


def group_panels(
    found: Pooling,
    predictor: str | None = None,
    *,
    levels: Sequence[str] | None = None,
    labels: tuple[str, str] | None = None,
) -> Figure:
    """Rows of some levels, a panel each, with the lines of no, partial and complete pooling.

    Other predictors stand at their means in the level. A level whose rows cannot tell the slope has
    no line of its own.

    What would look wrong: rows that follow neither line; a line of partial pooling that is not
    between the other two, where there is but one predictor.

    Parameters
    ----------
    predictor : on the horizontal axis; by default the first one that varies within levels
    levels : their labels; by default twelve at most, from the fewest rows to the most
    labels : of the axes, as ("days", "reaction time in ms")

    Raises
    ------
    InputErrors
        it is no `hlm.pooling(fit)`; there is no such level; no predictor, or not this one, varies
        within levels.

    Source: Gelman and Hill (2007), chapter 12.
    """
    is_a(found, Pooling, "group_panels", "hlm.pooling(fit)")
    k, labels = _predictor(found, predictor, labels)
    shown = _levels(found, levels)
    columns = min(COLUMNS, len(shown))
    lines = -(-len(shown) // columns)
    X, y, owner = found.rows.X, found.rows.y, found.rows.level
    ways: tuple[tuple[FloatArray, str, Any, str], ...] = (
        (found.complete.estimate, INK, (0, (4, 3)), "complete pooling"),
        (found.none.estimate, REFERENCE, "-", "no pooling"),
        (found.partial.estimate, POSTERIOR, "-", f"partial pooling ({found.engine})"),
    )
    here = np.isin(owner, shown)
    size = 3.2 if found.sizes[shown].max() <= 60 else 2.4
    with styled():
        figure = Drawing(max(3.4, 0.5 + 1.75 * columns), 0.9 + 1.5 * lines)
        axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        margin = 0.05 * np.array([np.ptp(X[here, k]), np.ptp(y[here])]) + 1e-12
        low, high = X[here, k].min() - margin[0], X[here, k].max() + margin[0]
        axes[0, 0].set(
            xlim=(low, high), ylim=(y[here].min() - margin[1], y[here].max() + margin[1])
        )
        for ax, j in zip(axes.flat, shown.tolist(), strict=False):
            rows = owner == j
            ax.grid()
            if rows.sum() > CROWD:
                _rows(ax, X[rows, k], y[rows], size=1.6)
            else:
                dots(
                    figure, ax, found.group, owner[rows], X[rows, k], y[rows], color=MUTED,
                    markersize=size, markeredgewidth=0, alpha=0.9,
                )  # fmt: skip
            centre = X[rows].mean(axis=0)
            centre[k] = 0.0
            ends = np.array([low, high])
            for estimate, colour, dashes, _ in ways:
                if np.isfinite(estimate[j]).all():
                    height = centre @ estimate[j] + ends * estimate[j, k]
                    ax.plot(ends, height, color=colour, linestyle=dashes, linewidth=1.4)
            ax.set_title(f"{shortened(found.labels[j], 18)} ({rows.sum():,})", fontsize=8)
            ax.tick_params(labelsize=7)
        for ax in axes.flat[len(shown) :]:
            ax.remove()
        for ax in axes.flat[max(0, len(shown) - columns) : len(shown)]:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(shortened(labels[0], 22))
        figure.supylabel(shortened(labels[1], 50), fontsize=8.5)
        group = shortened(found.group, 30)
        notes = [f"{len(shown)} of {len(found.labels):,} levels of {group} (rows)"]
        if len(found.coefficients) > 2:
            notes.append("other predictors at the level's means")
        figure.suptitle("; ".join(notes), x=0.01, ha="left", fontsize=8.5)
        handles = [Line2D([], [], color=c, linestyle=d, linewidth=1.4) for _, c, d, _ in ways]
        key(figure, handles, [words for *_, words in ways])
    return figure


def _predictor(
    found: Pooling, predictor: str | None, labels: tuple[str, str] | None
) -> tuple[int, tuple[str, str]]:
    slopes = [name for name in found.coefficients if name != "Intercept"]
    if not slopes:
        raise InputErrors.one(
            "no predictor varies within levels, so there are no lines to draw: hlm.plot.pooling "
            "shows the levels' means",
            key="predictor",
        )
    [name] = chosen(slopes, slopes[0] if predictor is None else predictor)
    return found.coefficients.index(name), labels or (name, found.response)


def _levels(found: Pooling, asked: Sequence[str] | None) -> IntArray:
    if asked is None:
        order = np.argsort(found.sizes, kind="stable")
        if len(order) <= PANELS:
            return order
        return order[np.linspace(0, len(order) - 1, PANELS).astype(np.int64)]
    names = [str(one) for one in ([asked] if isinstance(asked, str) else asked)]
    for name in names:
        if name not in found.labels:
            raise InputErrors.one(
                f"{name!r} is no level of {found.group}{nearest(name, found.labels)}", key="levels"
            )
    if not names:
        raise InputErrors.one("name a level at least", key="levels")
    return np.array([found.labels.index(name) for name in names])


def _rows(ax: Any, x: FloatArray, y: FloatArray, size: float) -> None:
    ax.plot(
        x, y, "o", color=MUTED, markersize=size, markeredgewidth=0,
        alpha=float(np.clip(12 / np.sqrt(len(x)), 0.15, 0.8)), rasterized=len(x) > CROWD, zorder=1,
    )  # fmt: skip
