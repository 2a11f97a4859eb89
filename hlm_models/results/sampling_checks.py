"""Checks of draws from a posterior: whether the chains agree, and say enough."""

import math

import numpy as np

from hlm_models.results.checks import Check, graded
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.summary import draw_rows
from hlm_models.types import FloatArray

__all__ = ["bfmi", "sampling_checks"]


def sampling_checks(fit: PosteriorFit) -> tuple[Check, ...]:
    """R-hat and effective sample sizes; divergences, energy and tree depth of a sampler with such.

    Source: Vehtari et al. (2021), doi:10.1214/20-BA1221, section 4 for R-hat below 1.01 and an
    effective sample size of 100 a chain; Betancourt (2016), arXiv:1604.00695, for the energy.
    """
    rows = draw_rows(fit)
    stats = fit.data["sample_stats"].to_dataset()
    chains, draws = (fit.data["posterior"].sizes[name] for name in ("chain", "draw"))
    enough = 100.0 * chains

    def extreme(values: list[float], pick: str) -> tuple[float, str]:
        # Not a number is the worst of all: a free parameter that never moved, or broken draws.
        named = [(value, row.name) for value, row in zip(values, rows, strict=True)]
        lost = [one for one in named if math.isnan(one[0])]
        return lost[0] if lost else (max if pick == "max" else min)(named)

    r_hat, worst_r_hat = extreme([row.r_hat for row in rows], "max")
    bulk, worst_bulk = extreme([row.ess_bulk for row in rows], "min")
    tail, worst_tail = extreme([row.ess_tail for row in rows], "min")
    checks = [
        graded("r_hat", r_hat, warn=1.01, fail=1.05, message=f"largest R-hat ({worst_r_hat})"),
        graded(
            "ess_bulk",
            bulk,
            warn=enough,
            fail=enough / 4,
            below=True,
            message=f"smallest bulk effective sample size ({worst_bulk})",
        ),
        graded(
            "ess_tail",
            tail,
            warn=enough,
            fail=enough / 4,
            below=True,
            message=f"smallest tail effective sample size ({worst_tail})",
        ),
    ]
    if "diverging" in stats:
        checks.append(
            graded(
                "divergences",
                fit.divergences / (chains * draws),
                warn=0.0,
                fail=0.001,
                message=f"share of divergent draws ({fit.divergences} of {chains * draws})",
            )
        )
    if "energy" in stats:
        checks.append(
            graded(
                "energy",
                bfmi(stats["energy"].values),
                warn=0.3,
                fail=0.2,
                below=True,
                message="smallest fraction of missing information of the energy (E-BFMI)",
            )
        )
    if "reached_max_treedepth" in stats:
        reached = float(stats["reached_max_treedepth"].mean())
        checks.append(
            graded("tree_depth", reached, warn=0.01, message="share of draws at the longest path")
        )
    return tuple(checks)


def bfmi(energy: FloatArray) -> float:
    """Smallest E-BFMI over chains of energies (chains, draws)."""
    change = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return float(np.min(change / np.var(energy, axis=1, ddof=1)))
