"""K-fold cross-validation: every part of the data foreseen by a fit to the rest."""

import numpy as np

from hlm_models.elpd.estimate import Elpd
from hlm_models.elpd.grouping import Grouping
from hlm_models.elpd.pointwise import log_likelihood
from hlm_models.elpd.refits import by_fold, log_means
from hlm_models.errors import InputErrors
from hlm_models.results.arguments import checked_count, checked_seed
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.progress import Progress, silent

__all__ = ["kfold"]


def kfold(
    fit: PosteriorFit,
    k: int = 10,
    by: str | Grouping | None = None,
    *,
    seed: int | None = None,
    progress: Progress = silent,
) -> Elpd:
    """Expected log predictive density by K-fold cross-validation with real refits.

    With `by` whole groups are left out, and the value of each is the joint log density of its rows
    with its effects integrated out; without it rows are, and the value of each is log p(y_i | rows
    of the other folds). Folds are random and of sizes as equal as may be. Every fold is one fit by
    the engine of `fit`; `lpd` is of `fit` itself.

    Parameters
    ----------
    k : folds, from 2 to the number of groups or rows; as many as there are is leave-one-out
    by : a group of the model, or other levels of its rows
    seed : of the folds; that of the fit where it is left out

    Raises
    ------
    InputErrors
        k is none of those, or there is no such group.
    RefusalError
        the fit is a point fit, or the engine cannot fit the rows that a fold leaves.
    FitError
        the fit without a fold fails; says which.

    Source: Vehtari, Gelman and Gabry (2017), doi:10.1007/s11222-016-9696-4.
    """
    fit = posterior_only(fit, "kfold")
    scored = log_likelihood(fit, "observation" if by is None else "group", by)
    size = scored.size
    if checked_count(k, "k", least=2) > size:
        what = "rows" if scored.by is None else f"levels of {scored.by}"
        raise InputErrors.one(f"{k} folds of {size} {what}: give k from 2 to {size}", key="k")
    rng = np.random.default_rng(fit.seed if seed is None else checked_seed(seed))
    folds = [np.sort(fold) for fold in np.array_split(rng.permutation(size), k)]
    found = by_fold(scored, fit, folds, progress)
    pointwise = np.empty(size)
    pointwise[np.concatenate(folds)] = found.log_density
    chains, draws, _ = scored.shape
    return Elpd(
        model=fit.spec.name,
        method="kfold",
        focus=scored.focus,
        by=scored.by,
        names=scored.names,
        pointwise=pointwise,
        lpd=log_means(scored, np.arange(size)),
        pareto_k=np.full(size, np.nan),
        good_k=np.nan,
        how=tuple("refit" for _ in range(size)),
        draws=chains * draws,
        folds=k,
        checks=found.checks,
    )
