"""A small sampler by hand, right or wrong as one likes, in the place of an engine.

y ~ 1 + (1 | g) with a normal prior of the intercept and uniform priors of sigma and sd: given the
coefficients, 1 / sigma^2 has a gamma distribution cut off below, with n - 1 degrees of freedom.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import gammaincc, gammainccinv

import hlm_models as hlm
from hlm_models.engines.find import Engine
from hlm_models.errors import FitError
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import coordinates, variables

UPPER = 2.0
CHAINS, SWEEPS = 200, 25
PRIORS = {
    "beta": {"kind": "normal", "loc": 0.5, "scale": 2.0},
    "groups": {"g": {"kind": "diagonal", "sd": {"kind": "uniform", "lower": 0, "upper": UPPER}}},
    "sigma": {"kind": "uniform", "lower": 0, "upper": UPPER},
}


def model(**changes):
    """Twelve rows, four levels."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"y": rng.normal(size=12), "g": [*"aaabbbcccddd"]})
    config = {"schema": 1, "name": "toy", "data": {"source": "frame"}, "formula": "y ~ 1 + (1 | g)"}
    return hlm.build({**config, "priors": PRIORS, **changes}, data=frame)


@dataclass(frozen=True)
class Toy:
    """Independent chains, of which the last state is kept, as two chains of 100 draws.

    sigma_df, sd_df : degrees of freedom too many; 0 is right
    fails : whether to refuse responses that begin above 1
    stuck : whether sigma never moves
    asked : the draws that each fit was asked for
    """

    sigma_df: float = 0.0
    sd_df: float = 0.0
    fails: bool = False
    stuck: bool = False
    asked: list[int] = field(default_factory=list)

    def fit(self, spec, settings, progress):
        self.asked.append(settings.draws)
        if self.fails and spec.design.y[0] > 1:
            raise FitError("<b>too large</b> & more")
        draws = self.draws(spec, settings.seed)
        return fitted(spec, draws | {"sigma": np.ones(CHAINS)} if self.stuck else draws, settings)

    def draws(self, spec, seed):
        rng = np.random.default_rng(seed)
        [block], [beta] = spec.blocks, spec.priors.beta
        X = np.column_stack([spec.design.X, np.eye(block.J)[block.level]])
        products, right = X.T @ X, X.T @ spec.design.y
        sigma, sd = (rng.uniform(0, UPPER, CHAINS) for _ in range(2))
        for _ in range(SWEEPS):
            precision = np.full((CHAINS, 1 + block.J), 1 / beta.scale**2)
            precision[:, 1:] = (sd**-2.0)[:, None]
            w = (sigma**-2.0)[:, None]
            mean = right * w + np.array([beta.loc / beta.scale**2, *np.zeros(block.J)])
            L = np.linalg.cholesky(products * w[:, None] + precision[:, None] * np.eye(1 + block.J))
            half = np.linalg.solve(L, mean[..., None]) + rng.standard_normal((*mean.shape, 1))
            u = np.linalg.solve(np.swapaxes(L, 1, 2), half)[..., 0]
            squares = np.sum((spec.design.y - u @ X.T) ** 2, axis=1)
            sigma = scale_given(rng, squares, spec.design.n - 1 + self.sigma_df)
            sd = scale_given(rng, np.sum(u[:, 1:] ** 2, axis=1), block.J - 1 + self.sd_df)
        return {
            "beta": u[:, :1],
            "sigma": sigma,
            "sd_g": sd[:, None],
            "corr_g": np.ones((CHAINS, 1, 1)),
            "b_g": u[:, 1:, None],
        }


def scale_given(rng, squares, df):
    """Standard deviations below UPPER whose inverse squares are gamma(df / 2, squares / 2)."""
    tail = gammaincc(df / 2, squares / 2 / UPPER**2)
    return np.sqrt(squares / 2 / gammainccinv(df / 2, tail * rng.uniform(size=len(squares))))


def fitted(spec, draws, settings):
    """Draws (200, ...) as the two chains of a fit."""
    dims, names = variables(spec), coordinates(spec)
    posterior = xr.Dataset(
        {
            name: (("chain", "draw", *dims[name]), value.reshape(2, -1, *value.shape[1:]))
            for name, value in draws.items()
        },
        coords={dim: np.array(found, dtype=object) for dim, found in names.items()},
    )
    return PosteriorFit(
        spec=spec,
        engine="gibbs",
        data=xr.DataTree.from_dict({"posterior": posterior}),
        sampler="toy",
        parameterization="centered",
        divergences=0,
        checks=(),
        seconds={},
        seed=settings.seed,
    )


def none(spec):
    return ()


def engine(toy, *, draws=True):
    return Engine("toy", draws, none, toy.fit)
