"""Several samplers of one posterior: their draws must agree to within Monte Carlo error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hlm_models.comparison.agreement import on_its_scale
from hlm_models.errors import ModelMismatchError
from hlm_models.results.checks import Check, graded
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.summary import draw_rows, mcse, parameter_draws
from hlm_models.types import FloatArray

__all__ = ["FAIL", "WARN", "SamplerRow", "Samplers", "samplers"]

WARN, FAIL = 4.0, 6.0
"""Differences in Monte Carlo standard errors: of some dozens of parameters, correct samplers have
one beyond the first in about one run of two hundred, and never one beyond the second."""


@dataclass(frozen=True, slots=True)
class SamplerRow:
    """One parameter by every engine, in the order of `Samplers.engines`.

    mean, sd and mcse (of the mean) are in its own units. `z` is the largest difference of two
    engines in combined Monte Carlo standard errors, the later less the earlier: of the means or of
    the logarithms of the sds, both on the scale of log sd, Fisher's z of a correlation, log sigma
    or a coefficient itself. Infinite where one engine has no finite draws, or never moved.
    """

    parameter: str
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    mcse: tuple[float, ...]
    z: float


@dataclass(frozen=True, slots=True)
class Samplers:
    """The posterior's summary by every engine, and whether it is one posterior."""

    model: str
    engines: tuple[str, ...]
    rows: tuple[SamplerRow, ...]

    @property
    def check(self) -> Check:
        """The largest difference, judged."""
        worst = max(self.rows, key=lambda row: abs(row.z))
        return graded(
            "samplers",
            abs(worst.z),
            warn=WARN,
            fail=FAIL,
            message=f"largest difference of {' and '.join(self.engines)} in a mean or an sd, in "
            f"Monte Carlo standard errors ({worst.parameter})",
        )


def samplers(fits: Sequence[PosteriorFit]) -> Samplers:
    """Means and sds of every parameter by every fit, and how far apart they are.

    Raises
    ------
    ModelMismatchError
        the fits are not of the same model, priors and data.
    """
    first = fits[0]
    for other in fits[1:]:
        if other.spec.digest != first.spec.digest:
            raise ModelMismatchError(
                f"{first.engine} and {other.engine} did not fit the same model, priors and data"
            )
    drawn = [parameter_draws(fit) for fit in fits]
    rows = [
        SamplerRow(
            each[0].name,
            tuple(row.mean for row in each),
            tuple(row.sd for row in each),
            tuple(row.mcse_mean for row in each),
            _apart([on_its_scale(each[0].name, one[each[0].name]) for one in drawn]),
        )
        for each in zip(*(draw_rows(fit) for fit in fits), strict=True)
    ]
    return Samplers(first.spec.name, tuple(fit.engine for fit in fits), tuple(rows))


def _apart(draws: Sequence[FloatArray]) -> float:
    """The largest difference among draws (chains, draws) of several engines."""
    numbers = [_numbers(one) for one in draws]
    found = []
    for one, other in combinations(numbers, 2):
        for (a, a_error), (b, b_error) in zip(one, other, strict=True):
            z = (b - a) / math.hypot(a_error, b_error)
            found.append(z if math.isfinite(z) else math.inf)
    return max(found, key=abs)


def _numbers(draws: FloatArray) -> tuple[tuple[float, float], ...]:
    """Mean and log sd, each with its Monte Carlo standard error; NaN where it never moved."""
    if not np.isfinite(draws).all() or np.ptp(draws) == 0:
        return (math.nan, math.nan), (math.nan, math.nan)
    sd = float(draws.std(ddof=1))
    return (float(draws.mean()), mcse(draws, "mean")), (math.log(sd), mcse(draws, "sd") / sd)
