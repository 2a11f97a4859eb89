"""How much the rows say about each level's effects, and the parameterisation that follows."""

import numpy as np

from hlm_models.algebra.gram import CHUNK
from hlm_models.design.build import Design
from hlm_models.spec.model import Parameterization

__all__ = ["choose_parameterization", "latent_parameterization", "mean_reliability"]

THRESHOLD = 0.9


@np.errstate(over="ignore", invalid="ignore")
def mean_reliability(design: Design) -> float:
    """Mean over levels of tau^2 / (tau^2 + sigma^2 / n_j), for the group with the most levels.

    tau^2 and sigma^2 by the analysis of variance of the residuals of least squares on X. With
    weights, all sums over rows are weighted, and n_j is the sum of the weights of a level.

    Source: Searle, Casella and McCulloch (1992), Variance Components, section 3.6.
    """
    block = design.blocks[0]
    if design.n <= block.J:
        return 0.0
    rest = design.y_net.copy()
    for lo in range(0, design.n, CHUNK):
        rest[lo : lo + CHUNK] -= design.x_scaling.apply(design.X[lo : lo + CHUNK]) @ design.y_fit
    w = design.weights
    sizes = np.bincount(block.level, w, block.J)
    total = float(np.sum(sizes))
    sums = np.bincount(block.level, rest if w is None else w * rest, block.J)
    means, mean = sums / sizes, float(np.sum(sums)) / total
    squares = (rest - means[block.level]) ** 2
    within = float(np.sum(squares if w is None else w * squares)) / max(design.n - block.J, 1)
    between = float(np.sum(sizes * (means - mean) ** 2)) / (block.J - 1)
    typical = (total - float(np.sum(sizes**2)) / total) / (block.J - 1)
    tau2 = max(between - within, 0.0) / typical
    if tau2 == 0.0:
        return 0.0
    return float(np.mean(tau2 / (tau2 + within / sizes)))


def choose_parameterization(design: Design) -> tuple[Parameterization, str]:
    """The form that gives most effective draws for its cost, and the reason."""
    return (
        "marginal",
        "all random effects, and coefficients with a normal or flat prior, drawn after",
    )


def latent_parameterization(design: Design) -> tuple[Parameterization, str]:
    """Centred where the rows fix each level's effects, else non-centred, and the reason.

    Blocks of several effects are non-centred: one of them that is hardly informed, or nearly
    collinear with another, is enough to make the centred form mix badly.

    Source: Papaspiliopoulos, Roberts and Skold (2007), doi:10.1214/088342307000000014: the better
    of the two depends on how informative the data are about each effect.
    """
    block = max(design.blocks, key=lambda block: block.q)
    if block.q > 1:
        return "noncentered", f"{block.group} has {block.q} effects a level"
    value, group = mean_reliability(design), design.blocks[0].group
    if value >= THRESHOLD:
        return (
            "centered",
            f"mean reliability of the {group} means {value:.2f}, at least {THRESHOLD}",
        )
    return "noncentered", f"mean reliability of the {group} means {value:.2f}, below {THRESHOLD}"
