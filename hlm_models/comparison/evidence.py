"""Log marginal likelihoods of models by bridge sampling, and Bayes factors.

Random effects and coefficients with a normal prior are integrated out in closed form: the bridge
is built on the few parameters that the marginal form samples, in their unconstrained coordinates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hlm_models.algebra.compiled import uninterrupted
from hlm_models.algebra.gram import Gram
from hlm_models.comparison.bridge import bridge, fit_proposal
from hlm_models.comparison.same_data import same_data
from hlm_models.config.settings import PriorSettings
from hlm_models.errors import FitError, InputErrors, RefusalError
from hlm_models.results.arguments import checked_seed
from hlm_models.results.document import plain
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import resolve_priors
from hlm_models.spec.simulate import improper
from hlm_models.target.density import Target, target
from hlm_models.target.draws import VarianceDraws
from hlm_models.types import FloatArray, frozen

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["BayesFactor", "Evidence", "bayes_factor", "log_marginal_likelihood", "strength"]

LEAST = 200
"""Draws of all chains together that it takes; more with many parameters."""
PER_PARAMETER = 20
"""Draws that it takes for every parameter."""
LARGE = 0.1
"""A standard error of the log marginal likelihood that is worth a warning."""
SECONDS = 60.0
"""About so long the log posterior may be computed at points."""
FEW = 1000
"""Points that it is computed at however long it takes."""
GRADES = (
    (2.0, "not worth more than a bare mention"),
    (6.0, "positive"),
    (10.0, "strong"),
    (math.inf, "very strong"),
)
"""Twice the logarithm of a Bayes factor, up to which it is called so.

Source: Kass and Raftery (1995), doi:10.1080/01621459.1995.10476572, section 3.2.
"""
TOLD = 200
"""Points from one word of progress to the next."""
STREAM = 5
"""Child of the seed that the proposals are drawn from."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The log marginal likelihood log p(y | model), a density of all n responses together.

    se : its Monte Carlo standard error; 0 where nothing had to be sampled
    draws : of the posterior, that were used
    iterations : steps of the root search
    warnings : what to know before it is compared
    """

    spec: ModelSpec
    log_marginal_likelihood: float
    se: float
    draws: int
    iterations: int
    warnings: tuple[str, ...]
    method: Literal["bridge sampling", "closed form"]

    @property
    def model(self) -> str:
        return self.spec.name

    def document(self) -> dict[str, Any]:
        """As strict JSON."""
        found: dict[str, Any] = plain(
            {
                "model": self.model,
                "log_marginal_likelihood": self.log_marginal_likelihood,
                "se": self.se,
                "draws": self.draws,
                "iterations": self.iterations,
                "warnings": self.warnings,
                "method": self.method,
            }
        )
        return found


@dataclass(frozen=True, slots=True)
class BayesFactor:
    """How much better one model foresaw the data than another.

    models : their names, told apart where they are the same
    log_bf, se : log p(y | first) - log p(y | second), and its Monte Carlo standard error
    favours : the model with the larger marginal likelihood, or "neither"
    words : for how strong that is, by Kass and Raftery (1995)
    """

    models: tuple[str, str]
    log_bf: float
    se: float
    favours: str
    words: str
    warnings: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As strict JSON."""
        found: dict[str, Any] = plain({name: getattr(self, name) for name in self.__slots__})
        return found


