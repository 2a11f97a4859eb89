"""The two kinds of result: a point estimate with standard errors, and a posterior."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hlm_models.results.checks import Check
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from xarray import DataTree

__all__ = ["Fit", "PointFit", "PosteriorFit", "RandomEstimate"]


@dataclass(frozen=True, eq=False)
class RandomEstimate:
    """Estimates of one block.

    sd (q,), corr (q, q) and cov (q, q) of a level's effects; `se_log_sd` (q,) and `se_z_corr`
    (q, q) are standard errors of log sd and of Fisher's z of each correlation, by the delta method
    from the observed information, NaN where the estimate is on the boundary. b (J, q) are the
    conditional means (BLUPs) and b_cov (J, q, q) their conditional covariances given theta.
    """

    group: str
    columns: tuple[str, ...]
    sd: FloatArray
    corr: FloatArray
    cov: FloatArray
    Lambda: FloatArray
    singular: bool
    se_log_sd: FloatArray
    se_z_corr: FloatArray
    b: FloatArray
    b_cov: FloatArray


@dataclass(frozen=True, eq=False)
class PointFit:
    """REML or ML fit.

    `criterion` is minus twice the (restricted) log likelihood at the optimum, in raw columns;
    theta the lower triangles of the relative factors by columns, terms in lme4's order, with
    theta_ii >= 0; df Satterthwaite's degrees of freedom of each coefficient. `starts` lists the
    criterion that each start of the search reached. A sigma that is known is 1, without a standard
    error, and multiplies the residual standard deviations of the rows.

    What inference builds on: `vcov_phi` (m, m), the asymptotic covariance of the m variance
    parameters phi = (theta in scaled columns, log sigma), with zeros for a sigma that is known, and
    `vcov_slopes` (m, p, p), the derivatives of `vcov_beta` with respect to them.
    """

    spec: ModelSpec
    engine: Literal["reml", "ml"]
    criterion: float
    beta: FloatArray
    vcov_beta: FloatArray
    df: FloatArray
    vcov_slopes: FloatArray
    vcov_phi: FloatArray
    sigma: float
    se_log_sigma: float
    theta: FloatArray
    random: tuple[RandomEstimate, ...]
    starts: tuple[float, ...]
    checks: tuple[Check, ...]
    seconds: Mapping[str, float]
    seed: int

    def __repr__(self) -> str:
        from hlm_models.results.shown import fit_text

        return fit_text(self)

    def _repr_html_(self) -> str:
        from hlm_models.results.shown import fit_html

        return fit_html(self)

    def timed(self, seconds: Mapping[str, float]) -> "PointFit":
        """The same fit with the wall time of its steps."""
        return replace(self, seconds=seconds)

    @property
    def singular(self) -> bool:
        return any(estimate.singular for estimate in self.random)

    @property
    def converged(self) -> bool:
        return all(check.status != "fail" for check in self.checks)

    @property
    def parameters(self) -> int:
        """Number of estimated parameters: p + n_theta + 1, less the 1 where sigma is known."""
        return len(self.beta) + len(self.theta) + (self.spec.design.sigma is None)

    @property
    def loglik(self) -> float:
        return -self.criterion / 2

    @property
    def aic(self) -> float:
        return self.criterion + 2 * self.parameters

    @property
    def aicc(self) -> float:
        """AIC with the small-sample term of Hurvich and Tsai (1989), doi:10.1093/biomet/76.2.297.

        The number of observations is n, or n - p under REML; infinite where it is too small.
        """
        k = self.parameters
        left = self.spec.design.n - (len(self.beta) if self.engine == "reml" else 0) - k - 1
        return self.aic + 2 * k * (k + 1) / left if left > 0 else math.inf

    @property
    def bic(self) -> float:
        return self.criterion + self.parameters * math.log(self.spec.design.n)


@dataclass(frozen=True, eq=False)
class PosteriorFit:
    """Draws from the posterior.

    `data` is an ArviZ DataTree with the groups prior, posterior, posterior_predictive,
    sample_stats, observed_data, and log_likelihood when it was asked for. Posterior variables are
    the same for every sampler: beta(coef), sigma (ones where it is known), and for each group g
    b_g(g, effect_g), sd_g(effect_g), corr_g(effect_g, effect_g_2). Of gibbs the sampler is its
    name, the parameterization its scheme, and there are no divergences.
    """

    spec: ModelSpec
    engine: Literal["nuts", "gibbs"]
    data: "DataTree"
    sampler: str
    parameterization: str
    divergences: int
    checks: tuple[Check, ...]
    seconds: Mapping[str, float]
    seed: int

    def __repr__(self) -> str:
        from hlm_models.results.shown import fit_text

        return fit_text(self)

    def _repr_html_(self) -> str:
        from hlm_models.results.shown import fit_html

        return fit_html(self)

    @property
    def singular(self) -> bool:
        """A posterior under proper priors is not on the boundary."""
        return False

    @property
    def converged(self) -> bool:
        return all(check.status != "fail" for check in self.checks)


Fit = PosteriorFit | PointFit
