"""What the priors of any model say before the data: draws, a table, and a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlm_models.api.models import build, located
from hlm_models.results.arguments import checked_count, checked_seed
from hlm_models.results.prior import ImpliedPrior, implied_prior
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.spec.model import ModelSpec

if TYPE_CHECKING:
    import pandas as pd
    from xarray import DataTree

    from hlm_models.config.settings import ModelConfig

    Model = ModelSpec | str | Path | Mapping[str, Any] | ModelConfig

__all__ = ["implied", "prior_predictive", "prior_summary", "write_prior"]

DRAWS = 1000


def prior_predictive(model: "Model", draws: int = DRAWS, *, seed: int | None = None) -> "DataTree":
    """Draws from the prior as a DataTree: prior, prior_predictive (y_obs) and observed_data.

    `prior` has beta, sigma, sd_g and corr_g, and b_g where every draw has a response; of responses
    at most 5,000,000 numbers are drawn, and the draws thinned evenly. They are exact: no sampler is
    at work.

    Parameters
    ----------
    model : a model, or what `build` takes
    draws : from the prior
    seed : `fit.seed` of the model by default

    Raises
    ------
    InputErrors
        a problem of the model or an argument; an improper prior, with the parameters named.
    """
    return implied(model, draws, seed=seed).data


def prior_summary(model: "Model", draws: int = DRAWS, *, seed: int | None = None) -> "pd.DataFrame":
    """What the priors imply, one row a quantity.

    Columns mean, median, lower and upper (central 90%), observed (in the data; of the response
    only) and finding (a sentence where something is peculiar). Rows are the parameters; `icc_g`,
    the share of a group in the variance of groups and residual, and of its intercept alone; `r2`,
    the share of the fixed part in all of the variance; `y`, and numbers of all responses together.

    Parameters
    ----------
    model, draws, seed : as of `prior_predictive`

    Raises
    ------
    InputErrors
        as `prior_predictive`.
    """
    return implied(model, draws, seed=seed).frame()


def write_prior(
    model: "Model | ImpliedPrior", path: str | Path, draws: int = DRAWS, *, seed: int | None = None
) -> Path:
    """Write a page of what the priors imply to `path`; returns it.

    Raises
    ------
    InputErrors
        as `prior_predictive`, or the folder is not there.
    """
    from hlm_models.api.folders import page_file
    from hlm_models.report.prior import render

    target = page_file(path)
    found = model if isinstance(model, ImpliedPrior) else implied(model, draws, seed=seed)
    target.write_text(render(found), encoding="utf-8")
    return target


def implied(
    model: "Model",
    draws: int = DRAWS,
    *,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
    progress: Progress = silent,
) -> ImpliedPrior:
    """Draws from the prior with all that is derived from them."""
    count = checked_count(draws, "draws", least=2)
    spec = (
        model
        if isinstance(model, ModelSpec)
        else build(model, overrides=overrides, folders=folders, progress=progress)
    )
    progress(Step("drawing from the prior"))
    chosen = spec.fit.seed if seed is None else checked_seed(seed)
    with located(model, folders, overrides):
        return implied_prior(spec, count, chosen)