def log_marginal_likelihood(
    fit: PosteriorFit, *, seed: int | None = None, progress: Progress = silent
) -> Evidence:
    """Log p(y) of a model with all its unknowns integrated out, from a posterior of any engine.

    Half of every chain fits a proposal, the other half bridges from it to the posterior, and the
    other way round; both estimates are averaged.

    Parameters
    ----------
    seed : that of the fit by default

    Raises
    ------
    InputErrors
        it is no fit; too few draws; a seed that is none.
    RefusalError
        it is a point fit; a prior is improper; or coefficients have a prior together.
    FitError
        the posterior's draws stand still or lie on an edge, or its density cannot be computed.

    Source: docs/comparison.md.
    """
    spec = posterior_only(fit, "log_marginal_likelihood").spec
    root = fit.seed if seed is None else checked_seed(seed)
    density = _density(spec)
    notes = _notes(fit)
    if not density.size:
        value, _ = density(np.zeros(0))
        return Evidence(spec, value, 0.0, 0, 0, notes, "closed form")
    x = density.coordinates.unconstrained(_draws(density, fit.data["posterior"].to_dataset()))
    x = x[:, _kept(spec, *x.shape[:2])]
    if not np.isfinite(x).all():
        raise FitError(
            "a draw is on the edge of what the parameters can be: a standard deviation of zero, or "
            "a correlation of one"
        )
    rng = np.random.default_rng(np.random.SeedSequence(root, spawn_key=(STREAM,)))
    sds = range(density.coordinates.free.start)
    with uninterrupted():
        _ = density.function
    half, found = x.shape[1] // 2, []
    with spec.marginal.one_thread():
        evaluate = _counted(density, 2 * x.shape[0] * x.shape[1], progress)
        for fitting, bridging in ((x[:, :half], x[:, half:]), (x[:, half:], x[:, :half])):
            proposal = fit_proposal(fitting.reshape(-1, density.size), sds)
            proposed = proposal.draw(rng, bridging.shape[0] * bridging.shape[1])
            found.append(
                bridge(
                    evaluate(bridging) - proposal.log_density(bridging),
                    evaluate(proposed) - proposal.log_density(proposed),
                    effective=_effective(bridging),
                )
            )
    se = math.hypot(*(one.se for one in found)) / 2
    if not se < LARGE:
        notes += (f"the Monte Carlo standard error is {se:.2g}: take more draws (fit.draws)",)
    return Evidence(
        spec=spec,
        log_marginal_likelihood=float(np.mean([one.log_constant for one in found])),
        se=se,
        draws=x.shape[0] * x.shape[1],
        iterations=sum(one.iterations for one in found),
        warnings=notes,
        method="bridge sampling",
    )


def bayes_factor(a: PosteriorFit | Evidence, b: PosteriorFit | Evidence) -> BayesFactor:
    """The Bayes factor of two models of the same data: p(y | a) / p(y | b), its logarithm.

    Raises
    ------
    InputErrors
        the models have different rows or responses; or as `log_marginal_likelihood`.
    RefusalError
        as `log_marginal_likelihood`.
    FitError
        as `log_marginal_likelihood`.
    """
    given = [
        one if isinstance(one, Evidence) else posterior_only(one, "bayes_factor") for one in (a, b)
    ]
    names = (given[0].spec.name, given[1].spec.name)
    if names[0] == names[1]:
        names = (f"{names[0]} (first)", f"{names[1]} (second)")
    same_data(dict(zip(names, (one.spec for one in given), strict=True)))
    left, right = (
        one if isinstance(one, Evidence) else log_marginal_likelihood(one) for one in given
    )
    log_bf = left.log_marginal_likelihood - right.log_marginal_likelihood
    return BayesFactor(
        models=names,
        log_bf=log_bf,
        se=math.hypot(left.se, right.se),
        favours="neither" if log_bf == 0 else names[int(log_bf < 0)],
        words=strength(log_bf),
        warnings=tuple(dict.fromkeys((*left.warnings, *right.warnings))),
    )


def strength(log_bf: float) -> str:
    """Words of Kass and Raftery (1995) for how strong a Bayes factor is, either way."""
    return next(words for top, words in GRADES if 2 * abs(log_bf) <= top)


def _density(spec: ModelSpec) -> Target:
    """The normalised density p(y, x) of the unconstrained coordinates.

    Raises
    ------
    RefusalError
        it has none, or none that is known.
    """
    flat = improper(spec)
    if flat:
        raise RefusalError(
            f"{', '.join(flat)}: a flat prior is no density, so there is no marginal likelihood "
            "and no Bayes factor; give proper priors (priors.preset: weak)"
        )
    found = target(spec)
    if found is None:
        joint = spec.priors.shrinkage
        which = "a prior of this model" if joint is None else f"the {joint.law.kind} prior of beta"
        raise RefusalError(
            f"{which} leaves too many parameters to integrate over, so there is no marginal "
            "likelihood by bridge sampling; give every coefficient a prior of its own, normal or "
            "student_t, or compare by leave-one-out"
        )
    return found


