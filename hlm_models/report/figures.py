"""Figures as markup that stands in the page: SVG where it is small, else PNG."""

import base64
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hlm_models.types import FloatArray

__all__ = [
    "REPLICATES",
    "Bar",
    "Levels",
    "bands",
    "caterpillar",
    "distribution",
    "forest",
    "legend",
    "markup",
    "predictive",
    "rank_difference",
    "shortened",
    "standardised",
    "styled",
    "trace_and_ranks",
    "trace_step",
]

POSTERIOR, REFERENCE, INK, GRID = "#2a6fb0", "#cc5f14", "#22272e", "#e3e6ea"
PRIOR = "#7a4f9a"
PANEL, WIDE = 4.1, 5.8
"""Widths in inches: a panel fills a phone, a wide figure is scrolled there."""

ELEMENTS, BYTES = 2000, 300_000
"""What an SVG may hold before it is drawn as PNG."""

REPLICATES, TRACE_POINTS, LABELLED, DRAWN_ONE_BY_ONE = 50, 500, 60, 200

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a929c",
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
    "xtick.color": "#8a929c",
    "ytick.color": "#8a929c",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A point with its interval; NaN where absent."""

    name: str
    point: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """One effect of every level (J,): the middle and a 95% interval."""

    middle: FloatArray
    lower: FloatArray
    upper: FloatArray


def standardised(bar: Bar, *, centre: float, scale: float) -> Bar:
    """The bar in units of `scale` from `centre`."""
    point, lower, upper = ((x - centre) / scale for x in (bar.point, bar.lower, bar.upper))
    return Bar(bar.name, point, lower, upper)


def forest(pairs: Sequence[tuple[Bar, Bar]], *, reference: str, alt: str) -> Markup:
    """Posterior above the point estimate for every parameter, both standardised."""
    reach = [abs(x) for pair in pairs for bar in pair for x in (bar.point, bar.lower, bar.upper)]
    limit = min(8.0, max([3.0, *(1.1 * x for x in reach if np.isfinite(x))]))
    with styled(alt):
        figure = Figure(figsize=(WIDE, 0.9 + 0.36 * len(pairs)), layout="constrained")
        ax = figure.subplots()
        ax.grid(axis="x")
        ax.axvline(0, color="#8a929c", linewidth=0.8)
        kinds = ((0, -0.14, POSTERIOR, "o", "posterior"), (1, 0.14, REFERENCE, "D", reference))
        for side, shift, colour, marker, label in kinds:
            bars = [pair[side] for pair in pairs]
            y = np.arange(len(bars)) + shift
            x = np.array([bar.point for bar in bars])
            ax.hlines(y, [b.lower for b in bars], [b.upper for b in bars], colour, linewidth=1.6)
            inside = np.abs(x) <= limit
            ax.plot(x[inside], y[inside], marker, color=colour, markersize=4.5, label=label)
            for k in np.flatnonzero(~inside & np.isfinite(x)):
                arrow = "<" if x[k] < 0 else ">"
                edge = np.sign(x[k]) * limit
                ax.plot(edge, y[k], arrow, color=colour, markersize=7, clip_on=False)
        ax.set_xlim(-limit, limit)
        ax.set_yticks(range(len(pairs)), [shortened(pair[0].name, 36) for pair in pairs])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(pairs) - 0.5, -0.5)
        ax.set_xlabel("distance from the posterior mean, in posterior sds")
        legend(figure, ax)
        return markup(figure, alt)


def caterpillar(
    labels: Sequence[str],
    main: Levels,
    overlay: FloatArray | None,
    *,
    title: str,
    names: tuple[str, str],
    alt: str,
) -> Markup:
    """One effect of every level, sorted by its middle.

    Parameters
    ----------
    main : drawn with intervals
    overlay : (J,) points beside them
    names : what `main` and `overlay` are called; the reference's colour goes by its place
    """
    order = np.argsort(main.middle, kind="stable")
    middle, lower, upper = main.middle[order], main.lower[order], main.upper[order]
    over = None if overlay is None else overlay[order]
    colours = (POSTERIOR, REFERENCE) if names[0] == "posterior" else (REFERENCE, POSTERIOR)
    J = len(order)
    with styled(alt):
        at = np.arange(J)
        if J > DRAWN_ONE_BY_ONE:
            figure = Figure(figsize=(PANEL, 3.0), layout="constrained")
            ax = figure.subplots()
            ax.axhline(0, color="#8a929c", linewidth=0.8)
            ax.fill_between(at, lower, upper, color=colours[0], alpha=0.28, linewidth=0)
            ax.plot(at, middle, color=colours[0], linewidth=0.9, zorder=3, label=names[0])
            if over is not None:
                ax.plot(at, over, ".", color=colours[1], markersize=3, alpha=0.6, label=names[1])
            ax.set_xlim(-1, J)
            ax.set_xlabel(f"{J:,} levels, sorted")
        else:
            figure = Figure(
                figsize=(PANEL, 1.0 + 0.16 * min(max(J, 5), LABELLED)), layout="constrained"
            )
            ax = figure.subplots()
            ax.axvline(0, color="#8a929c", linewidth=0.8)
            size = 3.4 if J <= LABELLED else 1.8
            ax.hlines(at, lower, upper, colours[0], linewidth=size / 3)
            ax.plot(middle, at, "o", color=colours[0], markersize=size, label=names[0])
            if over is not None:
                ax.plot(
                    over, at, "D", markersize=1.5 * size, markerfacecolor="none", label=names[1],
                    markeredgecolor=colours[1], markeredgewidth=size / 4,
                )  # fmt: skip
            step = -(-J // LABELLED)
            ax.set_yticks(at[::step], [shortened(labels[j], 22) for j in order[::step]])
            ax.tick_params(axis="y", length=0, labelsize=8 if J <= 30 else 7)
            ax.set_ylim(-0.8, J - 0.2)
            ax.locator_params(axis="x", nbins=6)
            ax.grid(axis="x")
        ax.set_title(shortened(title, 44))
        legend(figure, ax)
        return markup(figure, alt)


def trace_and_ranks(name: str, draws: FloatArray, *, alt: str) -> Markup:
    """Draws (chains, draws) of one parameter over time, and the ranks of each chain's draws."""
    chains, length = draws.shape
    colours = colormaps["Blues"](np.linspace(0.45, 1.0, chains))
    bins = max(2, min(20, length // 10))
    ranks = np.argsort(np.argsort(draws, axis=None, kind="stable")).reshape(draws.shape)
    edges = np.linspace(0, draws.size, bins + 1)
    step = trace_step(length)
    with styled(alt):
        figure = Figure(figsize=(PANEL, 2.8), layout="constrained")
        top, bottom = figure.subplots(2, height_ratios=(3, 2))
        for chain, colour in enumerate(colours):
            top.plot(np.arange(0, length, step), draws[chain, ::step], color=colour, linewidth=0.5)
            counts, _ = np.histogram(ranks[chain], bins=edges)
            bottom.stairs(counts, edges, baseline=None, color=colour, linewidth=1.1)
        bottom.axhline(length / bins, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        top.set_title(shortened(name, 46))
        top.set_xlim(0, length - 1)
        top.set_xlabel("draw", labelpad=1)
        bottom.set_xlim(0, draws.size)
        bottom.set_ylim(0, None)
        bottom.set_xlabel("rank", labelpad=1)
        return markup(figure, alt)


def trace_step(length: int) -> int:
    """Every how manieth draw a trace shows."""
    return -(-length // TRACE_POINTS)


def predictive(observed: FloatArray, replicated: FloatArray, *, response: str, alt: str) -> Markup:
    """Histogram of the data (n,) over those of replicated datasets (R, n)."""
    low = min(observed.min(), replicated.min())
    high = max(observed.max(), replicated.max())
    bins = int(np.clip(1.5 * np.sqrt(len(observed)), 10, 50))
    edges = np.linspace(low, high, bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2

    def share(values: FloatArray) -> FloatArray:
        return np.histogram(values, bins=edges)[0] / len(values)

    with styled(alt):
        figure = Figure(figsize=(WIDE, 3.0), layout="constrained")
        ax = figure.subplots()
        for k, one in enumerate(replicated):
            label = f"{len(replicated)} replicated datasets" if k == 0 else None
            ax.plot(middles, share(one), color=POSTERIOR, alpha=0.3, linewidth=0.7, label=label)
        ax.plot(middles, share(observed), color=INK, linewidth=2.0, label="data")
        ax.set_xlabel(shortened(response, 60))
        ax.set_ylabel("share of rows")
        ax.set_ylim(0, None)
        legend(figure, ax)
        return markup(figure, alt)


def rank_difference(
    name: str,
    shares: FloatArray,
    difference: FloatArray,
    band: tuple[FloatArray, FloatArray],
    *,
    fails: bool,
    limit: float,
    alt: str,
) -> Markup:
    """ECDF of ranks less that of uniform ones, at shares (m,) of the ranks, in its band.

    Parameters
    ----------
    band : lower and upper ends (m,) of the difference
    limit : the largest difference that is shown
    """
    x = np.concatenate([[0], shares, [1]])
    low, high, line = (np.concatenate([[0], one, [0]]) for one in (*band, difference))
    with styled(alt):
        figure = Figure(figsize=(PANEL, 2.1), layout="constrained")
        ax = figure.subplots()
        ax.fill_between(x, low, high, color=GRID, linewidth=0)
        ax.axhline(0, color="#8a929c", linewidth=0.8)
        ax.plot(x, line, color=REFERENCE if fails else POSTERIOR, linewidth=1.3, zorder=3)
        ax.set_xlim(0, 1)
        ax.set_ylim(-limit, limit)
        ax.set_title(shortened(name, 40) + (": fails" if fails else ""))
        ax.set_xlabel("share of the ranks", labelpad=1)
        return markup(figure, alt)


def distribution(
    name: str, x: FloatArray, prior: FloatArray, draws: FloatArray | None = None, *, alt: str
) -> Markup:
    """Density of a prior (m,) at x (m,), NaN where it has none, over the posterior's draws."""
    with styled(alt):
        figure = Figure(figsize=(PANEL, 1.9), layout="constrained")
        ax = figure.subplots()
        if draws is not None:
            heights, edges = np.histogram(draws, bins=np.linspace(x[0], x[-1], 61))
            density = heights / (draws.size * np.diff(edges))
            ax.stairs(density, edges, fill=True, color=POSTERIOR, alpha=0.55, linewidth=0)
        else:
            ax.fill_between(x, prior, color=PRIOR, alpha=0.25, linewidth=0)
        ax.plot(x, prior, color=PRIOR, linewidth=1.5)
        ax.set_xlim(x[0], x[-1])
        ax.set_ylim(0, None)
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=6)
        ax.set_title(shortened(name, 46))
        return markup(figure, alt)


def bands(
    x: FloatArray,
    quantiles: FloatArray,
    observed: FloatArray,
    *,
    labels: tuple[str, str],
    alt: str,
) -> Markup:
    """Data (m,) over quantiles (5, m) of drawn ones: 5%, 25%, 50%, 75% and 95%, at x (m,).

    Parameters
    ----------
    labels : of the axes
    """
    with styled(alt):
        figure = Figure(figsize=(WIDE, 3.0), layout="constrained")
        ax = figure.subplots()
        for inner, label, alpha in ((0, "90% of draws", 0.2), (1, "50%", 0.4)):
            lower, upper = quantiles[inner], quantiles[4 - inner]
            ax.fill_between(x, lower, upper, color=PRIOR, alpha=alpha, linewidth=0, label=label)
        ax.plot(x, quantiles[2], color=PRIOR, linewidth=1.0)
        ax.locator_params(axis="x", integer=bool(np.all(x == np.round(x))))
        ax.plot(x, observed, color=INK, linewidth=2.0, label="data")
        ax.set_xlabel(shortened(labels[0], 60))
        ax.set_ylabel(shortened(labels[1], 40))
        legend(figure, ax)
        return markup(figure, alt)


def shortened(text: str, length: int) -> str:
    """The text on one line, cut in the middle where it is too long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - length :]}"


def legend(figure: Figure, ax: Axes) -> None:
    """Put the legend above the axes, in one line."""
    handles, labels = ax.get_legend_handles_labels()
    drawn = figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    for handle in drawn.legend_handles:
        if isinstance(handle, Line2D):
            handle.set(alpha=1, markersize=max(4.5, handle.get_markersize()))


@contextmanager
def styled(alt: str) -> Iterator[None]:
    """Our own look whatever the user's; `alt` salts the identifiers, so figures share none."""
    with warnings.catch_warnings(), style.context(["default", STYLE | {"svg.hashsalt": alt}]):
        # The browser's fonts have what matplotlib's lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def markup(figure: Figure, alt: str) -> Markup:
    """Inline SVG without what HTML has no use for, or a PNG as a data address."""
    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=metadata)
    svg = text.getvalue()
    if sum(map(svg.count, ("<path", "<use", "<text"))) > ELEMENTS or len(svg) > BYTES:
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=150, metadata={"Software": None})
        data = base64.b64encode(image.getvalue()).decode()
        width = round(figure.get_figwidth() * 96)
        return Markup('<img alt="{}" width="{}" src="data:image/png;base64,{}">').format(
            alt, width, data
        )
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    used = set(re.findall(r'(?:xlink:href="|url\()#([\w.]+)', body))
    body = re.sub(r' id="([\w.]+)"', lambda m: m[0] if m[1] in used else "", body)
    body = re.sub(
        r"<style.*?</style>|(?<=; )font-family: [^;]*; | transform=\"rotate\(-0 [^\"]*\"", "", body
    )
    body = re.sub(r"\s*\n\s*", " ", body)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    opening = Markup(
        '<svg role="img" aria-label="{}" width="{}pt" height="{}pt" viewBox="0 0 {} {}"'
        ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    ).format(alt, width, height, width, height)
    return opening + Markup(body)
