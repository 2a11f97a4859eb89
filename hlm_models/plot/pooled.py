"""Coefficients of levels by no, partial and complete pooling."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch

from hlm_models.errors import InputErrors
from hlm_models.interpretation.pooling import Pooling
from hlm_models.plot.asked import chosen, is_a
from hlm_models.plot.marks import dots, keep_apart, named, segments
from hlm_models.plot.style import (
    INK,
    MUTED,
    PANEL,
    POSTERIOR,
    RAISED,
    REFERENCE,
    Drawing,
    framed,
    key,
    shortened,
    styled,
)
from hlm_models.types import FloatArray, IntArray

__all__ = ["pooling", "shrinkage", "shrinkage_plane"]

SHOWN = 40
"""Levels that are drawn where each has its name and its rows."""
LABELLED, MOST = 60, 1000
"""Levels whose arrows have names, and that have an arrow at all."""
NAMED = 6
"""Levels of a plane that are named: those that move the most."""
HOLLOW: dict[str, Any] = {
    "markerfacecolor": RAISED,
    "markeredgecolor": REFERENCE,
    "markeredgewidth": 0.9,
}
SOLID: dict[str, Any] = {"color": POSTERIOR, "markeredgewidth": 0}
INSIDE = ((0.5, 1.386294361119891, (0, (4, 3))), (0.95, 5.991464547107979, "-"))
"""Share of a bivariate normal inside an ellipse, the quantile of chi-square with 2 df, its line."""


def pooling(found: Pooling, coefficients: str | Sequence[str] | None = None) -> Figure:
    """Each level's coefficient by no pooling and by partial pooling, beside complete pooling.

    Levels are in the order of their rows, the fewest at the bottom; of many the 20 with the fewest
    rows and the 20 with the most are drawn, and the title says so. A line that leaves the axes goes
    to least squares of few rows, far outside.

    What would look wrong: levels with many rows that partial pooling moves far.

    Parameters
    ----------
    coefficients : those to draw; by default all, four at most

    Raises
    ------
    InputErrors
        it is no `hlm.pooling(fit)`, or no such coefficient varies within levels.

    Source: Gelman and Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical
    Models, chapter 12.
    """
    is_a(found, Pooling, "pooling", "hlm.pooling(fit)")
    names = chosen(found.coefficients, coefficients)
    order, about = _some(found.sizes, found.group)
    at, group = np.arange(len(order)), found.group
    with styled():
        figure = Drawing(0.9 + 3.3 * len(names), 1.6 + 0.17 * max(len(order), 6))
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        axes[0].set_ylim(-0.8, len(order) - 0.2)
        for ax, name in zip(axes, names, strict=True):
            k = found.coefficients.index(name)
            none, partial = found.none.estimate[order, k], found.partial.estimate[order, k]
            whole = found.complete.estimate[order, k]
            lower, upper = found.partial.lower[order, k], found.partial.upper[order, k]
            framed(ax, none, np.concatenate([partial, whole, lower, upper]))
            ends = np.stack([lower, at]), np.stack([upper, at])
            segments(figure, ax, group, order, *ends, colors=POSTERIOR, linewidths=3.2, alpha=0.22)
            ends = np.stack([none, at]), np.stack([partial, at])
            segments(figure, ax, group, order, *ends, colors=MUTED, linewidths=0.7)
            dots(figure, ax, group, order, none, at, markersize=4, **HOLLOW)
            dots(figure, ax, group, order, partial, at, markersize=4, **SOLID)
            ax.plot(whole, at, "-" if np.ptp(whole) == 0 else "|", color=INK, markersize=6)
            ax.set_xlabel(shortened(f"{name}: {_unit(name, found.response)}", 44))
            ax.grid(axis="x")
        labels = [f"{shortened(found.labels[j], 16)} ({found.sizes[j]})" for j in order]
        axes[0].set_yticks(at, labels, fontsize=7)
        for ax in axes:
            ax.tick_params(axis="y", length=0)
        axes[0].set_ylabel(f"{shortened(group, 30)} (rows)")
        figure.suptitle(f"Pooling: {about}", x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        band = Patch(color=POSTERIOR, alpha=0.22, linewidth=0)
        whole_line = Line2D([], [], color=INK)
        words = [*_words(found), f"its {found.level:.0%} interval", "complete pooling"]
        key(figure, [_mark("o", HOLLOW), _mark("o", SOLID), band, whole_line], words)
    return figure


def shrinkage(
    found: Pooling,
    coefficients: str | Sequence[str] | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Arrows of every level from its own least squares to partial pooling, sorted by the latter.

    The dark line is what the fixed part has for a level, whither all arrows go; where predictors of
    levels move it, each level has a dash of its own. A level whose own rows cannot tell the
    coefficient has a dot alone. Arrows that leave the axes come from far
    outside; of more than 1,000 levels some are drawn, evenly chosen.

    What would look wrong: arrows that lead away from the line, where slopes and constants are not
    strongly correlated; long arrows of levels with many rows.

    Parameters
    ----------
    coefficients : those to draw; by default all, four at most
    labels : of their axes, as "ms per day"

    Raises
    ------
    InputErrors
        it is no `hlm.pooling(fit)`; no such coefficient varies within levels; or there is not one
        label a coefficient.

    Source: Gelman and Hill (2007), chapter 12.
    """
    is_a(found, Pooling, "shrinkage", "hlm.pooling(fit)")
    names = chosen(found.coefficients, coefficients)
    if labels is None:
        labels = [_unit(name, found.response) for name in names]
    if len(labels) != len(names):
        raise InputErrors.one(
            f"give a label for each coefficient that is drawn: {', '.join(names)}", key="labels"
        )
    J = len(found.labels)
    with styled():
        height = 1.4 + 0.16 * max(J, 6) if J <= LABELLED else 3.6
        figure = Drawing(PANEL * len(names), height)
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for ax, name, label in zip(axes, names, labels, strict=True):
            _arrows(figure, ax, found, found.coefficients.index(name), label)
            ax.set_title(shortened(name, 36))
        own = _own(across=J > LABELLED)
        fixed = Line2D([], [], color=INK, linewidth=1)
        key(figure, [_mark("o", own), _mark("<", SOLID), fixed], [*_words(found), "fixed part"])
    return figure


