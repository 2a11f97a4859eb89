"""The unknowns of a fit by draw, and what a number's draws come to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hlm_models.results.fits import Fit, PosteriorFit
from hlm_models.target.conditional import effects
from hlm_models.types import FloatArray, IntArray

__all__ = [
    "Spread",
    "Unknowns",
    "effect_draws",
    "spread",
    "spread_rows",
    "thinned",
    "unknowns",
]


@dataclass(frozen=True, eq=False)
class Unknowns:
    """Draws of a posterior, or the one point of a point fit: (chains, draws, ...), b left out.

    beta (..., p), sigma (...), and of every block Psi (..., q, q).
    """

    beta: FloatArray
    sigma: FloatArray
    cov: tuple[FloatArray, ...]


def unknowns(fit: Fit, *, at: IntArray | None = None) -> Unknowns:
    """Coefficients and variances by draw; `at` are places along the draws of each chain."""
    if not isinstance(fit, PosteriorFit):
        return Unknowns(
            beta=fit.beta[None, None],
            sigma=np.array([[fit.sigma]]),
            cov=tuple(estimate.cov[None, None] for estimate in fit.random),
        )
    posterior = fit.data["posterior"].to_dataset()
    if at is not None:
        posterior = posterior.isel(draw=at)

    def values(name: str) -> FloatArray:
        return np.asarray(posterior[name].transpose("chain", "draw", ...).values)

    sigma, cov = values("sigma"), []
    for block in fit.spec.blocks:
        sd, corr = values(f"sd_{block.group}"), values(f"corr_{block.group}")
        cov.append(sd[..., :, None] * corr * sd[..., None, :])
    beta = values("beta") if fit.spec.design.p else np.zeros((*sigma.shape, 0))
    return Unknowns(beta, sigma, tuple(cov))


def effect_draws(fit: Fit, *, at: IntArray | None = None) -> tuple[FloatArray, ...]:
    """Effects b (chains, draws, J, q) of every block."""
    if not isinstance(fit, PosteriorFit):
        return tuple(estimate.b[None, None] for estimate in fit.random)
    found = effects(fit, at=at)
    return tuple(np.asarray(found[f"b_{block.group}"].values) for block in fit.spec.blocks)


def thinned(fit: Fit, numbers: int, *, most: int) -> IntArray | None:
    """Draws of every chain to take, evenly, so that no more than `most` numbers are made.

    `numbers` are those of one draw; None for all draws.
    """
    if not isinstance(fit, PosteriorFit):
        return None
    sizes = fit.data["posterior"].to_dataset().sizes
    kept = max(most // max(numbers, 1) // sizes["chain"], 10)
    if kept >= sizes["draw"]:
        return None
    return np.linspace(0, sizes["draw"] - 1, kept).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Mean, standard deviation and ends of the central interval of draws."""

    mean: FloatArray
    sd: FloatArray
    lower: FloatArray
    upper: FloatArray


def spread(draws: FloatArray, level: float) -> Spread:
    """Summary over all axes but the trailing ones of draws (chains, draws, ...)."""
    flat = draws.reshape(-1, *draws.shape[2:])
    lower, upper = np.quantile(flat, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Spread(flat.mean(axis=0), flat.std(axis=0, ddof=1), lower, upper)


def spread_rows(draws: Mapping[str, FloatArray], level: float) -> list[dict[str, float]]:
    """Mean, sd, lower and upper of each number's draws (chains, draws)."""
    rows = []
    for one in draws.values():
        found = spread(one, level)
        rows.append(
            {
                "mean": float(found.mean),
                "sd": float(found.sd),
                "lower": float(found.lower),
                "upper": float(found.upper),
            }
        )
    return rows
