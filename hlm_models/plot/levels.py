"""An effect of every level of a group, sorted."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hlm_models.errors import InputErrors
from hlm_models.interpretation.level_effects import LevelEffects, level_effects
from hlm_models.plot.asked import chosen, is_a
from hlm_models.plot.marks import dots, segments
from hlm_models.plot.style import (
    MUTED,
    PANEL,
    POSTERIOR,
    REFERENCE,
    Drawing,
    legend,
    shortened,
    styled,
)
from hlm_models.results.fits import Fit, PointFit, PosteriorFit

__all__ = ["caterpillar", "drawn_levels"]

LABELLED = 60
"""Levels that have a line of their own, and its name."""
ONE_BY_ONE = 1000
"""Levels that have an interval each; of more there is a band."""


def caterpillar(
    fit: Fit, group: str | None = None, effect: str | None = None, reference: PointFit | None = None
) -> Figure:
    """Effects of every level with 95% intervals, sorted; those of a point fit over a posterior's.

    What would look wrong: a few levels far from all others; points of the two fits that are apart;
    intervals that all hold 0, of an effect that hardly varies.

    Parameters
    ----------
    group : may be left out where the model has one
    effect : one of the group; by default all, a panel each, four at most
    reference : a REML or ML fit of the same model, whose conditional means are drawn beside

    Raises
    ------
    InputErrors
        there is no such group or effect; or the reference is no point fit, or of another model.
    """
    is_a(fit, (PosteriorFit, PointFit), "caterpillar", "a fit")
    found, beside = level_effects(fit, group), None
    if reference is not None:
        is_a(reference, PointFit, "caterpillar", "a REML or ML fit as reference")
        beside = level_effects(reference, found.group)
        if (beside.labels, beside.effects) != (found.labels, found.effects):
            raise InputErrors.one(
                f"the reference has other levels or effects of {found.group}: give a fit of the "
                "same model",
                key="reference",
            )
    names = chosen(found.effects, effect, what=f"effect of {found.group}")
    with styled():
        figure = Drawing(PANEL * len(names), _height(found))
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            _draw(figure, ax, found, name, beside)
        legend(figure, axes[0])
    return figure


def drawn_levels(
    found: LevelEffects, effect: str, reference: LevelEffects | None = None, *, label: str = ""
) -> Figure:
    """One effect of every level; `label` tells in which unit it is."""
    with styled():
        figure = Drawing(PANEL, _height(found))
        ax = figure.subplots()
        _draw(figure, ax, found, effect, reference, label)
        legend(figure, ax)
    return figure


def _height(found: LevelEffects) -> float:
    J = len(found.labels)
    return 1.0 + 0.16 * max(J, 5) if J <= LABELLED else 3.2


def _draw(
    figure: Drawing,
    ax: Axes,
    found: LevelEffects,
    effect: str,
    reference: LevelEffects | None,
    label: str = "",
) -> None:
    k = found.effects.index(effect)
    order = np.argsort(found.estimate[:, k], kind="stable")
    middle, lower, upper = (one[order, k] for one in (found.estimate, found.lower, found.upper))
    over = None if reference is None else reference.estimate[order, k]
    J, group, at = len(order), found.group, np.arange(len(order))
    ends = np.concatenate([lower, upper, [0.0], [] if over is None else over])
    margin = 0.04 * float(np.ptp(ends)) or 1.0
    reach = float(ends.min()) - margin, float(ends.max()) + margin
    one, other = (POSTERIOR, REFERENCE) if _drawn(found) else (REFERENCE, POSTERIOR)
    name = _name(found)
    beside = "" if reference is None else _name(reference)
    ax.set_title(shortened(f"{group}: {effect}", 40))
    if J <= LABELLED:
        ax.set(xlim=reach, ylim=(-0.8, J - 0.2), xlabel=shortened(label, 50))
        ax.axvline(0, color=MUTED, linewidth=0.8)
        ax.grid(axis="x")
        ax.locator_params(axis="x", nbins=6)
        segments(
            figure, ax, group, order, np.stack([lower, at]), np.stack([upper, at]), colors=one,
            linewidths=1.2,
        )  # fmt: skip
        dots(figure, ax, group, order, middle, at, color=one, markersize=3.6, label=name)
        if over is not None:
            dots(
                figure, ax, group, order, over, at, "D", markersize=5.4, markerfacecolor="none",
                markeredgecolor=other, markeredgewidth=0.9, label=beside,
            )  # fmt: skip
        ax.set_yticks(
            at, [shortened(found.labels[j], 22) for j in order], fontsize=8 if J <= 30 else 7
        )
        ax.tick_params(axis="y", length=0)
        return
    ax.set(xlim=(-1, J), ylim=reach, xticks=[], ylabel=shortened(label, 40))
    ax.set_xlabel(f"{J:,} levels, sorted")
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.grid(axis="y")
    if J > ONE_BY_ONE:
        ax.fill_between(at, lower, upper, color=one, alpha=0.28, linewidth=0)
        ax.plot(at, middle, color=one, linewidth=1.2, zorder=3, label=name)
        if over is not None:
            ax.plot(
                at, over, ".", color=other, markersize=2.5, alpha=0.5, markeredgewidth=0,
                rasterized=True, label=beside,
            )  # fmt: skip
        return
    segments(
        figure, ax, group, order, np.stack([at, lower]), np.stack([at, upper]), colors=one,
        linewidths=0.6, alpha=0.45,
    )  # fmt: skip
    if over is not None:
        dots(figure, ax, group, order, at, over, color=other, markersize=1.8, markeredgewidth=0,
             label=beside)  # fmt: skip
    dots(figure, ax, group, order, at, middle, color=one, markersize=1.8, markeredgewidth=0,
         label=name)  # fmt: skip


def _drawn(found: LevelEffects) -> bool:
    return found.engine in {"nuts", "gibbs"}


def _name(found: LevelEffects) -> str:
    return "posterior" if _drawn(found) else f"{found.engine.upper()} (BLUP)"
