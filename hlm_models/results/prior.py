"""What the priors of a model say before the response is looked at."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.algebra.correlation import correlation_root
from hlm_models.design.build import RandomBlock
from hlm_models.parts.covariances import Covariance
from hlm_models.parts.priors import Place, Prior
from hlm_models.results.document import plain
from hlm_models.results.posterior import draws_dataset, linear_predictors
from hlm_models.results.summary import (
    Parameter,
    drawn_parameters,
    hyperparameters,
    parameters,
)
from hlm_models.spec.density import residual_scale
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import correlation_draws, prior_draws
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd
    from xarray import DataTree

__all__ = [
    "ImpliedPrior",
    "LogPrior",
    "PriorQuantity",
    "implied_prior",
    "level_means",
    "own_draws",
    "own_log_prior",
    "own_prior",
]

NUMBERS = 5_000_000
"""At most so many numbers of responses are drawn; the draws are thinned evenly."""
LEVEL = 0.9
"""Share of the draws between `lower` and `upper`."""
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)

WIDE = 0.5
"""A larger share of responses outside twice the observed range is too many."""
RARE = 0.02
"""Observed numbers that so few of the drawn ones exceed, or fall below, hardly occur."""
NARROW = 0.2
"""A share of the variance, or half the range of a correlation, known this well is decided."""
ENDS = ("min(y)", "5%(y)", "95%(y)", "max(y)")
"""Numbers of the response that are shown and not judged."""
NIL = 0.1
"""An effect that moves the rows by less than this share of the sd of y is next to nothing."""

LogPrior = Callable[[FloatArray], FloatArray]
"""Log density of one parameter at each element of an array."""


@dataclass(frozen=True, slots=True)
class PriorQuantity:
    """One quantity before the data: its mean, median and central 90% (`lower`, `upper`).

    The mean is NaN where the prior has none. `observed` is the quantity in the data, NaN where it
    is not observed; `finding` is a sentence, empty where nothing is peculiar.
    """

    name: str
    mean: float
    median: float
    lower: float
    upper: float
    observed: float
    finding: str


@dataclass(frozen=True, eq=False)
class ImpliedPrior:
    """Draws from the prior of a model, and what follows from them.

    `data` is a DataTree with the groups prior (beta, sigma, sd_g, corr_g, and b_g where every draw
    has a response), prior_predictive (y_obs) and observed_data.
    """

    spec: ModelSpec
    data: "DataTree"
    seed: int

    @cached_property
    def draws(self) -> dict[str, FloatArray]:
        """Draws (m,) of every parameter and of shares of the variance, by name.

        `icc_g`: the mean over the rows of z' Psi z, over that of all groups and the residual
        variance; `icc_g[Intercept]`: that of the intercept alone, where there are slopes too; `r2`:
        the variance of X beta over the rows, over that of everything, where X
        has more than an intercept.
        """
        spec, prior = self.spec, self.data["prior"].to_dataset()
        found = {name: one[0] for name, one in drawn_parameters(spec, prior).items()}
        sigma = prior["sigma"].values[0]
        residual = np.mean(np.square(residual_scale(spec, sigma[:, None])), axis=1)
        groups = {}
        for block in spec.blocks:
            sd = prior[f"sd_{block.group}"].values[0]
            Psi = sd[:, :, None] * prior[f"corr_{block.group}"].values[0] * sd[:, None, :]
            moments = np.einsum("na,nb->ab", block.z, block.z) / spec.design.n
            groups[block.group] = np.einsum("mab,ab->m", Psi, moments)
        random = sum(groups.values(), np.zeros(len(sigma)))
        for block in spec.blocks:
            found[f"icc_{block.group}"] = groups[block.group] / (random + residual)
            if block.q > 1 and "Intercept" in block.effects:
                k = block.effects.index("Intercept")
                alone = prior[f"sd_{block.group}"].values[0, :, k] ** 2
                others = random - groups[block.group]
                found[f"icc_{block.group}[Intercept]"] = alone / (alone + others + residual)
        if np.any(np.ptp(spec.design.X, axis=0) > 0):
            centred = spec.design.X - spec.design.X.mean(axis=0)
            root = np.linalg.qr(centred / math.sqrt(spec.design.n - 1), mode="r")
            fixed = np.sum((prior["beta"].values[0] @ root.T) ** 2, axis=1)
            found["r2"] = fixed / (fixed + random + residual)
        return found

    @cached_property
    def y(self) -> FloatArray:
        """Drawn responses (m, n)."""
        return np.asarray(self.data["prior_predictive"].to_dataset()["y_obs"].values[0])

    @cached_property
    def quantities(self) -> tuple[PriorQuantity, ...]:
        """Parameters, shares of the variance, and the response, in this order."""
        means = _means(self.spec)
        # The response depends on hyperparameters through coefficients, whose tails may be lighter.
        of_response = [means.get(one.name, True) for one in parameters(self.spec)]
        sizes = _sizes(self.spec)
        return (
            *(
                _quantity(name, draws, _settled(name, draws, sizes), mean=means.get(name, True))
                for name, draws in self.draws.items()
            ),
            *self._of_response(mean=all(of_response)),
        )

    @property
    def findings(self) -> tuple[tuple[str, str], ...]:
        """Names and sentences of what is peculiar."""
        return tuple((one.name, one.finding) for one in self.quantities if one.finding)

    def frame(self) -> "pd.DataFrame":
        """One row a quantity: mean, median, lower, upper (central 90%), observed, finding."""
        import pandas as pd

        found = pd.DataFrame([asdict(one) for one in self.quantities])
        return found.set_index("name").rename_axis("quantity")

    def document(self) -> dict[str, Any]:
        """The document of `hlm prior --json`."""
        found: dict[str, Any] = plain(
            {
                "model": self.spec.name,
                "draws": self.data["prior"].sizes["draw"],
                "responses": len(self.y),
                "seed": self.seed,
                "quantities": [asdict(one) for one in self.quantities],
            }
        )
        return found

    def _of_response(self, *, mean: bool) -> Iterator[PriorQuantity]:
        y, observed = self.y, self.spec.design.y
        low, high = float(observed.min()), float(observed.max())
        half = (high - low) / 2
        outside = float(np.mean((y < low - half) | (y > high + half)))
        wide = (
            f"{_percent(outside)} of the draws lie outside twice the observed range: the prior "
            "allows far more than the data show"
            if outside > WIDE
            else ""
        )
        yield _quantity("y", y.ravel(), wide, mean=mean)
        drawn, data = _statistics(self.spec, y), _statistics(self.spec, observed[None])
        for name, values in drawn.items():
            here = float(data[name][0])
            finding = "" if name in ENDS else _unexpected(name, values, here)
            yield _quantity(name, values, finding, observed=here, mean=mean)


def implied_prior(spec: ModelSpec, draws: int, seed: int) -> ImpliedPrior:
    """So many draws from the prior, and a response given each of them.

    Of responses at most 5,000,000 numbers are drawn: with many rows the draws are thinned evenly.

    Raises
    ------
    InputErrors
        a prior is improper; names the parameters.
    """
    import xarray as xr

    of_parameters, of_responses = np.random.SeedSequence(seed).spawn(2)
    values = prior_draws(spec, np.random.default_rng(of_parameters), draws)
    n = spec.design.n
    at = np.linspace(0, draws - 1, int(np.clip(NUMBERS // n, 1, draws))).astype(np.int64)
    rng = np.random.default_rng(of_responses)
    chosen = {name: one[at] for name, one in values.items()}
    for block in spec.blocks:
        sd = chosen[f"sd_{block.group}"]
        root = sd[:, :, None] * correlation_root(chosen[f"corr_{block.group}"])
        normals = rng.standard_normal((len(at), block.J, block.q))
        chosen[f"b_{block.group}"] = normals @ np.swapaxes(root, 1, 2)
    chosen = {name: one[None] for name, one in chosen.items()}
    y = np.empty((1, len(at), n))
    for chain, places, eta, scale in linear_predictors(spec, chosen, np.arange(len(at))):
        y[chain, places] = spec.family.draw(rng, eta, scale)
    whole = {name: one[None] for name, one in values.items()} if len(at) < draws else chosen
    rows = {"obs": np.arange(n)}
    groups = {
        "prior": draws_dataset(spec, whole),
        "prior_predictive": xr.Dataset(
            {"y_obs": (("chain", "draw", "obs"), y)}, coords={"chain": [0], "draw": at} | rows
        ),
        "observed_data": xr.Dataset({"y_obs": ("obs", spec.design.y)}, coords=rows),
    }
    return ImpliedPrior(spec, xr.DataTree.from_dict(groups), seed)


def own_prior(spec: ModelSpec, one: Parameter) -> tuple[Prior, Place] | None:
    """The marginal prior of a coefficient or a standard deviation.

    None of a correlation, and of what belongs to a prior of coefficients together.
    """
    priors = spec.priors
    if one.variable == "sigma":
        assert priors.sigma is not None, "a sigma that is known is no parameter"
        return priors.sigma, "scale"
    if one.variable == "beta":
        own = dict(priors.own)
        return (own[one.index[0]], "location") if one.index[0] in own else None
    found = _term_of(spec, one, "sd")
    if found is None:
        return None
    covariance, start = found
    return covariance.sd_priors()[one.index[0] - start], "scale"


def own_log_prior(spec: ModelSpec, one: Parameter) -> LogPrior | None:
    """Log density of the parameter's own prior, of what belongs to a matrix the marginal one.

    None where it is improper, or no closed form.
    """
    found = own_prior(spec, one)
    if found is not None:
        prior, place = found
        return (lambda x: prior.log_density(x, place=place)) if prior.proper else None
    within = _term_of(spec, one, "corr")
    if within is None:
        return None
    covariance, start = within
    row, column = (place - start for place in one.index)
    return lambda x: covariance.log_density_corr(x, row, column)


def own_draws(
    spec: ModelSpec, one: Parameter, rng: np.random.Generator, count: int
) -> FloatArray | None:
    """So many draws (count,) of the parameter's own prior; None where it is improper."""
    found = own_prior(spec, one)
    if found is not None:
        prior, place = found
        return prior.draw(rng, count, place=place) if prior.proper else None
    within = _term_of(spec, one, "corr")
    if within is not None:
        covariance, start = within
        row, column = (place - start for place in one.index)
        q = len(covariance.sd_priors())
        return correlation_draws(covariance, q, rng, count)[:, row, column]
    sigma, joint = spec.priors.sigma, spec.priors.shrinkage
    assert joint is not None, f"{one.name} has a prior"
    if sigma is not None and not sigma.proper:
        return None
    scale = np.ones(count) if sigma is None else sigma.draw(rng, count, place="scale")
    beta, values = joint.draw(rng, scale)
    return beta[:, joint.places.index(one.index[0])] if one.index else values[one.variable]


