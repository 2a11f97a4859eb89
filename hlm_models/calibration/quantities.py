"""What is ranked: parameters, some of the effects, and the log likelihood."""

import math
from collections.abc import Mapping

import numpy as np

from hlm_models.design.build import RandomBlock
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import variables
from hlm_models.results.summary import hyperparameters, parameters
from hlm_models.spec.density import Point, log_likelihood
from hlm_models.spec.model import ModelSpec
from hlm_models.target.conditional import effects
from hlm_models.types import FloatArray

__all__ = ["Draws", "ranked", "thinned", "truth"]

Draws = Mapping[str, FloatArray]
"""Some draws of the variables of a posterior, by name; the draws along the first axis."""


def ranked(spec: ModelSpec, draws: Draws) -> dict[str, FloatArray]:
    """The quantities that are ranked, by name, at each of m draws (m,).

    All population parameters and hyperparameters, each effect b at three levels of each group, and
    the log likelihood log p(y | beta, b, sigma), which depends on all of them together and on the
    data.

    Source: Modrák et al. (2025), doi:10.1214/23-BA1404, for functions of the data.
    """
    found = {}
    for one in (*parameters(spec), *hyperparameters(spec)):
        found[one.name] = draws[one.variable]
        for place in one.index:
            found[one.name] = found[one.name][:, place]
    for block in spec.blocks:
        for level in _levels(block):
            for k, effect in enumerate(block.effects):
                name = f"b_{block.group}[{block.labels[level]}, {effect}]"
                found[name] = draws[f"b_{block.group}"][:, level, k]
    points = (_point(spec, draws, i) for i in range(len(draws["sigma"])))
    together = [np.sum(log_likelihood(spec, point)) for point in points]
    return found | {"log likelihood": np.array(together)}


def _levels(block: RandomBlock) -> list[int]:
    """The first level, one in the middle and the last, each once."""
    return sorted({0, block.J // 2, block.J - 1})


def _point(spec: ModelSpec, draws: Draws, i: int) -> Point:
    def of_all(variable: str) -> tuple[FloatArray, ...]:
        return tuple(draws[f"{variable}_{block.group}"][i] for block in spec.blocks)

    beta = draws["beta"][i] if spec.design.p else np.zeros(0)
    return Point(beta, float(draws["sigma"][i]), of_all("sd"), of_all("corr"), of_all("b"))


def truth(spec: ModelSpec, point: Point) -> Draws:
    """A point as a single draw."""
    found = {"beta": point.beta, "sigma": np.array(point.sigma), **point.shrinkage}
    for block, sd, corr, b in zip(spec.blocks, point.sd, point.corr, point.b, strict=True):
        group = block.group
        found |= {f"sd_{group}": sd, f"corr_{group}": corr, f"b_{group}": b}
    return {name: value[None] for name, value in found.items()}


def thinned(fit: PosteriorFit, count: int) -> Draws:
    """So many draws of a posterior: equally many of each chain, spread evenly over it.

    Where the chains do not divide them, the first chain gives fewer.
    """
    posterior = fit.data["posterior"].to_dataset()
    each = math.ceil(count / posterior.sizes["chain"])
    at = np.linspace(0, posterior.sizes["draw"] - 1, each).round().astype(np.int64)
    b = effects(fit, at=at)
    kept = {
        name: b[name] if name in b else posterior[name].isel(draw=at)
        for name in variables(fit.spec)
    }
    return {
        name: one.transpose("chain", "draw", ...).values.reshape(-1, *one.shape[2:])[-count:]
        for name, one in kept.items()
    }
