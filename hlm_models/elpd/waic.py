"""The widely applicable information criterion, on the scale of the log predictive density."""

import numpy as np
from scipy.special import logsumexp

from hlm_models.elpd.estimate import Elpd
from hlm_models.elpd.grouping import Grouping
from hlm_models.elpd.pointwise import Focus, log_likelihood
from hlm_models.errors import InputErrors
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only

__all__ = ["waic"]

NUMBERS = 4_000_000
"""Log likelihoods that are there at a time."""


def waic(fit: PosteriorFit, focus: Focus = "observation", by: str | Grouping | None = None) -> Elpd:
    """Expected log predictive density by the widely applicable information criterion.

    The log mean density of each column, less the variance of its log over the draws. Of a row it is
    of the density given the drawn effects only: the integrated form is given the group's other
    rows, so that the columns would not be independent given the parameters.

    Parameters
    ----------
    focus, by : of `log_likelihood`

    Raises
    ------
    InputErrors
        as `log_likelihood`; `by` is given with focus "observation".
    RefusalError
        the fit is a point fit.

    Source: Watanabe (2010), JMLR 11; Vehtari, Gelman and Gabry (2017),
    doi:10.1007/s11222-016-9696-4, section 2.2.
    """
    fit = posterior_only(fit, "waic")
    if focus == "observation" and by is not None:
        raise InputErrors.one(
            "WAIC of rows is of their density given the drawn effects, for it needs rows that are "
            "independent given the parameters, and those with the effects integrated out are not: "
            "leave out by, or take focus='group', or hlm.loo(..., form='integrated')",
            key="by",
        )
    asked = log_likelihood(fit, focus, by)
    chains, draws, size = asked.shape
    lpd, variance = np.empty(size), np.empty(size)
    for here, values in asked.blocks(NUMBERS):
        lpd[here] = logsumexp(values, axis=(0, 1)) - np.log(chains * draws)
        variance[here] = np.var(values, axis=(0, 1), ddof=1)
    return Elpd(
        model=fit.spec.name,
        method="waic",
        focus=asked.focus,
        by=asked.by,
        names=asked.names,
        pointwise=lpd - variance,
        lpd=lpd,
        pareto_k=np.full(size, np.nan),
        good_k=np.nan,
        how=tuple("waic" for _ in range(size)),
        draws=chains * draws,
    )
