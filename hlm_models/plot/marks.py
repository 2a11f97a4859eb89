"""Points and lines that stand for levels, and names beside them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from hlm_models.plot.style import Drawing, shortened
from hlm_models.types import FloatArray, IntArray

__all__ = ["dots", "keep_apart", "named", "segments"]

PLACES = (
    ("center", "bottom", 0, 4), ("center", "top", 0, -5), ("left", "center", 4, -0.5),
    ("right", "center", -4, -0.5), ("left", "bottom", -2, 4), ("right", "bottom", 2, 4),
    ("left", "top", -2, -5), ("right", "top", 2, -5),
)  # fmt: skip
"""How a name may stand to its dot, and how many points off it, the best first."""
GAP = 3
"""Pixels between names."""


def dots(
    figure: Drawing,
    ax: Axes,
    group: str,
    levels: IntArray,
    x: Any,
    y: Any,
    marker: str = "o",
    **style: Any,
) -> None:
    """A marker for each of the levels (m,) that is inside the axes, whose limits are set before.

    What is outside would have no element in an SVG, and the elements are told by their order.
    """
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    (left, right), (low, high) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    seen = (left <= x) & (x <= right) & (low <= y) & (y <= high)
    [line] = ax.plot(x[seen], y[seen], marker, **style)
    figure.stands_for(group, line, levels[seen])


def segments(
    figure: Drawing,
    ax: Axes,
    group: str,
    levels: IntArray,
    start: FloatArray,
    end: FloatArray,
    **style: Any,
) -> None:
    """A line for each of the levels (m,), from points (2, m) to points (2, m), if it has both."""
    there = np.isfinite(start).all(axis=0) & np.isfinite(end).all(axis=0)
    lines = np.stack([start.T, end.T], axis=1)[there]
    drawn = LineCollection(list(lines), **style)
    ax.add_collection(drawn, autolim=False)
    figure.stands_for(group, drawn, levels[there])


def named(ax: Axes, level: str, x: float, y: float) -> Annotation:
    """The name of a level at its dot."""
    return ax.annotate(
        shortened(level, 16), (x, y), (0, 0), textcoords="offset points", fontsize=7,
        in_layout=False,
    )  # fmt: skip


def keep_apart(figure: Figure, ax: Axes, names: list[Annotation], points: FloatArray) -> None:
    """Put each name where it covers no earlier one and no point (m, 2); else take it away."""
    figure.draw_without_rendering()
    inside, taken = ax.get_window_extent(), list[Bbox]()
    pixels = ax.transData.transform(points)
    for name in names:
        for ha, va, dx, dy in PLACES:
            name.set(ha=ha, va=va, position=(dx, dy))
            box = name.get_window_extent()
            free = not box.count_overlaps(taken) and not box.count_contains(pixels)
            if free and inside.x0 <= box.x0 and box.x1 <= inside.x1:
                taken.append(box.padded(GAP))
                break
        else:
            name.remove()
