"""Priors of a model, with every `auto` worked out to a number (docs/priors.md has the formulas)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hlm_models.algebra.gram import root_mean_square
from hlm_models.config.settings import PriorSettings
from hlm_models.design.build import Design, RandomBlock, Term
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.parts.covariances import Covariance
from hlm_models.parts.covariances.diagonal import Diagonal
from hlm_models.parts.covariances.lkj import LKJ
from hlm_models.parts.covariances.unit_information import UnitInformation as UnitCovariance
from hlm_models.parts.priors import Prior
from hlm_models.parts.priors.flat import Flat
from hlm_models.parts.shrinkage import Shrinkage
from hlm_models.spec.joint_prior import SHRUNK, JointPrior, joint_prior
from hlm_models.spec.unit_information import UnitInformation, unit_information
from hlm_models.types import FloatArray

__all__ = ["BlockPrior", "Priors", "free_scales", "improper_posterior", "resolve_priors"]

RESERVED = (
    *("X", "beta", "chain", "coef", "draw", "obs", "offset", "sigma", "weights", "y", "y_obs"),
    *("beta_free", "coef_free", "fit", "likelihood", "turn"),
    *("tau_beta", "lambda_beta", "slab_beta", "r2_beta", "phi_beta", SHRUNK),
    *("z_beta", "ratio_beta", "centre_beta"),
)
MADE = (
    "effect_{}",
    "effect_{}_2",
    "sd_{}",
    "corr_{}",
    "b_{}",
    "c_{}",
    "z_{}",
    "Z_{}",
    "R_{}",
    "level_{}",
    "partial_{}",
    "shared_{}",
)
"""Names that a group gives to variables and dimensions of every graph and posterior."""


@dataclass(frozen=True)
class BlockPrior:
    """Prior of one block's covariance: one resolved covariance a term, in the block's order."""

    terms: tuple[Covariance, ...]


@dataclass(frozen=True)
class Priors:
    """Resolved priors: no `auto` and no recipe is left; that of sigma is None where it is known.

    Of coefficients whose prior is `shrinkage`, that of several together, `beta` has a `Shrunk`
    each. `notes` say what was peculiar in working them out.
    """

    beta: tuple[Prior, ...]
    blocks: tuple[BlockPrior, ...]
    sigma: Prior | None
    notes: tuple[str, ...] = ()
    shrinkage: JointPrior | None = None

    @property
    def own(self) -> tuple[tuple[int, Prior], ...]:
        """Place and prior of every coefficient that has one of its own."""
        joint = () if self.shrinkage is None else self.shrinkage.places
        return tuple((k, prior) for k, prior in enumerate(self.beta) if k not in joint)


def free_scales(
    block: RandomBlock, term: Term, covariance: Covariance
) -> list[tuple[str, int, Prior]]:
    """Name, column of the block and prior of each standard deviation that a term has.

    One that several effects share is named after the term and stands at the first of them.
    """
    priors = covariance.sd_priors()
    names = block.effects[term.columns] if len(priors) == term.q else (term.text,)
    return [
        (f"sd_{block.group}[{name}]", term.columns.start + k, prior)
        for k, (name, prior) in enumerate(zip(names, priors, strict=True))
    ]


def resolve_priors(settings: PriorSettings, design: Design) -> Priors:
    """Priors with every `auto` worked out from the data (see docs/priors.md for the formulas).

    Raises
    ------
    InputErrors
        a coefficient, group, term or effect that the model does not have; a covariance that
        contradicts the bar of its term.
    """
    problems: list[Problem] = []
    s_y = _sd(design.y_net)
    recipe = Recipe(design, settings)
    beta, joint = _beta_priors(settings, design, recipe, problems)
    known = {block.group: block for block in design.blocks}
    problems += [
        Problem(
            f"a group may not be named '{group}', which names something else in every posterior; "
            "derive a column of another name",
            key="formula",
        )
        for group in known
        if group in RESERVED or group in _made(design.blocks)
    ]
    problems += [
        Problem(
            f"the group '{group}' has a '/' in its name, and variables of a posterior may not; "
            "derive a column of another name",
            key="formula",
        )
        for group in known
        if "/" in group
    ]
    for group in settings.groups:
        if group not in known:
            problems.append(
                Problem(
                    f"'{group}' is not a group of this model{nearest(group, known)} "
                    f"(groups: {', '.join(known) or 'none'})",
                    key=f"priors.groups.{group}",
                )
            )
    blocks = tuple(_block_prior(settings, block, s_y, recipe, problems) for block in design.blocks)
    if problems:
        raise InputErrors(problems)
    if design.sigma is not None:
        return Priors(beta, blocks, None, recipe.notes, joint)
    if settings.sigma.recipe:
        return Priors(beta, blocks, recipe.found.sigma, recipe.notes, joint)
    # sigma is the residual sd of a row of weight one, which need not be a weight that occurs.
    typical = math.exp(design.log_weights / (2 * design.n))
    sigma = settings.sigma.resolve(loc=0.0, scale=s_y * typical)
    return Priors(beta, blocks, sigma, recipe.notes, joint)


class Recipe:
    """What `unit_information` stands for, worked out where some prior asks for it."""

    def __init__(self, design: Design, settings: PriorSettings) -> None:
        self.design = design
        self.key = "priors.preset" if settings.preset == "lecture" else "priors"

    @cached_property
    def found(self) -> UnitInformation:
        try:
            return unit_information(self.design)
        except InputErrors as error:
            raise InputErrors(
                Problem(one.message, key=self.key) for one in error.problems
            ) from None

    @property
    def notes(self) -> tuple[str, ...]:
        asked = "found" in vars(self)
        return self.found.note(self.design.blocks[0].group) if asked else ()


def improper_posterior(design: Design, priors: Priors) -> tuple[str, ...]:
    """Why there is no posterior, as far as priors and numbers of levels tell; empty where not.

    Levels without rows do not count.

    Source: Gelman (2006), doi:10.1214/06-BA117A, section 2.2: a flat prior of a standard deviation
    needs three levels.
    """
    found = []
    for block, prior in zip(design.blocks, priors.blocks, strict=True):
        levels = int(np.count_nonzero(block.sizes))
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            found += [
                f"{name} has a flat prior and {block.group} {levels} levels, so the posterior is "
                "improper: give it a proper prior, half_student_t say"
                for name, _, sd in free_scales(block, term, covariance)
                if not sd.proper and levels < 3
            ]
    names = design.dependent([k for k, prior in enumerate(priors.beta) if not prior.proper])
    if names:
        found.append(
            f"{', '.join(names)} cannot be told apart in the rows that are left and have flat "
            "priors, so the posterior is improper: give proper ones, normal say"
        )
    return tuple(found)


def _made(blocks: Sequence[RandomBlock]) -> set[str]:
    """Names that all groups give to variables and dimensions."""
    labels = [block.group for block in blocks]
    labels += [
        f"{block.group}_{i + 1}"
        for block in blocks
        if len(block.terms) > 1
        for i in range(len(block.terms))
    ]
    return {name.format(label) for label in labels for name in MADE} | set(labels[len(blocks) :])


def _beta_priors(
    settings: PriorSettings, design: Design, recipe: Recipe, problems: list[Problem]
) -> tuple[tuple[Prior, ...], JointPrior | None]:
    s_y = _sd(design.y_net)
    spread = [
        0.0 if name == "Intercept" else _sd(design.X[:, k]) for k, name in enumerate(design.coef)
    ]
    scales = [2.5 * s_y / s if s > 0 else 2.5 * s_y for s in spread]
    locs = [0.0] * design.p
    if "Intercept" in design.coef:
        at = design.coef.index("Intercept")
        means = design.X.mean(axis=0)
        slopes = [k for k in range(design.p) if k != at]
        locs[at] = float(design.y_net.mean())
        scales[at] = math.sqrt(
            (2.5 * s_y) ** 2 + sum((float(means[k]) * scales[k]) ** 2 for k in slopes)
        )
    joint = None
    given: Mapping[str, Prior] = {}
    if isinstance(settings.beta, dict):
        given = settings.beta
    elif not isinstance(settings.beta, Shrinkage):
        given = dict.fromkeys(design.coef, settings.beta)
    else:
        try:
            joint = joint_prior(settings.beta, design, spread=np.array(spread), of_response=s_y)
            given = joint.placeholders()
        except InputErrors as error:
            problems += error.problems
    for name in given:
        if name not in design.coef:
            problems.append(
                Problem(
                    f"'{name}' is not a coefficient of this model{nearest(name, design.coef)} "
                    f"(coefficients: {', '.join(design.coef)})",
                    key=f"priors.beta.{name}",
                )
            )
    found = []
    for k, name in enumerate(design.coef):
        prior = given.get(name, settings.beta_default)
        resolved = prior.resolve(loc=locs[k], scale=scales[k])
        found.append(recipe.found.coefficient(k) if prior.recipe else resolved)
    return tuple(found), joint


def _block_prior(
    settings: PriorSettings,
    block: RandomBlock,
    s_y: float,
    recipe: Recipe,
    problems: list[Problem],
) -> BlockPrior:
    key = f"priors.groups.{block.group}"
    given = settings.groups.get(block.group)
    texts = [term.text for term in block.terms]
    by_term: Mapping[str, Covariance] = {}
    keys = dict.fromkeys(texts, key)
    if isinstance(given, dict):
        spelled = {"".join(text.split()): text for text in texts}
        written = {spelled.get("".join(text.split()), text): text for text in given}
        by_term = {text: given[own] for text, own in written.items()}
        keys |= {text: f"{key}.{own}" for text, own in written.items()}
        for text in by_term:
            if text not in texts:
                problems.append(
                    Problem(
                        f"'{text}' is not a term of this group{nearest(text, texts)} "
                        f"(terms: {', '.join(texts)})",
                        key=f"{key}.{text}",
                    )
                )
    elif given is not None and len(texts) > 1:
        problems.append(
            Problem(
                f"{block.group} has several terms; give each its prior: "
                + ", ".join(f"'{text}': {{...}}" for text in texts),
                key=key,
            )
        )
    elif given is not None:
        by_term = {texts[0]: given}
    resolved = []
    for term in block.terms:
        prior = by_term.get(term.text, _default(settings, term))
        effects = block.effects[term.columns]
        if prior.recipe:
            resolved.append(recipe.found.covariance(term, effects))
            continue
        alone = prior.single and len(effects) == 1
        if prior.correlated != term.correlated and not alone:
            problems.append(
                Problem(
                    _contradiction(prior, term.text, len(effects)), key=f"{keys[term.text]}.kind"
                )
            )
            continue
        scales = _effect_scales(block.z[:, term.columns], effects, s_y)
        try:
            resolved.append(prior.resolve(effects, scales))
        except InputErrors as error:
            problems += [
                Problem(p.message, key=f"{keys[term.text]}.{p.key}") for p in error.problems
            ]
    return BlockPrior(tuple(resolved))


def _default(settings: PriorSettings, term: Term) -> Covariance:
    """Prior of a term that the model file does not name, by the preset."""
    if settings.preset == "lecture":
        return UnitCovariance()
    flat = {"sd": Flat()} if settings.preset == "flat" else {}
    if not term.correlated:
        return Diagonal(**flat)
    return LKJ(eta=1.0, **flat) if flat else LKJ()


def _contradiction(prior: Covariance, text: str, q: int) -> str:
    if not prior.correlated:
        return (
            f"{prior.kind} means independent effects, but ({text}) lets them correlate: "
            f"write ({text.replace('|', '||')}) in the formula, or use lkj"
        )
    if q == 1:
        return f"({text}) has one effect, hence no correlation for {prior.kind}: use kind: diagonal"
    return (
        f"({text}) has independent effects, but {prior.kind} lets them correlate: write "
        f"({text.replace('||', '|')}) in the formula, or use diagonal, or shared for one variance"
    )


def _effect_scales(z: FloatArray, effects: Sequence[str], s_y: float) -> list[float]:
    spread = [0.0 if name == "Intercept" else _sd(z[:, k]) for k, name in enumerate(effects)]
    return [s_y / s if s > 0 else s_y for s in spread]


def _sd(values: FloatArray) -> float:
    n = len(values)
    return root_mean_square(values, float(values.mean())) * math.sqrt(n / (n - 1))
