"""What a fit says of the population parameters, as few numbers as a badge keeps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.summary import draw_row, mcse, parameter_draws, parameters, point_values

__all__ = ["CRITERIA", "Estimate", "Estimates", "estimates"]

CRITERIA = ("criterion", "loglik", "aic", "bic")
"""What a point fit has beside its parameters."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate and standard error, or posterior mean and sd with their Monte Carlo errors.

    `error` is the standard error, or the sd; None where there is none, as on the boundary.
    """

    value: float
    error: float | None
    mcse: float | None = None
    mcse_error: float | None = None


@dataclass(frozen=True, slots=True)
class Estimates:
    """What one engine found.

    `parameters` by the names of `hlm.summary`; `criteria` are criterion, loglik, aic and bic of a
    point fit; `failed` the checks that failed, as their code and message.
    """

    engine: str
    parameters: Mapping[str, Estimate]
    criteria: Mapping[str, float]
    failed: tuple[str, ...]
    seconds: float

    @property
    def draws(self) -> bool:
        """Whether they are of a posterior: a point fit has a criterion."""
        return not self.criteria

    def number(self, name: str) -> float | None:
        """The number that a reference calls `name`; None where it is absent."""
        if name in self.criteria:
            return self.criteria[name]
        if name.startswith("se["):
            return self.parameters[f"beta[{name.removeprefix('se[')}"].error
        return self.parameters[name].value


def estimates(fit: Fit) -> Estimates:
    """The numbers of a fit that references and badges are about."""
    return Estimates(
        engine=fit.engine,
        parameters=_drawn(fit) if isinstance(fit, PosteriorFit) else _point(fit),
        criteria={name: getattr(fit, name) for name in CRITERIA}
        if isinstance(fit, PointFit)
        else {},
        failed=tuple(f"{one.code}: {one.message}" for one in fit.checks if one.status == "fail"),
        seconds=sum(fit.seconds.values()),
    )


def _point(fit: PointFit) -> dict[str, Estimate]:
    return {
        name: Estimate(value, se if math.isfinite(se) else None)
        for name, (value, se) in point_values(fit).items()
    }


def _drawn(fit: PosteriorFit) -> dict[str, Estimate]:
    draws = parameter_draws(fit)
    found = {}
    for one in parameters(fit.spec):
        row = draw_row(one.name, draws[one.name])
        found[one.name] = Estimate(row.mean, row.sd, row.mcse_mean, mcse(draws[one.name], "sd"))
    return found
