"""Fits without a sampler: normal draws around a REML fit, in milliseconds.

For tests of everything that reads fits (report, summary, compare, command line). The draws have
the names, dimensions and groups of a real posterior; their distribution is only roughly one.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hlm_models.comparison.agreement import Agreement, AgreementRow
from hlm_models.results.checks import Check, graded
from hlm_models.results.fits import PointFit, PosteriorFit
from hlm_models.results.summary import draw_rows, point_values
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import draw_prior, improper
from hlm_models.types import FloatArray

__all__ = ["canned_agreement", "canned_posterior"]


def canned_posterior(
    spec: ModelSpec,
    ref: PointFit,
    rng: np.random.Generator,
    *,
    chains: int = 4,
    draws: int = 250,
    replicates: int = 60,
    checks: Sequence[Check] | None = None,
) -> PosteriorFit:
    """A PosteriorFit of independent draws around `ref`.

    beta is normal with the reference's covariance, sigma and sd are log-normal, correlation
    matrices are valid with zeros where the model has them, b normal around the BLUPs. Where the
    reference is on the boundary, a made-up spread stands in. `posterior_predictive` has about
    `replicates` datasets, fewer than the posterior has draws; `prior` is left out where a prior
    is improper. `checks` replaces two checks that pass.
    """
    import xarray as xr

    size = (chains, draws)
    posterior: dict[str, Any] = {
        "beta": (("chain", "draw", "coef"), rng.multivariate_normal(ref.beta, ref.vcov_beta, size)),
        "sigma": (("chain", "draw"), _around(rng, np.array(ref.sigma), ref.se_log_sigma, size)),
    }
    coords: dict[str, Any] = {"coef": list(spec.design.coef)}
    by_group = {estimate.group: estimate for estimate in ref.random}
    for block in spec.blocks:
        g, estimate = block.group, by_group[block.group]
        floor = np.maximum(estimate.sd, 0.02 * ref.sigma / np.sqrt(np.mean(block.z**2, axis=0)))
        root = _roots(estimate.b_cov)
        noise = rng.standard_normal((*size, block.J, block.q))
        names = _block_dims(g)
        posterior |= {
            f"sd_{g}": (names[0], _around(rng, floor, estimate.se_log_sd, size)),
            f"corr_{g}": (names[1], _correlations(rng, estimate.corr, block.mask, size)),
            f"b_{g}": (names[2], estimate.b + np.einsum("jpq,cdjq->cdjp", root, noise)),
        }
        effects = list(block.effects)
        coords |= {g: list(block.labels), f"effect_{g}": effects, f"effect_{g}_2": effects}
    in_time = {"chain": range(chains), "draw": range(draws)}
    groups = {
        "posterior": xr.Dataset(posterior, {**in_time, **coords}),
        "sample_stats": xr.Dataset(
            {"diverging": (("chain", "draw"), np.zeros(size, dtype=bool))}, in_time
        ),
        "posterior_predictive": _replicated(spec, posterior, rng, max(1, replicates // chains)),
        "observed_data": xr.Dataset(
            {"y_obs": (("obs",), spec.design.y)}, {"obs": range(spec.design.n)}
        ),
    }
    if not improper(spec):
        groups["prior"] = _prior(spec, rng, coords)
    if checks is None:
        checks = (
            graded("r_hat", 1.003, warn=1.01, fail=1.05, message="largest over all parameters"),
            graded(
                "ess_bulk", 900.0, warn=400.0, below=True, message="smallest over all parameters"
            ),
        )
    return PosteriorFit(
        spec=spec,
        engine="nuts",
        data=xr.DataTree.from_dict(groups),
        sampler="canned",
        parameterization=spec.parameterization,
        divergences=0,
        checks=tuple(checks),
        seconds={"compile": 0.2, "fit": 1.5},
        seed=1,
    )


def canned_agreement(fit: PosteriorFit, ref: PointFit) -> Agreement:
    """The agreement table of two fits by the bare thresholds: no cause is looked for."""
    values = point_values(ref)
    rows = []
    for row in draw_rows(fit):
        estimate, se = values[row.name]
        if not math.isfinite(se):
            why = "the estimate is on the boundary, where it has no standard error"
            nan = (math.nan, math.nan, math.nan)
            found = (row.name, row.mean, row.sd, estimate, se, *nan, "boundary", "boundary", why)
            rows.append(AgreementRow(*found))
            continue
        d, ratio = (row.mean - estimate) / row.sd, row.sd / se
        shifted = abs(d) >= 0.25
        verdict = "shifted" if shifted else "agree" if 0.8 <= ratio <= 1.25 else "spread"
        rows.append(
            AgreementRow(
                parameter=row.name,
                mean=row.mean,
                sd=row.sd,
                estimate=estimate,
                se=se,
                d=d,
                d_mcse=(row.mean - estimate) / row.mcse_mean,
                spread_ratio=ratio,
                verdict=verdict,
                cause="unexplained" if shifted else "",
                why="the means differ, and no cause was looked for" if shifted else "",
            )
        )
    return Agreement(ref.spec.name, fit.engine, ref.engine, tuple(rows))


def _block_dims(g: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Dimensions of sd, corr and b of a group."""
    time = ("chain", "draw")
    return (
        (*time, f"effect_{g}"),
        (*time, f"effect_{g}", f"effect_{g}_2"),
        (*time, g, f"effect_{g}"),
    )


