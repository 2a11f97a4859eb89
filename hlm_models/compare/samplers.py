"""Several samplers of one posterior: their draws must agree to within Monte Carlo error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from hlm_models.errors import ModelMismatchError
from hlm_models.results.checks import Check, graded
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.summary import DrawRow, draw_rows

__all__ = ["FAIL", "WARN", "SamplerRow", "Samplers", "samplers"]

WARN, FAIL = 4.0, 6.0
"""Differences in Monte Carlo standard errors: of some dozens of parameters, correct samplers have
one beyond the first in about one run of five hundred, and never one beyond the second."""


@dataclass(frozen=True, slots=True)
class SamplerRow:
    """One parameter by every engine, in the order of `Samplers.engines`.

    `z` is the largest difference of two means in combined Monte Carlo standard errors, with the
    sign of the later engine less the earlier; NaN where neither mean has an error.
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
        found = [row for row in self.rows if not math.isnan(row.z)]
        worst = max(found, key=lambda row: abs(row.z))
        return graded(
            "samplers",
            abs(worst.z),
            warn=WARN,
            fail=FAIL,
            message=f"largest difference of {' and '.join(self.engines)}, in Monte Carlo standard "
            f"errors ({worst.parameter})",
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
    rows = [_row(each) for each in zip(*(draw_rows(fit) for fit in fits), strict=True)]
    return Samplers(first.spec.name, tuple(fit.engine for fit in fits), tuple(rows))


def _row(each: Sequence[DrawRow]) -> SamplerRow:
    apart = []
    for one, other in combinations(each, 2):
        error = math.hypot(one.mcse_mean, other.mcse_mean)
        apart.append((other.mean - one.mean) / error if error > 0 else math.nan)
    known = [z for z in apart if not math.isnan(z)]
    return SamplerRow(
        each[0].name,
        tuple(row.mean for row in each),
        tuple(row.sd for row in each),
        tuple(row.mcse_mean for row in each),
        max(known, key=abs) if known else math.nan,
    )
