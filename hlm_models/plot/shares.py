"""Where the variance of the response comes from."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hlm_models.errors import InputErrors
from hlm_models.interpretation.draws import spread
from hlm_models.plot.asked import is_a
from hlm_models.plot.style import (
    CHAINS,
    INK,
    LINE,
    MUTED,
    POSTERIOR,
    PRIOR,
    RAISED,
    REFERENCE,
    WIDE,
    Drawing,
    key,
    shortened,
    styled,
)
from hlm_models.results.variance import VarianceParts
from hlm_models.types import FloatArray

__all__ = ["variance"]

HOW = "hlm.variance_draws(fit), or names and such values"


def variance(found: VarianceParts | Mapping[str, VarianceParts]) -> Figure:
    """Shares of the variance: fixed part, groups, residual; of one model or of several.

    Bars are means over the draws, and the texts in them have 95% intervals where there are draws.

    What would look wrong: a group whose share has an interval down to 0; a residual that a
    predictor of groups makes smaller.

    Parameters
    ----------
    found : parts of the variance, or those of several models by their names

    Raises
    ------
    InputErrors
        it is something else, or empty.

    Source: Nakagawa and Schielzeth (2013), doi:10.1111/j.2041-210x.2012.00261.x.
    """
    parts = found if isinstance(found, Mapping) else {"": found}
    for one in parts.values():
        is_a(one, VarianceParts, "variance", HOW)
    if not parts:
        raise InputErrors.one("hlm.plot.variance needs the variance of a model at least")
    groups = list(dict.fromkeys(name for one in parts.values() for name in one.groups))
    shades = (POSTERIOR, PRIOR, CHAINS[1], MUTED, CHAINS[3])
    tints = {"fixed part": REFERENCE} if any(np.any(one.fixed) for one in parts.values()) else {}
    tints |= {name: shades[k % len(shades)] for k, name in enumerate(groups)}
    tints["residual"] = LINE
    with styled():
        figure = Drawing(WIDE, 1.15 + 0.5 * len(parts))
        ax = figure.subplots()
        for at, one in enumerate(parts.values()):
            left = 0.0
            for name, values in _split(one).items():
                share = _bar(ax, at, left, values / one.total, tints[name])
                left += share
        ax.set(xlim=(0, 1), ylim=(len(parts) - 0.5, -0.5), xlabel="share of the variance")
        ax.set_yticks(range(len(parts)), [shortened(name, 24) for name in parts])
        ax.tick_params(axis="y", length=0)
        ax.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
        handles = [Patch(color=tint, linewidth=0) for tint in tints.values()]
        key(figure, handles, [shortened(name, 24) for name in tints])
    return figure


def _split(parts: VarianceParts) -> dict[str, FloatArray]:
    fixed = {"fixed part": parts.fixed} if np.any(parts.fixed) else {}
    return {**fixed, **parts.groups, "residual": parts.residual}


def _bar(ax: Axes, at: int, left: float, shares: FloatArray, colour: str) -> float:
    """Draw the mean of the shares, with its interval where there is room, and give it."""
    mean = float(shares.mean())
    ax.barh(at, mean, left=left, color=colour, height=0.66, linewidth=0)
    text = f"{mean:.0%}"
    if shares.size > 1 and mean >= 0.16:
        found = spread(shares, 0.95)
        text += f" ({100 * found.lower:.0f} to {100 * found.upper:.0f})"
    if mean >= 0.05:
        ink = INK if colour == LINE else RAISED
        ax.text(left + mean / 2, at, text, ha="center", va="center", fontsize=8, color=ink)
    return mean