def _term_of(spec: ModelSpec, one: Parameter, what: str) -> tuple[Covariance, int] | None:
    """The prior of the term that an sd or a correlation belongs to, and its first column."""
    for block, of_block in zip(spec.blocks, spec.priors.blocks, strict=True):
        if one.variable != f"{what}_{block.group}":
            continue
        for term, covariance in zip(block.terms, of_block.terms, strict=True):
            if term.columns.start <= one.index[0] < term.columns.stop:
                return covariance, term.columns.start
    return None


def _means(spec: ModelSpec) -> dict[str, bool]:
    """Whether each parameter's prior has a mean: of a Cauchy, say, that of draws means nothing."""
    found = {}
    for one in (*parameters(spec), *hyperparameters(spec)):
        own, joint = own_prior(spec, one), spec.priors.shrinkage
        if own is not None:
            found[one.name] = has_mean(*own)
        elif joint is not None and _term_of(spec, one, "corr") is None:
            sigma = spec.priors.sigma
            of_sigma = sigma is None or has_mean(sigma, "scale")
            found[one.name] = of_sigma and joint.law.has_mean(one.variable)
    return found


def has_mean(prior: Prior, place: Place) -> bool:
    """Whether the law has a mean."""
    form = prior.elementary(place=place)
    if form is None or math.isfinite(form.upper) or form.linear or form.quadratic:
        return True
    # The density falls off with this power.
    return 2 * form.weight - form.log_power > 2


