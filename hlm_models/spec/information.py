"""How much the rows say about each level's effects, and the parameterisation that follows."""

from typing import Literal

import numpy as np

from hlm_models.algebra.gram import CHUNK
from hlm_models.design.build import Design
from hlm_models.errors import RefusalError
from hlm_models.spec.model import Parameterization
from hlm_models.spec.priors import Priors

__all__ = ["choose_parameterization", "latent_parameterization", "mean_reliability"]

THRESHOLD = 0.9

SMALL = 300
"""Effects of all groups but the largest up to which the marginal form costs next to nothing."""

SPEED = 2.5e10
"""Multiply-adds a second of a dense factorisation."""

LATENT_SPEED = 2.5e-9
"""Seconds that a gradient of the latent form takes for one number of X or z."""

MARGINAL_GRADIENTS = 5
LATENT_GRADIENTS = 300
"""Gradients an effective draw: four a draw of which 0.8 are effective, and thirty a draw of which a
tenth is, as InstEval has it (docs/sampling.md)."""


@np.errstate(over="ignore", invalid="ignore")
def mean_reliability(design: Design) -> float:
    """Mean over levels of tau^2 / (tau^2 + sigma^2 / n_j), for the group with the most levels.

    Levels without rows do not count; of fewer than two others nothing is known, and it is zero.

    tau^2 and sigma^2 by the analysis of variance of the residuals of least squares on X. With
    weights, all sums over rows are weighted, and n_j is the sum of the weights of a level. A sigma
    that is known is taken as it is.

    Source: Searle, Casella and McCulloch (1992), Variance Components, section 3.6.
    """
    block = design.blocks[0]
    there = block.sizes > 0
    J = int(np.count_nonzero(there))
    if J < 2 or (design.sigma is None and design.n <= J):
        return 0.0
    rest = design.y_net.copy()
    for lo in range(0, design.n, CHUNK):
        rest[lo : lo + CHUNK] -= design.x_scaling.apply(design.X[lo : lo + CHUNK]) @ design.y_fit
    w = design.weights
    level = (np.cumsum(there) - 1)[block.level]
    sizes = np.bincount(level, w, J)
    total = float(np.sum(sizes))
    sums = np.bincount(level, rest if w is None else w * rest, J)
    means, mean = sums / sizes, float(np.sum(sums)) / total
    squares = (rest - means[level]) ** 2
    within = float(np.sum(squares if w is None else w * squares)) / max(design.n - J, 1)
    if design.sigma is not None:
        within = design.sigma**2
    between = float(np.sum(sizes * (means - mean) ** 2)) / (J - 1)
    typical = (total - float(np.sum(sizes**2)) / total) / (J - 1)
    tau2 = max(between - within, 0.0) / typical
    if tau2 == 0.0:
        return 0.0
    return float(np.mean(tau2 / (tau2 + within / sizes)))


def choose_parameterization(
    design: Design, priors: Priors, asked: Parameterization | Literal["auto", "latent"]
) -> tuple[Parameterization, str]:
    """The form that gives most effective draws for its cost, of those asked for, and the reason.

    Of all, marginal, unless several groups leave so large a matrix to factorise that the latent
    form is expected to be cheaper; of that, the one that suits the rows.
    """
    if asked == "latent":
        return latent_parameterization(design)
    if asked != "auto":
        return asked, "as the model file says"
    scales = sum(len(one.sd_priors()) for block in priors.blocks for one in block.terms)
    pairs = sum(int(np.sum(np.tril(block.mask, -1) != 0)) for block in design.blocks)
    free = sum(prior.normal_form() is None for prior in priors.beta)
    joint = priors.shrinkage
    hyper = 0 if joint is None else joint.law.free(joint.count)
    sampled = scales + pairs + free + hyper + (design.sigma is None)
    text = f"{sampled} number{' is' if sampled == 1 else 's are'} sampled; "
    text += "all effects and " if design.blocks else ""
    text += f"{design.p - free} of {design.p} coefficients" if free else "coefficients"
    text += " are drawn exactly after them"
    others = sum(block.J * block.q for block in design.blocks[1:])
    if others <= SMALL:
        return "marginal", text
    form, why = latent_parameterization(design)
    columns = design.p + 2 * sum(block.q for block in design.blocks)
    latent = LATENT_GRADIENTS * LATENT_SPEED * design.n * columns
    try:
        marginal = MARGINAL_GRADIENTS * design.coupled.complement.work / SPEED
    except RefusalError:
        return form, f"the {others} effects of the smaller groups are too many to factorise; {why}"
    if marginal > latent:
        compared = f"an effective draw of the marginal form costs about {marginal / latent:.1f}"
        return form, f"{compared} times as much; {why}"
    return "marginal", text


def latent_parameterization(design: Design) -> tuple[Parameterization, str]:
    """Centred where the rows fix each level's effects, else non-centred, and the reason.

    Blocks of several effects are non-centred: one of them that is hardly informed, or nearly
    collinear with another, is enough to make the centred form mix badly.

    Source: Papaspiliopoulos, Roberts and Skold (2007), doi:10.1214/088342307000000014: the better
    of the two depends on how informative the data are about each effect.
    """
    if not design.blocks:
        return "noncentered", "without groups there is nothing to centre"
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
