"""Draws of what the marginal form samples: the variance parameters and the free coefficients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hlm_models.errors import FitError
from hlm_models.results.posterior import STATISTICS
from hlm_models.spec.integration import integration
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from xarray import DataTree

__all__ = ["VarianceDraws", "variances_of"]


@dataclass(frozen=True, slots=True)
class VarianceDraws:
    """Draws of what is sampled; one entry a draw, chains kept apart.

    sigma (chains, draws), beta_free (chains, draws, p - d), and for every block sd (chains, draws,
    q), corr (chains, draws, q, q) and its Cholesky factor. `shrinkage` has the hyperparameters of a
    prior of coefficients together, by name.
    """

    sigma: FloatArray
    sd: tuple[FloatArray, ...]
    corr: tuple[FloatArray, ...]
    factor: tuple[FloatArray, ...]
    beta_free: FloatArray
    shrinkage: Mapping[str, FloatArray] = field(default_factory=dict)

    def at(self, chain: int, draws: slice = slice(None)) -> "VarianceDraws":
        """Some draws of one chain: the same arrays without the axis of chains."""
        return VarianceDraws(
            self.sigma[chain, draws],
            tuple(one[chain, draws] for one in self.sd),
            tuple(one[chain, draws] for one in self.corr),
            tuple(one[chain, draws] for one in self.factor),
            self.beta_free[chain, draws],
            {name: one[chain, draws] for name, one in self.shrinkage.items()},
        )

    @property
    def raw(self) -> tuple[FloatArray, ...]:
        """Relative factors diag(sd) L_corr / sigma (..., q, q) of the raw columns."""
        scale = self.sigma[..., None, None]
        return tuple(
            sd[..., None] * factor / scale for sd, factor in zip(self.sd, self.factor, strict=True)
        )


def variances_of(spec: ModelSpec, raw: "DataTree") -> tuple[VarianceDraws, dict[str, NDArray[Any]]]:
    """Variance parameters and free coefficients, and statistics by the sampler's names.

    Raises
    ------
    FitError
        a correlation matrix has no Cholesky factor at some draw.
    """
    posterior, stats = raw["posterior"], raw["sample_stats"]

    def values(name: str) -> NDArray[np.float64]:
        return np.asarray(posterior[name].transpose("chain", "draw", ...).values)

    groups = [block.group for block in spec.blocks]
    corr = tuple(values(f"corr_{g}") for g in groups)
    try:
        factor = tuple(np.linalg.cholesky(one) for one in corr)
    except np.linalg.LinAlgError as error:
        raise FitError("a correlation matrix of the posterior is singular") from error
    sigma = values("sigma")
    free, joint = len(integration(spec).free), spec.priors.shrinkage
    found = VarianceDraws(
        sigma,
        tuple(values(f"sd_{g}") for g in groups),
        corr,
        factor,
        values("beta_free") if free else np.zeros((*sigma.shape, 0)),
        {} if joint is None else {name: values(name) for name in joint.dims},
    )
    kept = [str(name) for name in stats.data_vars if name in STATISTICS]
    return found, {name: stats[name].transpose("chain", "draw").values for name in kept}