def _around(
    rng: np.random.Generator, centre: FloatArray, se_log: Any, size: tuple[int, int]
) -> FloatArray:
    """Log-normal draws; a spread that is not a number becomes 0.3, a huge one 1."""
    spread = np.minimum(np.nan_to_num(np.asarray(se_log, dtype=float), nan=0.3), 1.0)
    return centre * np.exp(spread * rng.standard_normal((*size, *centre.shape)))


def _correlations(
    rng: np.random.Generator, corr: FloatArray, mask: FloatArray, size: tuple[int, int]
) -> FloatArray:
    """Valid correlation matrices near `corr`, with its zeros: jittered unit rows of its factor."""
    factor = np.linalg.cholesky(0.9 * corr + 0.1 * np.eye(len(corr)))
    factor = factor + 0.15 * np.tril(mask, -1) * rng.standard_normal((*size, *corr.shape))
    factor /= np.linalg.norm(factor, axis=-1, keepdims=True)
    return factor @ np.swapaxes(factor, -1, -2)


def _roots(covariances: FloatArray) -> FloatArray:
    """Symmetric square roots (J, q, q), also of singular covariances."""
    values, vectors = np.linalg.eigh(covariances)
    return (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ np.swapaxes(vectors, 1, 2)


def _replicated(
    spec: ModelSpec, posterior: dict[str, Any], rng: np.random.Generator, each: int
) -> Any:
    import xarray as xr

    beta, sigma = posterior["beta"][1], posterior["sigma"][1]
    chains, draws = sigma.shape
    kept = np.unique(np.linspace(0, draws - 1, min(each, draws)).astype(int))
    mean = beta[:, kept] @ spec.design.X.T
    for block in spec.blocks:
        b = posterior[f"b_{block.group}"][1][:, kept]
        for k in range(block.q):
            mean += block.z[:, k] * b[..., block.level, k]
    y = mean + sigma[:, kept, None] * rng.standard_normal(mean.shape)
    coords = {"chain": range(chains), "draw": kept, "obs": range(spec.design.n)}
    return xr.Dataset({"y_obs": (("chain", "draw", "obs"), y)}, coords)


def _prior(spec: ModelSpec, rng: np.random.Generator, coords: dict[str, Any]) -> Any:
    import xarray as xr

    points = [draw_prior(spec, rng) for _ in range(100)]
    found: dict[str, Any] = {
        "beta": (("chain", "draw", "coef"), np.array([[point.beta for point in points]])),
        "sigma": (("chain", "draw"), np.array([[point.sigma for point in points]])),
    }
    for at, block in enumerate(spec.blocks):
        dims = _block_dims(block.group)
        sd = np.array([[point.sd[at] for point in points]])
        corr = np.array([[point.corr[at] for point in points]])
        found |= {f"sd_{block.group}": (dims[0], sd), f"corr_{block.group}": (dims[1], corr)}
    kept = {name: value for name, value in coords.items() if name not in _groups(spec)}
    return xr.Dataset(found, {"chain": [0], "draw": range(100), **kept})


def _groups(spec: ModelSpec) -> set[str]:
    return {block.group for block in spec.blocks}
