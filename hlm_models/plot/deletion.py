"""How far levels move a fit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from hlm_models.elpd.influence import Influence
from hlm_models.errors import InputErrors
from hlm_models.plot.marks import dots, keep_apart, named
from hlm_models.plot.style import MUTED, POSTERIOR, REFERENCE, Drawing, shortened, styled
from hlm_models.results.deletion import CaseDeletion
from hlm_models.types import FloatArray

__all__ = ["influence"]

NAMED = 3
"""Levels that are named of each parameter, where their names have room."""
FEW = 60
"""Levels that are drawn on one line."""


def influence(found: Influence | CaseDeletion) -> Figure:
    """How far each parameter moves when a level is left out: a dot a level.

    Of each parameter the levels that move it the most are named. Standard deviations are on the
    scale of logarithms; an arrow at the left is one that goes to zero. What has no standard error,
    as an sd that is zero with all rows too, is not drawn.

    What would look wrong: a dot beyond 1, of a level that by itself moves what the model says.

    Raises
    ------
    InputErrors
        the value is neither; or no level can be left out.
    """
    if not isinstance(found, Influence | CaseDeletion):
        raise InputErrors.one(
            "hlm.plot.influence takes hlm.influence(fit) or hlm.case_deletion(fit), not "
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
    with styled():
        figure = Drawing(6.8, 1.1 + 0.46 * len(moves))
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
            group, bare = found.group, dict[str, Any](markeredgewidth=0)
            dots(
                figure, ax, group, rest, x[rest], y[rest], color=POSTERIOR, markersize=size,
                alpha=alpha, **bare,
            )  # fmt: skip
            shown = most[~gone[most]]
            dots(
                figure, ax, group, shown, x[shown], y[shown], color=REFERENCE, markersize=4, **bare
            )
            to_zero = np.flatnonzero(gone)
            dots(figure, ax, group, to_zero, x[gone], y[gone], "<", color=REFERENCE, markersize=5)
            names += [named(ax, found.levels[j], x[j], y[j]) for j in most if np.isfinite(x[j])]
            points.append(np.column_stack([x, y]))
        what, unit = (
            ("posterior mean", "posterior sds")
            if isinstance(found, Influence)
            else ("estimate", "standard errors")
        )
        ax.set_xlabel(f"{what} without the level less that of all rows, in {unit}")
        figure.suptitle(_about(found), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        keep_apart(figure, ax, names, np.concatenate(points))
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
