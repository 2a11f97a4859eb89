"""ModelSpec: arrays, parts and names, with every default worked out to a number."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from hlm_models.algebra.gram import root_mean_square
from hlm_models.config.settings import FitSettings, PriorSettings, RemlSettings
from hlm_models.design.build import Design, RandomBlock, Term
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.parts.covariances import Covariance
from hlm_models.parts.covariances.diagonal import Diagonal
from hlm_models.parts.covariances.lkj import LKJ
from hlm_models.parts.families import Family
from hlm_models.parts.priors import Prior
from hlm_models.parts.priors.normal import Normal
from hlm_models.parts.residuals import Residual
from hlm_models.spec.marginal import Marginal
from hlm_models.types import FloatArray, frozen

__all__ = [
    "BlockPrior",
    "ModelSpec",
    "Parameterization",
    "Priors",
    "free_scales",
    "resolve_priors",
]

Parameterization = Literal["centered", "noncentered", "marginal"]
RESERVED = (
    *("X", "beta", "chain", "coef", "draw", "obs", "offset", "sigma", "weights", "y", "y_obs"),
    *("beta_free", "coef_free", "fit", "likelihood", "turn"),
)
MADE = (
    "effect_{}",
    "effect_{}_2",
    "sd_{}",
    "corr_{}",
    "b_{}",
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
    """Resolved priors: no `auto` is left; that of sigma is None where sigma is known."""

    beta: tuple[Prior, ...]
    blocks: tuple[BlockPrior, ...]
    sigma: Prior | None


@dataclass(frozen=True)
class ModelSpec:
    """One model, ready for any engine.

    `config` is the model file as used, defaults included, in the words of the schema; `digest`
    identifies model and data together, `identity` the model by itself; `seconds` is the wall time
    of reading and of building.
    """

    name: str
    about: str
    design: Design
    priors: Priors
    family: Family
    residual: Residual
    parameterization: Parameterization
    parameterization_why: str
    fit: FitSettings
    reml: RemlSettings
    config: Mapping[str, Any]
    identity: str
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def blocks(self) -> tuple[RandomBlock, ...]:
        return self.design.blocks

    def with_response(self, y: FloatArray) -> Self:
        """The same model of another response y (n,); priors stay as they were resolved.

        Source of the data is not known any more, so the digest is that of this model and y.

        Raises
        ------
        InputErrors
            y has another length.
        """
        values = np.array(y, dtype=np.float64)
        if values.shape != self.design.y.shape:
            raise InputErrors.one(
                f"a response of {self.design.n} numbers is needed, one a row; given are "
                f"{values.size}",
                key="y",
            )
        identity = hashlib.sha256(self.identity.encode() + values.tobytes()).hexdigest()
        return replace(self, design=replace(self.design, y=frozen(values)), identity=identity)

    @cached_property
    def digest(self) -> str:
        """Hash of the model, its priors and its data."""
        return hashlib.sha256((self.identity + self.design.table.digest).encode()).hexdigest()

    @cached_property
    def marginal(self) -> Marginal:
        """The model with its random effects integrated out; its cross-products are made once."""
        structures = tuple(
            tuple(term.structure for term in prior.terms) for prior in self.priors.blocks
        )
        return Marginal(self.design, structures)


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
    beta = _beta_priors(settings, design, problems)
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
                    f"(groups: {', '.join(known)})",
                    key=f"priors.groups.{group}",
                )
            )
    blocks = tuple(_block_prior(settings, block, s_y, problems) for block in design.blocks)
    if problems:
        raise InputErrors(problems)
    if design.sigma is not None:
        return Priors(beta, blocks, None)
    # sigma is the residual sd of a row of weight one, which need not be a weight that occurs.
    typical = math.exp(design.log_weights / (2 * design.n))
    return Priors(beta, blocks, settings.sigma.resolve(loc=0.0, scale=s_y * typical))


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
    settings: PriorSettings, design: Design, problems: list[Problem]
) -> tuple[Prior, ...]:
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
    given: Mapping[str, Prior] = (
        settings.beta
        if isinstance(settings.beta, dict)
        else dict.fromkeys(design.coef, settings.beta)
    )
    for name in given:
        if name not in design.coef:
            problems.append(
                Problem(
                    f"'{name}' is not a coefficient of this model{nearest(name, design.coef)} "
                    f"(coefficients: {', '.join(design.coef)})",
                    key=f"priors.beta.{name}",
                )
            )
    return tuple(
        given.get(name, Normal()).resolve(loc=loc, scale=scale)
        for name, loc, scale in zip(design.coef, locs, scales, strict=True)
    )


def _block_prior(
    settings: PriorSettings, block: RandomBlock, s_y: float, problems: list[Problem]
) -> BlockPrior:
    key = f"priors.groups.{block.group}"
    given = settings.groups.get(block.group)
    texts = [term.text for term in block.terms]
    by_term: Mapping[str, Covariance] = {}
    if isinstance(given, dict):
        spelled = {"".join(text.split()): text for text in texts}
        by_term = {spelled.get("".join(text.split()), text): one for text, one in given.items()}
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
        default = LKJ() if term.correlated else Diagonal()
        prior = by_term.get(term.text, default)
        effects = block.effects[term.columns]
        alone = prior.single and len(effects) == 1
        if prior.correlated != term.correlated and not alone:
            problems.append(
                Problem(_contradiction(prior, term.text, len(effects)), key=f"{key}.kind")
            )
            continue
        scales = _effect_scales(block.z[:, term.columns], effects, s_y)
        try:
            resolved.append(prior.resolve(effects, scales))
        except InputErrors as error:
            problems += [Problem(p.message, key=f"{key}.{p.key}") for p in error.problems]
    return BlockPrior(tuple(resolved))


def _contradiction(prior: Covariance, text: str, q: int) -> str:
    if not prior.correlated:
        return (
            f"{prior.kind} means independent effects, but ({text}) lets them correlate: "
            f"write ({text.replace('|', '||')}) in the formula, or use lkj"
        )
    if q == 1:
        return f"({text}) has one effect, hence no correlation for {prior.kind}: use kind: diagonal"
    words = f"({text}) has independent effects, hence no correlation for {prior.kind}"
    return f"{words}: use diagonal, or shared for one variance"


def _effect_scales(z: FloatArray, effects: Sequence[str], s_y: float) -> list[float]:
    spread = [0.0 if name == "Intercept" else _sd(z[:, k]) for k, name in enumerate(effects)]
    return [s_y / s if s > 0 else s_y for s in spread]


def _sd(values: FloatArray) -> float:
    n = len(values)
    return root_mean_square(values, float(values.mean())) * math.sqrt(n / (n - 1))
