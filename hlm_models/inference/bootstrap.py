"""The parametric bootstrap: the sampling distribution of the estimates, by simulation."""

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.errors import FitError, InputErrors, nearest
from hlm_models.inference.draws import quick_fit
from hlm_models.inference.journal import journal
from hlm_models.inference.workers import collect
from hlm_models.results.arguments import checked_count, checked_level, checked_seed
from hlm_models.results.estimates import point_fit
from hlm_models.results.fits import PointFit
from hlm_models.results.optimum_only import optimum_only
from hlm_models.results.point_only import point_only
from hlm_models.results.progress import Progress, silent
from hlm_models.results.simulate import Source
from hlm_models.results.summary import parameters, point_values
from hlm_models.types import FloatArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bootstrap", "IntervalKind", "bootstrap"]

IntervalKind = Literal["percentile", "basic", "normal"]
Statistic = Callable[[PointFit], Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Estimates of simulated data.

    names : (k,) the population parameters, then what `statistic` gave
    estimate : (k,) of the data themselves
    draws : (B, k), one row a simulated response; a whole row is NaN where the refit failed, and
        a correlation where one of its standard deviations was estimated as zero
    failed, singular : how many refits failed, and how many of the others were singular
    """

    names: tuple[str, ...]
    estimate: FloatArray
    draws: FloatArray
    failed: int
    singular: int
    seed: int

    def interval(
        self, name: str, *, kind: IntervalKind = "percentile", level: float = 0.95
    ) -> tuple[float, float]:
        """Ends of one interval; NaN where fewer than two draws are there.

        `percentile`: quantiles of the draws; `basic`: these, reflected at the estimate; `normal`:
        the estimate less its bias, with the draws' standard deviation. The quantiles interpolate
        linearly between draws.

        Source: Davison and Hinkley (1997), Bootstrap Methods and their Application, sections 5.2
        and 5.3.
        """
        if name not in self.names:
            raise InputErrors.one(f"'{name}' was not drawn{nearest(name, self.names)}")
        level = checked_level(level)
        at = self.names.index(name)
        estimate, drawn = float(self.estimate[at]), self._there(at)
        if len(drawn) < 2:
            return float("nan"), float("nan")
        low, high = (float(end) for end in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
        if kind == "percentile":
            return low, high
        if kind == "basic":
            return 2 * estimate - high, 2 * estimate - low
        if kind == "normal":
            from scipy.special import ndtri

            middle = 2 * estimate - float(drawn.mean())
            half = float(ndtri((1 + level) / 2)) * float(drawn.std(ddof=1))
            return middle - half, middle + half
        raise InputErrors.one(f"an interval is percentile, basic or normal, not {kind!r}")

    def frame(self, *, level: float = 0.95) -> "pd.DataFrame":
        """One row a parameter: estimate, bias, se, ends of each interval, and the draws used."""
        import pandas as pd

        rows = []
        for at, name in enumerate(self.names):
            drawn, estimate = self._there(at), float(self.estimate[at])
            enough = len(drawn) > 1
            row = {
                "estimate": estimate,
                "bias": float(drawn.mean()) - estimate if enough else float("nan"),
                "se": float(drawn.std(ddof=1)) if enough else float("nan"),
            }
            kinds: tuple[IntervalKind, ...] = ("percentile", "basic", "normal")
            for kind in kinds:
                ends = self.interval(name, kind=kind, level=level)
                row |= dict(zip((f"{kind}_lower", f"{kind}_upper"), ends, strict=True))
            rows.append({**row, "draws": len(drawn)})
        return pd.DataFrame(rows, index=pd.Index(self.names, name="parameter"))

    def _there(self, at: int) -> FloatArray:
        drawn = self.draws[:, at]
        return drawn[np.isfinite(drawn)]


def bootstrap(
    fit: PointFit,
    draws: int = 1000,
    *,
    seed: int,
    workers: int | None = None,
    statistic: Statistic | None = None,
    folder: Path | str | None = None,
    progress: Progress = silent,
) -> Bootstrap:
    """Simulate responses from a fit, new effects b and residuals each, and refit to them.

    Draw number i depends on the seed and on i alone, so the result is the same for any number of
    workers, and more draws begin with those of fewer.

    Parameters
    ----------
    draws : simulated responses
    seed : the same seed simulates the same responses
    workers : processes; this one alone by default. A script that asks for more must start under
        `if __name__ == "__main__":`
    statistic : further numbers by name, from the full fit of each draw; a function that can be
        imported, where there are workers
    folder : keeps finished draws in a file; a later call of the same fit, seed and statistic goes
        on from there

    Raises
    ------
    ModelMismatchError
        `folder` holds draws of another fit, seed or statistic.
    InputErrors
        a fit that was evaluated at `reml.theta`; draws, workers, a seed, a folder or a statistic
        that are none; a statistic whose names change.
    FitError
        no refit succeeded, or a worker process ended early.

    Source: Davison and Hinkley (1997), Bootstrap Methods and their Application, section 2.2.
    """
    fit = optimum_only(point_only(fit, "bootstrap"), "bootstrap")
    draws, seed = checked_count(draws, "draws"), checked_seed(seed)
    if workers is not None and checked_count(workers, "workers") > 1:
        _check_importable(statistic)
    spec = fit.spec
    known = {name: estimate for name, (estimate, _) in point_values(fit).items()}
    further = {} if statistic is None else _evaluated(statistic, fit)
    task = _Refits(
        source=Source.of(fit, seed),
        start=spec.marginal.scaled_theta(fit.theta),
        reml=fit.engine == "reml",
        statistic=statistic,
        further=further,
    )
    with journal(
        folder,
        task.header(),
        encode=np.ndarray.tolist,
        decode=task.read,
        others="draws of another fit, seed or statistic",
    ) as (done, keep):
        rows = np.array(collect(
            task, draws, workers=workers, done=done, keep=keep, stage="bootstrap", progress=progress
        ))  # fmt: skip
    failed = np.isnan(rows[:, 0])
    if failed.all():
        raise FitError(f"all {draws} refits to simulated responses failed")
    return Bootstrap(
        names=(*known, *further),
        estimate=frozen(np.array([*known.values(), *further.values()], dtype=np.float64)),
        draws=frozen(rows[:, 1:]),
        failed=int(failed.sum()),
        singular=int(np.nansum(rows[:, 0])),
        seed=seed,
    )


@dataclass(frozen=True, eq=False)
class _Refits:
    """Row i: whether the refit to response i is singular, and its estimates; NaN if it failed.

    `further` is what the statistic gives of the fit itself.
    """

    source: Source
    start: FloatArray
    reml: bool
    statistic: Statistic | None
    further: Mapping[str, float]

    @property
    def size(self) -> int:
        """Length of a row."""
        return 1 + len(parameters(self.source.spec)) + len(self.further)

    def row(self, index: int) -> FloatArray:
        spec, y = self.source.spec, self.source.response(index)
        found = quick_fit(spec.marginal, y, start=self.start, reml=self.reml)
        if found is None:
            return np.full(self.size, np.nan)
        row = np.append(float(found.singular), found.population(spec))
        if self.statistic is None:
            return row
        fit = point_fit(
            spec.with_response(y),
            found.theta,
            reml=self.reml,
            starts=(found.criterion + found.marginal.offset(reml=self.reml),),
            seed=self.source.seed,
        )
        values = _evaluated(self.statistic, fit)
        if list(values) != list(self.further):
            raise InputErrors.one(
                f"the statistic of draw {index} has the names {', '.join(values)}, and that of the "
                f"fit {', '.join(self.further)}: give the same names, in the same order, each time"
            )
        return np.append(row, list(values.values()))

    def read(self, row: object) -> FloatArray:
        """A row from a file; a ValueError where it is none of these."""
        match row:
            case [*numbers] if len(numbers) == self.size and all(
                isinstance(one, float) for one in numbers
            ):
                return np.array(numbers)
        raise ValueError(row)

    def header(self) -> dict[str, object]:
        """What the draws are of, in words that a file can keep.

        Of a statistic its values too: the same name and keys may stand for another function.
        """
        point = self.source.point
        numbers = np.concatenate(
            [point.beta, [point.sigma], *map(np.ravel, self.source.roots or ())]
        )
        name = getattr(self.statistic, "__qualname__", repr(self.statistic))
        return {
            "schema": 1,
            "model": self.source.spec.digest,
            "criterion": "reml" if self.reml else "ml",
            "estimates": hashlib.sha256(numbers.tobytes()).hexdigest(),
            "seed": self.source.seed,
            "parameters": [one.name for one in parameters(self.source.spec)],
            "statistic": None if self.statistic is None else [name, list(self.further.items())],
        }


def _evaluated(statistic: Statistic, fit: PointFit) -> dict[str, float]:
    """What a statistic gives of a fit, once it is known to be numbers by name."""
    if not callable(statistic):
        raise InputErrors.one(f"a function of a fit is needed, not {statistic!r}", key="statistic")
    values: object = statistic(fit)
    if not isinstance(values, Mapping) or not all(
        isinstance(name, str) and isinstance(value, int | float | np.integer | np.floating)
        for name, value in values.items()
    ):
        raise InputErrors.one(
            f"a mapping of names to numbers is needed from the function, not {values!r}",
            key="statistic",
        )
    return {name: float(value) for name, value in values.items()}


def _check_importable(statistic: Statistic | None) -> None:
    try:
        pickle.dumps(statistic)
    except (pickle.PicklingError, AttributeError, TypeError):
        raise InputErrors.one(
            f"worker processes cannot import {statistic!r}: give a function that a module defines "
            "by name, or leave out workers",
            key="statistic",
        ) from None
