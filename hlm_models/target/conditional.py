"""beta and b given the variance parameters: exact draws, and the same draws once more.

With gamma, P, h, Q, T and m of docs/marginal.md, gamma | y ~ N(P^-1 h, P^-1) and beta_I = T^-1
(gamma + Q' m). Given beta, v = (fit - R_x beta, 1) are the weights of W = [X_s, y_s]. With
raw = diag(sd) L_corr / sigma and Lambda = R_z raw, the effects of a level of one factor alone are,
in raw columns,

    b_j | beta, y ~ N(raw A_j^-1 Lambda' H_j v, sigma^2 raw A_j^-1 raw')

so that b_j = raw L_j^-T (L_j^-1 Lambda' H_j v + sigma e) for standard normals e, A_j = L_j L_j'.

Source: Lindley and Smith (1972), doi:10.1111/j.2517-6161.1972.tb00885.x, in the notation of Bates
et al. (2015), doi:10.18637/jss.v067.i01.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.gram import Gram
from hlm_models.algebra.kernel import add_levels, work_size
from hlm_models.algebra.level_draw import effects_work, standard_normals, turn_effects
from hlm_models.errors import FitError, InputErrors
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import (
    EFFECTS_SEED,
    EffectBlocks,
    Redrawn,
    coordinates,
    stores_effects,
    variables,
)
from hlm_models.spec.integration import integration
from hlm_models.spec.model import ModelSpec
from hlm_models.target.draws import VarianceDraws
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = [
    "coefficients_at",
    "cross_products",
    "draw_coefficients",
    "draw_effects",
    "draw_posterior",
    "effects",
    "effects_at",
    "effects_of",
    "has_effects",
    "redrawn",
]

BLOCK = 100_000
"""About so many normals at a time: they are still in cache when they become effects."""


def draw_coefficients(
    spec: ModelSpec, draws: VarianceDraws, seed: np.random.SeedSequence
) -> FloatArray:
    """Coefficients beta (chains, draws, p) in raw columns, the free ones as they are.

    Raises
    ------
    FitError
        the precision of the coefficients is not positive definite or finite at some draw.
    """
    count = len(integration(spec).integrated)
    beta = np.empty((*draws.sigma.shape, spec.design.p))
    for chain in range(len(beta)):
        rng = _generator(seed, 0, chain)
        normals = rng.standard_normal((beta.shape[1], count))
        beta[chain] = coefficients_at(spec, draws.at(chain), normals)
    return beta


def draw_effects(
    spec: ModelSpec, draws: VarianceDraws, beta: FloatArray, seed: np.random.SeedSequence
) -> tuple[FloatArray, ...]:
    """Effects b (chains, draws, J, q) of every block in raw columns, given beta (chains, draws, p).

    The same arguments give the same bits; the seed may be that of the coefficients.

    Raises
    ------
    FitError
        the effects are not finite at some draw.
    """
    b = tuple(np.empty((*draws.sigma.shape, block.J, block.q)) for block in spec.blocks)
    for chain in range(len(beta)):
        rng = _generator(seed, 1, chain)
        for here in _steps(spec, beta.shape[1]):
            out = tuple(one[chain, here] for one in b)
            _fill(rng, out)
            effects_at(spec, draws.at(chain, here), beta[chain, here], out)
    return b


def draw_posterior(
    spec: ModelSpec, draws: VarianceDraws, seed: np.random.SeedSequence
) -> tuple[dict[str, FloatArray], Redrawn | None]:
    """All variables of the posterior, for `posterior_tree`.

    Where b has too many numbers to be stored it is not among them, but to be drawn again.

    Raises
    ------
    FitError
        as `draw_coefficients` and `draw_effects`.
    """
    found = {"sigma": draws.sigma, **draws.shrinkage}
    if spec.design.p:
        found["beta"] = draw_coefficients(spec, draws, seed)
    for block, sd, corr in zip(spec.blocks, draws.sd, draws.corr, strict=True):
        found |= {f"sd_{block.group}": sd, f"corr_{block.group}": corr}
    if not stores_effects(spec, draws.sigma.size):
        return found, redrawn(spec, found, seed)
    beta = found.get("beta", np.zeros((*draws.sigma.shape, 0)))
    b = draw_effects(spec, draws, beta, seed)
    return found | {
        f"b_{block.group}": one for block, one in zip(spec.blocks, b, strict=True)
    }, None


def redrawn(
    spec: ModelSpec, known: Mapping[str, FloatArray], seed: np.random.SeedSequence
) -> Redrawn:
    """Effects that are to be drawn again given the other variables of a posterior, `known`."""
    return Redrawn(seed, _blocks_again(spec, known, seed))


def effects(fit: PosteriorFit, *, at: IntArray | None = None) -> dict[str, "DataArray"]:
    """As `effects_of`, of a fit."""
    return effects_of(fit.spec, fit.data["posterior"].to_dataset(), at=at)


def has_effects(spec: ModelSpec, posterior: "Dataset") -> bool:
    """Whether a posterior holds b, or what it is drawn again from."""
    stored = all(f"b_{block.group}" in posterior for block in spec.blocks)
    return stored or EFFECTS_SEED in posterior.attrs


def effects_of(
    spec: ModelSpec, posterior: "Dataset", *, at: IntArray | None = None
) -> dict[str, "DataArray"]:
    """The b of every group by the name b_g (chain, draw, g, effect_g), stored or drawn again.

    Parameters
    ----------
    at : places along `draw`, ascending; all of them where it is left out

    Raises
    ------
    InputErrors
        the posterior has neither b nor the seed that it is drawn from, or lacks some draws of the
        one that was sampled.
    """
    from xarray import DataArray

    at = np.arange(posterior.sizes["draw"]) if at is None else at
    wanted = [f"b_{block.group}" for block in spec.blocks]
    if all(name in posterior for name in wanted):
        return {
            name: posterior[name].isel(draw=at).transpose("chain", "draw", block.group, ...)
            for name, block in zip(wanted, spec.blocks, strict=True)
        }
    if not has_effects(spec, posterior):
        raise InputErrors.one(
            "the posterior has neither the effects b nor the seed that they are drawn from; fit "
            "again",
            key=wanted[0],
        )
    source = json.loads(posterior.attrs[EFFECTS_SEED])
    for name in ("chain", "draw"):
        if posterior[name].values.tolist() != list(range(source[f"{name}s"])):
            raise InputErrors.one(
                f"the effects are drawn again from all {source['chains']} chains of "
                f"{source['draws']} draws, and some of these are left out: take the effects of the "
                "whole posterior first",
                key=wanted[0],
            )
    known = {str(name): one.values for name, one in posterior.data_vars.items()}
    seed = np.random.SeedSequence(source["entropy"], spawn_key=tuple(source["spawn_key"]))
    chains = posterior.sizes["chain"]
    b = tuple(np.empty((chains, len(at), block.J, block.q)) for block in spec.blocks)
    for chain, places, drawn in _blocks_again(spec, known, seed)(at):
        for out, one in zip(b, drawn, strict=True):
            out[chain, places] = one
    dims, names = variables(spec), coordinates(spec)
    in_time = {"chain": posterior["chain"], "draw": posterior["draw"].isel(draw=at)}
    return {
        name: DataArray(
            one,
            dims=("chain", "draw", *dims[name]),
            coords=in_time | {dim: np.array(names[dim], dtype=object) for dim in dims[name]},
            name=name,
        )
        for name, one in zip(wanted, b, strict=True)
    }


def _blocks_again(
    spec: ModelSpec, known: Mapping[str, FloatArray], seed: np.random.SeedSequence
) -> EffectBlocks:
    """The effects of `draw_effects` from what a posterior without them stores."""
    groups = [block.group for block in spec.blocks]
    corr = tuple(known[f"corr_{g}"] for g in groups)
    beta = known.get("beta", np.zeros((*known["sigma"].shape, 0)))
    with _drawable("effects"):
        factor = tuple(np.linalg.cholesky(one) for one in corr)
    draws = VarianceDraws(
        sigma=known["sigma"],
        sd=tuple(known[f"sd_{g}"] for g in groups),
        corr=corr,
        factor=factor,
        beta_free=beta[..., integration(spec).free],
    )

    def blocks(at: IntArray) -> Iterator[tuple[int, slice, tuple[FloatArray, ...]]]:
        steps = _steps(spec, beta.shape[1])
        room = [np.empty((steps[0].stop, block.J, block.q)) for block in spec.blocks]
        for chain in range(len(beta)):
            rng = _generator(seed, 1, chain)
            for here in steps:
                if not np.any(at >= here.start):
                    break
                out = tuple(one[: here.stop - here.start] for one in room)
                # Draws that nobody asks for take their normals all the same.
                _fill(rng, out)
                places = slice(*np.searchsorted(at, [here.start, here.stop]).tolist())
                if places.start < places.stop:
                    effects_at(spec, draws.at(chain, here), beta[chain, here], out)
                    yield chain, places, tuple(one[at[places] - here.start] for one in out)

    return blocks


@contextmanager
def _drawable(what: str) -> Iterator[None]:
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise FitError(
            f"the {what} cannot be drawn, as a matrix is not positive definite at some draw: "
            "effects vary very much more than the rows; centre what makes the levels so far "
            "apart, or sample with fit.parameterization=centered"
        ) from error


def _steps(spec: ModelSpec, draws: int) -> list[slice]:
    """Draws that are worked on together."""
    step = max(1, BLOCK // max(1, sum(block.J * block.q for block in spec.blocks)))
    return [slice(lo, min(lo + step, draws)) for lo in range(0, draws, step)]


def _generator(seed: np.random.SeedSequence, purpose: int, chain: int) -> np.random.Generator:
    """That of one chain; `spawn` would give another one every time it is called."""
    child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, purpose, chain))
    return np.random.default_rng(child)


def _fill(rng: np.random.Generator, out: tuple[FloatArray, ...]) -> None:
    """Standard normals: NumPy's own bits, in compiled code some three times as fast."""
    for one in out:
        standard_normals(rng, one.reshape(-1))