def _arrows(figure: Drawing, ax: Axes, found: Pooling, k: int, label: str) -> None:
    order, group = np.argsort(found.partial.estimate[:, k], kind="stable"), found.group
    if len(order) > MOST:
        order = order[np.linspace(0, len(order) - 1, MOST).astype(np.int64)]
    J, at = len(order), np.arange(len(order))
    none, partial = found.none.estimate[order, k], found.partial.estimate[order, k]
    fixed = found.expected[order, k]
    across = J > LABELLED
    framed(ax, none, np.concatenate([partial, fixed]), axis="y" if across else "x")
    turn = slice(None, None, -1 if across else 1)
    start, end, line = (np.stack([one, at])[turn] for one in (none, partial, fixed))
    if across:
        ax.set(xlim=(-1, J), xticks=[], ylabel=shortened(label, 40))
        some = "" if len(found.labels) == J else f" of {len(found.labels):,}"
        ax.set_xlabel(f"{J:,}{some} levels of {shortened(group, 16)}, sorted")
    else:
        ax.set(ylim=(-0.8, J - 0.2), xlabel=shortened(label, 44))
        ax.set_yticks(at, [shortened(found.labels[j], 16) for j in order], fontsize=7)
        ax.tick_params(axis="y", length=0)
    ax.grid(axis="y" if across else "x")
    width, size = (0.4, 2.0) if across else (0.8, 4.0)
    segments(figure, ax, group, order, start, end, colors=MUTED, linewidths=width)
    if np.allclose(fixed, fixed[0]):
        ax.plot(*line, color=INK, linewidth=1.0)
    else:
        ax.plot(*line, "_" if across else "|", color=INK, markersize=2 * size, markeredgewidth=0.8)
    own = _own(across=across)
    dots(figure, ax, group, order, start[0], start[1], markersize=size, **own)
    alone = np.isnan(none)
    for tip, these in (("<v", ~alone & (partial < none)), (">^", ~alone & (partial >= none)),
                       ("oo", alone)):  # fmt: skip
        if these.any():
            dots(figure, ax, group, order[these], end[0, these], end[1, these], tip[across],
                 markersize=1.4 * size, **SOLID)  # fmt: skip


