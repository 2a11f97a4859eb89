"""How far each group moves a posterior: what would change if it were left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.elpd.grouping import Grouping
from hlm_models.elpd.pointwise import log_likelihood
from hlm_models.elpd.psis import good_k, smoothed_weights
from hlm_models.elpd.refits import gravest, refits
from hlm_models.results.checks import Check
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.progress import Progress, silent
from hlm_models.results.summary import parameter_draws, parameters
from hlm_models.types import FloatArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Influence", "influence"]


@dataclass(frozen=True, eq=False)
class Influence:
    """How far the posterior mean of each parameter moves when a level is left out.

    change (J, m) : mean without the level less mean with it, in posterior standard deviations; of
        coefficients, logarithms of standard deviations, and log sigma
    pareto_k (J,) : of the importance weights by which a level is left out
    how (J,) : by those weights, or by a fit without the level where they are not good enough
    checks : of the sampling of these fits, of each code the gravest
    """

    model: str
    group: str
    levels: tuple[str, ...]
    parameters: tuple[str, ...]
    change: FloatArray
    pareto_k: FloatArray
    good_k: float
    how: tuple[Literal["psis", "refit"], ...]
    checks: tuple[Check, ...]

    def frame(self) -> "pd.DataFrame":
        """One row a level: the changes by parameter, pareto_k, how."""
        import pandas as pd

        columns = dict(zip(self.parameters, self.change.T, strict=True))
        return pd.DataFrame(
            columns | {"pareto_k": self.pareto_k, "how": list(self.how)},
            index=pd.Index(self.levels, name=self.group),
        )


def influence(
    fit: PosteriorFit, by: str | Grouping | None = None, *, progress: Progress = silent
) -> Influence:
    """How far each group moves the posterior means of coefficients, log sds and log sigma.

    By importance weights of the log density of the group's rows, its effects integrated out, where
    their Pareto k is good; by an exact fit without the group where it is not.

    Parameters
    ----------
    by : a group of the model, or other levels of its rows; may be left out where the model has one

    Raises
    ------
    InputErrors
        there is no such group, or several and none is named.
    RefusalError
        the fit is a point fit (`case_deletion` is for these), or the engine refuses what is left.
    FitError
        a fit without a group fails; says which.

    Source: Vehtari et al. (2024), JMLR 25(72), for the weights and k.
    """
    fit = posterior_only(fit, "influence")
    scored = log_likelihood(fit, "group", by)
    named = _draws(fit)
    draws = np.stack(list(named.values()), axis=-1)
    mean, sd = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1), ddof=1)
    change, k = np.empty((scored.size, len(named))), np.empty(scored.size)
    for here, values in scored.blocks():
        weights, k[here] = smoothed_weights(values)
        change[here] = (np.einsum("cdj,cdm->jm", weights, draws) - mean) / sd
    limit = good_k(draws[..., 0].size)
    bad = [[column] for column, one in enumerate(k.tolist()) if not one <= limit]
    checks: list[tuple[Check, str]] = []
    for one in refits(scored, fit, bad, progress):
        again = np.stack(list(_draws(one.fit).values()), axis=-1)
        change[one.columns] = (again.mean(axis=(0, 1)) - mean) / sd
        checks += one.checks
    return Influence(
        model=fit.spec.name,
        group=scored.by or "",
        levels=tuple(map(str, scored.names)),
        parameters=tuple(named),
        change=frozen(change),
        pareto_k=frozen(k),
        good_k=limit,
        how=tuple("psis" if one <= limit else "refit" for one in k.tolist()),
        checks=gravest(checks),
    )


def _draws(fit: PosteriorFit) -> Mapping[str, FloatArray]:
    """Draws (chains, draws) of what may move, on the scale on which it is told."""
    values = parameter_draws(fit)
    found = {}
    for one in parameters(fit.spec):
        if one.variable == "beta":
            found[one.name] = values[one.name]
        elif one.variable == "sigma" or one.variable.startswith("sd_"):
            found[f"log {one.name}"] = np.log(values[one.name])
    return found
