"""Figures of what a fit says: pooling, shrinkage, effects, macro effects, checks by group.

Each takes a frozen value of the room `interpretation` and gives a matplotlib Figure.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hlm_models.errors import InputErrors, nearest
from hlm_models.interpretation.effects import Effects
from hlm_models.interpretation.group_ppc import GroupPPC
from hlm_models.interpretation.macro_effects import MacroEffects
from hlm_models.interpretation.pooling import Pooling
from hlm_models.report.figures import INK, POSTERIOR, REFERENCE, STYLE, shortened
from hlm_models.types import FloatArray, IntArray

__all__ = [
    "plot_effects",
    "plot_group_ppc",
    "plot_macro_effects",
    "plot_pooling",
    "plot_shrinkage",
]

MUTED = "#8a929c"
SHOWN = 40
"""Levels that are drawn one by one."""
FEW = 8
"""Values of a macro predictor that get a box each."""
LABELLED = 60


def plot_pooling(found: Pooling, coefficients: Sequence[str] | None = None) -> Figure:
    """Each level's coefficient by no pooling and by partial pooling, beside complete pooling.

    Levels are in the order of their rows, the fewest at the bottom; of many the 20 with the fewest
    rows and the 20 with the most are drawn, and the title says so. A line that leaves the axes goes
    to least squares of few rows, far outside.

    Parameters
    ----------
    coefficients : those to draw; by default all, four at most
    """
    _is(found, Pooling, "plot_pooling", "hlm.pooling(fit)")
    names = _chosen(found.coefficients, coefficients)
    order, about = _some(found.sizes, found.group)
    with _styled():
        height = 1.5 + 0.17 * max(len(order), 5)
        figure = Figure(figsize=(0.9 + 3.3 * len(names), height), layout="constrained")
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        at = np.arange(len(order))
        for ax, name in zip(axes, names, strict=True):
            k = found.coefficients.index(name)
            none, partial = found.none.estimate[order, k], found.partial.estimate[order, k]
            whole = found.complete.estimate[order, k]
            lower, upper = found.partial.lower[order, k], found.partial.upper[order, k]
            ax.hlines(at, lower, upper, POSTERIOR, linewidth=3.2, alpha=0.22)
            ax.hlines(at, none, partial, MUTED, linewidth=0.7)
            ax.plot(none, at, "o", markersize=4, markerfacecolor="white", markeredgecolor=REFERENCE)
            ax.plot(partial, at, "o", markersize=4, color=POSTERIOR)
            ax.plot(whole, at, "-" if np.ptp(whole) == 0 else "|", color=INK, markersize=6)
            _framed(ax, none, np.concatenate([partial, whole, lower, upper]))
            ax.set_xlabel(shortened(f"{name}: {_unit(name, found.response)}", 44))
            ax.grid(axis="x")
        labels = [f"{shortened(found.labels[j], 16)} ({found.sizes[j]})" for j in order]
        axes[0].set_yticks(at, labels, fontsize=7)
        for ax in axes:
            ax.tick_params(axis="y", length=0)
        axes[0].set_ylim(-0.8, len(order) - 0.2)
        axes[0].set_ylabel(f"{found.group} (rows)")
        figure.suptitle(f"Pooling: {about}", x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        _key(
            figure,
            [
                Line2D([], [], marker="o", linestyle="", markerfacecolor="white", color=REFERENCE),
                Line2D([], [], marker="o", linestyle="", color=POSTERIOR),
                Patch(color=POSTERIOR, alpha=0.22, linewidth=0),
                Line2D([], [], color=INK),
            ],
            [
                "no pooling (least squares)",
                f"partial ({found.engine})",
                f"its {found.level:.0%} interval",
                "complete pooling",
            ],
        )
        return figure


def plot_shrinkage(found: Pooling, predictor: str | None = None) -> Figure:
    """Lines of the levels by least squares of each by itself, and by the fit, over the same axes.

    Other predictors stand at their means. Each line is as long as its level's rows reach.

    Parameters
    ----------
    predictor : on the horizontal axis; by default the first one that varies within levels
    """
    _is(found, Pooling, "plot_shrinkage", "hlm.pooling(fit)")
    slopes = [name for name in found.coefficients if name != "Intercept"]
    if not slopes:
        raise InputErrors.one(
            "no predictor varies within levels, so there are no lines to draw: plot_pooling shows "
            "the levels' means",
            key="predictor",
        )
    [name] = _chosen(slopes, [slopes[0] if predictor is None else predictor])
    k = found.coefficients.index(name)
    centre = found.centre.copy()
    centre[k] = 0.0
    low, high = found.low[:, k], found.high[:, k]
    most = np.arange(len(low))
    if len(low) > 10 * SHOWN:
        most = np.linspace(0, len(low) - 1, 10 * SHOWN).astype(np.int64)
    with _styled():
        figure = Figure(figsize=(6.8, 3.5), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        drawn = (
            (axes[0], found.none.estimate, REFERENCE, "no pooling: each level by itself"),
            (axes[1], found.partial.estimate, POSTERIOR, f"partial pooling ({found.engine})"),
        )
        reach = []
        for ax, estimate, colour, title in drawn:
            x = np.stack([low, high])[:, most]
            start = estimate @ centre
            y = start[most] + x * estimate[most, k]
            alpha = float(np.clip(12 / math.sqrt(len(most)) / 4, 0.15, 0.8))
            ax.plot(x, y, color=colour, linewidth=0.8, alpha=alpha)
            reach.append(y[np.isfinite(y)])
            ends = np.array([low.min(), high.max()])
            whole = found.complete.estimate
            middle = np.average(whole, axis=0, weights=found.sizes)
            ax.plot(ends, middle @ centre + ends * middle[k], color=INK, linewidth=2)
            ax.set_title(title)
            ax.set_xlabel(shortened(name, 40))
            ax.grid()
        axes[0].set_ylabel(shortened(found.response, 30))
        spread = np.quantile(np.concatenate(reach), [0.01, 0.99])
        margin = 0.25 * float(np.ptp(spread)) or 1.0
        axes[0].set_ylim(spread[0] - margin, spread[1] + margin)
        gone = int(np.isnan(found.none.estimate[:, k]).sum())
        notes = [f"a line for each {found.group}"]
        if len(most) < len(low):
            notes = [f"{len(most)} of {len(low):,} levels of {found.group}, evenly chosen"]
        if gone:
            notes.append(f"{gone} of all have no line of their own")
        figure.suptitle("; ".join(notes), x=0.01, ha="left", fontsize=8.5)
        _key(figure, [Line2D([], [], color=INK, linewidth=2)], ["complete pooling"])
        return figure


def plot_effects(found: Effects) -> Figure:
    """Expected responses along the predictor with their intervals; a colour for each `by`."""
    _is(found, Effects, "plot_effects", "hlm.effects(fit, predictor)")
    cells = np.array(found.cells, dtype=object)
    values = list(dict.fromkeys(cells[:, 0]))
    groups: list[Any] = list(dict.fromkeys(cells[:, 1])) if found.by else [None]
    colours = _colours(len(groups))
    labels = isinstance(values[0], str)
    with _styled():
        figure = Figure(figsize=(5.8, 3.5), layout="constrained")
        ax = figure.subplots()
        for i, (group, colour) in enumerate(zip(groups, colours, strict=True)):
            here = np.full(len(cells), True) if group is None else cells[:, 1] == group
            mean, lower, upper = (
                one[here] for one in (found.means.estimate, found.means.lower, found.means.upper)
            )
            name = None if group is None else f"{found.by} = {_text(group)}"
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
            _key(figure, handles, names)
        return figure


def plot_macro_effects(found: MacroEffects, coefficients: Sequence[str] | None = None) -> Figure:
    """Coefficients of the levels against the macro predictor: boxes for few values, else points.

    Boxes have the median, the quartiles, and whiskers of 1.5 times the distance of these; the line
    among points is what the fixed part has, or least squares where the model lacks the predictor.

    Parameters
    ----------
    coefficients : those to draw; by default all, four at most
    """
    _is(found, MacroEffects, "plot_macro_effects", "hlm.macro_effects(fit, predictor)")
    pool = found.pooling
    names = _chosen(pool.coefficients, coefficients)
    values = np.unique(found.values)
    boxes = found.values.dtype == object or len(values) <= FEW
    ways = (
        ("no pooling (least squares)", REFERENCE),
        (f"partial pooling ({pool.engine})", POSTERIOR),
    )
    with _styled():
        wide = max(3.3, 0.9 + 0.6 * len(values)) if boxes else 3.4
        figure = Figure(figsize=(0.4 + wide * len(names), 3.5), layout="constrained")
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            k = pool.coefficients.index(name)
            columns = (pool.none.estimate[:, k], pool.partial.estimate[:, k])
            for side, (column, (_, colour)) in enumerate(zip(columns, ways, strict=True)):
                if boxes:
                    _boxes(ax, column, found.values, values, 0.19 * (2 * side - 1), colour)
                else:
                    size, alpha = (3, 0.35) if side == 0 else (3.5, 0.8)
                    ax.plot(found.values, column, "o", color=colour, markersize=size, alpha=alpha,
                            markeredgewidth=0)  # fmt: skip
            if boxes:
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
            _framed(ax, columns[0], columns[1], axis="y")
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
        _key(figure, handles, texts)
        return figure


def plot_group_ppc(found: GroupPPC) -> Figure:
    """A statistic of each level over the interval of its replicates, levels in its order."""
    _is(found, GroupPPC, "plot_group_ppc", "hlm.group_ppc(fit)")
    known = np.flatnonzero(np.isfinite(found.observed) & np.isfinite(found.median))
    order = known[np.argsort(found.observed[known], kind="stable")]
    observed, lower, upper = (one[order] for one in (found.observed, found.lower, found.upper))
    out = (observed < lower) | (observed > upper)
    at = np.arange(len(order))
    with _styled():
        figure = Figure(figsize=(6.8, 3.5), layout="constrained")
        ax = figure.subplots()
        if len(order) > 3 * LABELLED:
            ax.fill_between(at, lower, upper, color=POSTERIOR, alpha=0.25, linewidth=0, step="mid")
            ax.plot(at, found.median[order], color=POSTERIOR, linewidth=0.7)
        else:
            ax.vlines(
                at, lower, upper, POSTERIOR, linewidth=max(0.8, 3.5 - len(order) / 40), alpha=0.4
            )
            ax.plot(at, found.median[order], "_", color=POSTERIOR, markersize=5)
        size = 4 if len(order) <= LABELLED else 2.5
        ax.plot(at[~out], observed[~out], "o", color=INK, markersize=size)
        ax.plot(at[out], observed[out], "o", color=REFERENCE, markersize=size + 1)
        if len(order) <= LABELLED:
            names = [shortened(found.labels[j], 14) for j in order]
            ax.set_xticks(at, names, rotation=90, fontsize=7)
        else:
            ax.set_xticks([])
        ax.set_xlim(-1, len(order))
        ax.set_xlabel(f"{len(order):,} levels of {found.group}, sorted")
        ax.set_ylabel(shortened(f"{found.statistic} of {found.response}", 40))
        ax.grid(axis="y")
        whose = "effects drawn anew" if found.new else "the levels' own effects"
        ax.set_title(
            f"{found.outside} of {len(order):,} outside {found.level:.0%} "
            f"({(1 - found.level) * len(order):.0f} expected); {whose}",
            fontsize=8.5,
            fontweight="normal",
        )
        _key(
            figure,
            [
                Patch(color=POSTERIOR, alpha=0.4, linewidth=0),
                Line2D([], [], marker="o", linestyle="", color=INK),
                Line2D([], [], marker="o", linestyle="", color=REFERENCE),
            ],
            [f"{found.level:.0%} of {found.replicates} replicates", "data", "data, outside"],
        )
        return figure


def _is(found: object, wanted: type, name: str, how: str) -> None:
    if not isinstance(found, wanted):
        raise InputErrors.one(f"{name} takes {how}, not {type(found).__name__}")


def _chosen(known: Sequence[str], asked: Sequence[str] | None) -> list[str]:
    if asked is None:
        return list(known[:4])
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in known:
            raise InputErrors.one(
                f"{name!r} is not a coefficient that varies within levels{nearest(name, known)} "
                f"(these do: {', '.join(known)})",
                key="coefficients",
            )
    return names


def _some(sizes: IntArray, group: str) -> tuple[IntArray, str]:
    """Levels in the order of their rows, and which of all they are."""
    order = np.argsort(sizes, kind="stable")
    if len(order) <= SHOWN:
        return order, f"{len(order)} levels of {group}"
    half = SHOWN // 2
    return (
        np.concatenate([order[:half], order[-half:]]),
        f"the {half} smallest and the {half} largest of {len(order):,} levels of {group}",
    )


def _framed(ax: Axes, values: FloatArray, core: FloatArray, *, axis: str = "x") -> None:
    """Limits around `core`; values far from it, least squares of few rows, may be cut."""
    values, core = values[np.isfinite(values)], core[np.isfinite(core)]
    low, high = float(core.min()), float(core.max())
    inner = np.quantile(values, [0.01, 0.99]) if values.size else (low, high)
    reach = max(high - low, 1e-12)
    low, high = (
        min(low, max(float(inner[0]), low - 3 * reach)),
        max(high, min(float(inner[1]), high + 3 * reach)),
    )
    margin = 0.06 * (high - low) or 1.0
    (ax.set_xlim if axis == "x" else ax.set_ylim)(low - margin, high + margin)


def _unit(name: str, response: str) -> str:
    return response if name == "Intercept" else f"{response} per unit"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _colours(count: int) -> list[Any]:
    if count <= 2:
        return [POSTERIOR, REFERENCE][:count]
    return list(colormaps["viridis"](np.linspace(0.1, 0.85, count)))


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


def _key(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(1, min(len(labels), int(figure.get_figwidth() / 1.65))),
    )


@contextmanager
def _styled() -> Iterator[None]:
    with style.context(["default", STYLE]):
        yield