def level_means(y: FloatArray, block: RandomBlock) -> FloatArray:
    """Means over the rows of each level that has any, (m, levels), of responses (m, n)."""
    order, sizes = np.argsort(block.level, kind="stable"), block.sizes[block.sizes > 0]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.asarray(np.add.reduceat(y[:, order], starts, axis=1) / sizes)


def _statistics(spec: ModelSpec, y: FloatArray) -> dict[str, FloatArray]:
    """Numbers (m,) that describe responses (m, n), by name."""
    lower, upper = np.quantile(y, [0.05, 0.95], axis=1)
    found = {
        "min(y)": y.min(axis=1),
        "5%(y)": lower,
        "mean(y)": y.mean(axis=1),
        "95%(y)": upper,
        "max(y)": y.max(axis=1),
        "sd(y)": y.std(axis=1, ddof=1),
    }
    return found | {
        f"sd(means of y by {block.group})": level_means(y, block).std(axis=1, ddof=1)
        for block in spec.blocks
        if block.J > 1
    }


def _sizes(spec: ModelSpec) -> dict[str, float]:
    """What a random sd is multiplied by to be the typical size of its effect in sds of y."""
    spread = float(np.std(spec.design.y_net, ddof=1))
    found = {}
    for f, block in enumerate(spec.blocks):
        sds = [one for one in parameters(spec) if one.variable == f"sd_{block.group}"]
        for one in sds:
            [part] = [part for part in spec.marginal.parts[f] if one.index[0] in part.columns]
            columns = block.z[:, [one.index[0]] if part.weight is None else part.columns]
            found[one.name] = math.sqrt(float(np.mean(np.sum(columns**2, axis=1)))) / spread
    return found