def shrinkage_plane(
    found: Pooling,
    pair: tuple[str, str] | None = None,
    *,
    labels: tuple[str, str] | None = None,
) -> Figure:
    """Two coefficients of every level: from its own least squares to partial pooling.

    Ellipses hold half and 95% of the levels that the model foresees, around the mean of what the
    fixed part has for them (the cross). Levels that move the most are named; arrows that leave the
    axes come from far outside; of more than 1,000 levels some are drawn, evenly chosen.

    What would look wrong: filled dots that lie far outside of the ellipses; dots on one line, where
    the correlation is estimated as 1 or -1.

    Parameters
    ----------
    pair : the coefficients of the axes; by default the first two that the model lets vary
    labels : of the axes, as ("ms", "ms per day"), behind the names of the coefficients

    Raises
    ------
    InputErrors
        it is no `hlm.pooling(fit)`; fewer than two coefficients vary, or the pair is none of them.
    """
    is_a(found, Pooling, "shrinkage_plane", "hlm.pooling(fit)")
    if len(found.coefficients) < 2:
        raise InputErrors.one(
            "one coefficient alone varies within levels: hlm.plot.shrinkage draws it"
        )
    varying = sorted(found.coefficients, key=lambda name: not _varies(found, name))
    names = chosen(varying, pair, most=2)
    if len(names) != 2 or names[0] == names[1]:
        raise InputErrors.one("the pair must be two different coefficients", key="pair")
    k = [found.coefficients.index(name) for name in names]
    order, group = np.arange(len(found.labels)), found.group
    if len(order) > MOST:
        order = np.linspace(0, len(order) - 1, MOST).astype(np.int64)
    none, partial = (one.estimate[np.ix_(order, k)].T for one in (found.none, found.partial))
    centre, cov = found.expected[:, k].mean(axis=0), found.cov[np.ix_(k, k)]
    many = len(order) > LABELLED
    size, alpha = (2.6, 0.5) if many else (4.5, 1.0)
    with styled():
        figure = Drawing(5.0, 4.6)
        ax = figure.subplots()
        ax.grid()
        for axis, side in (("x", 0), ("y", 1)):
            half = np.sqrt(cov[side, side] * INSIDE[1][1])
            ends = np.concatenate([partial[side], centre[side] + half * np.array([-1, 1])])
            framed(ax, none[side], ends, axis=axis)
        for _, quantile, dashes in INSIDE:
            ax.add_patch(_ellipse(centre, cov * quantile, dashes))
        segments(figure, ax, group, order, none, partial, colors=MUTED, linewidths=0.6, alpha=alpha)
        dots(figure, ax, group, order, none[0], none[1], markersize=size, alpha=alpha, **HOLLOW)
        dots(figure, ax, group, order, partial[0], partial[1], markersize=size, **SOLID)
        ax.plot(*centre, "+", color=INK, markersize=11, markeredgewidth=2)
        across, up = labels or tuple(_unit(name, found.response) for name in names)
        ax.set_xlabel(shortened(f"{names[0]}: {across}", 50))
        ax.set_ylabel(shortened(f"{names[1]}: {up}", 44))
        shown = np.array([[np.ptp(ax.get_xlim())], [np.ptp(ax.get_ylim())]])
        moved = np.sum(((none - partial) / shown) ** 2, axis=0)
        most = np.argsort(-np.nan_to_num(moved), kind="stable")[:NAMED]
        near = [named(ax, found.labels[order[j]], *partial[:, j].tolist()) for j in most]
        known = np.isfinite(none).all(axis=0)
        key(
            figure,
            [
                _mark("o", HOLLOW),
                _mark("o", SOLID),
                Line2D([], [], marker="+", linestyle="", color=INK, markersize=9),
                Line2D([], [], color=INK, linewidth=0.9),
            ],
            [*_words(found), "mean of the fixed part", "50% and 95% of levels"],
        )
        keep_apart(figure, ax, near, np.concatenate([none.T[known], partial.T]))
    return figure


def _varies(found: Pooling, name: str) -> bool:
    k = found.coefficients.index(name)
    return bool(found.cov[k, k] > 0)


def _ellipse(centre: FloatArray, cov: FloatArray, dashes: Any) -> Ellipse:
    values, vectors = np.linalg.eigh(cov)
    width, height = 2 * np.sqrt(np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse(
        (float(centre[0]), float(centre[1])), float(width), float(height), angle=angle,
        facecolor="none", edgecolor=INK, linewidth=0.9, linestyle=dashes,
    )  # fmt: skip


def _mark(marker: str, style: dict[str, Any]) -> Line2D:
    return Line2D([], [], marker=marker, linestyle="", **style)


def _own(*, across: bool) -> dict[str, Any]:
    """How a level by itself is marked: hollow where there is room."""
    return {"color": REFERENCE, "markeredgewidth": 0} if across else HOLLOW


def _words(found: Pooling) -> list[str]:
    return ["no pooling", f"partial pooling ({found.engine})"]


def _some(sizes: IntArray, group: str) -> tuple[IntArray, str]:
    """Levels in the order of their rows, and which of all they are."""
    order = np.argsort(sizes, kind="stable")
    group = shortened(group, 30)
    if len(order) <= SHOWN:
        return order, f"{len(order)} levels of {group}"
    half = SHOWN // 2
    return (
        np.concatenate([order[:half], order[-half:]]),
        f"the {half} smallest and the {half} largest of {len(order):,} levels of {group}",
    )


def _unit(name: str, response: str) -> str:
    return response if name == "Intercept" else f"{response} per unit"
