"""Posterior predictive checks by group: a statistic of every level beside its replicates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hlm_models.design.find_block import find_block
from hlm_models.errors import InputErrors, nearest
from hlm_models.interpretation.draws import effect_draws, unknowns
from hlm_models.results.arguments import checked_count, checked_level, checked_seed
from hlm_models.results.fits import Fit, PosteriorFit
from hlm_models.results.point_only import any_fit
from hlm_models.results.posterior import linear_predictors
from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GroupPPC", "Statistic", "group_ppc"]

Statistic = Literal["mean", "sd", "min", "max"]

REPLICATES = 1_000
"""Replicated data sets, unless these are too many numbers."""
NUMBERS = 50_000_000
"""Most responses that are drawn in all."""


@dataclass(frozen=True, eq=False)
class GroupPPC:
    """A statistic of every level (J,), observed and replicated.

    median, lower, upper : of the replicates
    tail : share of replicates above the observed one, half of those equal to it included
    new : whether effects were drawn anew, or are those of the levels
    """

    group: str
    labels: tuple[str, ...]
    sizes: IntArray
    statistic: str
    response: str
    new: bool
    replicates: int
    observed: FloatArray
    median: FloatArray
    lower: FloatArray
    upper: FloatArray
    tail: FloatArray
    level: float

    @property
    def outside(self) -> int:
        """Levels whose statistic is outside the interval of its replicates."""
        return int(np.sum((self.observed < self.lower) | (self.observed > self.upper)))

    @property
    def checked(self) -> int:
        """Levels that have the statistic: a single row has no standard deviation."""
        return int(np.sum(np.isfinite(self.observed) & np.isfinite(self.median)))

    def frame(self) -> "pd.DataFrame":
        """One row a level: n, observed, median, lower, upper, tail, outside."""
        import pandas as pd

        outside = (self.observed < self.lower) | (self.observed > self.upper)
        return pd.DataFrame(
            {
                "n": self.sizes,
                "observed": self.observed,
                "median": self.median,
                "lower": self.lower,
                "upper": self.upper,
                "tail": self.tail,
                "outside": outside,
            },
            index=pd.Index(self.labels, name=self.group),
        )


def group_ppc(
    fit: Fit,
    statistic: Statistic | Callable[[FloatArray], float] = "mean",
    group: str | None = None,
    *,
    new: bool = False,
    replicates: int = REPLICATES,
    seed: int | None = None,
    level: float = 0.95,
) -> GroupPPC:
    """Whether responses replicated by the fit look, level by level, like those of the data.

    Parameters
    ----------
    statistic : "mean", "sd", "min", "max", or a function of the responses (n_j,) of a level
    group : a grouping factor of the model; may be left out where it has one
    new : replicate with effects of all groups drawn anew from N(0, Psi), which asks whether the
        levels are like draws from the model; else with the levels' own effects, which have been
        fitted to the same data, so that means look well in almost any model
    replicates : so many data sets at most, each of another draw; of a point fit all at its
        estimates, whose own uncertainty is left out
    seed : the fit's own unless given
    level : of the intervals

    Raises
    ------
    InputErrors
        there is no such statistic or group; a function that gives no single number.

    Source: Gelman, Meng and Stern (1996), Posterior predictive assessment of model fitness,
    Statistica Sinica 6, 733-807.
    """
    fit, level = any_fit(fit, "group_ppc"), checked_level(level)
    count = checked_count(replicates, "replicates", least=20)
    if not callable(statistic) and statistic not in get_args(Statistic):
        raise InputErrors.one(
            f"{statistic!r} is none of {', '.join(get_args(Statistic))}, nor a function"
            f"{nearest(statistic, get_args(Statistic))}",
            key="statistic",
        )
    spec = fit.spec
    block = find_block(spec.design, group)
    rng = np.random.default_rng(fit.seed if seed is None else checked_seed(seed))
    order = np.argsort(block.level, kind="stable")
    starts = np.concatenate([[0], np.cumsum(block.sizes)[:-1]])
    count = min(count, max(20, NUMBERS // spec.design.n))
    batches = [
        _statistics(statistic, y[:, order], starts, block.sizes)
        for y in _replicated(fit, count, rng, new=new)
    ]
    found = np.concatenate(batches)
    observed = _statistics(statistic, spec.design.y[None, order], starts, block.sizes)[0]
    ends = np.full((3, block.J), np.nan)
    known = np.isfinite(found).all(axis=0)
    ends[:, known] = np.quantile(found[:, known], [(1 - level) / 2, 0.5, (1 + level) / 2], axis=0)
    above = np.mean(found > observed, axis=0) + np.mean(found == observed, axis=0) / 2
    return GroupPPC(
        group=block.group,
        labels=block.labels,
        sizes=block.sizes,
        statistic=statistic if isinstance(statistic, str) else _name(statistic),
        response=spec.design.formula.response,
        new=new,
        replicates=len(found),
        observed=frozen(observed),
        median=frozen(ends[1]),
        lower=frozen(ends[0]),
        upper=frozen(ends[2]),
        tail=frozen(np.where(known & np.isfinite(observed), above, np.nan)),
        level=level,
    )


def _name(statistic: Callable[[FloatArray], float]) -> str:
    return getattr(statistic, "__name__", "statistic")


def _replicated(
    fit: Fit, count: int, rng: np.random.Generator, *, new: bool
) -> Iterator[FloatArray]:
    """Batches (some, n) of replicated data sets."""
    spec = fit.spec
    if isinstance(fit, PosteriorFit):
        sizes = fit.data["posterior"].to_dataset().sizes
        each = min(max(count // sizes["chain"], 1), sizes["draw"])
        at = np.linspace(0, sizes["draw"] - 1, each).astype(np.int64)
        known, shape = unknowns(fit, at=at), (sizes["chain"], each)
    else:
        at, known, shape = None, unknowns(fit), (1, count)
    sigma = np.broadcast_to(known.sigma, shape)
    draws = {"sigma": sigma, "beta": np.broadcast_to(known.beta, (*shape, spec.design.p))}
    if new:
        effects = [
            _new_effects(np.broadcast_to(Psi, (*shape, *Psi.shape[2:])), block.J, rng)
            for Psi, block in zip(known.cov, spec.blocks, strict=True)
        ]
    else:
        effects = [np.broadcast_to(b, (*shape, *b.shape[2:])) for b in effect_draws(fit, at=at)]
    draws |= {f"b_{block.group}": b for block, b in zip(spec.blocks, effects, strict=True)}
    for _, _, eta, scale in linear_predictors(spec, draws, np.arange(shape[1])):
        yield spec.family.draw(rng, eta, scale)


def _new_effects(Psi: FloatArray, J: int, rng: np.random.Generator) -> FloatArray:
    """Effects (chains, draws, J, q) of J new levels from Psi (chains, draws, q, q) of each draw."""
    values, axes = np.linalg.eigh(Psi)
    root = axes * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    e = rng.standard_normal((*Psi.shape[:2], J, Psi.shape[-1]))
    return np.asarray(e @ np.swapaxes(root, -1, -2))


def _statistics(
    statistic: Statistic | Callable[[FloatArray], float],
    y: FloatArray,
    starts: IntArray,
    sizes: IntArray,
) -> FloatArray:
    """The statistic of every level (m, J) of data sets y (m, n), whose rows are level by level."""
    if callable(statistic):
        parts = [np.apply_along_axis(statistic, 1, one) for one in np.split(y, starts[1:], axis=1)]
        if any(part.ndim > 1 for part in parts):
            raise InputErrors.one(
                "a function of the responses of a level must give one number", key="statistic"
            )
        return np.column_stack(parts).astype(np.float64)
    if statistic == "min":
        return np.minimum.reduceat(y, starts, axis=1)
    if statistic == "max":
        return np.maximum.reduceat(y, starts, axis=1)
    mean = np.add.reduceat(y, starts, axis=1) / sizes
    if statistic == "mean":
        return np.asarray(mean)
    squares = np.add.reduceat(np.square(y - np.repeat(mean, sizes, axis=1)), starts, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(squares / np.where(sizes > 1, sizes - 1, np.nan)))