def _settled(name: str, draws: FloatArray, sizes: Mapping[str, float]) -> str:
    """A sentence where the prior leaves little open."""
    kind = name.partition("_")[0]
    if kind in ("icc", "r2", "corr"):
        lower, upper = np.quantile(draws, TAILS)
        word, room = ("correlation", 2.0) if kind == "corr" else ("share", 1.0)
        if upper - lower > NARROW * room:
            return ""
        return (
            f"{LEVEL:.0%} of the draws lie between {lower:.2f} and {upper:.2f}: the prior all but "
            f"settles this {word}"
        )
    nil = float(np.mean(draws * sizes[name] < NIL)) if name in sizes else 1.0
    if nil >= RARE:
        return ""
    return (
        f"{_percent(nil)} of the draws have an effect below {NIL:g} sd of y: the prior takes for "
        "granted that the levels differ"
    )


def _unexpected(name: str, values: FloatArray, observed: float) -> str:
    """A sentence where the observed number is out in a tail of the drawn ones.

    A spread is judged where it is large: a prior that allows more shows in y itself.
    """
    beyond = {"large": int(np.sum(values >= observed))}
    if not name.startswith("sd("):
        beyond["small"] = int(np.sum(values <= observed))
    side, count = min(beyond.items(), key=lambda one: one[1])
    # Of few draws none beyond says little: the data count as one more.
    if (count + 1) / (len(values) + 1) >= RARE:
        return ""
    share = _percent(count / len(values))
    return f"{share} of the draws are as {side} as the data: the prior hardly expects it"


def _quantity(
    name: str, draws: FloatArray, finding: str, *, observed: float = math.nan, mean: bool
) -> PriorQuantity:
    lower, median, upper = np.quantile(draws, [TAILS[0], 0.5, TAILS[1]])
    return PriorQuantity(
        name=name,
        mean=float(draws.mean()) if mean else math.nan,
        median=float(median),
        lower=float(lower),
        upper=float(upper),
        observed=observed,
        finding=finding,
    )


def _percent(share: float) -> str:
    return "none" if share == 0 else "fewer than 1%" if share < 0.01 else f"{share:.0%}"