def coefficients_at(spec: ModelSpec, draws: VarianceDraws, normals: FloatArray) -> FloatArray:
    """Coefficients (draws, p) of the draws of one chain from standard normals (draws, d)."""
    split, p = integration(spec), spec.design.p
    beta = np.empty((len(normals), p))
    beta[:, split.free] = draws.beta_free
    Q, T = split.Q, split.T
    with _drawable("coefficients"):
        S, _ = cross_products(spec, draws)
    m = split.fit - draws.beta_free @ split.turn.T
    along = m @ Q
    u = m - along @ Q.T
    precision = draws.sigma[:, None, None] ** -2.0
    P = Q.T @ S[:, :p, :p] @ Q * precision + split.precision
    right = S[:, :p, p] + np.einsum("nij,nj->ni", S[:, :p, :p], u)
    h = right @ Q * precision[:, 0] + (split.loc - along) @ split.precision
    with _drawable("coefficients"):
        L = np.linalg.cholesky(P)
    half = np.linalg.solve(L, h[..., None]) + normals[..., None]
    gamma = np.linalg.solve(np.swapaxes(L, 1, 2), half)[..., 0]
    beta[:, split.integrated] = np.linalg.solve(T, (gamma + along).T).T
    if not np.isfinite(beta).all():
        raise FitError("the coefficients cannot be drawn: they are not finite at some draw")
    return beta


