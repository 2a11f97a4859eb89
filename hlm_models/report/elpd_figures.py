"""Figures of leave-one-out probabilities, and of how far levels move a fit.

Each takes a frozen value and gives a matplotlib Figure.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from hlm_models.elpd.influence import Influence
from hlm_models.elpd.loo_pit import LooPit
from hlm_models.errors import InputErrors
from hlm_models.report import figures
from hlm_models.report.figures import GRID, INK, POSTERIOR, REFERENCE, shortened
from hlm_models.results.deletion import CaseDeletion
from hlm_models.types import FloatArray

__all__ = ["plot_influence", "plot_loo_pit"]

MUTED = "#8a929c"
NAMED = 3
"""Levels that are named of each parameter, where their names have room."""
FEW = 60
"""Levels that are drawn on one line."""
PLACES = (
    ("center", "bottom", 0, 4), ("center", "top", 0, -5), ("left", "center", 4, -0.5),
    ("right", "center", -4, -0.5), ("left", "bottom", -2, 4), ("right", "bottom", 2, 4),
    ("left", "top", -2, -5), ("right", "top", 2, -5),
)  # fmt: skip
"""How a name may stand to its dot, and how many points off it, the best first."""
GAP = 3
"""Pixels between names."""


def plot_loo_pit(found: LooPit) -> Figure:
    """The ECDF of leave-one-out probabilities less the uniform one, in its band; a histogram.

    The whole ECDF keeps to the band where, and only where, `check` passes; a dot is where it strays
    the most if it does not. A hump in the histogram: the model foresees rows as farther off than
    they are; high ends: as closer. The band of 10,000 rows takes seconds, of 50,000 half a minute.
    """
    if not isinstance(found, LooPit):
        raise InputErrors.one(f"plot_loo_pit takes hlm.loo_pit(fit), not {type(found).__name__}")
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
    with figures.styled("loo_pit"):
        figure = Figure(figsize=(6.8, 3.1), layout="constrained")
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


def plot_influence(found: Influence | CaseDeletion) -> Figure:
    """How far each parameter moves when a level is left out: a dot a level.

    Of each parameter the levels that move it the most are named. Standard deviations are on the
    scale of logarithms; an arrow at the left is one that goes to zero. What has no standard error,
    as an sd that is zero with all rows too, is not drawn.

    Raises
    ------
    InputErrors
        the value is neither; or no level can be left out.
    """
    if not isinstance(found, Influence | CaseDeletion):
        raise InputErrors.one(
            "plot_influence takes hlm.influence(fit) or hlm.case_deletion(fit), not "
            f"{type(found).__name__}"
        )
    moves = [(name, one) for name, one in _moves(found) if not np.isnan(one).all()]
    if not moves:
        raise InputErrors.one(f"no level of {found.group} can be left out, so that nothing moves")
    many = len(found.levels) > FEW
    size, alpha = (2.5, 0.4) if many else (4, 0.8)
    every = np.concatenate([np.zeros(1), *(one[np.isfinite(one)] for _, one in moves)])
    reach = float(np.abs(every).max()) or 1.0
    low, high = 1.12 * min(every.min(), -reach / 3), 1.12 * max(every.max(), reach / 3)
    with figures.styled("influence"):
        figure = Figure(figsize=(6.8, 1.1 + 0.46 * len(moves)), layout="constrained")
        ax = figure.subplots()
        ax.grid(axis="x")
        ax.axvline(0, color=MUTED, linewidth=0.8)
        ax.set_xlim(1.04 * low, high)
        ax.set_ylim(len(moves) - 0.4, -0.75)
        ax.set_yticks(range(len(moves)), [shortened(name, 34) for name, _ in moves])
        ax.tick_params(axis="y", length=0)
        names: list[Annotation] = []
        points = []
        for row, (_, values) in enumerate(moves):
            x = np.maximum(values, low)
            y = row + (_spread(x) if many else np.zeros(len(x)))
            gone = np.isneginf(values)
            most = np.argsort(-np.nan_to_num(np.abs(values)), kind="stable")[:NAMED]
            rest = np.setdiff1d(np.flatnonzero(~gone), most)
            ax.plot(x[rest], y[rest], "o", color=POSTERIOR, markersize=size, alpha=alpha,
                    markeredgewidth=0)  # fmt: skip
            shown = most[~gone[most]]
            ax.plot(x[shown], y[shown], "o", color=REFERENCE, markersize=4, markeredgewidth=0)
            ax.plot(x[gone], y[gone], "<", color=REFERENCE, markersize=5)
            names += [_name(ax, found.levels[j], x[j], y[j]) for j in most if np.isfinite(x[j])]
            points.append(np.column_stack([x, y]))
        what, unit = (
            ("posterior mean", "posterior sds")
            if isinstance(found, Influence)
            else ("estimate", "standard errors")
        )
        ax.set_xlabel(f"{what} without the level less that of all rows, in {unit}")
        figure.suptitle(_about(found), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        _keep_apart(figure, ax, names, np.concatenate(points))
        return figure


def _moves(found: Influence | CaseDeletion) -> Iterator[tuple[str, FloatArray]]:
    """Name and change (J,) of every parameter."""
    if isinstance(found, Influence):
        yield from zip(found.parameters, found.change.T, strict=True)
        return
    for name, one in zip(found.coef, found.change.T, strict=True):
        yield f"beta[{name}]", one
    for block, change in zip(found.blocks, found.change_log_sd, strict=True):
        for name, one in zip(block.effects, change.T, strict=True):
            yield f"log sd_{block.group}[{name}]", one
    yield "log sigma", found.change_log_sigma


def _about(found: Influence | CaseDeletion) -> str:
    levels = f"{len(found.levels):,} levels of {shortened(found.group, 20)}"
    about = f"{shortened(found.model, 30)}: each of {levels} left out"
    if isinstance(found, Influence):
        refits = found.how.count("refit")
        weights = len(found.how) - refits
        how = f"by importance weights {weights:,}, by refits {refits:,}" if refits else ""
    else:
        missing = int(np.isnan(found.sigma).sum())
        how = f"there is no fit without {missing:,} of them" if missing else ""
    return f"{about}\n{how}".strip()


def _spread(values: FloatArray) -> FloatArray:
    """Heights (J,) that keep neighbours apart: van der Corput's sequence along the values."""
    rank, height = np.argsort(np.argsort(values, kind="stable")), np.zeros(len(values))
    for digit in range(len(values).bit_length()):
        height += (rank >> digit & 1) / 2 ** (digit + 1)
    return 0.36 * (height - 0.5)


def _name(ax: Axes, level: str, x: float, y: float) -> Annotation:
    return ax.annotate(
        shortened(level, 16), (x, y), (0, 0), textcoords="offset points", fontsize=7,
        in_layout=False,
    )  # fmt: skip


def _keep_apart(figure: Figure, ax: Axes, names: list[Annotation], points: FloatArray) -> None:
    """Put each name where it covers no earlier one and no point (m, 2); else take it away."""
    figure.draw_without_rendering()
    inside, taken = ax.get_window_extent(), list[Bbox]()
    dots = ax.transData.transform(points)
    for name in names:
        for ha, va, dx, dy in PLACES:
            name.set(ha=ha, va=va, position=(dx, dy))
            box = name.get_window_extent()
            free = not box.count_overlaps(taken) and not box.count_contains(dots)
            if free and inside.x0 <= box.x0 and box.x1 <= inside.x1:
                taken.append(box.padded(GAP))
                break
        else:
            name.remove()
