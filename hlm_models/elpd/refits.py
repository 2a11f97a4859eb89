"""The model fitted again without some of its rows, and what it then foresees of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from hlm_models.config.settings import FitSettings
from hlm_models.elpd.pointwise import LogLikelihood
from hlm_models.engines.find import require
from hlm_models.errors import FitError, RefusalError
from hlm_models.results.checks import Check
from hlm_models.results.design_checks import design_checks
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import EFFECTS_SEED
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.target.conditional import effects_of
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Refit", "Refits", "by_fold", "exact", "gravest", "log_means", "refits"]

PURPOSE = 3
"""First number of the seeds' spawn keys: an engine itself spawns 0 to 2."""

NAMED = 3
"""Columns of a fold that a message names."""

TOGETHER = 20_000_000
"""About so many log likelihoods are there at a time."""


@dataclass(frozen=True, eq=False)
class Refit:
    """The fit without some columns, and what it foresees of them.

    log_density (m,) : log of the mean density of each column over the draws
    checks : of the sampling, and what was left out in words
    """

    columns: IntArray
    fit: PosteriorFit
    log_density: FloatArray
    checks: tuple[tuple[Check, str], ...]


@dataclass(frozen=True, eq=False)
class Refits:
    """What fits without columns of a log likelihood foresee of them.

    log_density (m,) : log p(column | what its fit had), in the order of the columns asked for
    checks : of the sampling of all fits, of each code the gravest; the message names the fit
    """

    log_density: FloatArray
    checks: tuple[Check, ...]


def exact(
    log_likelihood: LogLikelihood,
    fit: PosteriorFit,
    columns: Sequence[int] | IntArray,
    progress: Progress = silent,
) -> Refits:
    """Leave-one-out without importance weights: a fit without each of some columns.

    Whatever the form of the log likelihood: its mean density over the draws of the fit without a
    column is that of the column given the others.

    Raises
    ------
    FitError, RefusalError
        as `refits`.
    """
    return by_fold(log_likelihood, fit, [[column] for column in columns], progress)


def by_fold(
    log_likelihood: LogLikelihood,
    fit: PosteriorFit,
    folds: Sequence[Sequence[int] | IntArray],
    progress: Progress = silent,
) -> Refits:
    """The same where the columns of a fold are left out together.

    Raises
    ------
    FitError, RefusalError
        as `refits`.
    """
    densities = [np.zeros(0)]
    checks: list[tuple[Check, str]] = []
    for one in refits(log_likelihood, fit, folds, progress):
        densities.append(one.log_density)
        checks += one.checks
    return Refits(np.concatenate(densities), gravest(checks))


def refits(
    log_likelihood: LogLikelihood,
    fit: PosteriorFit,
    folds: Sequence[Sequence[int] | IntArray],
    progress: Progress = silent,
) -> Iterator[Refit]:
    """Fits without the rows of each fold, in turn; a fold is some columns of the log likelihood.

    By the engine of `fit`, in the same form, with as many chains and draws. What a fit does not
    record (tune, target_accept, thin, cores) is as in the model file. The seed of a fold is that of
    its lowest column, so that neither the order of folds nor which there are changes a number.

    Parameters
    ----------
    log_likelihood : of `fit`, with any focus and form

    Raises
    ------
    FitError, RefusalError
        a fit fails, or the engine cannot make it; says without which columns.
    """
    for done, fold in enumerate(folds):
        progress(Step("fitting without rows", done, len(folds), unit="fits"))
        columns = np.asarray(fold, dtype=np.int64)
        label = _label(log_likelihood, columns)
        found = _without(log_likelihood, fit, columns, label)
        likelihood = replace(log_likelihood, posterior=_posterior(found))
        # Those of the model are there whatever was sampled.
        own = {check.code for check in design_checks(found.spec)}
        checks = tuple((check, label) for check in found.checks if check.code not in own)
        yield Refit(columns, found, log_means(likelihood, columns), checks)
    progress(Step("fitting without rows", len(folds), len(folds), unit="fits"))


def gravest(checks: Iterable[tuple[Check, str]]) -> tuple[Check, ...]:
    """Of every code the check that is the worst, saying of which fit it is and how many are so."""
    by_code: dict[str, list[tuple[Check, str]]] = {}
    for check, label in checks:
        by_code.setdefault(check.code, []).append((check, label))
    return tuple(_gravest(some) for some in by_code.values())


def log_means(log_likelihood: LogLikelihood, columns: IntArray) -> FloatArray:
    """Log of the mean density of some columns (m,) over all draws."""
    chains, draws, _ = log_likelihood.shape
    found, step = np.empty(len(columns)), max(1, TOGETHER // (chains * draws))
    for lo in range(0, len(columns), step):
        here = slice(lo, lo + step)
        found[here] = logsumexp(log_likelihood.take(columns[here]), axis=(0, 1))
    return np.asarray(found - np.log(chains * draws))


def _without(
    log_likelihood: LogLikelihood, fit: PosteriorFit, columns: IntArray, label: str
) -> PosteriorFit:
    """The fit without the rows of some columns."""
    rows = np.concatenate([log_likelihood.rows(column) for column in columns.tolist()])
    child = np.random.SeedSequence(fit.seed, spawn_key=(PURPOSE, int(columns.min())))
    spec = fit.spec.without(rows)
    try:
        engine = require(fit.engine, spec)
        found = engine.fit(spec, _settings(fit, int(child.generate_state(1)[0])), silent)
    except (FitError, RefusalError) as error:
        raise type(error)(f"fitting without {label}: {error}") from error
    assert isinstance(found, PosteriorFit)
    return found


def _settings(fit: PosteriorFit, seed: int) -> FitSettings:
    """How `fit` was made, as far as it tells."""
    settings, sizes = fit.spec.fit, fit.data["posterior"].sizes
    form: dict[str, object] = {"sampler": fit.sampler, "parameterization": fit.parameterization}
    if fit.engine == "gibbs":
        form = {"gibbs": settings.gibbs.model_copy(update={"scheme": fit.parameterization})}
    own = {"chains": sizes["chain"], "draws": sizes["draw"], "seed": seed}
    return settings.model_copy(update=own | form)


def _posterior(fit: PosteriorFit) -> "Dataset":
    """Draws with the effects: the model of all rows would draw others in their place."""
    posterior = fit.data["posterior"].to_dataset()
    if EFFECTS_SEED in posterior.attrs:
        return posterior.assign(effects_of(fit.spec, posterior))
    return posterior


def _label(log_likelihood: LogLikelihood, columns: IntArray) -> str:
    """What is left out, in words."""
    names = [str(log_likelihood.names[column]) for column in columns[:NAMED].tolist()]
    others = len(columns) - len(names)
    more = f" and {others:,} others" if others else ""
    return f"{log_likelihood.by or 'row'} {', '.join(names)}{more}"


def _gravest(checks: list[tuple[Check, str]]) -> Check:
    """The check of one code that is the worst, and how many are like it."""
    check, label = max(checks, key=lambda one: _gravity(one[0]))
    message = f"{check.message} without {label}"
    if check.status != "pass":
        count = sum(one.status == check.status for one, _ in checks)
        message += f"; so {check.status} {count} of {len(checks)} fits"
    return replace(check, message=message)


def _gravity(check: Check) -> tuple[int, float]:
    """Status, then value, turned so that more is worse."""
    assert check.value is not None
    assert check.threshold is not None
    upwards = (check.value > check.threshold) == (check.status != "pass")
    return ("pass", "warn", "fail").index(check.status), check.value if upwards else -check.value
