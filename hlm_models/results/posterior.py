"""Draws of any sampler to the DataTree that every reader of a posterior gets."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hlm_models.spec.density import Point, residual_scale
from hlm_models.spec.joint_prior import SHRUNK
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import improper, prior_draws
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

__all__ = [
    "EFFECTS_SEED",
    "EffectBlocks",
    "Redrawn",
    "coordinates",
    "draws_dataset",
    "linear_predictors",
    "plain_draws",
    "point_at",
    "posterior_tree",
    "stores_effects",
    "variables",
]

STORED_EFFECTS = 200_000_000
"""At most so many numbers of b are stored; more are drawn again whenever they are asked for."""
EFFECTS_SEED = "effects_seed"
"""Attribute of a posterior without b that says what b is drawn from: a seed sequence as JSON."""
PREDICTIVE_NUMBERS = 2_000_000
"""At most so many numbers of posterior predictive draws are kept; the draws are thinned evenly."""
PRIOR_DRAWS = 500
BLOCK = 100_000
"""About so many linear predictors are computed at a time."""
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

EffectBlocks = Callable[[IntArray], Iterator[tuple[int, slice, tuple[FloatArray, ...]]]]
"""For draws (m,), ascending: a chain, some places among the m, and b (some, J, q) of every group,
until all places of all chains have been there; the arrays hold until the next ones come."""


@dataclass(frozen=True, slots=True)
class Redrawn:
    """Effects that are not stored: the seed that they come from, and the way to have them again."""

    seed: np.random.SeedSequence
    blocks: EffectBlocks


def variables(spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Posterior variables and their dims, the same for every sampler."""
    found: dict[str, tuple[str, ...]] = {"beta": ("coef",)} if spec.design.p else {}
    found["sigma"] = ()
    if spec.priors.shrinkage is not None:
        found |= spec.priors.shrinkage.dims
    for block in spec.blocks:
        g, effect = block.group, f"effect_{block.group}"
        found |= {f"sd_{g}": (effect,), f"corr_{g}": (effect, f"{effect}_2"), f"b_{g}": (g, effect)}
    return found


