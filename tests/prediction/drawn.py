"""Posteriors without a sampler: any variance parameters and coefficients, and b given these."""

import numpy as np
import pandas as pd
import xarray as xr

import hlm_models as hlm
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import draws_dataset
from hlm_models.target.conditional import draw_effects
from hlm_models.target.draws import VarianceDraws


def made_up(n=90):
    rng = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "y": rng.normal(10, 3, n),
            "x": rng.normal(4, 2, n),
            "g": rng.choice(list("pqrst"), n),
            "h": rng.choice(list("abc"), n),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
        }
    )


def spec_of(formula, data=None, **keys):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula, **keys}
    return hlm.build(model, data=made_up() if data is None else data)


def drawn_fit(spec, *, chains=2, draws=40, seed=0, sd=1.0):
    """Draws that no data have shaped, but for b, which are exact given the others."""
    rng = np.random.default_rng(seed)
    size = (chains, draws)
    design = spec.design
    sigma = np.ones(size) if design.sigma else rng.uniform(1, 3, size)
    beta = rng.normal(1, 0.5, (*size, design.p))
    sds, factors = [], []
    for block in spec.blocks:
        sds.append(sd * rng.uniform(0.3, 1.5, (*size, block.q)))
        factor = np.zeros((*size, block.q, block.q))
        for term in block.terms:
            here, root = term.columns, np.broadcast_to(np.eye(term.q), (*size, term.q, term.q))
            if term.correlated:
                A = rng.normal(size=(*size, term.q, term.q + 2))
                root = np.linalg.cholesky(A @ np.swapaxes(A, -1, -2))
                root = root / np.linalg.norm(root, axis=-1, keepdims=True)
            factor[..., here, here] = root
        factors.append(factor)
    corr = tuple(factor @ np.swapaxes(factor, -1, -2) for factor in factors)
    known = VarianceDraws(sigma, tuple(sds), corr, tuple(factors), np.zeros((*size, 0)))
    b = draw_effects(spec, known, beta, np.random.SeedSequence(seed))
    found = {"sigma": sigma} | ({"beta": beta} if design.p else {})
    for block, sd_g, corr_g, b_g in zip(spec.blocks, sds, corr, b, strict=True):
        g = block.group
        found |= {f"sd_{g}": sd_g, f"corr_{g}": corr_g, f"b_{g}": b_g}
    return PosteriorFit(
        spec=spec,
        engine="nuts",
        data=xr.DataTree.from_dict({"posterior": draws_dataset(spec, found)}),
        sampler="none",
        parameterization=spec.parameterization,
        divergences=0,
        checks=(),
        seconds={},
        seed=1,
    )


def flat(fit, name):
    """Draws of a variable, one chain after the other."""
    values = fit.data["posterior"][name].transpose("chain", "draw", ...).values
    return values.reshape(-1, *values.shape[2:])


def covariances(fit, group):
    """Psi (S, q, q) of every draw."""
    sd = flat(fit, f"sd_{group}")
    return sd[:, :, None] * flat(fit, f"corr_{group}") * sd[:, None, :]
