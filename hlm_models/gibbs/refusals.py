"""Which priors have no conjugate update, each with its repair."""

from hlm_models.design.build import RandomBlock, Term
from hlm_models.parts.covariances import Covariance
from hlm_models.parts.priors.student_t import StudentT
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import free_scales, improper_posterior

__all__ = ["refusals"]

OF_A_COEFFICIENT = "normal, student_t or flat"
OF_A_SCALE = "half_student_t or inverse_gamma"


def refusals(spec: ModelSpec) -> tuple[str, ...]:
    """Why Gibbs cannot draw from the posterior of this model; nothing where it can."""
    found = list(improper_posterior(spec.design, spec.priors))
    if spec.family.kind != "gaussian":
        found.append(f"the family is {spec.family.kind}, and conjugate updates need gaussian")
    joint = spec.priors.shrinkage
    if joint is not None:
        names, kind = _several(joint.names), joint.law.kind
        found.append(_no_update(names, kind, OF_A_COEFFICIENT, verb="have"))
    for k, prior in spec.priors.own:
        if prior.normal_form() is None and not isinstance(prior, StudentT):
            name = f"beta[{spec.design.coef[k]}]"
            found.append(_no_update(name, str(prior), OF_A_COEFFICIENT))
    for block, block_prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        for term, covariance in zip(block.terms, block_prior.terms, strict=True):
            found += _of_term(block, term, covariance)
    sigma = spec.priors.sigma
    if sigma is not None and sigma.variance_form() is None:
        found.append(_no_update("sigma", str(sigma), OF_A_SCALE))
    large = None if found else spec.marginal.too_large
    return (large,) if large else tuple(found)


def _of_term(block: RandomBlock, term: Term, covariance: Covariance) -> list[str]:
    scales = free_scales(block, term, covariance)
    # The forms of such a prior are of its standard deviations, and its correlations are free too.
    if covariance.structure == "unstructured" and covariance.matrix_form() is None:
        names = [name for name, _, _ in scales]
        _, words = covariance.rows(block.group, term.text, names)[-1]
        repair = "inverse_wishart, wishart or hierarchical"
        return [_no_update(f"corr_{block.group} ({term.text})", words, repair)]
    forms = covariance.variance_forms()
    if len(forms) < len(scales):
        return []
    return [
        _no_update(name, str(prior), OF_A_SCALE)
        for (name, _, prior), form in zip(scales, forms, strict=True)
        if form is None
    ]


def _several(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"beta[{name}]" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _no_update(name: str, prior: str, repair: str, *, verb: str = "has") -> str:
    return f"{name} {verb} {prior}, which has no conjugate update: use {repair}"