def coordinates(spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Names along the dims of the posterior variables."""
    found = {"coef": spec.design.coef}
    if spec.priors.shrinkage is not None:
        found[SHRUNK] = spec.priors.shrinkage.names
    for block in spec.blocks:
        effect = f"effect_{block.group}"
        found |= {block.group: block.labels, effect: block.effects, f"{effect}_2": block.effects}
    return found


def stores_effects(spec: ModelSpec, draws: int) -> bool:
    """Whether b is stored with that many draws of all chains together."""
    return draws * sum(block.J * block.q for block in spec.blocks) <= STORED_EFFECTS


def plain_draws(
    spec: ModelSpec, raw: "DataTree"
) -> tuple[dict[str, FloatArray], dict[str, NDArray[Any]]]:
    """Draws and statistics for `posterior_tree` from the DataTree of a sampler of PyMC models."""
    posterior, stats = raw["posterior"], raw["sample_stats"]
    draws = {
        name: posterior[name].transpose("chain", "draw", *dims).values
        for name, dims in variables(spec).items()
    }
    kept = [name for name in stats.data_vars if name in STATISTICS]
    return draws, {str(name): stats[name].transpose("chain", "draw").values for name in kept}


def posterior_tree(
    spec: ModelSpec,
    draws: Mapping[str, FloatArray],
    stats: Mapping[str, NDArray[Any]],
    seed: np.random.SeedSequence,
    *,
    with_log_likelihood: bool,
    redrawn: Redrawn | None = None,
) -> "DataTree":
    """The groups prior, posterior, posterior_predictive, sample_stats, observed_data.

    The prior is left out where it is improper; log_likelihood (per row, given beta, b and sigma)
    is there when it is asked for.

    Parameters
    ----------
    draws : of each of `variables`, with the axes chain and draw first; no b where it is `redrawn`
    stats : (chains, draws) by the sampler's name; those that have no name of ours are left out
    """
    import xarray as xr

    predictive_seed, prior_seed = seed.spawn(2)
    count = draws["sigma"].shape[1]
    blocks = redrawn.blocks if redrawn else _stored(spec, draws)
    rows = {"obs": np.arange(spec.design.n)}
    posterior = draws_dataset(spec, draws)
    if redrawn:
        source = {"entropy": redrawn.seed.entropy, "spawn_key": redrawn.seed.spawn_key}
        source |= dict(zip(("chains", "draws"), draws["sigma"].shape, strict=True))
        posterior.attrs[EFFECTS_SEED] = json.dumps(source)
    in_time = {name: posterior[name] for name in ("chain", "draw")}
    kept = {STATISTICS[name]: values for name, values in stats.items() if name in STATISTICS}
    groups = {
        "posterior": posterior,
        "sample_stats": xr.Dataset(
            {name: (("chain", "draw"), values) for name, values in kept.items()}, coords=in_time
        ),
        "observed_data": xr.Dataset({"y_obs": ("obs", spec.design.y)}, coords=rows),
    }
    at = _thinned(spec, *draws["sigma"].shape)
    rng = np.random.default_rng(predictive_seed)
    out = np.empty((len(draws["sigma"]), len(at), spec.design.n))
    for chain, places, eta, scale in linear_predictors(spec, draws, at, blocks):
        out[chain, places] = spec.family.draw(rng, eta, scale)
    groups["posterior_predictive"] = xr.Dataset(
        {"y_obs": (("chain", "draw", "obs"), out)}, coords=in_time | {"draw": at} | rows
    )
    if not improper(spec):
        drawn = prior_draws(spec, np.random.default_rng(prior_seed), PRIOR_DRAWS)
        groups["prior"] = draws_dataset(spec, {name: one[None] for name, one in drawn.items()})
    if with_log_likelihood:
        values = _log_likelihood(spec, draws, np.arange(count), blocks)
        groups["log_likelihood"] = xr.Dataset(
            {"y_obs": (("chain", "draw", "obs"), values)}, coords=in_time | rows
        )
    return xr.DataTree.from_dict(groups)


def point_at(spec: ModelSpec, posterior: "Dataset", chain: int, draw: int) -> Point:
    """One draw as a Point."""

    def value(name: str) -> FloatArray:
        return np.asarray(posterior[name].values[chain, draw])

    groups, joint = [block.group for block in spec.blocks], spec.priors.shrinkage
    return Point(
        beta=value("beta") if spec.design.p else np.zeros(0),
        sigma=float(value("sigma")),
        sd=tuple(value(f"sd_{g}") for g in groups),
        corr=tuple(value(f"corr_{g}") for g in groups),
        b=tuple(value(f"b_{g}") for g in groups),
        shrinkage={} if joint is None else {name: value(name) for name in joint.dims},
    )


def draws_dataset(spec: ModelSpec, draws: Mapping[str, FloatArray]) -> "Dataset":
    """Variables (chain, draw, ...) with the names along their dims."""
    import xarray as xr

    dims = {name: found for name, found in variables(spec).items() if name in draws}
    chains, count = draws["sigma"].shape
    used = {dim for found in dims.values() for dim in found}
    names = {dim: found for dim, found in coordinates(spec).items() if dim in used}
    return xr.Dataset(
        {name: (("chain", "draw", *found), draws[name]) for name, found in dims.items()},
        coords={"chain": np.arange(chains), "draw": np.arange(count)}
        | {dim: np.array(found, dtype=object) for dim, found in names.items()},
    )


def _thinned(spec: ModelSpec, chains: int, draws: int) -> IntArray:
    """Draws of every chain that predictive draws are made of."""
    kept = int(np.clip(PREDICTIVE_NUMBERS // (spec.design.n * chains), 1, min(draws, 250)))
    return np.linspace(0, draws - 1, kept).astype(np.int64)


def _stored(spec: ModelSpec, draws: Mapping[str, FloatArray]) -> EffectBlocks:
    """Effects that are among the draws."""
    b = [draws[f"b_{block.group}"] for block in spec.blocks]
    step = max(1, BLOCK // spec.design.n)

    def blocks(at: IntArray) -> Iterator[tuple[int, slice, tuple[FloatArray, ...]]]:
        for chain in range(len(draws["sigma"])):
            for lo in range(0, len(at), step):
                here = slice(lo, lo + step)
                yield chain, here, tuple(one[chain, at[here]] for one in b)

    return blocks


def linear_predictors(
    spec: ModelSpec,
    draws: Mapping[str, FloatArray],
    at: IntArray,
    blocks: EffectBlocks | None = None,
) -> Iterator[tuple[int, slice, FloatArray, FloatArray | float]]:
    """Linear predictors (some, n) of some of the draws `at` of a chain, and residual scales.

    The effects are among the draws where no `blocks` give them.
    """
    design = spec.design
    for chain, places, b in (blocks or _stored(spec, draws))(at):
        here = at[places]
        eta = np.zeros((len(here), design.n))
        if design.p:
            eta += draws["beta"][chain, here] @ design.X.T
        if design.offset is not None:
            eta += design.offset
        for block, effects in zip(spec.blocks, b, strict=True):
            for column, z in zip(np.moveaxis(effects, -1, 0), block.z.T, strict=True):
                eta += np.take(column, block.level, axis=1) * z
        yield chain, places, eta, residual_scale(spec, draws["sigma"][chain, here, None])


def _log_likelihood(
    spec: ModelSpec, draws: Mapping[str, FloatArray], at: IntArray, blocks: EffectBlocks
) -> FloatArray:
    out = np.empty((len(draws["sigma"]), len(at), spec.design.n))
    for chain, places, eta, scale in linear_predictors(spec, draws, at, blocks):
        out[chain, places] = spec.family.log_density(spec.design.y, eta, scale)
    return out