def cross_products(spec: ModelSpec, draws: VarianceDraws) -> tuple[FloatArray, FloatArray]:
    """S (draws, k, k) = W' V^-1 W and log|V| (draws,) of the draws of one chain.

    Any root of corr may stand for its Cholesky factor.

    Raises
    ------
    LinAlgError
        crossed groups, and a matrix is not positive definite at some draw.
    """
    products, k = spec.marginal.products, spec.design.p + 1
    Lambda = _scaled(spec, draws)
    S, logdet = np.zeros((len(draws.sigma), k, k)), np.empty(len(draws.sigma))
    if isinstance(products, Gram):
        of_levels = Lambda[0] if Lambda else np.zeros((len(S), 0, 0))
        _add_passes(of_levels, products.G, products.H, products.T, S, logdet)
        return S, logdet
    from hlm_models.algebra.crossed import reduced
    from hlm_models.algebra.schur import one_thread

    with one_thread():
        for i, out in enumerate(S):
            left = reduced(tuple(one[i] for one in Lambda), products)
            complement = products.complement.factor(left.C)
            out[:] = left.S - left.q.T @ complement.solve(left.q)
            logdet[i] = left.logdet + complement.logdet
    return S, logdet


def _scaled(spec: ModelSpec, draws: VarianceDraws) -> tuple[FloatArray, ...]:
    """Relative factors Lambda (draws, q, q) of the scaled columns."""
    return tuple(
        np.ascontiguousarray(scale.R @ raw)
        for scale, raw in zip(spec.marginal.scales, draws.raw, strict=True)
    )


def effects_at(
    spec: ModelSpec, draws: VarianceDraws, beta: FloatArray, b: tuple[FloatArray, ...]
) -> None:
    """Turn standard normals b (draws, J, q) of every block into effects, in place.

    The draws are of one chain; beta (draws, p), everything in raw columns.
    """
    if not b:
        return
    design, products = spec.design, spec.marginal.products
    v = np.ones((len(beta), design.p + 1))
    v[:, :-1] = design.y_fit - beta @ design.x_scaling.R.T
    Lambda = _scaled(spec, draws)
    if isinstance(products, Gram):
        [raw], [out] = draws.raw, b
        work = np.empty(effects_work(out.shape[2]))
        # One layout and one writeability of every argument: each other one would be compiled anew.
        turn_effects(
            Lambda[0], np.array(raw, order="C"), v, np.array(draws.sigma), products.G, products.H,
            out, work,
        )  # fmt: skip
    else:
        from hlm_models.algebra import crossed_draw
        from hlm_models.algebra.schur import one_thread

        back = [np.linalg.inv(scale.R).T for scale in spec.marginal.scales]
        with one_thread(), _drawable("effects"):
            for i in range(len(beta)):
                drawn = crossed_draw.draw_effects(
                    tuple(one[i] for one in Lambda),
                    products,
                    v[i],
                    float(draws.sigma[i]),
                    tuple(one[i] for one in b),
                )
                for out, one, R in zip(b, drawn, back, strict=True):
                    out[i] = one @ R
    if not all(np.isfinite(one).all() for one in b):
        raise FitError("the effects cannot be drawn: they are not finite at some draw")


@compiled()
def _add_passes(Lambda, G, H, T, S, logdet):  # type: ignore[no-untyped-def]
    """S (draws, k, k), zeros at first, and log|V| (draws,) of one factor."""
    q, k, _ = H.shape
    N, D = np.empty((0, 0)), np.empty((0, 0))
    work = np.empty(work_size(q, k))
    for i in range(len(S)):
        logdet[i] = add_levels(Lambda[i], G, H, S[i], N, D, False, work)
        for c in range(k):
            for e in range(c + 1):
                S[i, c, e] = S[i, e, c] = T[c, e] - S[i, c, e]
