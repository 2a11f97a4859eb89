"""Our own look, and the figure that keeps it."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hlm_models.types import FloatArray

__all__ = [
    "CHAINS",
    "GRID",
    "INK",
    "LINE",
    "MUTED",
    "PANEL",
    "POSTERIOR",
    "PRIOR",
    "RAISED",
    "REFERENCE",
    "STYLE",
    "WIDE",
    "Drawing",
    "colours",
    "framed",
    "key",
    "legend",
    "shortened",
    "styled",
]

POSTERIOR, REFERENCE, PRIOR = "#2a6fb0", "#cc5f14", "#7a4f9a"
INK, MUTED, LINE, GRID, RAISED = "#22272e", "#8a929c", "#b4bbc4", "#e3e6ea", "#ffffff"
CHAINS = ("#2a6fb1", "#7fa9d0", "#1b4069", "#5590c8")
"""Shades of the posterior, one a chain, and again from the first."""

PANEL, WIDE = 4.1, 5.8
"""Widths in inches: a panel fills a phone, a wide figure is scrolled there."""

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.formatter.limits": (-4, 5),
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
}


@contextmanager
def styled() -> Iterator[None]:
    """Our own look whatever the user's."""
    with warnings.catch_warnings(), style.context(["default", STYLE]):
        # The browser's fonts have what matplotlib's lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


class Drawing(Figure):
    """A figure that has our look whenever it is drawn, and knows which artists stand for levels.

    group : the grouping factor whose levels they are; empty where none do
    series : by the gid of an artist the numbers of the levels that its parts stand for, in order:
        the lines of a collection, or the markers of a line
    """

    def __init__(self, width: float, height: float) -> None:
        """Inches."""
        super().__init__(figsize=(width, height), layout="constrained")
        self.group = ""
        self.series: dict[str, tuple[int, ...]] = {}

    def draw(self, renderer: RendererBase) -> None:
        with styled():
            super().draw(renderer)

    def stands_for(self, group: str, artist: Artist, levels: ArrayLike) -> None:
        """Note that the parts of an artist are levels of the group, a figure's only one."""
        assert self.group in {"", group}
        self.group, gid = group, f"levels-{len(self.series)}"
        artist.set_gid(gid)
        self.series[gid] = tuple(np.asarray(levels, dtype=int).tolist())


def shortened(text: str, length: int) -> str:
    """The text on one line, cut in the middle where it is too long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - length :]}"


def colours(count: int) -> list[Any]:
    """So many colours in order, all of which stand out on light and on dark ground."""
    if count <= 2:
        return [POSTERIOR, REFERENCE][:count]
    ramp = LinearSegmentedColormap.from_list("ramp", [POSTERIOR, "#a0609a", REFERENCE])
    return list(ramp(np.linspace(0, 1, count)))


def framed(ax: Axes, values: FloatArray, core: FloatArray, *, axis: str = "x") -> None:
    """Limits around `core` and most values; those far out, least squares of few rows, are cut."""
    values, core = values[np.isfinite(values)], core[np.isfinite(core)]
    if values.size:
        lower, upper = np.quantile(values, [0.25, 0.75])
        far = 2 * (upper - lower)
        core = np.append(core, values[(lower - far <= values) & (values <= upper + far)])
    low, high = float(core.min()), float(core.max())
    margin = 0.06 * (high - low) or 1.0
    (ax.set_xlim if axis == "x" else ax.set_ylim)(low - margin, high + margin)


def legend(figure: Figure, ax: Axes) -> None:
    """Put the legend above the axes, in one line."""
    handles, labels = ax.get_legend_handles_labels()
    drawn = figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    for handle in drawn.legend_handles:
        if isinstance(handle, Line2D):
            handle.set(alpha=1, markersize=max(4.5, handle.get_markersize()))


def key(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend of these below all axes, in as few lines as its texts have room for."""
    room = figure.get_figwidth()
    widths = [0.45 + 0.063 * len(label) for label in labels]
    fitting = [
        count
        for count in range(1, len(labels) + 1)
        if sum(max(widths[column::count]) for column in range(count)) <= room
    ]
    figure.legend(handles, labels, loc="outside lower center", ncols=max([1, *fitting]))
