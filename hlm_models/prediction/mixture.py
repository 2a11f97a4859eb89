"""Quantiles of equal mixtures of normals: those of a posterior that is normal given a draw."""

import numpy as np

from hlm_models.types import FloatArray, IntArray

__all__ = ["mixture_quantiles"]

ROUNDS = 100
CLOSE = 1e-5
"""A step of third order no longer than this, of the width of a mixture, is the last one."""


def mixture_quantiles(p: float, centre: FloatArray, spread: FloatArray) -> FloatArray:
    """The p-quantile (m,) of the mixture of N(centre_i, spread_i^2), i = 1..S, of every column.

    By Halley's method on the distribution function, held inside a bracket: the quantile of a
    mixture lies between the least and the greatest of its parts. Where no part has a spread, it is
    the quantile of the centres.

    Parameters
    ----------
    centre, spread : (S, m), spreads not negative
    """
    from scipy.special import ndtri

    found = np.empty(centre.shape[1])
    wide = spread.any(axis=0)
    if not wide.all():
        found[~wide] = np.quantile(centre[:, ~wide], p, axis=0)
    c, s = centre[:, wide], spread[:, wide]
    width = np.sqrt(c.var(axis=0) + np.mean(s**2, axis=0))
    # A part without spread has next to none, so that it has a density.
    s = np.maximum(s, 1e-9 * width)
    ends = c + ndtri(p) * s
    low, high = ends.min(axis=0), ends.max(axis=0)
    at = np.clip(c.mean(axis=0) + ndtri(p) * width, low, high)
    active: IntArray = np.arange(len(at))
    for _ in range(ROUNDS):
        here = at[active]
        above, density, slope = _distribution(here, c, s)
        above -= p
        low[active] = np.where(above < 0, here, low[active])
        high[active] = np.where(above < 0, high[active], here)
        with np.errstate(all="ignore"):
            newton = above / density
            bend = newton * slope / density / 2
            there = here - newton / (1 - bend)
        # Where the distribution function bends much on the way, halving the bracket is safer.
        good = (np.abs(bend) < 0.5) & (low[active] <= there) & (there <= high[active])
        at[active] = np.where(good, there, (low[active] + high[active]) / 2)
        close = np.where(good & (np.abs(bend) < CLOSE), CLOSE, 1e-12) * width[active]
        left = np.abs(at[active] - here) > close
        if not left.any():
            break
        if not left.all():
            active, c, s = active[left], c[:, left], s[:, left]
    found[wide] = at
    return found


def _distribution(
    at: FloatArray, centre: FloatArray, spread: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distribution function, density and its derivative (m,) of the mixtures."""
    from scipy.special import ndtr

    u = (at - centre) / spread
    each = np.exp(-u * u / 2)
    each /= spread
    density = each.mean(axis=0) / np.sqrt(2 * np.pi)
    each *= u
    each /= spread
    return ndtr(u).mean(axis=0), density, -each.mean(axis=0) / np.sqrt(2 * np.pi)