def _draws(density: Target, posterior: "Dataset") -> VarianceDraws:
    """What the marginal form samples, of the posterior of any engine."""
    spec, free = density.spec, density.coordinates.integration.free

    def values(name: str) -> FloatArray:
        return np.asarray(posterior[name].transpose("chain", "draw", ...).values)

    sigma = values("sigma")
    chains, count = sigma.shape
    needed = max(LEAST, PER_PARAMETER * density.size)
    if chains * count < needed:
        raise InputErrors.one(
            f"a marginal likelihood of {density.size} parameters takes {needed} draws, all chains "
            f"together, and this fit has {chains * count}: fit it again with more (fit.draws)",
            key="fit",
        )
    corr = tuple(values(f"corr_{block.group}") for block in spec.blocks)
    try:
        factor = tuple(np.linalg.cholesky(one) for one in corr)
    except np.linalg.LinAlgError as error:
        raise FitError("a correlation matrix of the posterior is singular") from error
    return VarianceDraws(
        sigma=sigma,
        sd=tuple(values(f"sd_{block.group}") for block in spec.blocks),
        corr=corr,
        factor=factor,
        beta_free=values("beta")[..., free] if len(free) else np.zeros((*sigma.shape, 0)),
    )


def _kept(spec: ModelSpec, chains: int, draws: int) -> slice:
    """Draws of every chain that are used: all of them but for huge models."""
    products = spec.marginal.products
    if isinstance(products, Gram):
        q, k, J = products.H.shape
        seconds = 1.3e-9 * J * q * (q + k) ** 2
    else:
        seconds = 2e-10 * products.complement.work
    # The density is computed at as many proposals.
    points = max(SECONDS / max(seconds, 1e-9), FEW) / 2
    return slice(None, None, max(1, min(math.ceil(chains * draws / points), draws // 10)))


def _counted(density: Target, total: int, progress: Progress) -> Callable[[FloatArray], FloatArray]:
    """The log density at points (..., d), telling how many of `total` have been there."""
    done = 0

    def value(x: FloatArray) -> float:
        nonlocal done
        if done % TOLD == 0:
            progress(Step("marginal likelihood", done, total, unit="points"))
        done += 1
        return density(x)[0]

    def evaluate(x: FloatArray) -> FloatArray:
        values = [value(one) for one in x.reshape(-1, density.size)]
        return np.array(values).reshape(x.shape[:-1])

    return evaluate


def _effective(x: FloatArray) -> float:
    """Effective number of draws (chains, draws, d): the median of the coordinates."""
    from arviz_stats.base.array import array_stats

    each = [
        array_stats.ess(one, chain_axis=0, draw_axis=1, method="bulk")
        for one in np.moveaxis(x, -1, 0)
    ]
    return float(np.median(each))


def _notes(fit: PosteriorFit) -> tuple[str, ...]:
    """What to know before the marginal likelihood is compared with that of another model."""
    failed = [check.code for check in fit.checks if check.status == "fail"]
    scaled = _scaled(fit.spec)
    return (
        *([f"checks of the fit have failed: {', '.join(failed)}"] if failed else []),
        *(
            [
                f"the priors of {', '.join(scaled)} are scaled to the response (auto or "
                "unit_information): the data are used twice, and a Bayes factor depends on how "
                "wide the priors are; state them in numbers"
            ]
            if scaled
            else []
        ),
    )


def _scaled(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the parameters whose prior would be another with another response."""
    settings = PriorSettings.model_validate(spec.config["priors"])
    y = frozen(2 * spec.design.y + 1)
    other, priors = resolve_priors(settings, replace(spec.design, y=y)), spec.priors
    names = ["beta"] if other.beta != priors.beta else []
    for block, one, two in zip(spec.blocks, other.blocks, priors.blocks, strict=True):
        names += [f"the effects of {block.group}"] if one.terms != two.terms else []
    return (*names, *(["sigma"] if other.sigma != priors.sigma else []))
