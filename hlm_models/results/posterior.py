"""Raw draws to the DataTree that every reader of a posterior gets."""

from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.spec.density import Point
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import draw_prior, draw_response, improper
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

__all__ = ["log_likelihood", "point_at", "posterior_tree", "variables"]

PREDICTIVE_NUMBERS = 2_000_000
"""At most so many numbers of posterior predictive draws are kept; the draws are thinned evenly."""
PRIOR_DRAWS = 500
STATISTICS = {
    "diverging": "diverging",
    "energy": "energy",
    "step_size": "step_size",
    "n_steps": "n_steps",
    "depth": "tree_depth",
    "tree_depth": "tree_depth",
    "mean_tree_accept": "acceptance_rate",
    "acceptance_rate": "acceptance_rate",
    "maxdepth_reached": "reached_max_treedepth",
    "reached_max_treedepth": "reached_max_treedepth",
    "logp": "lp",
    "lp": "lp",
}
"""Sampler statistics that are kept, by the sampler's name, with ours."""


def variables(spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Posterior variables and their dims, the same for every sampler."""
    found: dict[str, tuple[str, ...]] = {"beta": ("coef",)} if spec.design.p else {}
    found["sigma"] = ()
    for block in spec.blocks:
        g, effect = block.group, f"effect_{block.group}"
        found |= {f"sd_{g}": (effect,), f"corr_{g}": (effect, f"{effect}_2"), f"b_{g}": (g, effect)}
    return found


def posterior_tree(
    spec: ModelSpec, raw: "DataTree", seed: np.random.SeedSequence, *, with_log_likelihood: bool
) -> "DataTree":
    """The groups prior, posterior, posterior_predictive, sample_stats, observed_data.

    The prior is left out where it is improper; log_likelihood (per row, given beta, b and sigma)
    is there when it is asked for.
    """
    import xarray as xr

    predictive_seed, prior_seed = seed.spawn(2)
    wanted = variables(spec)
    posterior = raw["posterior"].to_dataset()[list(wanted)]
    posterior = posterior.transpose("chain", "draw", ...).reset_coords(drop=True)
    stats = raw["sample_stats"].to_dataset()
    kept = {STATISTICS[name]: stats[name] for name in stats.data_vars if name in STATISTICS}
    groups: dict[str, Any] = {
        "posterior": posterior,
        "sample_stats": xr.Dataset(kept),
        "observed_data": xr.Dataset(
            {"y_obs": ("obs", spec.design.y)}, coords={"obs": np.arange(spec.design.n)}
        ),
        "posterior_predictive": _predictive(
            spec, posterior, np.random.default_rng(predictive_seed)
        ),
    }
    if not improper(spec):
        groups["prior"] = _prior(spec, posterior, np.random.default_rng(prior_seed))
    if with_log_likelihood:
        groups["log_likelihood"] = log_likelihood(spec, posterior)
    return xr.DataTree.from_dict(groups)


def point_at(spec: ModelSpec, posterior: "Dataset", chain: int, draw: int) -> Point:
    """One draw as a Point."""

    def value(name: str) -> FloatArray:
        return np.asarray(posterior[name].values[chain, draw])

    groups = [block.group for block in spec.blocks]
    return Point(
        beta=value("beta") if spec.design.p else np.zeros(0),
        sigma=float(value("sigma")),
        sd=tuple(value(f"sd_{g}") for g in groups),
        corr=tuple(value(f"corr_{g}") for g in groups),
        b=tuple(value(f"b_{g}") for g in groups),
    )


def log_likelihood(spec: ModelSpec, posterior: "Dataset") -> "Dataset":
    """Log p(y_i | beta, b, sigma) as y_obs (chain, draw, obs)."""
    import xarray as xr

    from hlm_models.spec import density

    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    out = np.empty((chains, draws, spec.design.n))
    for chain in range(chains):
        for draw in range(draws):
            out[chain, draw] = density.log_likelihood(spec, point_at(spec, posterior, chain, draw))
    return xr.Dataset(
        {"y_obs": (("chain", "draw", "obs"), out)},
        coords={name: posterior[name] for name in ("chain", "draw")}
        | {"obs": np.arange(spec.design.n)},
    )


def _predictive(spec: ModelSpec, posterior: "Dataset", rng: np.random.Generator) -> "Dataset":
    import xarray as xr

    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    kept = int(np.clip(PREDICTIVE_NUMBERS // (spec.design.n * chains), 1, min(draws, 250)))
    at = np.linspace(0, draws - 1, kept).astype(int)
    out = np.empty((chains, kept, spec.design.n))
    for chain in range(chains):
        for i, draw in enumerate(at.tolist()):
            out[chain, i] = draw_response(spec, point_at(spec, posterior, chain, draw), rng)
    return xr.Dataset(
        {"y_obs": (("chain", "draw", "obs"), out)},
        coords={"chain": posterior["chain"], "draw": at, "obs": np.arange(spec.design.n)},
    )


def _prior(spec: ModelSpec, posterior: "Dataset", rng: np.random.Generator) -> "Dataset":
    import xarray as xr

    points = [draw_prior(spec, rng) for _ in range(PRIOR_DRAWS)]
    values: dict[str, Any] = {"sigma": [point.sigma for point in points]}
    if spec.design.p:
        values["beta"] = [point.beta for point in points]
    for i, block in enumerate(spec.blocks):
        values[f"sd_{block.group}"] = [point.sd[i] for point in points]
        values[f"corr_{block.group}"] = [point.corr[i] for point in points]
    dims = variables(spec)
    used = {dim for name in values for dim in dims[name]}
    return xr.Dataset(
        {
            name: (("chain", "draw", *dims[name]), np.asarray(value)[None])
            for name, value in values.items()
        },
        coords={"chain": [0], "draw": np.arange(PRIOR_DRAWS)}
        | {dim: posterior[dim] for dim in sorted(used)},
    )
