"""Where each response lies in what the model foresees of it without it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from hlm_models.algebra.uniformity import Band, Strayed, UniformRanks
from hlm_models.elpd.grouping import Grouping
from hlm_models.elpd.loo import NUMBERS, own_group
from hlm_models.elpd.pointwise import Form, log_likelihood
from hlm_models.elpd.psis import good_k, smoothed_weights
from hlm_models.results.arguments import checked_level
from hlm_models.results.checks import Check, graded
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LooPit", "loo_pit"]

BINS = 100
"""The ECDF is looked at between so many equal shares of 0 to 1."""

MOST = 50_000
"""Rows that the ECDF is of: of more, so many as evenly spaced as may be."""


@dataclass(frozen=True, eq=False)
class LooPit:
    """Probabilities P(y <= y_i | all other rows), uniform where the model foresees rows as it says.

    values (n,) : one probability a row
    pareto_k (n,) : shape of the tail of the importance weights; good up to `good_k`

    Many near 0 and 1: rows are farther off than foreseen, sigma or the normal distribution is too
    narrow; many near 1/2: it is too wide.
    """

    model: str
    values: FloatArray
    pareto_k: FloatArray
    good_k: float

    @property
    def bad(self) -> int:
        """Rows whose value rests on weights that are not good enough."""
        return int(np.sum(~(self.pareto_k <= self.good_k)))

    @property
    def looked_at(self) -> int:
        """How many of the values the ECDF is of."""
        return self._law.n

    @property
    def p(self) -> float:
        """The probability that uniform values stray so far from uniform anywhere."""
        return self.strayed.p

    @property
    def shares(self) -> FloatArray:
        """Where the ECDF is looked at (99,): 0.01 to 0.99."""
        return self._law.shares

    @property
    def ecdf(self) -> FloatArray:
        """The share of the values below each of `shares` (99,)."""
        return self._law.counts_below(self._ranks) / self._law.n

    @cached_property
    def strayed(self) -> Strayed:
        """How far the ECDF strays from that of uniform values, and where the most."""
        return self._law.strayed(self._ranks)

    def band(self, level: float = 0.95) -> Band:
        """Fewest and most values below each of `shares` that a uniform sample has, all at once.

        Raises
        ------
        InputErrors
            `level` is none.
        """
        return self._law.band(1 - checked_level(level))

    def check(self) -> Check:
        """Whether the values are uniform."""
        found = self.strayed
        return graded(
            "loo_pit",
            found.p,
            warn=0.01,
            below=True,
            message=f"probability of an ECDF of leave-one-out probabilities so far from uniform "
            f"({found.difference:+.3f} at {found.at:.2f})",
        )

    def frame(self) -> "pd.DataFrame":
        """One row a row of the model: pit, pareto_k."""
        import pandas as pd

        index = pd.RangeIndex(len(self.values), name="row")
        return pd.DataFrame({"pit": self.values, "pareto_k": self.pareto_k}, index=index)

    @cached_property
    def _ranks(self) -> IntArray:
        known = self.values[np.isfinite(self.values)]
        some = np.linspace(0, len(known) - 1, min(MOST, len(known))).astype(np.int64)
        return np.minimum((known[some] * BINS).astype(np.int64), BINS - 1)

    @cached_property
    def _law(self) -> UniformRanks:
        return UniformRanks(n=len(self._ranks), m=BINS - 1)


def loo_pit(
    fit: PosteriorFit, by: str | Grouping | None = None, *, progress: Progress = silent
) -> LooPit:
    """Leave-one-out probability integral transform of every row.

    At each draw a row is normal given the other rows of its level, whose effects are integrated
    out; its normal distribution function is averaged with the smoothed weights of `loo`. There is
    no sampling in it, so that the same fit has the same values.

    Parameters
    ----------
    by : the levels whose effects are integrated out; as in `loo` where it is left out

    Raises
    ------
    InputErrors
        as `log_likelihood`.
    RefusalError
        the fit is a point fit.

    Source: Gelfand, Dey and Chang (1992) for the idea; Säilynoja, Bürkner and Vehtari (2022),
    doi:10.1007/s11222-022-10090-6, for the band.
    """
    fit = posterior_only(fit, "loo_pit")
    within = own_group(fit.spec, by)
    form: Form = "conditional" if within is None else "integrated"
    asked = log_likelihood(fit, by=within, form=form)
    chains, draws, n = asked.shape
    values, k = np.empty(n), np.empty(n)
    done = 0
    for here, log_densities in asked.blocks(NUMBERS // 3):
        progress(Step("leaving out by weights", done, n, unit="rows"))
        weights, k[here] = smoothed_weights(log_densities)
        residual, _ = asked.predictive(here)
        values[here] = np.einsum("cdi,cdi->i", weights, ndtr(residual))
        done += len(here)
    progress(Step("leaving out by weights", done, n, unit="rows"))
    return LooPit(fit.spec.name, values, k, good_k(chains * draws))
