"""Leave-one-out by importance weights, with something better where they are not good enough."""

import numpy as np

from hlm_models.elpd.estimate import Elpd, How
from hlm_models.elpd.grouping import Grouping, grouping
from hlm_models.elpd.levels import nested
from hlm_models.elpd.pointwise import Focus, Form, LogLikelihood, log_likelihood
from hlm_models.elpd.psis import LeaveOneOut, good_k, leave_one_out
from hlm_models.elpd.refits import exact
from hlm_models.results.checks import Check
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.spec.model import ModelSpec
from hlm_models.types import IntArray

__all__ = ["loo", "own_group"]

NUMBERS = 4_000_000
"""Log likelihoods that are there at a time."""


def loo(
    fit: PosteriorFit,
    focus: Focus = "observation",
    by: str | Grouping | None = None,
    *,
    form: Form = "conditional",
    refit: bool = True,
    progress: Progress = silent,
) -> Elpd:
    """Expected log predictive density of a row, or of a group's rows, given all the others.

    By Pareto-smoothed importance weights of the draws; the number of weights that are smoothed is
    that of R's package loo, given how far the draws of a column depend on each other.

    Parameters
    ----------
    focus, form : of `log_likelihood`. Both forms of a row estimate the same, log p(y_i | all other
        rows); the weights of the integrated one are steadier, and it takes longer
    by : with focus "group", the levels that are left out. Of rows, the levels whose effects the
        integrated form integrates out; where the conditional form is asked for, it is tried where
        the weights are not good enough, by the outermost of the groups that the one with the most
        levels is nested in, unless `by` says otherwise
    refit : fit the model again without each row or group whose weights are still not good enough;
        else these values stay, and are counted in `Elpd.bad`

    Raises
    ------
    InputErrors
        as `log_likelihood`.
    RefusalError
        the fit is a point fit, or its engine cannot fit the rows that are left.
    FitError
        a fit without some rows fails; says without which.

    Source: Vehtari, Gelman and Gabry (2017), doi:10.1007/s11222-016-9696-4; Vehtari et al. (2024),
    JMLR 25(72).
    """
    fit = posterior_only(fit, "loo")
    conditional = focus == "observation" and form == "conditional"
    asked = log_likelihood(fit, focus, None if conditional else by, form=form)
    draws = asked.shape[0] * asked.shape[1]
    good = good_k(draws)
    found = _by_weights(asked, np.arange(asked.size), progress)
    pointwise, k = found.elpd, found.pareto_k
    how: list[How] = ["psis" if asked.form == "conditional" else "integrated"] * asked.size
    best = asked
    if conditional and (within := own_group(fit.spec, by)) is not None:
        best = log_likelihood(fit, by=within, form="integrated")
        bad = np.flatnonzero(~(k <= good))
        again = _by_weights(best, bad, progress)
        for place in np.flatnonzero(again.pareto_k <= good):
            column = bad[place]
            pointwise[column], k[column] = again.elpd[place], again.pareto_k[place]
            how[column] = "integrated"
    checks: tuple[Check, ...] = ()
    bad = np.flatnonzero(~(k <= good))
    if refit and len(bad):
        fitted = exact(best, fit, bad, progress)
        pointwise[bad], checks = fitted.log_density, fitted.checks
        for column in bad:
            how[column] = "refit"
    return Elpd(
        model=fit.spec.name,
        method="loo",
        focus=asked.focus,
        by=asked.by,
        names=asked.names,
        pointwise=pointwise,
        lpd=found.lpd,
        pareto_k=k,
        good_k=good,
        how=tuple(how),
        draws=draws,
        checks=checks,
    )


def own_group(spec: ModelSpec, by: str | Grouping | None) -> Grouping | None:
    """The levels whose effects are integrated out of a row's density; None of a model without any.

    Unless `by` names them: those of the outermost group that the group with the most levels is
    nested in. Its effects hang on the row the most, and everything nested goes with it.
    """
    if by is not None or not spec.blocks:
        return None if by is None else grouping(spec, by)
    finest, *others = spec.blocks
    around = [block for block in others if nested(finest, block)]
    return grouping(spec, (around or [finest])[-1].group)


def _by_weights(asked: LogLikelihood, columns: IntArray, progress: Progress) -> LeaveOneOut:
    """Leave-one-out of some columns."""
    found = np.empty((3, asked.size))
    unit = "rows" if asked.by is None else "groups"
    done = 0
    for here, values in asked.blocks(NUMBERS, columns):
        progress(Step("leaving out by weights", done, len(columns), unit=unit))
        one = leave_one_out(values)
        found[:, here] = one.elpd, one.lpd, one.pareto_k
        done += len(here)
    progress(Step("leaving out by weights", done, len(columns), unit=unit))
    return LeaveOneOut(*found[:, columns])
